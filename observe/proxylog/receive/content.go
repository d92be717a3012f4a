package receive

import (
	"encoding/binary"
	"io"
)

// What goes into a batch's id is written with its length before it, so that no
// two contents run into the same bytes. A hash takes everything.

func writeString(to io.Writer, s string) { writeBytes(to, []byte(s)) }

func writeBytes(to io.Writer, b []byte) {
	writeNumber(to, int64(len(b)))
	_, _ = to.Write(b)
}

func writeNumber(to io.Writer, n int64) {
	var room [8]byte
	_, _ = to.Write(binary.BigEndian.AppendUint64(room[:0], uint64(n))) // #nosec G115 -- the bits alone matter
}
