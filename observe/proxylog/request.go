package proxylog

import "bytes"

const post = "POST "

// requests remembers what POST requests were: clients call few targets, and
// mostly spell them alike. What a request is depends on its text alone.
type requests [16]struct {
	op   Operation
	size uint8
	text [119]byte
}

// operation is that of a request line, such as "POST /x HTTP/1.1".
func (r *requests) operation(line []byte) Operation {
	n := len(line)
	if n <= len(post) || string(line[:len(post)]) != post {
		return NoOperation
	}
	return r.recall(line, request)
}

// recall gives what read makes of text, which is not empty, and looks whether
// it is known. One requests is for one read.
func (r *requests) recall(text []byte, read func([]byte) Operation) Operation {
	n := len(text)
	e := &r[(n^int(text[n/2]))%len(r)]
	if n == int(e.size) && string(text) == string(e.text[:n]) {
		return e.op
	}
	op := read(text)
	if n <= len(e.text) {
		e.op, e.size = op, uint8(n) // #nosec G115 -- at most 119
		copy(e.text[:], text)
	}
	return op
}

// request finds the operation of a request line anew.
func request(b []byte) Operation {
	if len(b) < len(post) || string(b[:len(post)]) != post {
		return NoOperation
	}
	b = b[len(post):]
	if i := bytes.LastIndexByte(b, ' '); i >= 0 && bytes.HasPrefix(b[i+1:], []byte("HTTP/")) {
		b = b[:i]
	}
	return Classify(b)
}
