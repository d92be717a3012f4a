package proxylog

import (
	"bytes"
	"fmt"
	"strings"
)

// Operation is a billable operation of the proxy. The zero value is none.
type Operation uint8

// The billable operations, POST only.
const (
	NoOperation     Operation = iota
	Messages                  // .../internal/llm/anthropic/v1/messages
	Batches                   // .../internal/llm/anthropic/v1/messages/batches
	ChatCompletions           // .../internal/llm/openai/v1/chat/completions
	Responses                 // .../internal/llm/openai/v1/responses
)

var operationNames = [...]string{"", "messages", "batches", "chat_completions", "responses"}

// The ends of the paths by operation. Whatever prefix the proxy is mounted
// under goes before them; the part from internal/llm on is always demanded, so
// that a vendor's own /v1/messages in the same log is no call of ours.
var operationPaths = [...]string{
	Messages:        "/internal/llm/anthropic/v1/messages",
	Batches:         "/internal/llm/anthropic/v1/messages/batches",
	ChatCompletions: "/internal/llm/openai/v1/chat/completions",
	Responses:       "/internal/llm/openai/v1/responses",
}

// String is the operation's name as users type and read it.
func (o Operation) String() string {
	if int(o) < len(operationNames) {
		return operationNames[o]
	}
	return ""
}

// ParseOperation reads an operation's name.
func ParseOperation(s string) (Operation, error) {
	for i, name := range operationNames {
		if i > 0 && name == s {
			return Operation(i), nil // #nosec G115 -- an index of five
		}
	}
	return NoOperation, fmt.Errorf("operation %q: not one of %s", s, strings.Join(operationNames[1:], ", "))
}

// Classify tells which billable operation a POST to target is. Target is a
// request target in origin or absolute form. Query, fragment, percent-encoding
// (decoded once), doubled and trailing slashes and dot segments do not hide a
// call; the path's case is significant, as it is to the proxy.
func Classify(target []byte) Operation {
	if i := bytes.IndexByte(target, '?'); i >= 0 {
		target = target[:i]
	}
	if i := bytes.IndexByte(target, '#'); i >= 0 {
		target = target[:i]
	}
	if len(target) == 0 {
		return NoOperation
	}
	if target[0] == '/' {
		// A raw match is conclusive: any prefix will do, however it is spelt.
		if op := bySuffix(target); op != NoOperation {
			return op
		}
		// What ends otherwise, and is spelt plainly, is none.
		last := target[bytes.LastIndexByte(target, '/')+1:]
		if !mayEndPath(last) && bytes.IndexByte(target, '%') < 0 {
			return NoOperation
		}
	}
	var room [256]byte
	return bySuffix(cleanPath(room[:0], pathOf(target)))
}

// mayEndPath tells whether a path may end in this segment, or in one before it
// that this one leaves or leads to.
func mayEndPath(segment []byte) bool {
	switch string(segment) {
	case "", ".", "..", "messages", "batches", "completions", "responses":
		return true
	}
	return false
}

func bySuffix(path []byte) Operation {
	const shortest = len("/internal/llm/openai/v1/responses")
	if len(path) < shortest {
		return NoOperation
	}
	var op Operation
	switch path[len(path)-4] { // the letter in which they differ
	case 'a':
		op = Messages
	case 'c':
		op = Batches
	case 'i':
		op = ChatCompletions
	case 'n':
		op = Responses
	default:
		return NoOperation
	}
	if want := operationPaths[op]; len(path) < len(want) || string(path[len(path)-len(want):]) != want {
		return NoOperation
	}
	return op
}

// pathOf takes scheme and authority off a target in absolute form.
func pathOf(target []byte) []byte {
	if target[0] == '/' {
		return target
	}
	i := bytes.Index(target, []byte("://"))
	if i < 0 {
		return nil
	}
	rest := target[i+3:]
	slash := bytes.IndexByte(rest, '/')
	if slash < 0 {
		return nil
	}
	return rest[slash:]
}

// cleanPath appends to dst path as a server would route it: decoded once,
// slashes single, dot segments resolved, no slash at the end.
func cleanPath(dst, path []byte) []byte {
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c == '%' && i+2 < len(path) {
			if hi, lo := hexDigit(path[i+1]), hexDigit(path[i+2]); hi < 16 && lo < 16 {
				c = hi<<4 | lo
				i += 2
			}
		}
		if c == '/' {
			dst = closeSegment(dst)
		}
		dst = append(dst, c)
	}
	dst = closeSegment(dst)
	return bytes.TrimSuffix(dst, []byte("/"))
}

// closeSegment ends dst's last segment: an empty one, "." and ".." go away.
// What remains never ends in a slash.
func closeSegment(dst []byte) []byte {
	slash := bytes.LastIndexByte(dst, '/')
	if slash < 0 {
		return dst
	}
	switch string(dst[slash+1:]) {
	case "", ".":
		return dst[:slash]
	case "..":
		dst = dst[:slash]
		return dst[:max(bytes.LastIndexByte(dst, '/'), 0)]
	}
	return dst
}
