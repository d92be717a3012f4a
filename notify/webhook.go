package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// TypePrefix begins the type of every CloudEvent; the kind of event follows.
const TypePrefix = "ai.molecule.reconciler."

// typeDigest is of events that are too old to be told one by one.
const typeDigest = TypePrefix + "digest"

// A sink that was away for long is told what is older than digestAfter in
// digests, unless it is less than digestFrom.
const (
	digestAfter = time.Hour
	digestFrom  = 50
	digestBlock = 1000 // numbers that one digest spans at most
)

// CloudEvent is a message to a webhook, in the JSON format of CloudEvents 1.0.
type CloudEvent struct {
	SpecVersion     string `json:"specversion" jsonschema:"enum=1.0"`
	ID              string `json:"id" jsonschema_description:"Number of the event; with source it names the message, whichever sink and however often it comes."`
	Source          string `json:"source" jsonschema_description:"urn:uuid: and the identity of the reconciler's database, in which numbers are never given twice."`
	Type            string `json:"type" jsonschema_description:"ai.molecule.reconciler. and the kind of event; new kinds may come."`
	Subject         string `json:"subject,omitempty" jsonschema_description:"Id of the workspace; missing where it is about a source or the whole fleet."`
	Time            string `json:"time" jsonschema_description:"When it happened, RFC 3339 in UTC."`
	DataContentType string `json:"datacontenttype" jsonschema:"enum=application/json"`
	Data            any    `json:"data"`
}

// EventData is the data of a CloudEvent of one event.
type EventData struct {
	Kind      string   `json:"kind"`
	Severity  string   `json:"severity,omitempty" jsonschema_description:"critical, high, medium or low; missing where it is about no finding."`
	Source    string   `json:"source,omitempty" jsonschema_description:"Name of the source; missing: the whole fleet."`
	Workspace string   `json:"workspace,omitempty" jsonschema_description:"Id of the workspace."`
	Name      string   `json:"name,omitempty" jsonschema_description:"Name of the workspace, or of what else it is about."`
	Drift     int64    `json:"drift,omitempty" jsonschema_description:"Number of the drift, the same from its opening to its end."`
	Causes    []string `json:"causes" jsonschema_description:"Codes of the drift's causes as known when the message is made, the likeliest first."`
	Summary   string   `json:"summary" jsonschema_description:"One sentence for people."`
	By        string   `json:"by,omitempty" jsonschema_description:"Who did it, by the name of a token."`
}

// DigestData is the data of a CloudEvent of type ai.molecule.reconciler.digest.
type DigestData struct {
	First  int64          `json:"first" jsonschema_description:"Number of the first event that it stands for."`
	Last   int64          `json:"last" jsonschema_description:"Number of the last."`
	Events int            `json:"events" jsonschema_description:"How many there are."`
	Since  string         `json:"since" jsonschema_description:"When the first happened, RFC 3339 in UTC."`
	Until  string         `json:"until" jsonschema_description:"When the last happened."`
	Kinds  map[string]int `json:"kinds" jsonschema_description:"Events by kind."`
	Worst  string         `json:"worst,omitempty" jsonschema_description:"The worst severity among them."`
}

// Webhook posts a CloudEvent an event, signed as Standard Webhooks has it.
type Webhook struct {
	*client
	signer *standardwebhooks.Webhook // nil: no signature
	now    func() time.Time
}

const secretPrefix = "whsec_"

// NewWebhook prepares to post; nothing is connected to. A secret that begins
// with whsec_ is base64, another is taken as it is; "": nothing is signed.
func NewWebhook(o Options, secret drift.Secret) (*Webhook, error) {
	c, err := newClient(o)
	if err != nil {
		return nil, err
	}
	w := &Webhook{client: c, now: time.Now}
	switch key := secret.Reveal(); {
	case key == "":
	case strings.HasPrefix(key, secretPrefix):
		if w.signer, err = standardwebhooks.NewWebhook(key); err != nil {
			return nil, fmt.Errorf("secret: what follows %s is no base64", secretPrefix)
		}
	default:
		if w.signer, err = standardwebhooks.NewWebhookRaw([]byte(key)); err != nil {
			return nil, fmt.Errorf("secret: it cannot be used")
		}
	}
	return w, nil
}

// Divide gives a message an event, and digests of what is old. Those span fixed
// blocks of numbers, so that one that is made again is the same as before.
func (w *Webhook) Divide(now time.Time, news []drift.News) [][]drift.News {
	old := 0
	for old < len(news) && now.Sub(news[old].At) > digestAfter {
		old++
	}
	if old < digestFrom {
		old = 0
	}
	var messages [][]drift.News
	for rest := news[:old]; len(rest) > 0; {
		n := 1
		for n < len(rest) && block(rest[n].ID) == block(rest[0].ID) {
			n++
		}
		messages, rest = append(messages, rest[:n]), rest[n:]
	}
	for i := old; i < len(news); i++ {
		messages = append(messages, news[i:i+1])
	}
	return messages
}

func block(id int64) int64 { return (id - 1) / digestBlock }

// Post sends one message of Divide's.
func (w *Webhook) Post(ctx context.Context, origin string, message []drift.News) error {
	event := eventOf(message)
	event.SpecVersion, event.Source, event.DataContentType = "1.0", "urn:uuid:"+origin, contentJSON
	body, err := json.Marshal(event)
	if err != nil {
		return fmt.Errorf("encode event %s: %w", event.ID, err)
	}
	now, id := w.now(), origin+"."+event.ID
	header := http.Header{"Content-Type": {contentEvent}}
	header.Set(standardwebhooks.HeaderWebhookID, id)
	header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	if w.signer != nil {
		signature, err := w.signer.Sign(id, now, body)
		if err != nil {
			return fmt.Errorf("sign event %s: %w", event.ID, err)
		}
		header.Set(standardwebhooks.HeaderWebhookSignature, signature)
	}
	return w.post(ctx, w.url, header, body, nil)
}

func eventOf(message []drift.News) CloudEvent {
	if len(message) == 1 {
		n := &message[0]
		return CloudEvent{ID: strconv.FormatInt(n.ID, 10), Type: TypePrefix + string(n.Kind), Subject: n.Workspace, Time: stamp(n.At),
			Data: EventData{Kind: string(n.Kind), Severity: string(n.Severity), Source: n.Source, Workspace: n.Workspace, Name: n.Name,
				Drift: n.Episode, Causes: codes(n.Causes), Summary: n.Summary, By: n.By}}
	}
	first, last := &message[0], &message[len(message)-1]
	d := DigestData{First: first.ID, Last: last.ID, Events: len(message), Since: stamp(first.At), Until: stamp(last.At), Kinds: map[string]int{}, Worst: string(worst(message))}
	for i := range message {
		d.Kinds[string(message[i].Kind)]++
	}
	return CloudEvent{ID: fmt.Sprintf("%d-%d", first.ID, last.ID), Type: typeDigest, Time: stamp(last.At), Data: d}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func codes(causes []drift.Cause) []string {
	list := make([]string, len(causes))
	for i := range causes {
		list[i] = string(causes[i].Code)
	}
	return list
}

// worst gives the worst severity among news; "": none has one.
func worst(news []drift.News) drift.Severity {
	for _, s := range drift.Severities {
		for i := range news {
			if news[i].Severity == s {
				return s
			}
		}
	}
	return ""
}
