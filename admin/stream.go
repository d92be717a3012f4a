package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// StreamQuery says which events a stream is for, and after which it begins.
type StreamQuery struct {
	EventFilter
	After       string `query:"after" pattern:"^[0-9]{1,18}$" patternDescription:"an event's id" doc:"Begin after this event; without it, and without Last-Event-ID, with what happens from now on."`
	LastEventID string `header:"Last-Event-ID" pattern:"^[0-9]{1,18}$" patternDescription:"an event's id" doc:"What a reader that comes back has seen last; it wins over after."`
}

// begin is the event to begin after, where one is given.
func (q *StreamQuery) begin() (after int64, given bool) {
	for _, text := range []string{q.LastEventID, q.After} {
		if id, err := strconv.ParseInt(text, 10, 64); err == nil {
			return id, true
		}
	}
	return 0, false
}

func (s *Server) streamRoute(api huma.API) {
	op := operation(http.MethodGet, "/events/stream", "stream-events", "Events as they happen, after all that was missed (server-sent events)")
	op.Description += " Each has the event's id as id, its kind as event, and the same JSON as in the list as data."
	op.Responses = map[string]*huma.Response{"200": {Description: "Server-sent events", Content: map[string]*huma.MediaType{
		"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString}},
	}}}
	api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Event](), true, "Event")
	huma.Register(api, op, s.stream)
}

// stream answers with an endless body. What can fail is tried before it begins.
func (s *Server) stream(ctx context.Context, q *StreamQuery) (*huma.StreamResponse, error) {
	begin, err := s.opts.Store.LastEvent(ctx)
	if err != nil {
		return nil, s.failed(ctx, "begin an event stream", err)
	}
	if after, given := q.begin(); given {
		begin = min(begin, after) // a greater one is of a database that is no more
	}
	if !s.streams.enter() {
		return nil, huma.ErrorWithHeaders(huma.Error503ServiceUnavailable(fmt.Sprintf("%d event streams are open, which is the most; try again later", s.opts.MaxStreams)),
			http.Header{"Retry-After": {"10"}})
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		defer s.streams.leave()
		r, w := humago.Unwrap(hc)
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Accel-Buffering", "no") // nginx would keep events back
		if r.Method == http.MethodHead {
			return
		}
		out := &sse{w: w, control: http.NewResponseController(w), patience: s.patience}
		_ = out.control.SetReadDeadline(time.Time{}) // the server's is for a request, and this one does not end
		s.pump(r.Context(), out, &q.EventFilter, begin)
	}}, nil
}

// pump writes events until the reader is gone, is too slow, or the server ends.
func (s *Server) pump(ctx context.Context, out *sse, filter *EventFilter, after int64) {
	beat := time.NewTicker(s.opts.Heartbeat)
	defer beat.Stop()
	err := out.beat(after)
	for err == nil {
		var more <-chan struct{}
		after, more, err = s.write(ctx, out, filter, after)
		if err != nil {
			break
		}
		select {
		case <-ctx.Done():
			return
		case <-s.streams.done:
			return
		case <-more:
		case <-beat.C:
			err = out.beat(after)
		}
	}
	s.log.Debug("event stream ended", "principal", principal(ctx).Name, "error", err)
}

// write writes all that is there after an event. It gives the last that the
// stream has seen, and what tells that there is more.
func (s *Server) write(ctx context.Context, out *sse, filter *EventFilter, after int64) (int64, <-chan struct{}, error) {
	for {
		events, replay, last, more := s.streams.next(after)
		if !replay {
			seen, err := out.events(events, filter, after)
			return seen, more, err
		}
		page := filter.store()
		page.After, page.Limit = after, replayPage
		events, err := s.opts.Store.Events(ctx, page)
		if err != nil {
			return after, more, err
		}
		if after, err = out.events(events, filter, after); err != nil {
			return after, more, err
		}
		if len(events) < replayPage {
			after = max(after, last) // all up to here were there to be read
		}
		select {
		case <-s.streams.done:
			return after, more, io.EOF
		default:
		}
	}
}

// sse writes server-sent events.
type sse struct {
	w        io.Writer
	control  *http.ResponseController
	patience time.Duration
}

func (o *sse) events(events []drift.Event, filter *EventFilter, after int64) (int64, error) {
	var text []byte
	for i := range events {
		after = events[i].ID
		if !filter.fits(&events[i]) {
			continue
		}
		data, err := json.Marshal(toEvent(&events[i]))
		if err != nil {
			return after, err
		}
		text = fmt.Appendf(text, "id: %d\nevent: %s\ndata: %s\n\n", after, events[i].Kind, data)
	}
	if len(text) == 0 {
		return after, nil
	}
	return after, o.flush(text)
}

// beat shows that the stream lives, and how far it is: an id without data is no
// event, but it is what a reader that comes back names.
func (o *sse) beat(after int64) error { return o.flush(fmt.Appendf(nil, ": alive\nid: %d\n\n", after)) }

// flush sends, and gives up on a reader that does not take it in time.
func (o *sse) flush(text []byte) error {
	if err := o.control.SetWriteDeadline(time.Now().Add(o.patience)); err != nil {
		return err
	}
	if _, err := o.w.Write(text); err != nil {
		return err
	}
	return o.control.Flush()
}
