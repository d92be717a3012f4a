package traffic_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
)

// BenchmarkCount writes 743,000 address-minutes, which is what a gibibyte of log
// comes to, a hundred thousand at a time: what PostgreSQL costs, without the
// reading.
func BenchmarkCount(b *testing.B) {
	const all, part = 743_000, 100_000
	options := &proxylog.TallyOptions{}
	for b.Loop() {
		c := counter(open(b, database(b)))
		begin := time.Now().UTC().Truncate(time.Hour).Add(-24 * time.Hour)
		position := int64(proxylog.NoPosition)
		for from := 0; from < all; from += part {
			tally := proxylog.NewTally(options)
			for i := from; i < min(from+part, all); i++ {
				h := proxylog.Hit{Time: begin.Add(time.Duration(i/1000) * time.Minute), Operation: proxylog.Messages, Status: 200,
					Client: netip.AddrFrom4([4]byte{10, 1, byte(i % 1000 / 256), byte(i % 1000 % 256)})}
				tally.Add(&h)
				tally.Lines++
			}
			m := proxylog.Move{Key: "x", From: position, To: int64(from + part)}
			if err := c.Count(b.Context(), &proxylog.Batch{Input: "file", Tally: tally, Moves: []proxylog.Move{m}}); err != nil {
				b.Fatal(err)
			}
			position = m.To
		}
	}
	b.ReportMetric(float64(b.Elapsed().Seconds())/float64(b.N), "s/743k")
}
