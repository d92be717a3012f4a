package traffic

import (
	"encoding/hex"
	"slices"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
	"github.com/molecule-ai/billing-reconciler/store"
)

// Attribute implements store.Attributor by the rules of proxylog.Holders. Calls
// that were counted together are one workspace's only where the first and the
// last of them are.
func Attribute(tenures []store.Tenure, named []store.Named) func(*store.Calls) store.Owner {
	holdings := make([]proxylog.Holding, len(tenures))
	for i, t := range tenures {
		holdings[i] = proxylog.Holding{Addr: t.Address, Workspace: keyOf(t.Source, t.Workspace), From: t.From, Until: t.Until}
	}
	names := make([]proxylog.Named, len(named))
	for i, n := range named {
		names[i] = proxylog.Named{ID: proxylog.ID(n.Workspace).String(), Workspace: keyOf(n.Source, n.Workspace)}
	}
	holders := proxylog.NewHolders(holdings, names)
	return func(c *store.Calls) store.Owner {
		first := proxylog.Hit{Client: c.Address, Workspace: c.Named, Time: c.First}
		kind, keys := holders.Attribute(&first)
		if !c.Last.Equal(c.First) && c.Named == (store.UUID{}) {
			last := first
			last.Time = c.Last
			if lastKind, lastKeys := holders.Attribute(&last); lastKind != kind || !slices.Equal(keys, lastKeys) {
				return store.Owner{Kind: store.Doubtful}
			}
		}
		return owner(c, kind, keys)
	}
}

func owner(c *store.Calls, kind proxylog.Attribution, keys []string) store.Owner {
	switch {
	case kind == proxylog.Ambiguous:
		return store.Owner{Kind: store.Doubtful, Workspace: c.Named} // whoever it names, its address accuses no one
	case kind != proxylog.Attributed:
		return store.Owner{Workspace: c.Named} // a name that may come to be known
	}
	o := store.Owner{Kind: store.ByAddress}
	if c.Named != (store.UUID{}) {
		o.Kind = store.ByName
	}
	o.Source, o.Workspace = splitKey(keys[0])
	return o
}

// keyOf joins what tells workspaces apart; splitKey is the way back.
func keyOf(source string, id store.UUID) string { return source + "/" + hex.EncodeToString(id[:]) }

func splitKey(key string) (source string, id store.UUID) {
	source, digits := key[:len(key)-2*len(id)-1], key[len(key)-2*len(id):]
	_, _ = hex.Decode(id[:], []byte(digits)) // keyOf has written it
	return source, id
}
