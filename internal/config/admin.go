package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// Admin is the HTTP listener.
type Admin struct {
	// Address to listen on, host:port. One that other machines reach needs tokens.
	Listen Address `yaml:"listen" default:"127.0.0.1:8080" restart:"yes"`
	// Who may do what; without any, the listener answers the machine itself alone.
	Tokens []Token `yaml:"tokens"`
	// Serve https; without it, http. New certificates are taken up at once.
	TLS *TLS `yaml:"tls" restart:"yes"`
	// Wrong tokens that one address may try within a minute before it has to wait.
	FailedAuthPerMinute int `yaml:"failed_auth_per_minute" default:"30" min:"1"`
}

// TLS is what the listener shows and demands. The files are read again when
// they change.
type TLS struct {
	// File with the certificate and those between it and the root, in PEM.
	Cert Path `yaml:"cert" required:"true"`
	// File with its key, in PEM.
	Key Path `yaml:"key" required:"true"`
	// File with the authorities of which one must have signed a client's certificate; without it none is asked for.
	ClientCA Path `yaml:"client_ca"`
}

// Token lets somebody in: exactly one of token and token_sha256 is set.
type Token struct {
	// Name in the log of who did what, and no other's.
	Name string `yaml:"name" required:"true"`
	// What it allows: viewer (read), operator (act), ingest (push log lines).
	Role Role `yaml:"role" required:"true"`
	// The bearer token itself, which the command line needs to log in.
	Token drift.Secret `yaml:"token" either:"yes"`
	// Its SHA-256 in 64 hex digits, which is all that the daemon needs.
	TokenSHA256 drift.Secret `yaml:"token_sha256" either:"yes"`
}

// HashedToken is a token as far as the daemon has to know it.
type HashedToken struct {
	Name string
	Role Role
	Hash [sha256.Size]byte // of the bearer token's bytes
}

// Hashed gives the tokens hashed, in their order, so that who checks them need
// not hold the plain ones. It wants a configuration that Load did not refuse.
func (a *Admin) Hashed() []HashedToken {
	hashed := make([]HashedToken, 0, len(a.Tokens))
	for i := range a.Tokens {
		if hash, ok := a.Tokens[i].hash(); ok {
			hashed = append(hashed, HashedToken{a.Tokens[i].Name, a.Tokens[i].Role, hash})
		}
	}
	return hashed
}

// hash gives the token's hash, and not ok where there is none: an entry that
// is not understood must let nobody in.
func (t *Token) hash() (hash [sha256.Size]byte, ok bool) {
	if t.Token != "" {
		return sha256.Sum256([]byte(t.Token.Reveal())), true
	}
	raw, err := hex.DecodeString(t.TokenSHA256.Reveal())
	if err != nil || len(raw) != sha256.Size {
		return hash, false
	}
	return [sha256.Size]byte(raw), true
}

func (t *Token) validate(fail failer) {
	if count(t.Token != "", t.TokenSHA256 != "") != 1 {
		fail("token", "must be exactly one of token, token_sha256")
		return
	}
	if _, ok := t.hash(); !ok {
		fail("token_sha256", `must be 64 hex digits, such as printf %s "$TOKEN" | sha256sum prints`)
	}
}

// validate holds that no two tokens can be taken for each other, and that
// nobody is let in from outside without one.
func (a *Admin) validate(fail failer) {
	names, hashes := map[string]int{}, map[[sha256.Size]byte]int{}
	for i := range a.Tokens {
		t := &a.Tokens[i]
		if j, ok := names[t.Name]; ok && t.Name != "" {
			fail(fmt.Sprintf("tokens[%d].name", i), fmt.Sprintf("%q is the name of tokens[%d] too", t.Name, j))
		}
		names[t.Name] = i
		hash, ok := t.hash()
		if !ok {
			continue
		}
		if j, ok := hashes[hash]; ok {
			fail(fmt.Sprintf("tokens[%d].token", i), fmt.Sprintf("the same as that of tokens[%d]: who uses it could not be told", j))
		}
		hashes[hash] = i
	}
	if len(a.Tokens) == 0 && !a.Listen.IsLoopback() {
		fail("listen", "other machines can reach it and there are no admin.tokens: add one, or listen on 127.0.0.1:8080")
	}
}

// IsLoopback tells whether the machine itself alone can reach the address. A
// name is not resolved: what it means may change, so only localhost counts.
func (a Address) IsLoopback() bool {
	host, _, err := net.SplitHostPort(string(a))
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
