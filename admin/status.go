package admin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

// Process is what only the process that answers knows.
type Process struct {
	Version   string        `json:"version"`
	Replica   string        `json:"replica" doc:"Id of the replica that answers; empty: it has none."`
	StartedAt time.Time     `json:"started_at"`
	Config    Configuration `json:"config"`
}

// Configuration says how the last reading of the configuration went.
type Configuration struct {
	LoadedAt time.Time `json:"loaded_at" doc:"When what is in force was read."`
	Error    string    `json:"error" doc:"Why a newer configuration was refused; empty: the newest is in force."`
	Restart  []string  `json:"restart" doc:"Keys that were changed and take a restart."`
}

// Status is how everything stands.
type Status struct {
	GeneratedAt  time.Time              `json:"generated_at"`
	Process      Process                `json:"process"`
	Replicas     []store.Replica        `json:"replicas"`
	Sources      []SourceStatus         `json:"sources"`
	Inputs       []InputStatus          `json:"inputs" doc:"Where lines of the proxy's log come from."`
	Sinks        []SinkStatus           `json:"sinks" doc:"Who is told."`
	FleetSurge   *Surge                 `json:"fleet_surge" doc:"Of the whole fleet, as where a new registry flips most of it."`
	Workspaces   map[drift.Verdict]int  `json:"workspaces" doc:"Of all sources, by verdict."`
	Drifts       map[drift.Severity]int `json:"drifts" doc:"Open ones, by severity; what is suppressed is counted too."`
	OldestDrift  *time.Time             `json:"oldest_drift" doc:"When the oldest open one was opened."`
	Pauses       []store.Pause          `json:"pauses" doc:"In force now."`
	Suppressions int                    `json:"suppressions" doc:"In force now."`
	Remediation  Remediation            `json:"remediation"`
	LastEvent    int64                  `json:"last_event" doc:"Id of the newest event; 0: there is none."`
	Problems     []string               `json:"problems" doc:"What keeps the reconciler from its work; the same as /readyz says."`
}

// SourceStatus is how one source stands.
type SourceStatus struct {
	Name       string                `json:"name"`
	Holder     *string               `json:"holder" doc:"Name of the replica that looks at it; null: nobody does."`
	LastPassAt *time.Time            `json:"last_pass_at" doc:"When the last pass that succeeded began."`
	Took       float64               `json:"took_seconds" doc:"How long that took."`
	TriedAt    *time.Time            `json:"tried_at" doc:"When a pass was last begun, whatever became of it."`
	Error      *string               `json:"error" doc:"Why the last pass failed; null: it did not."`
	Counts     map[drift.Verdict]int `json:"counts" doc:"Workspaces by verdict."`
	Surge      *Surge                `json:"surge"`
}

// Surge says that too much changed at once, so that the inputs are the suspect.
type Surge struct {
	Since    time.Time `json:"since"`
	Summary  string    `json:"summary"`
	Accepted bool      `json:"accepted" doc:"An operator has accepted what changed; the next pass believes it."`
}

func (s *Server) statusRoutes(api huma.API) {
	read(api, "/status", "get-status", "How everything stands", s.status)
}

func (s *Server) status(ctx context.Context, _ *struct{}) (*body[Status], error) {
	out := Status{GeneratedAt: time.Now().UTC(), Process: s.process(), Workspaces: map[drift.Verdict]int{}, Sources: []SourceStatus{}, Inputs: []InputStatus{}, Sinks: []SinkStatus{}, Problems: []string{}}
	for _, part := range []func(context.Context, *Status) error{s.statusSources, s.statusInputs, s.statusSinks, s.statusDrifts, s.statusHolds, s.statusRemediation} {
		if err := part(ctx, &out); err != nil {
			return nil, s.failed(ctx, "read status", err)
		}
	}
	if s.opts.Health != nil {
		out.Problems = append(out.Problems, s.opts.Health(ctx).Problems...)
	}
	return answerWith(out), nil
}

func (s *Server) process() Process {
	p := Process{Version: s.opts.Version}
	if s.opts.Status != nil {
		p = s.opts.Status()
	}
	if p.Config.Restart == nil {
		p.Config.Restart = []string{}
	}
	return p
}

// replicaTTL is how long a replica that says nothing counts as alive: as long as
// its leases do.
const replicaTTL = 15 * time.Second

func (s *Server) statusSources(ctx context.Context, out *Status) error {
	replicas, err := s.opts.Store.Replicas(ctx, replicaTTL)
	if err != nil {
		return err
	}
	sources, err := s.opts.Store.Sources(ctx)
	if err != nil {
		return err
	}
	fleet, err := s.opts.Store.Source(ctx, store.Fleet)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	out.FleetSurge = surgeOf(&fleet)
	out.Replicas = append([]store.Replica{}, replicas...)
	for i := range sources {
		out.Sources = append(out.Sources, sourceStatus(&sources[i]))
		for verdict, n := range sources[i].Counts {
			out.Workspaces[verdict] += n
		}
	}
	out.Sources = append(out.Sources, s.unread(sources)...)
	return nil
}

// unread are the configured sources that nobody has looked at yet.
func (s *Server) unread(sources []store.SourceState) (missing []SourceStatus) {
	if s.opts.SourceNames == nil {
		return nil
	}
	seen := map[string]bool{}
	for i := range sources {
		seen[sources[i].Name] = true
	}
	for _, name := range s.opts.SourceNames() {
		if !seen[name] {
			missing = append(missing, SourceStatus{Name: name, Counts: map[drift.Verdict]int{}})
		}
	}
	return missing
}

func sourceStatus(from *store.SourceState) SourceStatus {
	out := SourceStatus{Name: from.Name, LastPassAt: moment(from.LastPassAt), Took: from.Took.Seconds(), TriedAt: moment(from.TriedAt),
		Error: optional(from.Err), Counts: from.Counts}
	if out.Counts == nil {
		out.Counts = map[drift.Verdict]int{}
	}
	if from.Holder != nil {
		out.Holder = optional(or(from.Holder.Name, from.Holder.ID))
	}
	out.Surge = surgeOf(from)
	return out
}

func surgeOf(from *store.SourceState) *Surge {
	if from.Surge == "" {
		return nil
	}
	return &Surge{Since: from.SurgeSince.UTC(), Summary: from.Surge, Accepted: !from.Accepted.IsZero()}
}

func (s *Server) statusDrifts(ctx context.Context, out *Status) (err error) {
	var oldest time.Time
	out.Drifts, oldest, err = s.opts.Store.OpenDrifts(ctx)
	out.OldestDrift = moment(oldest)
	return err
}

func (s *Server) statusHolds(ctx context.Context, out *Status) error {
	pauses, err := s.opts.Store.Pauses(ctx)
	if err != nil {
		return err
	}
	suppressions, err := s.opts.Store.Suppressions(ctx, "")
	if err != nil {
		return err
	}
	out.Pauses, out.Suppressions = append([]store.Pause{}, pauses...), len(suppressions)
	out.LastEvent, err = s.opts.Store.LastEvent(ctx)
	return err
}

func (s *Server) accept(ctx context.Context, in *acceptInput) (*changed[Accepted], error) {
	unknown := s.known(ctx, in.Name)
	return once(ctx, s, in, "accept a surge", func(c changes) (Accepted, error) {
		if unknown != nil {
			return Accepted{}, unknown
		}
		if err := c.Accept(ctx, in.Name, principal(ctx).Name, in.Body.Reason); err != nil {
			return Accepted{}, fmt.Errorf("source %s: %w", in.Name, err)
		}
		return Accepted{Source: in.Name}, nil
	})
}

// Accepted says what was accepted.
type Accepted struct {
	Source string `json:"source"`
}

type acceptInput struct {
	Sent
	Name string `path:"name" maxLength:"100" pattern:"^([A-Za-z0-9][A-Za-z0-9._-]*|\\*)$" patternDescription:"a source's name" doc:"A source's name; * accepts what changed in the whole fleet at once."`
	Body struct {
		Reason string `json:"reason" minLength:"1" maxLength:"500" doc:"Why what changed at once is meant to be so."`
	}
}
