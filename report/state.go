package report

import (
	"encoding/json"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/reconcile"
)

// State is the workspace's document as it is kept: without what every look
// changes. When it was observed is told by the source's last pass. Traffic is
// kept where any is a sign of drift: the calls of a workspace whose calls the
// platform pays for are its daily business, and counting them is not keeping a
// state. And the read endpoint's answer is kept where something was found: of
// the others a few are asked in turn, so what that says comes and goes.
func State(j *reconcile.Judged, p *drift.Policy) json.RawMessage {
	doc := workspace(j, Options{Policy: p})
	if doc.Observed != nil && j.Observation.State == drift.Observed {
		doc.Observed.At = nil
	}
	if j.Desired.Mode == drift.ModePlatformManaged {
		doc.Traffic = Part[Traffic]{}
	}
	if len(j.Findings) == 0 {
		doc.ReadEndpoint = Part[ReadEndpoint]{}
	}
	text, err := json.Marshal(doc)
	if err != nil {
		panic("report: a document of our own types cannot be marshalled: " + err.Error())
	}
	return text
}
