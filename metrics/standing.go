package metrics

import (
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// standing is how the sources stand whose leases this replica holds. It is a
// collector, since ages grow between passes and a sum over a thousand sources
// is made when somebody asks.
type standing struct {
	options
	descs descriptions
	began time.Time

	mu       sync.Mutex
	known    []string // configured; nil: nobody has said, any may be
	sources  map[string]*source
	interval time.Duration
}

// source is one of them, by its last pass that succeeded.
type source struct {
	Pass
	failing bool // the last pass could not read it
}

func newStanding(o options) *standing {
	return &standing{options: o, descs: describe(), began: o.now(), sources: map[string]*source{}}
}

// label is the value of the label source.
func (s *standing) label(name string) string {
	if s.perSource {
		return name
	}
	return all
}

// configure replaces the configured sources, and gives those that are gone.
func (s *standing) configure(names []string) (gone []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.sources {
		if !slices.Contains(names, name) {
			delete(s.sources, name)
			gone = append(gone, name)
		}
	}
	for _, name := range s.known {
		if !slices.Contains(names, name) && !slices.Contains(gone, name) {
			gone = append(gone, name)
		}
	}
	s.known = append([]string{}, names...)
	return gone
}

func (s *standing) configured(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known == nil || slices.Contains(s.known, name)
}

func (s *standing) set(name string, p Pass) {
	p = p.clone()
	begin(p.Oldest, s.began)
	begin(p.Observed, s.began)
	if !s.perWorkspace {
		p.Verdicts = nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil || slices.Contains(s.known, name) {
		s.sources[name] = &source{Pass: p}
	}
}

// begin puts a beginning to what has none (never seen, not known since when):
// ours, so that it ages from there.
func begin[K comparable](times map[K]time.Time, began time.Time) {
	for k, at := range times {
		if at.IsZero() {
			times[k] = began
		}
	}
}

func (s *standing) fail(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sources[name] == nil {
		s.sources[name] = &source{}
	}
	s.sources[name].failing = true
}

func (s *standing) forget(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sources, name)
}

func (s *standing) every(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.interval = d
}

// Describe implements prometheus.Collector.
func (s *standing) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range s.descs {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (s *standing) Collect(ch chan<- prometheus.Metric) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := &exposition{ch: ch, descs: s.descs, now: s.now()}
	fleet, groups := newTally(), map[string]*tally{}
	for name, src := range s.sources {
		label := s.label(name)
		if groups[label] == nil {
			groups[label] = newTally()
		}
		groups[label].add(src)
		fleet.add(src)
		for id, verdict := range src.Verdicts {
			e.put("workspace_verdict", 1, label, id, verdict)
		}
	}
	for label, t := range groups {
		e.source(label, t)
	}
	e.fleet(fleet)
	if s.interval > 0 {
		e.put("pass_interval_seconds", s.interval.Seconds())
	}
}
