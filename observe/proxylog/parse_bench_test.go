package proxylog_test

import (
	"bytes"
	"runtime"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
)

// BenchmarkParse cuts lines and parses them, in memory, beside a loop over the
// same bytes that only finds the newlines. The two take turns over pieces of a
// megabyte, and for each piece the best time of either counts: so other work on
// the machine, which comes and goes, is left out of both alike.
func BenchmarkParse(b *testing.B) {
	b.Run("combined", func(b *testing.B) { benchParse(b, benchLines(writeCombined)) })
	b.Run("json", func(b *testing.B) { benchParse(b, benchLines(writeJSON)) })
	b.Run("caddy", func(b *testing.B) { benchParse(b, benchLines(writeCaddy)) })
}

func benchParse(b *testing.B, text []byte) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	p := proxylog.NewParser(proxylog.Auto)
	pieces := cutPieces(text)
	parsing, finding := make([]time.Duration, len(pieces)), make([]time.Duration, len(pieces))
	lines := int64(bytes.Count(text, []byte("\n")))
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		var understood, found int64
		for i, piece := range pieces {
			// Twice, so that both find the piece in the cache.
			for range 2 {
				began := time.Now()
				understood += parseAll(p, piece)
				parsed := time.Now()
				found += countNewlines(piece)
				keepLeast(&parsing[i], parsed.Sub(began))
				keepLeast(&finding[i], time.Since(parsed))
			}
		}
		if understood != 2*lines || found != 2*lines {
			b.Fatalf("%d of %d lines understood, %d found", understood, 2*lines, found)
		}
	}
	parse, find := sum(parsing), sum(finding)
	b.ReportMetric(float64(len(text))/parse.Seconds()/1e9, "parse-GB/s")
	b.ReportMetric(float64(len(text))/find.Seconds()/1e9, "newlines-GB/s")
	b.ReportMetric(parse.Seconds()/find.Seconds(), "ratio")
	b.ReportMetric(float64(len(text))/float64(lines), "B/line")
	b.ReportMetric(float64(parse.Nanoseconds())/float64(lines), "ns/line")
}

// cutPieces cuts text into pieces of whole lines, of a megabyte or so.
func cutPieces(text []byte) (pieces [][]byte) {
	for len(text) > 0 {
		n := min(1<<20, len(text))
		n += bytes.IndexByte(text[n-1:], '\n')
		pieces, text = append(pieces, text[:n]), text[n:]
	}
	return pieces
}

func keepLeast(least *time.Duration, d time.Duration) {
	if *least == 0 || d < *least {
		*least = d
	}
}

func sum(list []time.Duration) (total time.Duration) {
	for _, d := range list {
		total += d
	}
	return total
}

func parseAll(p *proxylog.Parser, text []byte) (understood int64) {
	var h proxylog.Hit
	for {
		i := bytes.IndexByte(text, '\n')
		if i < 0 {
			return understood
		}
		if p.Parse(text[:i], &h) != proxylog.NotUnderstood {
			understood++
		}
		text = text[i+1:]
	}
}

func countNewlines(text []byte) (lines int64) {
	for {
		i := bytes.IndexByte(text, '\n')
		if i < 0 {
			return lines
		}
		lines++
		text = text[i+1:]
	}
}
