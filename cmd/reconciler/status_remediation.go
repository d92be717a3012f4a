package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/molecule-ai/billing-reconciler/admin"
	"github.com/molecule-ai/billing-reconciler/drift"
)

// remediation gives what the configuration in force allows to be done, by source.
func (s *service) remediation() map[string]drift.RemediateMode {
	s.mu.Lock()
	defer s.mu.Unlock()
	modes := map[string]drift.RemediateMode{}
	for i := range s.cfg.Sources {
		modes[s.cfg.Sources[i].Name] = s.cfg.Remedy(&s.cfg.Sources[i]).Mode
	}
	return modes
}

// showRemediation says what is done about drifts, and what has come to a halt.
func (a *app) showRemediation(r *admin.Remediation) {
	by := map[string][]string{}
	for _, source := range slices.Sorted(maps.Keys(r.Modes)) {
		by[r.Modes[source]] = append(by[r.Modes[source]], source)
	}
	var modes []string
	for _, mode := range slices.Sorted(maps.Keys(by)) {
		words := mode
		if len(by) > 1 {
			words = fmt.Sprintf("%s for %s", mode, some(by[mode]))
		}
		modes = append(modes, words)
	}
	line := "remediation: " + or(strings.Join(modes, ", "), "not known")
	if r.InFlight > 0 {
		line += fmt.Sprintf("; %d under way: reconciler actions --in-flight", r.InFlight)
	}
	_, _ = fmt.Fprintln(a.stdout, printable(line))
	for _, cause := range r.Waiting {
		_, _ = fmt.Fprintln(a.stdout, printable("  cause "+cause+" waits for what was begun to be proven"))
	}
	for _, cause := range r.Stopped {
		_, _ = fmt.Fprintln(a.stdout, a.term.paint(red, printable(fmt.Sprintf("stopped: nothing more is tried for cause %s: reconciler causes", cause))))
	}
}

// some names the first of many.
func some(names []string) string {
	const most = 5
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], " "), len(names)-most)
	}
	return strings.Join(names, " ")
}
