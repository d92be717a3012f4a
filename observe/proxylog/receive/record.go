package receive

import (
	"bytes"
	"time"
)

// record is a line that is put together of what a sender tells in parts: a JSON
// object with the names that the parser of lines knows.
type record struct {
	when    int64  // Unix nanoseconds; 0: not told
	members []byte // as told, each behind a comma
	known   []byte // the same by names that the parser knows, each behind a comma
	path    []byte // the names of the objects that are open, with dots
	built   []byte
}

func (m *record) reset() {
	m.when, m.members, m.known, m.path = 0, m.members[:0], m.known[:0], m.path[:0]
}

// begin makes the record what other is.
func (m *record) begin(other *record) {
	m.reset()
	m.when = other.when
	m.members = append(m.members, other.members...)
	m.known = append(m.known, other.known...)
}

// empty tells whether there is nothing but, perhaps, a time.
func (m *record) empty() bool { return len(m.members) == 0 }

// line is the record as a line. It is good until the next call.
func (m *record) line() []byte {
	out := append(m.built[:0], '{')
	if m.when > 0 {
		// Of all names of a time this counts least: a line's own time wins.
		out = append(out, `"start_local":"`...)
		out = time.Unix(0, m.when).UTC().AppendFormat(out, time.RFC3339Nano)
		out = append(out, '"', ',')
	}
	body := len(out)
	out = append(out, m.members...)
	out = append(out, m.known...)
	if len(out) > body {
		out = append(out[:body], out[body+1:]...) // the first comma
	} else if body > 1 {
		out = out[:body-1]
	}
	m.built = append(out, '}')
	return m.built
}

// names are what OpenTelemetry's semantic conventions (the present and the ones
// before) and the Elastic Common Schema call what the parser of lines knows by
// others. The client is who the proxy believes to be behind its peer.
var names = map[string]string{
	"http.request.method":                 "method",
	"http.method":                         "method",
	"url.path":                            "path",
	"url.full":                            "url",
	"url.original":                        "original_url",
	"http.url":                            "url",
	"http.target":                         "uri",
	"http.response.status_code":           "status",
	"http.status_code":                    "status",
	"network.peer.address":                "remote_ip",
	"net.sock.peer.addr":                  "remote_addr",
	"net.peer.ip":                         "remote_addr",
	"source.ip":                           "remote_addr",
	"source.address":                      "remote_address",
	"client.address":                      "client_ip",
	"client.ip":                           "client_ip",
	"http.client_ip":                      "client_ip",
	"http.request.header.x-forwarded-for": "x_forwarded_for",
	"http.request.header.x_forwarded_for": "x_forwarded_for",
	"http.request.header.x-molecule-workspace-id": "workspace_id",
	"http.request.header.x_molecule_workspace_id": "workspace_id",
	"gen_ai.request.model":                        "model",
	"gen_ai.usage.input_tokens":                   "input_tokens",
	"gen_ai.usage.output_tokens":                  "output_tokens",
	"gen_ai.usage.prompt_tokens":                  "prompt_tokens",
	"gen_ai.usage.completion_tokens":              "completion_tokens",
}

// carriers are the names under which senders carry a line as it was written.
var carriers = map[string]bool{"message": true, "msg": true, "log": true, "line": true, "body": true, "event.original": true, "MESSAGE": true}

// deepest is how many objects deep a name may stand.
const deepest = 8

// object adds the members of a valid JSON object, and gives the line that one of
// them carries; nil: none does.
func (m *record) object(text []byte) (carried []byte) {
	text = bytes.TrimSpace(text)
	if inside := bytes.TrimSpace(text[1 : len(text)-1]); len(inside) > 0 {
		m.members = append(append(m.members, ','), inside...)
	}
	c := &cursor{b: text}
	m.translate(c, 0, &carried)
	return carried
}

// translate looks for names that are known, in the object that c is at.
func (m *record) translate(c *cursor, depth int, carried *[]byte) {
	outer := len(m.path)
	_, _ = c.object(func(key []byte) error {
		m.path = append(m.path, key...)
		switch kind := c.kind(); {
		case kind == '{' && depth < deepest:
			m.path = append(m.path, '.')
			m.translate(c, depth+1, carried)
		case names[string(m.path)] != "":
			m.knows(names[string(m.path)])
			m.known = append(m.known, c.raw()...)
		case kind == '"' && len(*carried) == 0 && carriers[string(m.path)]:
			*carried = bytes.Clone(c.string())
		}
		m.path = m.path[:outer]
		return nil
	})
}

// knows begins a member whose name the parser knows; its value is to follow.
func (m *record) knows(name string) {
	m.known = append(append(append(m.known, ',', '"'), name...), '"', ':')
}
