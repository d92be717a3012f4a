package ssmsim

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

type sendInput struct {
	InstanceIds  []string //nolint:revive // AWS's spelling
	Targets      []target
	DocumentName string
	Parameters   map[string][]string

	TimeoutSeconds *int
	MaxConcurrency string
	MaxErrors      string
}

type target struct {
	Key    string
	Values []string
}

// command is one SendCommand with what became of it on each instance.
type command struct {
	id          string
	document    string
	at          time.Time
	invocations []*invocation
	canceled    bool
}

type invocation struct {
	instance        string
	status, details string
	output          string
	exit            int
	ended           time.Time
}

var pending = []string{"Pending", "InProgress", "Delayed", "Cancelling"}

func (i *invocation) running() bool { return slices.Contains(pending, i.status) }

func (s *Sim) sendCommand(body json.RawMessage) (any, *refusal) {
	var in sendInput
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, refuse("SerializationException", err.Error())
	}
	script, problem := s.script(&in)
	if problem != nil {
		return nil, problem
	}
	if in.TimeoutSeconds != nil && *in.TimeoutSeconds < 30 {
		return nil, refuse("ValidationException", "Value at 'timeoutSeconds' failed to satisfy constraint: Member must have value greater than or equal to 30")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	targets, problem := s.targets(&in)
	if problem != nil {
		return nil, problem
	}
	c := &command{id: uuid.NewString(), document: in.DocumentName, at: time.Now()}
	for _, i := range targets {
		inv := &invocation{instance: i.ID, status: "Pending", details: "Pending"}
		c.invocations = append(c.invocations, inv)
		s.work.Add(1)
		go s.execute(c, inv, i, script)
	}
	s.commands[c.id] = c
	s.order = append(s.order, c)
	return map[string]any{"Command": s.describe(c)}, nil
}

// targets finds the instances of a call. One id that is unknown or not Online
// fails it whole, as AWS does it.
func (s *Sim) targets(in *sendInput) ([]Instance, *refusal) {
	if len(in.InstanceIds) > 50 {
		return nil, refuse("ValidationException", "Value at 'instanceIds' failed to satisfy constraint: Member must have length less than or equal to 50")
	}
	if len(in.InstanceIds) == 0 && len(in.Targets) == 0 {
		return nil, refuse("InvalidTarget", "no targets")
	}
	var list []Instance
	for _, id := range in.InstanceIds {
		i, known := s.instances[id]
		if !known || i.ping() != "Online" {
			return nil, refuse("InvalidInstanceId", fmt.Sprintf("Instances [[%s]] not in a valid state for account 000000000000", id))
		}
		list = append(list, i)
	}
	for _, t := range in.Targets {
		name, isTag := tagOf(t.Key)
		if !isTag {
			return nil, refuse("InvalidTarget", t.Key)
		}
		for _, i := range s.instances {
			if value, has := i.Tags[name]; has && slices.Contains(t.Values, value) && i.ping() == "Online" {
				list = append(list, i)
			}
		}
	}
	return list, nil
}

// outputLimit is where AWS cuts what a plugin printed, and says so.
const (
	outputLimit = 2500
	cutMark     = "\n---Output truncated---"
)

func (s *Sim) execute(c *command, inv *invocation, i Instance, script string) {
	defer s.work.Done()
	if i.Never {
		s.set(inv, func() { inv.status, inv.details = "InProgress", "InProgress" })
		return
	}
	if i.Status != "" {
		s.set(inv, func() { inv.status, inv.details, inv.ended = i.Status, i.Details, time.Now() })
		return
	}
	select {
	case s.slots <- struct{}{}:
	case <-s.ctx.Done():
		return
	}
	defer func() { <-s.slots }()
	stop := false
	s.set(inv, func() {
		stop = c.canceled
		inv.status, inv.details = "InProgress", "InProgress"
	})
	if stop {
		s.set(inv, func() { inv.status, inv.details = "Cancelled", "Cancelled" })
		return
	}
	stdout, exit := s.opts.Runner.Run(s.ctx, i.ID, script)
	if len(stdout) > outputLimit {
		stdout = stdout[:outputLimit-len(cutMark)] + cutMark
	}
	s.set(inv, func() {
		inv.status, inv.details, inv.output, inv.exit, inv.ended = "Success", "Success", stdout, exit, time.Now()
		if exit != 0 {
			inv.status, inv.details = "Failed", "Failed"
		}
	})
}

func (s *Sim) set(inv *invocation, change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if inv.status != "Cancelled" {
		change()
	}
}

// describe gives a command as ListCommands does. The caller holds the lock.
func (s *Sim) describe(c *command) map[string]any {
	done, failed := 0, 0
	for _, inv := range c.invocations {
		if !inv.running() {
			done++
			if inv.status != "Success" {
				failed++
			}
		}
	}
	status := "InProgress"
	switch {
	case c.canceled:
		status = "Cancelled"
	case done == len(c.invocations) && failed > 0:
		status = "Failed"
	case done == len(c.invocations):
		status = "Success"
	case done == 0:
		status = "Pending"
	}
	return map[string]any{"CommandId": c.id, "DocumentName": c.document, "Status": status, "StatusDetails": status,
		"RequestedDateTime": epoch(c.at), "TargetCount": len(c.invocations), "CompletedCount": done, "ErrorCount": failed}
}

type listInput struct {
	CommandId  string //nolint:revive // AWS's spelling
	InstanceId string //nolint:revive // AWS's spelling
	MaxResults *int
	NextToken  string
	Details    bool
	Filters    []struct{ Key, Value string } `json:"Filters"`
}

func (in *listInput) limit() (int, *refusal) {
	if in.MaxResults == nil {
		return 50, nil
	}
	if n := *in.MaxResults; n >= 1 && n <= 50 {
		return n, nil
	}
	return 0, refuse("ValidationException", "Value at 'maxResults' failed to satisfy constraint")
}

// visible tells whether a command is shown yet.
func (s *Sim) visible(c *command) bool { return time.Since(c.at) >= s.opts.Hide }

func (s *Sim) listCommands(body json.RawMessage) (any, *refusal) {
	in, limit, problem := readList(body)
	if problem != nil {
		return nil, problem
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []map[string]any{}
	for _, c := range slices.Backward(s.order) {
		if match, problem := c.matches(in); problem != nil {
			return nil, problem
		} else if match && s.visible(c) {
			list = append(list, s.describe(c))
		}
	}
	if in.CommandId != "" && len(list) == 0 {
		return nil, refuse("InvalidCommandId", "")
	}
	part, next, problem := page(s, list, limit, in.NextToken)
	return map[string]any{"Commands": part, "NextToken": next}, problem
}

func (c *command) matches(in *listInput) (bool, *refusal) {
	match := in.CommandId == "" || in.CommandId == c.id
	for _, f := range in.Filters {
		switch f.Key {
		case "InvokedAfter", "InvokedBefore":
			at, err := time.Parse(time.RFC3339, f.Value)
			if err != nil {
				return false, refuse("InvalidFilterKey", "the value is not a time: "+f.Value)
			}
			match = match && (c.at.After(at) == (f.Key == "InvokedAfter"))
		case "DocumentName":
			match = match && c.document == f.Value
		case "Status", "ExecutionStage":
		default:
			return false, refuse("InvalidFilterKey", f.Key)
		}
	}
	return match, nil
}

func readList(body json.RawMessage) (*listInput, int, *refusal) {
	var in listInput
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, 0, refuse("SerializationException", err.Error())
	}
	limit, problem := in.limit()
	return &in, limit, problem
}

func (s *Sim) listCommandInvocations(body json.RawMessage) (any, *refusal) {
	in, limit, problem := readList(body)
	if problem != nil {
		return nil, problem
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []map[string]any{}
	for _, c := range s.order {
		if in.CommandId != "" && in.CommandId != c.id || !s.visible(c) {
			continue
		}
		shown := c.invocations
		if age := time.Since(c.at); age < 2*s.opts.Hide {
			shown = shown[:len(shown)/2] // the rest is on its way
		}
		for _, inv := range shown {
			if in.InstanceId == "" || in.InstanceId == inv.instance {
				list = append(list, inv.describe(c, in.Details))
			}
		}
	}
	part, next, problem := page(s, list, limit, in.NextToken)
	return map[string]any{"CommandInvocations": part, "NextToken": next}, problem
}

func (i *invocation) describe(c *command, details bool) map[string]any {
	out := map[string]any{"CommandId": c.id, "InstanceId": i.instance, "DocumentName": c.document, "RequestedDateTime": epoch(c.at),
		"Status": i.status, "StatusDetails": i.details, "CommandPlugins": []any{}}
	if details {
		plugin := map[string]any{"Name": "aws:runShellScript", "Status": i.status, "StatusDetails": i.details, "ResponseCode": i.exit, "Output": i.output}
		if !i.ended.IsZero() {
			plugin["ResponseFinishDateTime"] = epoch(i.ended)
		}
		out["CommandPlugins"] = []any{plugin}
	}
	return out
}

func (s *Sim) cancelCommand(body json.RawMessage) (any, *refusal) {
	in, _, problem := readList(body)
	if problem != nil {
		return nil, problem
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.commands[in.CommandId]
	if c == nil {
		return nil, refuse("InvalidCommandId", "")
	}
	c.canceled = true
	for _, inv := range c.invocations {
		if inv.running() {
			inv.status, inv.details = "Cancelled", "Cancelled"
		}
	}
	return struct{}{}, nil
}

// Cancelled tells how many commands were cancelled.
func (s *Sim) Cancelled() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.order {
		if c.canceled {
			n++
		}
	}
	return n
}

// RunShellScript is AWS's own document.
const RunShellScript = "AWS-RunShellScript"

func joined(parameters map[string][]string) (string, *refusal) {
	commands := parameters["commands"]
	if len(commands) == 0 {
		return "", refuse("InvalidParameters", "commands: required")
	}
	return strings.Join(commands, "\n"), nil
}
