package store_test

import (
	"net/netip"
	"testing"

	"github.com/molecule-ai/billing-reconciler/store"
)

// at is a holding of workspace n since a minute.
func at(n int, address string, since int) store.Holding {
	return store.Holding{Workspace: ws(n), Address: netip.MustParseAddr(address), Since: min0(since)}
}

func holds(list ...store.Holding) map[string][]store.Holding {
	m := map[string][]store.Holding{}
	for _, h := range list {
		m[h.Workspace] = append(m[h.Workspace], h)
	}
	return m
}

const public = "203.0.113.7"

func TestWhoHoldsAnAddress(t *testing.T) {
	type look struct {
		at    int
		holds map[string][]store.Holding
	}
	none := map[string][]store.Holding{ws(1): nil}
	r, l := one(t)
	for rule, row := range map[string]struct {
		looks []look
		want  []string
	}{
		"one that is seen is the only holder":      {[]look{{0, holds(at(1, public, -9))}}, []string{"1 203.0.113.7 [-9,) only"}},
		"one that is seen again changes nothing":   {[]look{{0, holds(at(1, public, -9))}, {1, holds(at(1, public, -9))}}, []string{"1 203.0.113.7 [-9,) only"}},
		"a restart in place changes nothing":       {[]look{{0, holds(at(1, public, -9))}, {5, holds(at(1, public, 4))}}, []string{"1 203.0.113.7 [-9,) only"}},
		"one that is not looked at keeps it":       {[]look{{0, holds(at(1, public, -9))}, {1, nil}}, []string{"1 203.0.113.7 [-9,) only"}},
		"one that is seen without it has ended":    {[]look{{0, holds(at(1, public, -9))}, {1, none}}, []string{"1 203.0.113.7 [-9,1) only"}},
		"IPv4 in IPv6 is IPv4":                     {[]look{{0, holds(at(1, "::ffff:203.0.113.7", -9))}}, []string{"1 203.0.113.7 [-9,) only"}},
		"a private address has no only holder":     {[]look{{0, holds(at(1, "10.0.0.7", -9), at(2, "10.0.0.7", -8))}}, []string{"1 10.0.0.7 [-9,) shared", "2 10.0.0.7 [-8,) shared"}},
		"carrier-grade NAT is private":             {[]look{{0, holds(at(1, "100.64.0.1", -9))}}, []string{"1 100.64.0.1 [-9,) shared"}},
		"link-local is private":                    {[]look{{0, holds(at(1, "169.254.1.1", -9))}}, []string{"1 169.254.1.1 [-9,) shared"}},
		"a unique local address is private":        {[]look{{0, holds(at(1, "fd00::1", -9))}}, []string{"1 fd00::1 [-9,) shared"}},
		"two seen with one address share it":       {[]look{{0, holds(at(1, public, -9), at(2, public, -3))}}, []string{"1 203.0.113.7 [-9,) shared", "2 203.0.113.7 [-3,) shared"}},
		"begun after the other was seen: recycled": {[]look{{0, holds(at(1, public, -9))}, {5, holds(at(2, public, 3))}}, []string{"1 203.0.113.7 [-9,3) only", "2 203.0.113.7 [3,) only"}},
		"begun before the other was seen: shared":  {[]look{{2, holds(at(1, public, -9))}, {5, holds(at(2, public, 1))}}, []string{"1 203.0.113.7 [-9,) shared", "2 203.0.113.7 [1,) shared"}},
		"the other is seen in the same look: shared": {[]look{{0, holds(at(1, public, -9))}, {5, holds(at(1, public, -9), at(2, public, 3))}},
			[]string{"1 203.0.113.7 [-9,) shared", "2 203.0.113.7 [3,) shared"}},
		"what is shared stays shared": {[]look{{0, holds(at(1, public, -9), at(2, public, -3))}, {5, map[string][]store.Holding{ws(1): nil, ws(3): {at(3, public, 4)}}}},
			[]string{"1 203.0.113.7 [-9,5) shared", "2 203.0.113.7 [-3,) shared", "3 203.0.113.7 [4,) shared"}},
		"handed over between two looks": {[]look{{0, holds(at(1, public, -9))}, {5, none}, {6, holds(at(2, public, 2))}},
			[]string{"1 203.0.113.7 [-9,2) only", "2 203.0.113.7 [2,) only"}},
		"moved to one that runs for long": {[]look{{0, holds(at(1, public, -9))}, {5, none}, {6, holds(at(2, public, -2))}},
			[]string{"1 203.0.113.7 [-9,5) only", "2 203.0.113.7 [5,) only"}},
		"lost and had again": {[]look{{0, holds(at(1, public, -9))}, {5, none}, {6, holds(at(1, public, -9))}},
			[]string{"1 203.0.113.7 [-9,5) only", "1 203.0.113.7 [5,) only"}},
		"gone before it began": {[]look{{0, holds(at(1, public, 3))}, {1, none}}, nil},
	} {
		t.Run(rule, func(t *testing.T) {
			_, err := conn(t, r.url).Exec(t.Context(), "TRUNCATE holdings, states, sources")
			r.must(err)
			known := [3]bool{}
			for _, look := range row.looks {
				r.apply(pass(l, look.at, func(o *store.Outcome) {
					o.Full, o.Holdings = look.at == 0, look.holds
					for n := range 3 {
						if _, seen := look.holds[ws(n+1)]; seen && !known[n] {
							known[n] = true
							o.States = append(o.States, state(n+1, func(s *store.State) { s.Observed, s.ObservedAt = false, min0(look.at) }))
						}
					}
				}))
			}
			diff(t, row.want, tenures(r))
			r.sound()
		})
	}
}

// Who leaves out what has not changed must not lose it to a neighbour behind
// the same NAT address: a pass confirms the holdings of all that it observed.
func TestAPassConfirmsWhatItLeavesOut(t *testing.T) {
	for rule, row := range map[string]struct {
		observed bool
		want     []string
	}{
		"observed: shared":       {true, []string{"1 203.0.113.7 [-9,) shared", "2 203.0.113.7 [3,) shared"}},
		"not observed: recycled": {false, []string{"1 203.0.113.7 [-9,3) only", "2 203.0.113.7 [3,) only"}},
	} {
		r, l := one(t)
		r.apply(pass(l, 0, func(o *store.Outcome) {
			o.States = []store.State{state(1, func(s *store.State) { s.Observed, s.ObservedAt = row.observed, min0(0) })}
			o.Holdings = holds(at(1, public, -9))
		}))
		taken := r.apply(pass(l, 5, func(o *store.Outcome) { o.Holdings = holds(at(2, public, 3)) })).Taken
		if d := diffOf(row.want, tenures(r)); d != "" {
			t.Errorf("%s: %s", rule, d)
		}
		if (len(taken) == 1) == row.observed {
			t.Errorf("%s: taken from %v", rule, taken)
		}
	}
}

func TestASourceLearnsWhatAnotherHasTaken(t *testing.T) {
	r := newReplica(t, migrated(t), "a")
	leases := r.keep(source, "other").Leases
	r.apply(pass(leases[0], 0, func(o *store.Outcome) {
		o.States, o.Holdings = []store.State{state(1, nil)}, holds(at(1, public, -9))
	}))
	r.apply(pass(leases[1], 5, func(o *store.Outcome) { o.Holdings = holds(at(2, public, 3)) }))
	for _, want := range [][]string{{ws(1)}, nil} {
		diff(t, want, r.apply(pass(leases[0], 6, nil)).Taken)
	}
	r.apply(pass(leases[0], 7, func(o *store.Outcome) { o.Holdings = holds(at(1, public, -9)) }))
	diff(t, []string{"1 203.0.113.7 [-9,3) only", "1 203.0.113.7 [3,) shared", "2 203.0.113.7 [3,) shared"}, tenures(r))
}

// tenures lists who held what when, in words.
func tenures(r *replica) []string {
	r.Helper()
	rows, err := conn(r.TB, r.url).Query(r.Context(), `SELECT right(workspace::text, 2)::int || ' ' || host(address) || ' [' || extract(epoch FROM lower(during) - $1)::int / 60 || ',' ||
		coalesce((extract(epoch FROM upper(during) - $1)::int / 60)::text, '') || ') ' || CASE WHEN exclusive THEN 'only' ELSE 'shared' END
		FROM holdings ORDER BY workspace, lower(during), address`, t0)
	r.must(err)
	list, err := collectText(rows)
	r.must(err)
	return list
}
