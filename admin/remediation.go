package admin

import (
	"context"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// Remediation says what is done about drifts, in short.
type Remediation struct {
	Modes    map[string]string `json:"modes" doc:"By source, as the replica that answers has them configured: off, dry_run or enforce."`
	InFlight int               `json:"in_flight" doc:"Actions under way, of all sources."`
	Stopped  []string          `json:"stopped" doc:"Causes for which nothing more is tried until somebody approves them; /causes says why."`
	Waiting  []string          `json:"waiting" doc:"Causes whose next reprovision waits for one before it to be proven."`
}

// off is the word for remediation that is off; the code has none.
const off = "off"

func (s *Server) statusRemediation(ctx context.Context, out *Status) (err error) {
	r := &out.Remediation
	r.Modes, r.Stopped, r.Waiting = map[string]string{}, []string{}, []string{}
	if s.opts.Remediation != nil {
		for source, mode := range s.opts.Remediation() {
			r.Modes[source] = or(string(mode), off)
		}
	}
	if r.InFlight, err = s.opts.Store.InFlight(ctx); err != nil {
		return err
	}
	causes, err := s.causes(ctx)
	for i := range causes {
		switch c := &causes[i]; {
		case c.Mode != drift.RemediateEnforce:
		case c.Stopped != nil:
			r.Stopped = append(r.Stopped, c.Cause)
		case c.Waits != nil:
			r.Waiting = append(r.Waiting, c.Cause)
		}
	}
	return err
}
