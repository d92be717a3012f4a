package follow

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"time"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
)

// life is a text that is being read, from the day when a file was begun to be
// written. It is known by its content, not by the file that has it: the same
// text goes on under another name, in a copy, in a compressed file; and a file
// that is truncated or whose inode is used again begins another life.
//
// What is stored beside a life's position (detail) identifies the text up to
// that position: a hash of its beginning and one of its end. A file in which
// both are found where they belong has all that was counted, and the lines
// behind are the ones that were not.
type life struct {
	key    string // of its position; "": it has none yet
	stored int64  // what is stored, or NoPosition
	offset int64  // in the text; what is before it was given to the tally
	ahead  int64  // bytes behind offset that are all NUL: a hole, or not written yet
	looked int64  // in the text; what is before it has no whole line behind offset
	want   int    // bytes to read at once

	skipping bool // offset is within a line that is too long
	complete bool // nothing will ever come behind offset
	dead     bool // nothing of it was counted, and no file has it
	touched  bool // the detail is to be stored though nothing was read

	id     fileID // the file that it was read from last
	path   string // and where that was
	born   string // where it was found first
	file   *file  // nil: no file is known to have what comes next
	byName bool   // file is the one that it was read from all the time
	proven bool   // file was seen to have its end at offset

	head   mark
	recent []byte // the last bytes before offset; nil: only tail is known
	tail   mark
	gone   time.Time // since when no file has it; zero: one has
	seen   []noticed
}

const (
	headSize = 1024 // bytes
	tailSize = 1024
)

// mark is a hash of some of a text's bytes.
type mark struct {
	N   int    `json:"n"`
	Sum string `json:"sum"`
}

func markOf(b []byte) mark {
	sum := sha256.Sum256(b)
	return mark{len(b), hex.EncodeToString(sum[:16])}
}

// of tells whether b begins with what was marked.
func (m mark) of(b []byte) bool { return len(b) >= m.N && markOf(b[:m.N]) == m }

// detail is what is stored beside a position.
type detail struct {
	Path     string    `json:"path"`
	Born     string    `json:"born"`
	Device   uint64    `json:"device"`
	Inode    uint64    `json:"inode"`
	Head     mark      `json:"head"`
	Tail     mark      `json:"tail"`
	Size     int64     `json:"size"` // of the file, when this was written
	Skipping bool      `json:"skipping,omitempty"`
	Finished bool      `json:"finished,omitempty"`
	Gone     time.Time `json:"gone,omitzero"`
}

// seal brings the marks up to date with what was read.
func (l *life) seal() {
	if x := l.file; x != nil && l.head.N < headSize && (l.offset > int64(l.head.N) || l.complete) {
		n := int64(len(x.head))
		if !l.complete {
			n = min(n, l.offset)
		}
		l.head = markOf(x.head[:n])
	}
	if l.recent != nil {
		l.tail = markOf(l.recent)
	}
}

func (l *life) detail() json.RawMessage {
	l.seal()
	d := detail{Path: l.path, Born: l.born, Device: l.id.device, Inode: l.id.inode, Head: l.head, Tail: l.tail, Skipping: l.skipping, Finished: l.complete, Gone: l.gone}
	if l.file != nil {
		d.Size = l.file.facts.size
	}
	b, err := json.Marshal(&d)
	if err != nil {
		panic(err) // strings and numbers
	}
	return b
}

// lifeOf is the way back. A detail that cannot be read leaves a life that no
// file is found to have.
func lifeOf(p proxylog.Position) (*life, error) {
	var d detail
	err := json.Unmarshal(p.Detail, &d)
	l := &life{key: p.Key, stored: p.Offset, offset: p.Offset, looked: p.Offset, skipping: d.Skipping, complete: d.Finished,
		id: fileID{d.Device, d.Inode}, path: d.Path, born: d.Born, head: d.Head, tail: d.Tail, gone: d.Gone}
	return l, err
}

// consume moves on behind b, which stands at offset+ahead in the text.
func (l *life) consume(b []byte) {
	keep := l.recent
	if len(b) >= tailSize {
		keep = keep[:0]
	} else if l.ahead > 0 {
		keep = append(keep, make([]byte, min(l.ahead, tailSize))...)
	}
	keep = append(keep, b[max(len(b)-tailSize, 0):]...)
	if over := len(keep) - tailSize; over > 0 {
		keep = keep[:copy(keep, keep[over:])]
	}
	l.recent = keep
	l.offset += l.ahead + int64(len(b))
	l.ahead, l.want = 0, 0
	l.looked = max(l.looked, l.offset)
}

// firstLine is what a key is made from: two who read the same file find the
// same key, so that only one of them can count its first lines.
func firstLine(head []byte) []byte {
	if i := bytes.IndexByte(head, '\n'); i >= 0 {
		return head[:i]
	}
	return head
}

// newKey makes a key that no life has.
func (f *Follower) newKey(l *life) string {
	h := sha256.New()
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], l.id.device)
	binary.BigEndian.PutUint64(b[8:], l.id.inode)
	h.Write(b[:])
	if l.file != nil {
		h.Write(firstLine(l.file.head))
	}
	base := f.prefix() + hex.EncodeToString(h.Sum(nil)[:8])
	key := base
	for n := 2; f.taken(key); n++ {
		key = base + "-" + strconv.Itoa(n)
	}
	return key
}

func (f *Follower) taken(key string) bool {
	for _, l := range f.lives {
		if l.key == key {
			return true
		}
	}
	return false
}

func (f *Follower) prefix() string { return f.Host + "/" }
