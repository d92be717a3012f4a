package admin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// withObservedAt puts a time into observed.at of a workspace's document, and
// leaves every other byte as it is: a newer replica may have written more than
// this one knows. A document without observed, or without its at, stays.
func withObservedAt(doc []byte, at time.Time) (Workspace, error) {
	from, to, err := placeOf(doc, "observed", "at")
	if err != nil {
		return nil, fmt.Errorf("read a workspace's stored document: %w", err)
	}
	if from == to || at.IsZero() {
		return Workspace(doc), nil
	}
	text, err := json.Marshal(at.UTC())
	if err != nil {
		return nil, fmt.Errorf("write observed.at: %w", err)
	}
	return slices.Concat(doc[:from], text, doc[to:]), nil
}

// placeOf finds where the value at a path of keys begins and ends; from == to
// where there is none.
func placeOf(doc []byte, name string, below ...string) (from, to int, err error) {
	d := json.NewDecoder(bytes.NewReader(doc))
	open, err := d.Token()
	if err != nil || open != json.Delim('{') {
		return 0, 0, err
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return 0, 0, err
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return 0, 0, err
		}
		if key != name {
			continue
		}
		end := int(d.InputOffset())
		begin := end - len(value)
		if len(below) == 0 {
			return begin, end, nil
		}
		from, to, err = placeOf(value, below[0], below[1:]...)
		return begin + from, begin + to, err
	}
	return 0, 0, nil
}
