package kafka

import (
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
)

// noOffset is an offset that is not known.
const noOffset = -1

// topicID tells a topic from one of the same name that was there before. Zero:
// the brokers are too old to say (before 2.8).
type topicID [16]byte

// remembered is what is stored beside a position.
type remembered struct {
	Topic string `json:"topic_id,omitempty"` // in hexadecimal
}

func (id topicID) detail() json.RawMessage {
	if id == (topicID{}) {
		return nil
	}
	b, err := json.Marshal(remembered{hex.EncodeToString(id[:])})
	if err != nil {
		panic(err) // a string
	}
	return b
}

// topicOf is the way back. What cannot be read is not known.
func topicOf(detail json.RawMessage) (id topicID) {
	var d remembered
	if json.Unmarshal(detail, &d) != nil || len(d.Topic) != 2*len(id) {
		return topicID{}
	}
	if _, err := hex.Decode(id[:], []byte(d.Topic)); err != nil {
		return topicID{}
	}
	return id
}

// facts is what decides where a partition's reading goes on.
type facts struct {
	stored   int64 // proxylog.NoPosition: it was never read
	was, is  topicID
	first    int64 // offset of the first message that is still there
	end      int64 // offset behind the last
	diverged int64 // from here on the messages are others than were read; noOffset: none are
}

// begin says at which offset reading goes on and, where messages are gone that
// nobody has read, or were read that are gone, what has happened.
func (f facts) begin() (offset int64, happened string) {
	told := f.was != (topicID{}) && f.is != (topicID{})
	switch {
	case f.stored == proxylog.NoPosition:
		return f.first, ""
	case told && f.was != f.is:
		return f.first, fmt.Sprintf("the topic was deleted and made anew: reading goes on at its beginning, offset %d, and not at %d", f.first, f.stored)
	case f.stored < f.first:
		return f.first, fmt.Sprintf("%d messages were deleted before they were read: reading goes on at offset %d and not at %d (is the topic's retention too short?)", f.first-f.stored, f.first, f.stored)
	case f.diverged != noOffset && f.diverged < f.stored:
		at := min(max(f.diverged, f.first), f.end)
		return at, fmt.Sprintf("the brokers have lost messages that were read: reading goes on at offset %d, where others have taken their places, and not at %d", at, f.stored)
	case f.stored <= f.end:
		return f.stored, ""
	case told:
		return f.end, fmt.Sprintf("the brokers have lost messages that were read: reading goes on at the topic's end, offset %d, and not at %d", f.end, f.stored)
	}
	return f.first, fmt.Sprintf("the topic has less than was read of it and was probably made anew: reading goes on at its beginning, offset %d, and not at %d", f.first, f.stored)
}
