package receive

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"strconv"
	"time"

	"github.com/klauspost/compress/gzip"
)

// Firehose takes what Amazon Data Firehose delivers to an HTTP endpoint: records
// of a CloudWatch Logs subscription, or of lines. A request that is sent again
// is recognised by its id together with what is in it.
func (rc *Receiver) Firehose() http.Handler {
	return rc.handler(&protocol{name: "firehose", read: readFirehose, accept: acceptFirehose, refuse: refuseFirehose})
}

func readFirehose(p *push) error {
	p.request = p.r.Header.Get("X-Amz-Firehose-Request-Id")
	if kind := p.contentType(); kind != typeJSON {
		return wrongType("Content-Type %.60q is not taken here: Firehose sends %s", kind, typeJSON)
	}
	text, err := p.whole()
	if err != nil {
		return err
	}
	c, ok := parseJSON(text)
	if !ok || c.kind() != '{' {
		return garbage("the body is no JSON object")
	}
	var records []byte
	_, _ = c.object(func(key []byte) error {
		switch string(key) {
		case "requestId":
			p.request = string(c.string())
		case "timestamp":
			p.timestamp, _ = strconv.ParseInt(string(c.string()), 10, 64) // for the answer alone
		case "records":
			records = c.raw()
		}
		return nil
	})
	if len(records) == 0 || records[0] != '[' || p.request == "" {
		return garbage(`the body is not of the form {"requestId": "...", "timestamp": ..., "records": [{"data": "..."}]}`)
	}
	p.identify(p.request)
	return p.records(records)
}

// answerTo is what Firehose wants to read.
type answerTo struct {
	RequestID    string `json:"requestId"`
	Timestamp    int64  `json:"timestamp"` // milliseconds
	ErrorMessage string `json:"errorMessage,omitempty"`
}

func acceptFirehose(w http.ResponseWriter, p *push) {
	writeJSON(w, http.StatusOK, typeJSON, answerTo{RequestID: p.request, Timestamp: time.Now().UnixMilli()})
}

func refuseFirehose(w http.ResponseWriter, p *push, no *fault) {
	writeJSON(w, no.status, typeJSON, answerTo{RequestID: p.request, Timestamp: time.Now().UnixMilli(), ErrorMessage: no.detail})
}

// records reads a list of records. Their rooms are used again and again.
func (p *push) records(list []byte) error {
	c := &cursor{b: list}
	var data, text []byte
	_, err := c.array(func() error {
		var encoded []byte
		_, _ = c.object(func(key []byte) error {
			if string(key) == "data" {
				encoded = c.raw()
			}
			return nil
		})
		var err error
		if data, err = p.decode(data, c.textOf(encoded)); err != nil {
			return err
		}
		record := data
		if bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
			if text, err = p.gunzipRecord(text, data); err != nil {
				return err
			}
			record = text
		}
		writeBytes(p.content, record)
		return p.firehoseRecord(record)
	})
	return err
}

// decode reads base64 into room.
func (p *push) decode(room, encoded []byte) ([]byte, error) {
	size := base64.StdEncoding.DecodedLen(len(encoded))
	if size > cap(room) {
		if err := p.room.take(int64(size - cap(room))); err != nil {
			return room, err
		}
		room = make([]byte, size)
	}
	n, err := base64.StdEncoding.Decode(room[:cap(room)], encoded)
	if err != nil {
		return room, garbage("the data of a record is no base64: %v", err)
	}
	return room[:n], nil
}

// gunzipRecord unpacks a record into room. All records of a push share its
// limits.
func (p *push) gunzipRecord(room, packed []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return room, unpacking("gzip", err)
	}
	return p.fill(room[:0], &unpacked{r: z, p: p, form: "gzip"}, 0)
}

// firehoseRecord reads what a record holds: a message of CloudWatch Logs, or
// lines.
func (p *push) firehoseRecord(text []byte) error {
	if subscription := bytes.TrimSpace(text); len(subscription) > 0 && subscription[0] == '{' && bytes.Contains(subscription, []byte(`"messageType"`)) {
		if c, ok := parseJSON(subscription); ok {
			return p.cloudWatch(c)
		}
	}
	for line := range bytes.SplitSeq(text, []byte{'\n'}) {
		if err := p.reader.line(line); err != nil {
			return err
		}
	}
	return nil
}

// cloudWatch reads {"messageType": "DATA_MESSAGE", "logEvents": [{"id",
// "timestamp", "message"}]}; a CONTROL_MESSAGE only asks whether we are there.
func (p *push) cloudWatch(c *cursor) error {
	var kind string
	var events []byte
	_, _ = c.object(func(key []byte) error {
		switch string(key) {
		case "messageType":
			kind = string(c.string())
		case "logEvents":
			events = c.raw()
		}
		return nil
	})
	if kind != "DATA_MESSAGE" || len(events) == 0 {
		return nil
	}
	list := &cursor{b: events}
	_, err := list.array(func() error {
		var message []byte
		var at lokiEntry
		_, _ = list.object(func(key []byte) error {
			switch string(key) {
			case "timestamp":
				ms, _ := strconv.ParseInt(string(list.string()), 10, 64) // a line mostly has a time of its own
				at.when = ms * int64(time.Millisecond)
			case "message":
				message = list.raw()
			}
			return nil
		})
		return p.reader.read(list.textOf(message), &at)
	})
	return err
}
