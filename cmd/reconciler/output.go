package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"go.yaml.in/yaml/v4"
)

// write prints v as JSON or YAML; both have the same keys in the same order.
func (a *app) write(v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("write json: %w", err)
	}
	if a.output == "yaml" {
		return writeYAML(a.stdout, text)
	}
	_, err = fmt.Fprintf(a.stdout, "%s\n", text)
	return err
}

// writeYAML turns JSON, which is YAML already, into the block style.
func writeYAML(w io.Writer, text []byte) error {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return fmt.Errorf("write yaml: %w", err)
	}
	unflow(&doc)
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(&doc); err != nil {
		return fmt.Errorf("write yaml: %w", err)
	}
	_, err := w.Write(out.Bytes())
	return err
}

// unflow drops JSON's braces and quotes where YAML needs none: an empty style
// lets the encoder choose, and it quotes what would read as another type.
func unflow(n *yaml.Node) {
	n.Style = 0
	for _, child := range n.Content {
		unflow(child)
	}
}
