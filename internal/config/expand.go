package config

import (
	"fmt"
	"regexp"
	"strings"
)

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// expand replaces ${VAR} by the environment's value and $$ by a dollar; any
// other dollar is left. It gives the names of the variables used. What a
// variable holds is not expanded again.
func expand(text string, env func(string) (string, bool)) (value string, names []string, err error) {
	var b strings.Builder
	for {
		i := strings.IndexByte(text, '$')
		if i < 0 || i+1 == len(text) {
			b.WriteString(text)
			return b.String(), names, nil
		}
		b.WriteString(text[:i])
		switch text[i+1] {
		case '$':
			b.WriteByte('$')
			text = text[i+2:]
			continue
		case '{':
		default:
			b.WriteByte('$')
			text = text[i+1:]
			continue
		}
		name, rest, closed := strings.Cut(text[i+2:], "}")
		if !closed || !variableName.MatchString(name) {
			return "", names, fmt.Errorf("after ${ must stand the name of an environment variable and }; $$ is a dollar")
		}
		v, ok := env(name)
		if !ok {
			return "", names, fmt.Errorf("environment variable %s is not set", name)
		}
		b.WriteString(v)
		names, text = append(names, name), rest
	}
}
