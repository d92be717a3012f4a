package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Error is one thing wrong with the configuration.
type Error struct {
	File    string
	Line    int // from 1; 0: the file as a whole
	Column  int
	Path    string // of the value: sources[0].region; "" where there is none
	Message string
}

// Error gives `reconciler.yaml:12:3: sources[0].regoin: unknown key`.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
	}
	if e.Path != "" {
		b.WriteString(": " + e.Path)
	}
	return b.String() + ": " + e.Message
}

// Errors is everything that is wrong, in the order of the files.
type Errors []*Error

// Error gives one line an error.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.As find each.
func (e Errors) Unwrap() []error {
	all := make([]error, len(e))
	for i, one := range e {
		all[i] = one
	}
	return all
}

// failer reports what is wrong with one of a struct's keys; "" is the struct
// itself.
type failer func(key, message string)

// result gives what was found wrong, nil where nothing was.
func (l *loader) result() error {
	if len(l.errs) == 0 {
		return nil
	}
	slices.SortStableFunc(l.errs, func(a, b *Error) int {
		if a.File != b.File {
			return cmp.Compare(rank(a.File, l.file), rank(b.File, l.file))*2 + cmp.Compare(a.File, b.File)
		}
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return l.errs
}

// rank puts the configuration file itself before the files it names.
func rank(file, first string) int {
	if file == first {
		return 0
	}
	return 1
}

// fail reports what is wrong where p stands.
func (l *loader) fail(p place, format string, args ...any) {
	l.failed[p.path] = true
	l.errs = append(l.errs, &Error{p.file, p.node.Line, p.node.Column, p.path, fmt.Sprintf(format, args...)})
}

// failAt reports what is wrong with the value of a path, where it stands or
// where it should have stood.
func (l *loader) failAt(path, format string, args ...any) {
	o := l.nearestOrigin(path)
	l.errs = append(l.errs, &Error{o.File, o.Line, o.Column, path, fmt.Sprintf(format, args...)})
}

// nearestOrigin gives the origin of the path or of what is around it.
func (l *loader) nearestOrigin(path string) Origin {
	for {
		if o, ok := l.origins[path]; ok {
			return o
		}
		i := strings.LastIndexAny(path, ".[")
		if i < 0 {
			if o, ok := l.origins[""]; ok {
				return o
			}
			return Origin{File: l.file}
		}
		path = path[:i]
	}
}
