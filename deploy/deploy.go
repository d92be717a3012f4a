// Package deploy holds the files that a deployment starts from, for the parts
// of the program that show them.
package deploy

import _ "embed"

// ExampleRegistry is a small provider registry.
//
//go:embed providers.example.yaml
var ExampleRegistry []byte
