package desired

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// Provider is an entry of the registry's catalogue.
type Provider struct {
	Name             string
	Protocol         string   // "anthropic" or "openai"
	AuthMode         string   // any non-empty word
	BaseURL          string   // openai surface; "": the vendor's default
	BaseURLAnthropic string   // anthropic surface; "": the vendor's default
	AuthEnv          []string // names of variables, as declared; any one suffices; never empty

	prefix *regexp.Regexp // model_prefix_match
}

// Runtime is an agent runtime with the providers that it may use.
type Runtime struct {
	Name    string
	Entries []RuntimeEntry // as declared: the order decides between equals
}

// RuntimeEntry is one provider of a runtime.
type RuntimeEntry struct {
	Provider *Provider
	Models   []string // exact ids; empty: matched by prefix only
}

// Registry is the provider registry of the platform, read and found sound. It
// does not change once it is made.
type Registry struct {
	Name      string      // of the file
	Providers []*Provider // as declared
	Runtimes  []*Runtime  // as declared

	digest    string
	providers map[string]*Provider
	runtimes  map[string]*Runtime
	authEnv   map[string]bool
}

// maxRegistryBytes bounds the file: a real one has some 15 kB.
const maxRegistryBytes = 4 << 20

// LoadRegistry reads a registry file. What is wrong with it is reported as by
// ParseRegistry.
func LoadRegistry(path string) (*Registry, error) {
	file, err := os.Open(path) // #nosec G304 -- the operator names the file
	if err != nil {
		return nil, fmt.Errorf("load registry: %w", err)
	}
	defer file.Close() //nolint:errcheck // only read from
	src, err := io.ReadAll(io.LimitReader(file, maxRegistryBytes+1))
	if err != nil {
		return nil, fmt.Errorf("load registry: %w", err)
	}
	return ParseRegistry(path, src)
}

// Provider gives the provider of that name, or nil.
func (r *Registry) Provider(name string) *Provider { return r.providers[name] }

// Runtime gives the runtime of that name, or nil.
func (r *Registry) Runtime(name string) *Runtime { return r.runtimes[name] }

// AuthEnv lists the names in any provider's auth_env, sorted, without doubles.
func (r *Registry) AuthEnv() []string {
	names := make([]string, 0, len(r.authEnv))
	for name := range r.authEnv {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Digest is the SHA-256 of the file's bytes, in hex.
func (r *Registry) Digest() string { return r.digest }

// CredentialNames lists every name under which a container may hold a
// credential: those of any provider's auth_env and of the strip list, except
// routes, and the platform's usage token. Sorted, without doubles.
func CredentialNames(r *Registry, stripList []string) []string {
	names := append(r.AuthEnv(), stripList...)
	names = append(names, drift.KeyUsageToken)
	names = slices.DeleteFunc(names, drift.IsRoute)
	slices.Sort(names)
	return slices.Compact(names)
}

// index makes the look-ups, once everything is known to be sound.
func (r *Registry) index(src []byte) {
	sum := sha256.Sum256(src)
	r.digest = hex.EncodeToString(sum[:])
	r.authEnv = map[string]bool{}
	for _, p := range r.Providers {
		for _, name := range p.AuthEnv {
			r.authEnv[name] = true
		}
	}
}
