package admin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/molecule-ai/billing-reconciler/report"
	"github.com/molecule-ai/billing-reconciler/store"
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

// withHeld puts into a workspace's document what the daemon has judged of it, in
// place of what its look alone allowed to judge, and the action that is under
// way.
func withHeld(doc Workspace, held store.Held) (_ Workspace, err error) {
	if j := held.Judgement; j != nil {
		since := j.Since.UTC()
		if doc, err = withPart(doc, "action", report.Action{Rule: j.Rule, Summary: j.Words, Since: &since, Next: moment(j.Next)}); err != nil {
			return nil, err
		}
	}
	if held.InFlight == 0 {
		return doc, nil
	}
	return withPart(doc, "in_flight", held.InFlight)
}

// withPart puts a value under a key of a document, in place of one that is there.
func withPart(doc Workspace, key string, value any) (Workspace, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", key, err)
	}
	from, to, err := placeOf(doc, key)
	if err != nil {
		return nil, fmt.Errorf("read a workspace's stored document: %w", err)
	}
	if from == to {
		from = bytes.LastIndexByte(doc, '}')
		to = from
		text = fmt.Appendf(nil, ",%q:%s", key, text)
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
