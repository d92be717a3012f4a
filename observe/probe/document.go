package probe

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// document is an SSM document of schema 2.2, in the order in which people read it.
type document struct {
	SchemaVersion string               `json:"schemaVersion"`
	Description   string               `json:"description"`
	Parameters    map[string]parameter `json:"parameters"`
	MainSteps     []step               `json:"mainSteps"`
}

type parameter struct {
	Type           string `json:"type"`
	Description    string `json:"description"`
	Default        string `json:"default,omitempty"`
	AllowedPattern string `json:"allowedPattern"`
}

type step struct {
	Action       string       `json:"action"`
	Name         string       `json:"name"`
	Precondition precondition `json:"precondition"`
	Inputs       inputs       `json:"inputs"`
}

type precondition struct {
	StringEquals []string `json:"StringEquals"`
}

type inputs struct {
	TimeoutSeconds string   `json:"timeoutSeconds"`
	RunCommand     []string `json:"runCommand"`
}

// The names of the document's parameters, for whoever sends it.
const (
	ParameterKey       = "Key"
	ParameterContainer = "Container"
)

// Document gives the probe as an SSM document (JSON): its content is fixed, its
// only parameters are ParameterKey and ParameterContainer. A role that may send
// this document alone can run nothing else on the instances.
func (p *Probe) Document() ([]byte, error) {
	d := document{
		SchemaVersion: "2.2",
		Description: "Reads how a workspace's container is billed: mode, routes, and which credentials are there, as keyed fingerprints. " +
			"Changes nothing. Rendered by `reconciler probe render --document`.",
		Parameters: map[string]parameter{
			ParameterKey: {
				Type: "String", Description: "Fingerprint key of this pass: 32 random hex digits.",
				AllowedPattern: keyPattern,
			},
			ParameterContainer: {
				Type: "String", Description: "Name of the workspace's container.",
				Default: DefaultContainer, AllowedPattern: containerPattern,
			},
		},
		MainSteps: []step{{
			Action: "aws:runShellScript", Name: "probe",
			Precondition: precondition{StringEquals: []string{"platformType", "Linux"}},
			Inputs: inputs{
				TimeoutSeconds: "60",
				RunCommand:     strings.Split(strings.TrimSuffix(p.script, "\n"), "\n"),
			},
		}},
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false) // the script is to be read by people, too
	enc.SetIndent("", "  ")
	if err := enc.Encode(d); err != nil {
		return nil, fmt.Errorf("render probe: document: %w", err)
	}
	return out.Bytes(), nil
}
