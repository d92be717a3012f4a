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
	s.trim()
	return map[string]any{"Command": s.describe(c)}, nil
}

// trim forgets the oldest commands, as AWS does after 30 days, but none that
// runs. The caller holds the lock.
func (s *Sim) trim() {
	for s.opts.Keep > 0 && len(s.order) > s.opts.Keep {
		oldest := s.order[0]
		if !oldest.canceled && slices.ContainsFunc(oldest.invocations, (*invocation).running) {
			return
		}
		delete(s.commands, oldest.id)
		s.order = slices.Delete(s.order, 0, 1)
	}
}

// targets finds the instances of a call. One id that is unknown or not Online
// fails it whole, as AWS does it.
func (s *Sim) targets(in *sendInput) ([]Instance, *refusal) {
	if len(in.InstanceIds) > 50 {
		return nil, refuse("ValidationException", "Value at 'instanceIds' failed to satisfy constraint: Member must have length less than or equal to 50")
	}
	if (len(in.InstanceIds) == 0) == (len(in.Targets) == 0) {
		return nil, refuse("ValidationException", "either instance ids or targets")
	}
	var list []Instance
	for _, id := range in.InstanceIds {
		i, known := s.instances[id]
		if !known || i.ping() != "Online" {
			return nil, refuse("InvalidInstanceId", s.naming("Instances [[%s]] not in a valid state for account 000000000000", id))
		}
		if !s.allowed(i) {
			return nil, refuse("AccessDeniedException", s.naming("User: simulated is not authorized to perform: ssm:SendCommand on resource: arn:aws:ec2:us-east-1:000000000000:instance/%s", id))
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

// allowed tells whether the role's policy covers the instance.
func (s *Sim) allowed(i Instance) bool {
	name, value, bound := strings.Cut(s.opts.Tagged, "=")
	return !bound || i.Tags[name] == value
}

func (s *Sim) naming(format, id string) string {
	if s.opts.Terse {
		return ""
	}
	return fmt.Sprintf(format, id)
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

// RunShellScript is AWS's own document.
const RunShellScript = "AWS-RunShellScript"

func joined(parameters map[string][]string) (string, *refusal) {
	commands := parameters["commands"]
	if len(commands) == 0 {
		return "", refuse("InvalidParameters", "commands: required")
	}
	return strings.Join(commands, "\n"), nil
}
