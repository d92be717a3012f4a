package config

import (
	"os"
	"slices"
)

// Files lists everything that this configuration was read from or that is read
// on its behalf: the file itself, the glob of sources_from, the files of
// secrets, the registry, the prices and the listener's certificates. Where Load
// gave Errors it lists what would mend them too: a secret's file that is not
// there yet. It is what Watch wants.
func (c *Config) Files() []string {
	files := append([]string{c.file}, c.secretFiles...)
	paths := []Path{c.SourcesFrom, c.Registry, c.Proxy.Prices}
	if c.Admin.TLS != nil {
		paths = append(paths, c.Admin.TLS.Cert, c.Admin.TLS.Key, c.Admin.TLS.ClientCA)
	}
	for _, p := range paths {
		if p != "" {
			files = append(files, string(p))
		}
	}
	slices.Sort(files)
	return slices.Compact(files)
}

// readSecret reads a secret's file, and remembers it whether it is there or
// not: once it is, the configuration may be right.
func (l *loader) readSecret(name string) ([]byte, error) {
	l.secretFiles = append(l.secretFiles, name)
	return os.ReadFile(name) // #nosec G304 -- the user's own
}
