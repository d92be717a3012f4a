package receive

import (
	"bytes"
	"encoding/json"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
)

// reader turns lines, and what others made of lines, into counts.
type reader struct {
	parser *proxylog.Parser
	tally  *proxylog.Tally
	room   *lease
	most   int // lines

	calls  int64
	groups int // paid for
	hit    proxylog.Hit
	made   record // a line that was put together
	entry  record // what is told beside the line that is being read
	told   bool   // entry is filled
}

const (
	longestLine = 2 << 20 // as elsewhere: a longer one is counted as not understood
	// groupRoom is what a group of calls takes until it is counted: in the
	// tally, in its sorted list, and in what the counter makes of that.
	groupRoom = 640
	// settleEvery is after how many lines the tally's room is paid for.
	settleEvery = 256
)

// besides is what a sender tells beside a line: its time, its attributes. It is
// asked only where the line is not understood as it stands.
type besides interface {
	tell(m *record)
}

// line reads a line as the proxy wrote it.
func (rd *reader) line(text []byte) error { return rd.read(text, nil) }

// read reads a line, and where it is not understood as it stands, with what is
// told beside it.
func (rd *reader) read(text []byte, with besides) error {
	text = bytes.TrimRight(text, "\r\n")
	rd.told = with == nil
	rd.entry.reset()
	if blank(text) && rd.beside(with).empty() {
		return nil
	}
	outcome := rd.understand(text, with)
	if outcome == proxylog.NotUnderstood && bytes.IndexByte(text, '\n') >= 0 {
		return rd.several(text, with)
	}
	return rd.note(outcome)
}

// beside is what is told beside the line that is being read.
func (rd *reader) beside(with besides) *record {
	if !rd.told {
		rd.told = true
		with.tell(&rd.entry)
	}
	return &rd.entry
}

// several reads an entry that holds more than one line.
func (rd *reader) several(text []byte, with besides) error {
	for part := range bytes.SplitSeq(text, []byte{'\n'}) {
		part = bytes.TrimRight(part, "\r")
		if blank(part) {
			continue
		}
		if err := rd.note(rd.understand(part, with)); err != nil {
			return err
		}
	}
	return nil
}

// tooLong counts a line that was not read.
func (rd *reader) tooLong() error { return rd.note(proxylog.NotUnderstood) }

// note counts a line that was read.
func (rd *reader) note(outcome proxylog.Outcome) error {
	t := rd.tally
	t.Lines++
	switch outcome {
	case proxylog.NotUnderstood:
		t.NotUnderstood++
	case proxylog.Call:
		rd.calls++
		t.Add(&rd.hit)
	}
	if t.Lines > int64(rd.most) {
		return tooLarge("the body has more than %d lines; send fewer at once", rd.most)
	}
	if t.Lines%settleEvery == 0 {
		return rd.settle()
	}
	return nil
}

// settle pays for what the tally has grown.
func (rd *reader) settle() error {
	grown := rd.tally.Len() - rd.groups
	rd.groups += grown
	return rd.room.take(int64(grown) * groupRoom)
}

// understand reads a line as it stands; then, if it is an object, with what is
// told beside it, and the line that the object carries; then, if an object
// stands behind it, without and by that; then what is told beside it alone.
func (rd *reader) understand(text []byte, with besides) proxylog.Outcome {
	if len(text) > longestLine {
		return proxylog.NotUnderstood
	}
	if out := rd.parser.Parse(text, &rd.hit); out != proxylog.NotUnderstood {
		return out
	}
	beside := rd.beside(with)
	if object := bytes.TrimSpace(text); len(object) > 0 && object[0] == '{' && json.Valid(object) {
		if out := rd.object(object, beside); out != proxylog.NotUnderstood {
			return out
		}
	}
	if words, object := split(text); object != nil {
		if out := rd.parser.Parse(words, &rd.hit); out != proxylog.NotUnderstood {
			return out
		}
		if out := rd.object(object, beside); out != proxylog.NotUnderstood {
			return out
		}
	}
	if beside.empty() {
		return proxylog.NotUnderstood
	}
	return rd.parser.Parse(beside.line(), &rd.hit)
}

// object reads a line that is a JSON object and says what it says by other
// names, or without a time, or carries the proxy's line inside.
func (rd *reader) object(text []byte, beside *record) proxylog.Outcome {
	m := &rd.made
	m.begin(beside)
	carried := m.object(text)
	if out := rd.parser.Parse(m.line(), &rd.hit); out != proxylog.NotUnderstood {
		return out
	}
	carried = bytes.TrimSpace(carried)
	if len(carried) == 0 {
		return proxylog.NotUnderstood
	}
	if out := rd.parser.Parse(carried, &rd.hit); out != proxylog.NotUnderstood || carried[0] != '{' || !json.Valid(carried) {
		return out
	}
	m.begin(beside)
	m.object(carried)
	return rd.parser.Parse(m.line(), &rd.hit)
}

// split cuts off the object that a logger has put behind its words, as winston's
// does with what it calls meta. The object is nil where there is none.
func split(text []byte) (words, object []byte) {
	text = bytes.TrimSpace(text)
	if len(text) == 0 || text[len(text)-1] != '}' {
		return text, nil
	}
	for _, i := range []int{bytes.LastIndex(text, []byte(" {")), bytes.Index(text, []byte(" {"))} {
		if i >= 0 && json.Valid(text[i+1:]) {
			return text[:i], text[i+1:]
		}
	}
	return text, nil
}

func blank(b []byte) bool {
	for _, c := range b {
		if c != ' ' && c != '\t' && c != '\r' && c != 0 {
			return false
		}
	}
	return true
}
