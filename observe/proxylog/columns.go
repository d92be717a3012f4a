package proxylog

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Column is what hits may be grouped by.
type Column string

// The columns, as users type and read them.
const (
	ByIP        Column = "ip"
	ByMinute    Column = "minute"
	ByWorkspace Column = "workspace" // as named in the line
	ByOperation Column = "operation"
	ByStatus    Column = "status"
)

// Columns lists all columns.
var Columns = []Column{ByIP, ByMinute, ByWorkspace, ByOperation, ByStatus}

// ParseColumns reads a list such as "ip,minute". "" is ip.
func ParseColumns(list string) ([]Column, error) {
	if strings.TrimSpace(list) == "" {
		return []Column{ByIP}, nil
	}
	var out []Column
	for name := range strings.SplitSeq(list, ",") {
		c := Column(strings.TrimSpace(name))
		if !slices.Contains(Columns, c) {
			return nil, fmt.Errorf("group by %q: not one of ip, minute, workspace, operation, status", c)
		}
		if slices.Contains(out, c) {
			return nil, fmt.Errorf("group by %q: given twice", c)
		}
		out = append(out, c)
	}
	return out, nil
}

// Unknown is how a value that no line gave is shown.
const Unknown = "-"

// Value is the text of one column: an address, a minute in UTC such as
// 2026-05-28T18:31:00Z, a uuid, an operation or a status.
func (r Row) Value(c Column) string {
	text := ""
	switch c {
	case ByIP:
		if r.IP.IsValid() {
			text = r.IP.String()
		}
	case ByMinute:
		text = r.Minute.Format(time.RFC3339)
	case ByWorkspace:
		text = r.Workspace.String()
	case ByOperation:
		text = r.Operation.String()
	case ByStatus:
		text = fmt.Sprintf("%03d", r.Status)
	}
	if text == "" {
		return Unknown
	}
	return text
}
