package notify

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// Alertmanager posts alerts to the v2 API of a Prometheus Alertmanager: one for
// each thing that stands, again and again, for there an alert that is not
// repeated is over.
type Alertmanager struct {
	*client
	endpoint string
	now      func() time.Time
}

const (
	// KeepEvery is how often what stands must be posted again.
	KeepEvery = time.Minute
	// alertLasts is how long an alert stands that is not posted again: a few of
	// these may be lost. The same for what is told once and has no end.
	alertLasts = 5 * KeepEvery

	alertsAtOnce = 250 // in one request
	labelMost    = 200 // characters
	runbookURL   = "https://github.com/molecule-ai/billing-reconciler/blob/main/docs/"
)

// NewAlertmanager prepares to post below a base URL; nothing is connected to.
func NewAlertmanager(o Options) (*Alertmanager, error) {
	c, err := newClient(o)
	if err != nil {
		return nil, err
	}
	return &Alertmanager{client: c, endpoint: strings.TrimRight(c.url, "/") + "/api/v2/alerts", now: time.Now}, nil
}

// Alert is one of the list that is posted.
type Alert struct {
	Labels      map[string]string `json:"labels" jsonschema_description:"alertname, and source, workspace, severity and cause where there are any: they name the alert."`
	Annotations map[string]string `json:"annotations" jsonschema_description:"summary, name (of the workspace) and runbook."`
	StartsAt    string            `json:"startsAt" jsonschema_description:"RFC 3339 in UTC."`
	EndsAt      string            `json:"endsAt" jsonschema_description:"When it is over unless it is posted again; in the past where it is over."`
}

// Divide makes a message of as many as one request takes.
func (a *Alertmanager) Divide(_ time.Time, news []drift.News) [][]drift.News {
	return slices.Collect(slices.Chunk(news, alertsAtOnce))
}

// Post sends what has begun and what has ended since. Of several events of one
// thing the last counts.
func (a *Alertmanager) Post(ctx context.Context, _ string, message []drift.News) error {
	now := a.now()
	var alerts []Alert
	place := map[string]int{}
	for i := range message {
		alert, ok := alertOf(&message[i], now)
		if !ok {
			continue
		}
		key := fmt.Sprint(alert.Labels) // fmt sorts keys
		if at, again := place[key]; again {
			alerts[at] = alert
			continue
		}
		place[key] = len(alerts)
		alerts = append(alerts, alert)
	}
	return a.send(ctx, alerts)
}

// Keep sends all that stands.
func (a *Alertmanager) Keep(ctx context.Context, _ string, standing []drift.News) error {
	var alerts []Alert
	for i := range standing {
		if alert, ok := alertOf(&standing[i], a.now()); ok {
			alerts = append(alerts, alert)
		}
	}
	return a.send(ctx, alerts)
}

func (a *Alertmanager) send(ctx context.Context, alerts []Alert) error {
	for part := range slices.Chunk(alerts, alertsAtOnce) {
		body, err := json.Marshal(part)
		if err != nil {
			return fmt.Errorf("encode alerts: %w", err)
		}
		if err := a.post(ctx, a.endpoint, http.Header{"Content-Type": {contentJSON}}, body, nil); err != nil {
			return err
		}
	}
	return nil
}

// repeats are kinds that say again what another began; the alert is that one's.
var repeats = map[drift.EventKind]drift.EventKind{
	drift.EventDriftWorsened: drift.EventDriftOpened,
	drift.EventDriftReminder: drift.EventDriftOpened,
	drift.EventSurgeReminder: drift.EventSurge,
}

// alertOf makes an alert of news; false: what has no severity, and ends nothing,
// is none.
func alertOf(n *drift.News, now time.Time) (Alert, bool) {
	kind, severity, starts, ends := n.Kind, n.Severity, n.At, now.Add(alertLasts)
	begun, always := n.Ends()
	switch {
	case begun != "": // with the labels of what it ends: others would name another alert
		kind, severity = begun, cmp.Or(always, severity)
		if ends = n.At; ends.After(now) {
			ends = now
		}
		starts = ends
	case severity == "":
		return Alert{}, false
	}
	kind = cmp.Or(repeats[kind], kind)
	alert := Alert{Labels: map[string]string{"alertname": alertName(kind)}, StartsAt: stamp(starts), EndsAt: stamp(ends),
		Annotations: map[string]string{"summary": clip(n.Summary, summaryMost), "runbook": runbook(kind)}}
	cause := ""
	if len(n.Causes) > 0 {
		cause = string(n.Causes[0].Code)
	}
	labels := map[string]string{"source": n.Source, "workspace": n.Workspace, "severity": string(severity), "cause": cause}
	if n.Workspace == "" {
		labels["name"] = clip(n.Name, labelMost)
	} else if n.Name != "" {
		alert.Annotations["name"] = clip(n.Name, nameMost)
	}
	for name, value := range labels {
		if value != "" {
			alert.Labels[name] = strings.ToValidUTF8(value, "\uFFFD")
		}
	}
	return alert, true
}

// alertName makes ReconcilerDriftOpened of drift_opened.
func alertName(kind drift.EventKind) string {
	name := "Reconciler"
	for word := range strings.SplitSeq(string(kind), "_") {
		if word != "" {
			name += strings.ToUpper(word[:1]) + word[1:]
		}
	}
	return name
}

// runbook is the page that helps with a kind of event.
func runbook(kind drift.EventKind) string {
	pages := map[drift.EventKind]string{
		drift.EventDriftOpened:  "runbooks/drift-open-too-long.md",
		drift.EventSurge:        "runbooks/desired-surge.md",
		drift.EventInputBlind:   "runbooks/log-blind.md",
		drift.EventUnattributed: "runbooks/unattributed-traffic.md",
	}
	if page := pages[kind]; page != "" {
		return runbookURL + page
	}
	return runbookURL + "notifications.md"
}
