package evidence

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

// chain hashes entries one after another.
func chain(at time.Time, entries []Entry) (*Document, error) {
	previous := hash([]byte(Schema))
	for i := range entries {
		e := &entries[i]
		e.Previous = previous
		text, err := json.Marshal(e)
		if err != nil {
			return nil, fmt.Errorf("write entry %d: %w", e.Number, err)
		}
		if e.Hash, err = hashOf(text); err != nil {
			return nil, fmt.Errorf("hash entry %d: %w", e.Number, err)
		}
		previous = e.Hash
	}
	return &Document{Schema, at.UTC(), previous, entries}, nil
}

func hash(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// hashOf is the hash of an entry as it is written, without its own hash; keys
// that nobody knows are part of it.
func hashOf(entry []byte) (string, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(entry, &fields); err != nil {
		return "", err
	}
	delete(fields, "hash")
	text, err := json.Marshal(fields)
	if err != nil {
		return "", err
	}
	if text, err = canonical(text); err != nil {
		return "", err
	}
	return hash(text), nil
}

// Wrong is what is wrong with a document.
type Wrong struct {
	Entry int    `json:"entry"` // its place, from 1; 0: the document itself
	Kind  string `json:"kind"`
	Words string `json:"words"`
}

// Verified is what a document was found to be.
type Verified struct {
	Digest  string  `json:"digest"` // recomputed, as far as the entries follow one another
	Entries int     `json:"entries"`
	Wrong   []Wrong `json:"wrong"` // nothing: it is as it was exported, if that was its digest
}

// Verify recomputes a document's chain and lists all that is wrong with it. The
// error is of what is no such document at all.
func Verify(text []byte) (*Verified, error) {
	if _, err := canonical(text); err != nil {
		return nil, fmt.Errorf("read the evidence: %w", err)
	}
	var top map[string]json.RawMessage
	if err := json.Unmarshal(text, &top); err != nil {
		return nil, fmt.Errorf("read the evidence: %w", err)
	}
	var doc struct {
		Schema, Digest string
		Entries        []json.RawMessage
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("read the evidence: %w", err)
	}
	if doc.Schema != Schema {
		return nil, fmt.Errorf("read the evidence: its schema is %q, and only %s is known", doc.Schema, Schema)
	}
	v := &Verified{Entries: len(doc.Entries), Wrong: []Wrong{}}
	for key := range top {
		switch key {
		case "schema", "generated_at", "digest", "entries":
		default:
			v.Wrong = append(v.Wrong, Wrong{Words: fmt.Sprintf("the key %q is not of such a document, and of no hash", key)})
		}
	}
	v.follow(doc.Entries)
	if v.Digest != doc.Digest {
		v.Wrong = append(v.Wrong, Wrong{Words: "the digest is not the last entry's hash: entries are missing at the end, or it was changed"})
	}
	return v, nil
}

// follow walks along the chain.
func (v *Verified) follow(entries []json.RawMessage) {
	v.Digest = hash([]byte(Schema))
	for i, text := range entries {
		var e Entry
		got, err := hashOf(text)
		if err == nil {
			err = json.Unmarshal(text, &e)
		}
		for _, words := range faults(&e, err, got, v.Digest, i+1) {
			v.Wrong = append(v.Wrong, Wrong{i + 1, e.Kind, words})
		}
		v.Digest = e.Hash
	}
}

// faults lists what is wrong with the entry at a place, given the hash of what it
// holds and that of the entry before.
func faults(e *Entry, err error, got, previous string, place int) (words []string) {
	if err != nil {
		return []string{"it cannot be read"}
	}
	if got != e.Hash {
		words = append(words, "it was changed: its hash is not that of what it holds")
	}
	if e.Previous != previous {
		words = append(words, "it does not follow the entry before it: that was changed and hashed anew, or entries were moved, added or taken away")
	}
	if e.Number != place {
		words = append(words, fmt.Sprintf("it is number %d at place %d", e.Number, place))
	}
	return words
}
