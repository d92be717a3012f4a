package config

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"go.yaml.in/yaml/v4"
)

// Price is what a million tokens of a model cost, in US dollars.
type Price struct {
	Input  float64
	Output float64
}

// LoadPrices reads a price list: models by name, each with input and output. An
// error names the line. No path gives nil: no price is known.
func LoadPrices(path Path) (map[string]Price, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(string(path))
	if err != nil {
		return nil, fmt.Errorf("proxy.prices: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	var list map[string]struct {
		Input  *float64 `yaml:"input"`
		Output *float64 `yaml:"output"`
	}
	decoder := yaml.NewDecoder(f)
	decoder.KnownFields(true)
	if err := decoder.Decode(&list); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("proxy.prices: %s: %w; write a model a line, such as claude-opus-4-7: {input: 15, output: 75}", path, err)
	}
	prices := make(map[string]Price, len(list))
	for model, p := range list {
		for name, v := range map[string]*float64{"input": p.Input, "output": p.Output} {
			if v == nil || *v < 0 || math.IsInf(*v, 0) || math.IsNaN(*v) {
				return nil, fmt.Errorf("proxy.prices: %s: %s: %s must be US dollars for a million tokens, 0 or more", path, model, name)
			}
		}
		prices[model] = Price{*p.Input, *p.Output}
	}
	return prices, nil
}
