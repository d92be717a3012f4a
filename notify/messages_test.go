package notify_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/invopop/jsonschema"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/notify"
)

// schemas are the shapes of what is sent, for whoever receives it.
var schemas = map[string]func(*jsonschema.Reflector) *jsonschema.Schema{
	"webhook.json": func(r *jsonschema.Reflector) *jsonschema.Schema {
		s := r.Reflect(&notify.CloudEvent{})
		s.Title = "A message to a webhook: a CloudEvent 1.0 about one event, or a digest of old ones"
		event, digest := r.Reflect(&notify.EventData{}), r.Reflect(&notify.DigestData{})
		event.Version, digest.Version = "", ""
		s.Properties.Set("data", &jsonschema.Schema{AnyOf: []*jsonschema.Schema{event, digest}})
		return s
	},
	"slack.json": func(r *jsonschema.Reflector) *jsonschema.Schema {
		s := r.Reflect(&notify.SlackMessage{})
		s.Title = "A message to a Slack incoming webhook"
		return s
	},
	"alertmanager.json": func(r *jsonschema.Reflector) *jsonschema.Schema {
		s := r.Reflect(&[]notify.Alert{})
		s.Title = "What is posted to /api/v2/alerts of an Alertmanager"
		return s
	},
}

// `go test ./notify -update` writes docs/schemas.
func TestTheSchemasAreWhatIsSent(t *testing.T) {
	for name, make := range schemas {
		// New kinds of facts may come: whoever reads must not refuse them.
		s := make(&jsonschema.Reflector{DoNotReference: true, AllowAdditionalProperties: true, Anonymous: true})
		text, err := json.MarshalIndent(s, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, '\n')
		file := filepath.Join("..", "docs", "schemas", name)
		if *update {
			if err := os.WriteFile(file, text, 0o644); err != nil { // #nosec G306 -- a document
				t.Fatal(err)
			}
		}
		have, err := os.ReadFile(file) // #nosec G304 -- a document of ours
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(text), string(have)); diff != "" {
			t.Errorf("%s is out of date: go test ./notify -update\n%s", name, diff)
		}
	}
}

func TestAWebhookIsACloudEventThatIsSigned(t *testing.T) {
	raw := "a key of some length, not base64!"
	coded := "whsec_" + base64.StdEncoding.EncodeToString([]byte(raw))
	for rule, secret := range map[string]drift.Secret{"a key in base64": drift.Secret(coded), "a key as it is": drift.Secret(raw), "no key": ""} {
		t.Run(rule, func(t *testing.T) {
			r := newReceiver(t, nil)
			if err := webhook(t, to(r.URL+"/hook?x=1"), secret).Post(t.Context(), origin, one); err != nil {
				t.Fatal(err)
			}
			got := r.all()[0]
			want := `{"specversion":"1.0","id":"1","source":"urn:uuid:` + origin + `","type":"ai.molecule.reconciler.drift_opened","subject":"00000000-0000-4000-8000-000000000001",` +
				`"time":"2026-05-28T12:00:01Z","datacontenttype":"application/json","data":{"kind":"drift_opened","severity":"critical","source":"reno","workspace":"00000000-0000-4000-8000-000000000001",` +
				`"name":"Agent 1","drift":101,"causes":["model_empty"],"summary":"drifted: mode_mismatch"}}`
			if diff := cmp.Diff(want, string(got.body)); diff != "" {
				t.Error(diff)
			}
			id, at := got.header.Get("webhook-id"), got.header.Get("webhook-timestamp")
			if id != origin+".1" || got.path != "/hook" || got.header.Get("Content-Type") != "application/cloudevents+json" {
				t.Errorf("id %q, path %q, header %v", id, got.path, got.header)
			}
			if secret == "" {
				if s, signed := got.header["Webhook-Signature"]; signed {
					t.Errorf("signed without a key: %s", s)
				}
				return
			}
			verifier := must(standardwebhooks.NewWebhook(coded))(t)
			if err := verifier.Verify(got.body, got.header); err != nil {
				t.Error(err)
			}
			mac := hmac.New(sha256.New, []byte(raw)) // as the standard says, without the library
			_, _ = fmt.Fprintf(mac, "%s.%s.%s", id, at, got.body)
			if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); got.header.Get("webhook-signature") != want {
				t.Errorf("got %q, want %q", got.header.Get("webhook-signature"), want)
			}
		})
	}
}

// One that comes twice is the same but for its time of sending and signature.
func TestAMessageThatComesTwiceHasTheSameId(t *testing.T) {
	r := newReceiver(t, nil)
	w := webhook(t, to(r.URL), "key")
	for range 2 {
		if err := w.Post(t.Context(), origin, one); err != nil {
			t.Fatal(err)
		}
	}
	got := r.all()
	if a, b := got[0], got[1]; a.header.Get("webhook-id") != b.header.Get("webhook-id") || string(a.body) != string(b.body) {
		t.Errorf("%v\n%s\n%v\n%s", a.header, a.body, b.header, b.body)
	}
}

func many(from, to int) (news []drift.News) {
	for n := from; n <= to; n++ {
		news = append(news, opened(n, drift.High, drift.ModelEmpty))
	}
	return news
}

func TestWhatIsOldIsDigestedForWebhooks(t *testing.T) {
	later := noon.Add(10 * time.Hour)
	for _, c := range []struct {
		rule string
		now  time.Time
		news []drift.News
		want []int // of events, by message
	}{
		{"news are told one by one", noon, many(1, 60), slices.Repeat([]int{1}, 60)},
		{"a few old ones too", later, many(1, 49), slices.Repeat([]int{1}, 49)},
		{"many old ones are digested, by their numbers", later, many(990, 1060), []int{11, 60}},
		{"what is not old follows", noon.Add(time.Hour + 60*time.Second), many(1, 61), append([]int{59}, 1, 1)},
		{"nothing is no message", later, nil, nil},
	} {
		var got []int
		var all []int64
		for _, m := range webhook(t, to("http://x.test"), "").Divide(c.now, c.news) {
			got = append(got, len(m))
			for _, n := range m {
				all = append(all, n.ID)
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" || len(all) != len(c.news) {
			t.Errorf("%s: %s", c.rule, diff)
		}
	}
}

func TestADigestSaysWhatItStandsFor(t *testing.T) {
	r := newReceiver(t, nil)
	if err := webhook(t, to(r.URL), "").Post(t.Context(), origin, append(many(4, 60), of(drift.EventDriftClosed, opened(61, drift.Low, "")))); err != nil {
		t.Fatal(err)
	}
	got := decode[struct {
		ID, Type string
		Data     notify.DigestData
	}](t, r.all()[0].body)
	want := notify.DigestData{First: 4, Last: 61, Events: 58, Since: "2026-05-28T12:00:04Z", Until: "2026-05-28T12:01:01Z", Kinds: map[string]int{"drift_opened": 57, "drift_closed": 1}, Worst: "high"}
	if diff := cmp.Diff(want, got.Data); diff != "" || got.ID != "4-61" || got.Type != "ai.molecule.reconciler.digest" {
		t.Errorf("%s %s %s", got.ID, got.Type, diff)
	}
}

func TestSlackIsToldOncePerCauseTheWorstFirst(t *testing.T) {
	pause := drift.News{Event: drift.Event{ID: 9, At: noon, Kind: drift.EventPaused, By: "ops", Summary: "paused"}}
	news := []drift.News{pause}
	for n := 10; n < 40; n++ {
		news = append(news, opened(n, drift.Medium, drift.RegistryDiffers))
	}
	news = append(news, opened(40, drift.High, drift.ModelEmpty), opened(41, drift.Critical, drift.ModelEmpty), of(drift.EventDriftClosed, opened(42, drift.Medium, drift.RegistryDiffers)))
	r := newReceiver(t, nil)
	s := slack(t, to(r.URL))
	var titles []string
	for _, m := range s.Divide(noon, news) {
		if err := s.Post(t.Context(), origin, m); err != nil {
			t.Fatal(err)
		}
	}
	for _, got := range r.all() {
		titles = append(titles, decode[notify.SlackMessage](t, got.body).Text)
	}
	want := []string{"critical: drift opened (2)", "medium: drift opened (30)", "medium: drift closed", "paused"}
	if diff := cmp.Diff(want, titles); diff != "" {
		t.Error(diff)
	}
	digest := string(r.all()[1].body)
	for _, part := range []string{"reno / Agent 10 / ", "and 25 more", "Cause: registry_differs: ", "30 medium, events 10 to 39"} {
		if !strings.Contains(digest, part) {
			t.Errorf("without %q: %s", part, digest)
		}
	}
	if first := string(r.all()[0].body); strings.Index(first, "Agent 41") > strings.Index(first, "Agent 40") {
		t.Error("the worst workspace is not first")
	}
}

// Names are the tenants' to choose.
func TestNamesMeanNothingToSlackAndFit(t *testing.T) {
	hostile := []string{"<!channel>", "<https://evil.test|click>", "*bold* & more", "two\nlines\u2028three", strings.Repeat("&", 5000), strings.Repeat("😀", 5000), "\xff\xfe"}
	var news []drift.News
	for i, name := range hostile {
		n := opened(i+1, drift.High, drift.ModelEmpty)
		n.Name, n.Source, n.Summary, n.By = name, name, name, name
		n.Causes[0].Summary = name
		news = append(news, n)
	}
	for i := range news { // each is the first once
		news = append(news[1:], news[0])
		r := newReceiver(t, nil)
		if err := slack(t, to(r.URL)).Post(t.Context(), origin, news); err != nil {
			t.Fatal(err)
		}
		for _, b := range decode[notify.SlackMessage](t, r.all()[0].body).Blocks {
			if b.Text == nil {
				continue
			}
			if n := utf8.RuneCountInString(b.Text.Text); n > 3000 || b.Type == "header" && n > 150 {
				t.Errorf("%d: a %s of %d characters, which Slack refuses", i, b.Type, n)
			}
			if strings.ContainsAny(b.Text.Text, "<>") || b.Type == "section" && !b.Text.Verbatim {
				t.Errorf("%d: it means something to Slack: %.80s", i, b.Text.Text)
			}
		}
	}
}

func TestAlertsNameWhatStands(t *testing.T) {
	r := newReceiver(t, nil)
	a := alertmanager(t, to(r.URL+"/am/"))
	surge := drift.News{Event: drift.Event{ID: 7, At: noon, Kind: drift.EventSurge, Severity: drift.High, Source: "mill", Summary: "9 of 10 flipped"}}
	blind := drift.News{Event: drift.Event{ID: 8, At: noon, Kind: drift.EventInputBlind, Severity: drift.High, Name: "file on a", Summary: "no line"}}
	paused := drift.News{Event: drift.Event{ID: 9, At: noon, Kind: drift.EventPaused, Summary: "paused"}}
	unknown := drift.News{Event: drift.Event{ID: 10, At: noon, Kind: "of_tomorrow", Severity: drift.Low, Source: "reno"}}
	before := time.Now()
	if err := a.Keep(t.Context(), origin, []drift.News{opened(1, drift.Critical, drift.ModelEmpty), surge, blind, paused, unknown}); err != nil {
		t.Fatal(err)
	}
	got := r.all()[0]
	alerts := decode[[]notify.Alert](t, got.body)
	want := []map[string]string{
		{"alertname": "ReconcilerDriftOpened", "source": "reno", "workspace": "00000000-0000-4000-8000-000000000001", "severity": "critical", "cause": "model_empty"},
		{"alertname": "ReconcilerDesiredSurge", "source": "mill", "severity": "high"},
		{"alertname": "ReconcilerInputBlind", "name": "file on a", "severity": "high"},
		{"alertname": "ReconcilerOfTomorrow", "source": "reno", "severity": "low"},
	}
	var labels []map[string]string
	for _, alert := range alerts {
		labels = append(labels, alert.Labels)
		ends, err := time.Parse(time.RFC3339, alert.EndsAt)
		if err != nil || ends.Before(before.Add(2*notify.KeepEvery)) || !strings.HasPrefix(alert.Annotations["runbook"], "https://") {
			t.Errorf("%v ends at %s (%v)", alert.Labels, alert.EndsAt, err)
		}
	}
	if diff := cmp.Diff(want, labels); diff != "" || got.path != "/am/api/v2/alerts" {
		t.Errorf("%s %s", got.path, diff)
	}
}

// What ends is told by the same labels as what began, whatever its news say.
func TestAlertsEndByTheLabelsThatTheyBeganWith(t *testing.T) {
	for end, begun := range map[drift.EventKind]drift.EventKind{
		drift.EventDriftClosed: drift.EventDriftOpened, drift.EventSurgeEnded: drift.EventSurge, drift.EventSurgeAccepted: drift.EventSurge,
		drift.EventInputResumed: drift.EventInputBlind, drift.EventUnattributedOver: drift.EventUnattributed,
	} {
		severity := map[drift.EventKind]drift.Severity{drift.EventUnattributed: drift.Medium}[begun]
		if severity == "" {
			severity = drift.High
		}
		first := drift.News{Event: drift.Event{ID: 1, At: noon, Kind: begun, Severity: severity, Source: "reno", Name: "x"}}
		last := drift.News{Event: drift.Event{ID: 2, At: noon.Add(time.Minute), Kind: end, Severity: drift.Low, Source: "reno", Name: "x"}}
		if begun == drift.EventDriftOpened {
			last.Severity = severity
		}
		r := newReceiver(t, nil)
		a := alertmanager(t, to(r.URL))
		for _, message := range [][]drift.News{{first}, {last}, {first, last}} {
			if err := a.Post(t.Context(), origin, message); err != nil {
				t.Fatal(err)
			}
		}
		began, ended, both := decode[[]notify.Alert](t, r.all()[0].body), decode[[]notify.Alert](t, r.all()[1].body), decode[[]notify.Alert](t, r.all()[2].body)
		if diff := cmp.Diff(began[0].Labels, ended[0].Labels); diff != "" {
			t.Errorf("%s: %s", end, diff)
		}
		if diff := cmp.Diff(ended, both); diff != "" { // the last word counts
			t.Errorf("%s: %s", end, diff)
		}
		if ended[0].EndsAt != "2026-05-28T12:01:00Z" || ended[0].StartsAt > ended[0].EndsAt {
			t.Errorf("%s: from %s to %s", end, ended[0].StartsAt, ended[0].EndsAt)
		}
	}
}

func TestAllAlertsOfALargeFleetAreSent(t *testing.T) {
	r := newReceiver(t, nil)
	if err := alertmanager(t, to(r.URL)).Keep(t.Context(), origin, many(1, 1001)); err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, got := range r.all() {
		alerts := decode[[]notify.Alert](t, got.body)
		if total += len(alerts); len(alerts) > 250 || len(got.body) > 256<<10 {
			t.Errorf("%d alerts in one request, %d bytes", len(alerts), len(got.body))
		}
	}
	if total != 1001 || len(r.all()) < 2 {
		t.Errorf("%d alerts in %d requests", total, len(r.all()))
	}
}

// A message is a request: its time is that of one, and what an Alertmanager has
// taken is not sent again with what it has not.
func TestAMessageToAnAlertmanagerIsOneRequest(t *testing.T) {
	r := newReceiver(t, nil)
	a := alertmanager(t, to(r.URL))
	messages := a.Divide(noon, many(1, 1000))
	var ids []int
	for _, m := range messages {
		if err := a.Post(t.Context(), origin, m); err != nil {
			t.Fatal(err)
		}
		for i := range m {
			ids = append(ids, int(m[i].ID))
		}
	}
	if len(messages) != len(r.all()) || len(ids) != 1000 || !slices.IsSorted(ids) {
		t.Errorf("%d messages of %d events in %d requests", len(messages), len(ids), len(r.all()))
	}
}

// However many workspaces drift in one pass, people get a few messages of a few
// lines: one for each cause of each thousand that is told at once.
func TestSlackIsNotFloodedByALargeFleet(t *testing.T) {
	causes := []drift.CauseCode{drift.ModelEmpty, drift.RegistryDiffers, drift.StaleEnvironment}
	r := newReceiver(t, nil)
	s := slack(t, to(r.URL))
	for first := 1; first <= 10_000; first += 1000 {
		news := many(first, first+999)
		for i := range news {
			news[i].Causes[0].Code, news[i].Name = causes[i%3], strings.Repeat("&", 500)
		}
		for _, m := range s.Divide(noon, news) {
			if err := s.Post(t.Context(), origin, m); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := len(r.all()); n != 30 {
		t.Errorf("%d messages", n)
	}
	for _, got := range r.all() {
		if len(got.body) > 8<<10 {
			t.Errorf("a message of %d bytes", len(got.body))
		}
	}
}
