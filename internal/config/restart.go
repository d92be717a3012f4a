package config

import "reflect"

// Restart lists the keys that differ between two configurations and whose
// change takes effect only when the daemon starts again, so that it can be
// said. They are those with a `restart` tag: what is opened, bound or
// registered once. Every other key may change while the daemon runs.
func Restart(old, renewed *Config) []string {
	return differing("", reflect.ValueOf(old).Elem(), reflect.ValueOf(renewed).Elem())
}

func differing(path string, a, b reflect.Value) (keys []string) {
	for i := range a.NumField() {
		f := a.Type().Field(i)
		key := f.Tag.Get("yaml")
		if key == "" {
			continue
		}
		at, x, y := join(path, key), a.Field(i), b.Field(i)
		switch {
		case f.Tag.Get("restart") != "" && !alike(x, y):
			keys = append(keys, at)
		case f.Type.Kind() == reflect.Struct && !opaque(x):
			keys = append(keys, differing(at, x, y)...)
		}
	}
	return keys
}

// alike compares what a tag stands on. Of a part that may be missing it is only
// whether it is there: what is in it has tags of its own.
func alike(a, b reflect.Value) bool {
	if a.Kind() == reflect.Pointer {
		return a.IsNil() == b.IsNil()
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}
