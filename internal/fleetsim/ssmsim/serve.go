package ssmsim

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"
)

// refusal is an error in AWS's words.
type refusal struct {
	status  int
	code    string
	message string
}

func refuse(code, message string) *refusal { return &refusal{http.StatusBadRequest, code, message} }

// operations by the name after "AmazonSSM.".
var operations = map[string]func(*Sim, json.RawMessage) (any, *refusal){
	"DescribeInstanceInformation": (*Sim).describeInstanceInformation,
	"SendCommand":                 (*Sim).sendCommand,
	"ListCommands":                (*Sim).listCommands,
	"ListCommandInvocations":      (*Sim).listCommandInvocations,
	"CancelCommand":               (*Sim).cancelCommand,
	"DescribeDocument":            (*Sim).describeDocument,
}

// ServeHTTP implements http.Handler. Any signature is believed.
func (s *Sim) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	operation, found := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "AmazonSSM.")
	if !found {
		s.serveSTS(w, r)
		return
	}
	if !s.delay(r.Context()) {
		return
	}
	// An answer before the request was read would end the connection.
	request, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return
	}
	s.mu.Lock()
	s.calls[operation]++
	s.roles[r.Header.Get("X-Amz-Security-Token")] = true // serveSTS makes the ARN the token
	n, admitted := s.calls[operation], s.admit(operation, time.Now())
	s.mu.Unlock()
	if !admitted {
		answer(w, nil, refuse("ThrottlingException", "Rate exceeded"))
		return
	}
	if s.opts.Fail != nil {
		if f := s.opts.Fail(operation, n); f != nil {
			f.serve(w)
			return
		}
	}
	handle := operations[operation]
	if handle == nil {
		answer(w, nil, refuse("UnknownOperationException", operation))
		return
	}
	if !json.Valid(request) {
		answer(w, nil, refuse("SerializationException", "not JSON"))
		return
	}
	out, problem := handle(s, request)
	answer(w, out, problem)
}

// delay takes the latency of a call; false: the caller has gone.
func (s *Sim) delay(ctx context.Context) bool {
	if s.opts.Latency <= 0 {
		return true
	}
	timer := time.NewTimer(s.opts.Latency)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (f *Failure) serve(w http.ResponseWriter) {
	if f.Status == 0 {
		panic(http.ErrAbortHandler) // net/http cuts the connection
	}
	answer(w, nil, &refusal{f.Status, f.Code, f.Message})
}

func answer(w http.ResponseWriter, out any, problem *refusal) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	if problem != nil {
		w.WriteHeader(problem.status)
		out = map[string]string{"__type": problem.code, "message": problem.message}
	}
	_ = json.NewEncoder(w).Encode(out)
}

// epoch is a time as AWS JSON has it: seconds, with a fraction.
func epoch(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// page gives the part of a list that a token and a limit ask for, and the token
// of the next.
func page[T any](s *Sim, list []T, limit int, token string) (part []T, next *string, problem *refusal) {
	from, ok := position(token)
	if !ok || from > len(list) {
		return nil, nil, refuse("InvalidNextToken", "")
	}
	if s.opts.Short && limit > 1 {
		limit = limit/2 + 1
	}
	part = list[from:min(len(list), from+limit)]
	if end := from + len(part); end < len(list) {
		t := tokenAt(end)
		next = &t
	}
	return append([]T{}, part...), next, nil
}

const tokenPrefix = "position-"

func tokenAt(n int) string {
	text, _ := json.Marshal(n)
	return tokenPrefix + string(text)
}

func position(token string) (int, bool) {
	if token == "" {
		return 0, true
	}
	var n int
	err := json.Unmarshal([]byte(strings.TrimPrefix(token, tokenPrefix)), &n)
	return n, err == nil && n >= 0
}
