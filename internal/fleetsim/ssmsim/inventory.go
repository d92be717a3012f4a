package ssmsim

import (
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"
)

type inventoryInput struct {
	Filters []struct {
		Key    string
		Values []string
	}
	MaxResults *int
	NextToken  string
}

type instanceInformation struct {
	InstanceId       string //nolint:revive // AWS's spelling
	PingStatus       string
	LastPingDateTime float64
	PlatformType     string
	IPAddress        string `json:",omitempty"`
}

func (s *Sim) describeInstanceInformation(body json.RawMessage) (any, *refusal) {
	var in inventoryInput
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, refuse("SerializationException", err.Error())
	}
	limit := 10
	if in.MaxResults != nil {
		limit = *in.MaxResults
	}
	if limit < 5 || limit > 50 {
		return nil, refuse("ValidationException", fmt.Sprintf("Value '%d' at 'maxResults' failed to satisfy constraint", limit))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []instanceInformation
	for i := range s.candidates(in) {
		match, problem := i.matches(in)
		if problem != nil {
			return nil, problem
		}
		if match {
			list = append(list, i.information())
		}
	}
	slices.SortFunc(list, func(a, b instanceInformation) int {
		if a.InstanceId < b.InstanceId {
			return -1
		}
		return 1
	})
	part, next, problem := page(s, list, limit, in.NextToken)
	return map[string]any{"InstanceInformationList": part, "NextToken": next}, problem
}

// candidates gives those whom the filter may let through: where it names
// instances, these, lest a big fleet be gone through at every call.
func (s *Sim) candidates(in inventoryInput) iter.Seq[Instance] {
	for _, f := range in.Filters {
		if f.Key == "InstanceIds" && len(f.Values) <= 100 {
			return func(yield func(Instance) bool) {
				for _, id := range slices.Compact(slices.Sorted(slices.Values(f.Values))) {
					if i, known := s.instances[id]; known && !yield(i) {
						return
					}
				}
			}
		}
	}
	return maps.Values(s.instances)
}

func (i Instance) matches(in inventoryInput) (bool, *refusal) {
	for _, f := range in.Filters {
		if len(f.Values) == 0 || len(f.Values) > 100 {
			return false, refuse("InvalidInstanceInformationFilterValue", "from 1 to 100 values")
		}
		var value string
		switch f.Key {
		case "InstanceIds":
			value = i.ID
		case "PingStatus":
			value = i.ping()
		default:
			name, isTag := tagOf(f.Key)
			if !isTag {
				return false, refuse("InvalidFilterKey", f.Key)
			}
			value = i.Tags[name]
		}
		if !slices.Contains(f.Values, value) {
			return false, nil
		}
	}
	return true, nil
}

func tagOf(key string) (string, bool) {
	const prefix = "tag:"
	if len(key) <= len(prefix) || key[:len(prefix)] != prefix {
		return "", false
	}
	return key[len(prefix):], true
}

func (i Instance) ping() string {
	if i.Ping == "" {
		return "Online"
	}
	return i.Ping
}

func (i Instance) information() instanceInformation {
	out := instanceInformation{InstanceId: i.ID, PingStatus: i.ping(), PlatformType: i.Platform}
	if out.PlatformType == "" {
		out.PlatformType = "Linux"
	}
	last := i.LastPing
	if last.IsZero() {
		last = time.Now()
	}
	out.LastPingDateTime = epoch(last)
	if i.IP.IsValid() {
		out.IPAddress = i.IP.String()
	}
	return out
}
