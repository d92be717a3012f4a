package desired

import (
	"strings"
	"sync"
)

// memo remembers which providers have a model's prefix: a fleet of a hundred
// thousand workspaces runs a few dozen models, and twenty regular expressions a
// workspace would be most of the cost of resolving it. Safe for concurrent use.
type memo struct {
	mu    sync.RWMutex
	known map[string][]*Provider
}

// maxMemo bounds it: what tenants store under MODEL is theirs to choose.
const maxMemo = 4096

func (m *memo) get(id string, find func(string) []*Provider) []*Provider {
	m.mu.RLock()
	found, ok := m.known[id]
	m.mu.RUnlock()
	if ok {
		return found
	}
	found = find(id)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil || len(m.known) >= maxMemo {
		m.known = make(map[string][]*Provider)
	}
	m.known[strings.Clone(id)] = found
	return found
}
