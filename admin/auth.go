package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
	"strings"
)

// Role says what somebody may do.
type Role string

// The roles. An operator may all that a viewer may; ingest stands apart and may
// push log lines alone.
const (
	Viewer   Role = "viewer"
	Operator Role = "operator"
	Ingest   Role = "ingest"
)

// may tells whether a role suffices where another is needed.
func (r Role) may(need Role) bool {
	return r == need || r == Operator && need == Viewer
}

// Token lets somebody in. The token itself is not kept.
type Token struct {
	Name string   // who it is, in events and logs
	Role Role     //
	Hash [32]byte // SHA-256 of the token
}

// Principal is who sends a request.
type Principal struct {
	Name string
	Role Role
}

// local is everybody where there are no tokens, and may everything: whoever can
// reach loopback has a shell on the machine already.
var local = Principal{Name: "local", Role: Operator}

// keyring is a set of tokens; it does not change.
type keyring struct{ tokens []Token }

func newKeyring(tokens []Token) (*keyring, error) {
	names, hashes := map[string]bool{}, map[[32]byte]bool{}
	for _, t := range tokens {
		switch {
		case t.Name == "" || names[t.Name]:
			return nil, fmt.Errorf("admin tokens: the name %q is empty or doubled; give each token a name of its own", t.Name)
		case t.Role != Viewer && t.Role != Operator && t.Role != Ingest:
			return nil, fmt.Errorf("admin token %s: role %q: choose viewer, operator or ingest", t.Name, t.Role)
		case t.Hash == [32]byte{} || t.Hash == sha256.Sum256(nil):
			return nil, fmt.Errorf("admin token %s: it is empty; give it a long random value", t.Name)
		case hashes[t.Hash]:
			return nil, fmt.Errorf("admin token %s: another name has the same token; draw one for each, so that it shows who did what", t.Name)
		}
		names[t.Name], hashes[t.Hash] = true, true
	}
	return &keyring{append([]Token(nil), tokens...)}, nil
}

func (k *keyring) empty() bool { return len(k.tokens) == 0 }

// find looks for the owner of a token. It compares hashes, in constant time, and
// with all of them whichever fits, so that how long it takes says nothing.
func (k *keyring) find(token string) (Principal, bool) {
	hash := sha256.Sum256([]byte(token))
	found := -1
	for i := range k.tokens {
		same := subtle.ConstantTimeCompare(hash[:], k.tokens[i].Hash[:])
		found = subtle.ConstantTimeSelect(same, i, found)
	}
	if found < 0 {
		return Principal{}, false
	}
	return Principal{k.tokens[found].Name, k.tokens[found].Role}, true
}

// bearer gives the token of a request's Authorization header; "" where there is
// none.
func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// needed is the role that a request takes. It goes by method and path alone and
// knows no list of routes, so that a new route is never open by mistake:
// whatever may change something takes an operator. (Where lines are pushed to,
// an operator has no business: Server.needed.)
func needed(r *http.Request) Role {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return Viewer
	}
	return Operator
}

// open tells whether a request needs no token: a prober has none.
func open(r *http.Request) bool {
	return r.URL.Path == "/healthz" || r.URL.Path == "/readyz"
}
