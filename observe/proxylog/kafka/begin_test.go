package kafka_test

import (
	"strings"
	"testing"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
	"github.com/molecule-ai/billing-reconciler/observe/proxylog/kafka"
)

func TestWhereReadingGoesOn(t *testing.T) {
	for _, row := range []struct {
		rule  string
		facts kafka.Facts
		want  int64
		says  string // "": nothing is told
	}{
		{"never read: at the beginning of what there is", kafka.Facts{Stored: proxylog.NoPosition, Is: 1, First: 7, End: 9}, 7, ""},
		{"where it was counted to", kafka.Facts{Stored: 8, Was: 1, Is: 1, First: 7, End: 9}, 8, ""},
		{"all was counted", kafka.Facts{Stored: 9, Was: 1, Is: 1, First: 7, End: 9}, 9, ""},
		{"all was counted, and then deleted", kafka.Facts{Stored: 9, Was: 1, Is: 1, First: 9, End: 9}, 9, ""},
		{"retention was faster", kafka.Facts{Stored: 3, Was: 1, Is: 1, First: 7, End: 9}, 7, "4 messages were deleted"},
		{"retention was faster, brokers without ids", kafka.Facts{Stored: 3, First: 7, End: 9}, 7, "4 messages were deleted"},
		{"another topic of the name, shorter", kafka.Facts{Stored: 8, Was: 1, Is: 2, First: 0, End: 2}, 0, "made anew"},
		{"another topic of the name, longer: no offset would tell", kafka.Facts{Stored: 8, Was: 1, Is: 2, First: 0, End: 20}, 0, "made anew"},
		{"less than was read, the same topic: what is there was counted", kafka.Facts{Stored: 8, Was: 1, Is: 1, First: 0, End: 5}, 5, "lost messages"},
		{"less than was read, brokers without ids: more likely another topic", kafka.Facts{Stored: 8, First: 0, End: 5}, 0, "probably made anew"},
		{"an id where there was none is no other topic", kafka.Facts{Stored: 8, Is: 2, First: 0, End: 9}, 8, ""},
		{"other messages in the places of those that were read", kafka.Facts{Stored: 8, Was: 1, Is: 1, First: 0, End: 20, DivergedKnown: true, Diverged: 6}, 6, "others have taken"},
		{"other messages, but of those that were not read", kafka.Facts{Stored: 8, Was: 1, Is: 1, First: 0, End: 20, DivergedKnown: true, Diverged: 12}, 8, ""},
	} {
		t.Run(row.rule, func(t *testing.T) {
			got, says := kafka.Begin(row.facts)
			if got != row.want || (says == "") != (row.says == "") || !strings.Contains(says, row.says) {
				t.Errorf("at %d (%q), want at %d (%q)", got, says, row.want, row.says)
			}
		})
	}
}
