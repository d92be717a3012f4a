package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/molecule-ai/billing-reconciler/drift"
)

var (
	errNumber = errors.New("must be a whole number")
	errBool   = errors.New("must be true or false")
)

// fieldsOf gives a struct's fields by their keys.
func fieldsOf(t reflect.Type) map[string]reflect.StructField {
	fields := map[string]reflect.StructField{}
	for i := range t.NumField() {
		if f := t.Field(i); f.Tag.Get("yaml") != "" {
			fields[f.Tag.Get("yaml")] = f
		}
	}
	return fields
}

// keysOf gives a struct's keys in their order.
func keysOf(t reflect.Type) []string {
	var keys []string
	for i := range t.NumField() {
		if key := t.Field(i).Tag.Get("yaml"); key != "" {
			keys = append(keys, key)
		}
	}
	return keys
}

func setWord(v reflect.Value, w worded, text string) error {
	if a, ok := w.(interface{ alias(string) string }); ok {
		text = a.alias(text)
	}
	if !slices.Contains(w.words(), text) {
		return fmt.Errorf("must be one of %s%s", strings.Join(w.words(), ", "), didYouMean(text, w.words()))
	}
	v.SetString(text)
	return nil
}

// setDefaults fills in what the `default` tags say, in v and the structs in it.
// A wrong tag is a programming error, and any test finds it.
func setDefaults(v reflect.Value) {
	if v.Kind() != reflect.Struct {
		return
	}
	for i := range v.NumField() {
		f, field := v.Type().Field(i), v.Field(i)
		if f.Tag.Get("yaml") == "" {
			continue
		}
		setDefaults(field)
		text, ok := f.Tag.Lookup("default")
		if !ok {
			continue
		}
		if err := setList(field, text); err != nil {
			panic(fmt.Sprintf("default of %s.%s: %v", v.Type(), f.Name, err))
		}
	}
}

// setList sets a scalar, or a list of scalars given with commas.
func setList(v reflect.Value, text string) error {
	if v.Kind() != reflect.Slice {
		return setText(v, text)
	}
	for one := range strings.SplitSeq(text, ",") {
		item := reflect.New(v.Type().Elem()).Elem()
		if err := setText(item, one); err != nil {
			return err
		}
		v.Set(reflect.Append(v, item))
	}
	return nil
}

// check reports what is missing, out of bounds, or wrong in itself: in v and
// all that is in it. What was reported as not understood is not complained
// about again.
func (l *loader) check(path string, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			l.check(path, v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			if at := fmt.Sprintf("%s[%d]", path, i); !l.failed[at] {
				l.check(at, v.Index(i))
			}
		}
	case reflect.Struct:
		l.checkStruct(path, v)
	}
}

func (l *loader) checkStruct(path string, v reflect.Value) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		key := f.Tag.Get("yaml")
		if key == "" {
			continue
		}
		at := join(path, key)
		if l.failed[at] {
			continue
		}
		if problem := bounds(f.Tag, v.Field(i)); problem != "" {
			l.failed[at] = true
			l.failAt(at, "%s", problem)
			continue
		}
		l.check(at, v.Field(i))
	}
	if self, ok := v.Addr().Interface().(interface{ validate(failer) }); ok && !l.failed[path] {
		self.validate(func(key, message string) {
			if !l.failed[join(path, key)] {
				l.failAt(join(path, key), "%s", message)
			}
		})
	}
}

// bounds tells what of a field's tags the value does not meet.
func bounds(tag reflect.StructTag, v reflect.Value) string {
	empty := v.IsZero() || v.Kind() == reflect.Slice && v.Len() == 0
	if tag.Get("required") != "" && empty {
		return "required"
	}
	if least := tag.Get("min"); least != "" && measure(v) < scale(v, least) {
		return "must be at least " + least
	}
	if most := tag.Get("max"); most != "" && measure(v) > scale(v, most) {
		return "must be at most " + most
	}
	return ""
}

func measure(v reflect.Value) int64 {
	if d, ok := v.Interface().(Duration); ok {
		return int64(d.Duration)
	}
	return v.Int()
}

func scale(v reflect.Value, bound string) int64 {
	if _, ok := v.Interface().(Duration); ok {
		d, _ := ParseDuration(bound)
		return int64(d)
	}
	n, _ := strconv.ParseInt(bound, 10, 64)
	return n
}

func join(path, key string) string {
	if path == "" || key == "" {
		return path + key
	}
	return path + "." + key
}

// complete fills in the defaults that no tag can hold.
func (l *loader) complete(c *Config) {
	if len(c.Policy.StripList) == 0 {
		c.Policy.StripList = slices.Clone(drift.DefaultStripList)
		delete(l.origins, "policy.strip_list")
	}
	l.nameSinks(c)
}
