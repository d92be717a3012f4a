package config

import _ "embed" // for the starting text

//go:embed init.yaml
var initText string

// Init gives a commented configuration to start from.
func Init() string { return initText }
