package ssmsim

import (
	"encoding/json"
	"slices"
	"time"
)

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
	asked := s.order
	if in.CommandId != "" {
		if asked = nil; s.commands[in.CommandId] != nil {
			asked = []*command{s.commands[in.CommandId]}
		}
	}
	for _, c := range asked {
		if !s.visible(c) {
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
