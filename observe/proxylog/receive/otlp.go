package receive

import (
	"cmp"
	"encoding/json"
	"net/http"

	"google.golang.org/protobuf/encoding/protowire"
)

// OTLP takes logs by OTLP/HTTP: protobuf and JSON. A record's body is a line in
// any format, or an object; else its attributes tell of the call, by
// OpenTelemetry's names or any that a JSON line may have. A push that is sent
// again is recognised by its content, provided that its records have times.
func (rc *Receiver) OTLP() http.Handler {
	return rc.handler(&protocol{name: "otlp", read: readOTLP, accept: acceptOTLP, refuse: refuseOTLP})
}

const (
	typeProtobuf = "application/x-protobuf"
	typeJSON     = "application/json"
)

func readOTLP(p *push) error {
	kind := p.contentType()
	if kind != typeProtobuf && kind != typeJSON {
		return wrongType("Content-Type %.60q is not taken here: send %s or %s", kind, typeProtobuf, typeJSON)
	}
	text, err := p.whole()
	if err != nil {
		return err
	}
	o := &otlpPush{push: p}
	if kind == typeJSON {
		err = o.json(text)
	} else {
		err = o.protobuf(text)
	}
	if err != nil {
		return err
	}
	// Without times two pushes may well be the same and both be meant.
	if id := p.given(); o.timed || id != "" {
		p.identify(id)
		_, _ = p.content.Write(text)
	}
	return nil
}

// acceptOTLP answers with an ExportLogsServiceResponse, which is empty where
// nothing was rejected.
func acceptOTLP(w http.ResponseWriter, p *push) {
	if p.contentType() == typeJSON {
		writeJSON(w, http.StatusOK, typeJSON, struct{}{})
		return
	}
	w.Header().Set("Content-Type", typeProtobuf)
	w.WriteHeader(http.StatusOK)
}

// status is a google.rpc.Status.
type status struct {
	Code    int32  `json:"code"`
	Message string `json:"message"`
}

// refuseOTLP answers with a google.rpc.Status in the request's encoding.
func refuseOTLP(w http.ResponseWriter, p *push, no *fault) {
	s := status{rpcCode(no.status), no.detail}
	if p.contentType() == typeJSON {
		writeJSON(w, no.status, typeJSON, s)
		return
	}
	out := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(s.Code)) // #nosec G115 -- 0 to 16
	out = protowire.AppendString(protowire.AppendTag(out, 2, protowire.BytesType), s.Message)
	w.Header().Set("Content-Type", typeProtobuf)
	w.WriteHeader(no.status)
	_, _ = w.Write(out) // whoever is gone needs no answer
}

// rpcCode is the google.rpc.Code that stands for an HTTP status.
func rpcCode(status int) int32 {
	switch status {
	case http.StatusTooManyRequests:
		return 8 // RESOURCE_EXHAUSTED
	case http.StatusServiceUnavailable:
		return 14 // UNAVAILABLE
	case http.StatusMethodNotAllowed:
		return 12 // UNIMPLEMENTED
	}
	return 3 // INVALID_ARGUMENT
}

// otlpPush is a body of log records.
type otlpPush struct {
	*push
	timed bool // some record has a time
	entry otlpRecord
	body  []byte // of a record, as a line
}

// otlpRecord is what stands beside a record's body. The attributes are looked
// for only when they are asked for.
type otlpRecord struct {
	when  int64
	proto []byte // the record; nil: json is
	json  []byte // the attributes' list
	room  []byte
}

func (e *otlpRecord) tell(m *record) {
	m.when = max(0, e.when)
	e.room = e.attributes(e.room[:0])
	if len(e.room) > len("{}") && len(e.room) <= longestLine && json.Valid(e.room) {
		m.object(e.room)
	}
}

// attributes appends the attributes as one JSON object.
func (e *otlpRecord) attributes(out []byte) []byte {
	if e.proto == nil {
		return appendJSONPairs(out, &cursor{b: e.json}, 0)
	}
	return appendPairs(out, e.proto, 6, 0)
}

// read reads a record whose body is what is in o.body.
func (o *otlpPush) read() error {
	if o.entry.when != 0 {
		o.timed = true
	}
	return o.reader.read(o.body, &o.entry)
}

// protobuf reads an ExportLogsServiceRequest.
func (o *otlpPush) protobuf(b []byte) error {
	return each(b, func(f field) error { // ResourceLogs
		if f.number != 1 {
			return nil
		}
		return each(f.bytes, func(f field) error { // ScopeLogs
			if f.number != 2 {
				return nil
			}
			return each(f.bytes, func(f field) error { // LogRecord
				if f.number != 2 {
					return nil
				}
				return o.protoRecord(f.bytes)
			})
		})
	})
}

// protoRecord reads a LogRecord.
func (o *otlpPush) protoRecord(b []byte) error {
	o.entry = otlpRecord{proto: b, room: o.entry.room}
	if b == nil {
		o.entry.proto = []byte{}
	}
	var observed int64
	var body []byte
	m := message{b}
	for {
		f, ok, err := m.next()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		switch f.number {
		case 1:
			o.entry.when = int64(f.value) // #nosec G115 -- nanoseconds; beyond 2262 it is no time
		case 11:
			observed = int64(f.value) // #nosec G115 -- the same
		case 5:
			body = f.bytes
		}
	}
	o.entry.when = cmp.Or(o.entry.when, observed)
	var err error
	if o.body, err = appendBody(o.body[:0], body); err != nil {
		return err
	}
	return o.read()
}

// appendBody appends what an AnyValue is as a line: the text of a string, and
// what is an object or a list as JSON.
func appendBody(out, value []byte) ([]byte, error) {
	m := message{value}
	for {
		f, ok, err := m.next()
		if err != nil || !ok {
			return out, err
		}
		switch f.number {
		case anyString, anyBytes:
			out = append(out[:0], f.bytes...)
		case anyList, anyArray:
			out = appendValue(out[:0], value, 0)
		}
	}
}

// The fields of an AnyValue.
const (
	anyString = 1
	anyBool   = 2
	anyInt    = 3
	anyDouble = 4
	anyArray  = 5
	anyList   = 6
	anyBytes  = 7
)
