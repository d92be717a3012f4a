package main

import (
	"bufio"
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
)

// writeHits prints the rows of a count in the order that they have. There may
// be millions (addresses times minutes), so nothing is written row by row.
func (a *app) writeHits(counted proxylog.Report) error {
	out := bufio.NewWriterSize(a.stdout, 64<<10)
	var err error
	switch a.output {
	case "json":
		_, err = out.Write(hitsJSON(counted))
	case "yaml":
		err = writeYAML(out, hitsJSON(counted))
	case "csv":
		err = hitsCSV(out, counted)
	default:
		a.hitsTable(out, counted)
	}
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		return fmt.Errorf("write hits: %w", err)
	}
	return nil
}

// hitsJSON gives a list with an object a row, one a line: the columns by name
// in their order, billed and rejected. A status is a number, everything else a
// string, and null where the lines gave none.
func hitsJSON(counted proxylog.Report) []byte {
	if len(counted.Rows) == 0 {
		return []byte("[]\n")
	}
	var b []byte
	for i, row := range counted.Rows {
		b = append(b, pick(i == 0, "[\n  {", ",\n  {")...)
		for _, c := range counted.By {
			b = strconv.AppendQuote(b, string(c))
			b = append(b, ": "...)
			b = append(b, jsonValue(row, c)...)
			b = append(b, ", "...)
		}
		b = append(b, `"billed": `...)
		b = strconv.AppendInt(b, row.Billed, 10)
		b = append(b, `, "rejected": `...)
		b = strconv.AppendInt(b, row.Rejected, 10)
		b = append(b, '}')
	}
	return append(b, "\n]\n"...)
}

// jsonValue needs no JSON encoder: addresses, times, uuids and our own words
// have nothing to escape.
func jsonValue(row proxylog.Row, c proxylog.Column) string {
	text := row.Value(c)
	switch {
	case c == proxylog.ByStatus:
		return strconv.Itoa(row.Status)
	case text == proxylog.Unknown:
		return "null"
	}
	return strconv.Quote(text)
}

func hitsCSV(out io.Writer, counted proxylog.Report) error {
	w := csv.NewWriter(out)
	_ = w.Write(hitsHeader(counted)) // the writer keeps its first error for the end
	for _, row := range counted.Rows {
		record := hitsRecord(counted, row)
		for i := range record {
			if record[i] == proxylog.Unknown {
				record[i] = ""
			}
		}
		_ = w.Write(record)
	}
	w.Flush()
	return w.Error()
}

func (a *app) hitsTable(out io.Writer, counted proxylog.Report) {
	header := hitsHeader(counted)
	for i := range header {
		header[i] = strings.ToUpper(header[i])
	}
	rows := make([][]cell, len(counted.Rows))
	for i, row := range counted.Rows {
		rows[i] = plain(hitsRecord(counted, row)...)
	}
	t := &terminal{stdout: out, color: a.term.color}
	t.table(header, rows)
}

func hitsHeader(counted proxylog.Report) []string {
	var names []string
	for _, c := range counted.By {
		names = append(names, string(c))
	}
	return append(names, "billed", "rejected")
}

func hitsRecord(counted proxylog.Report, row proxylog.Row) []string {
	record := make([]string, 0, len(counted.By)+2)
	for _, c := range counted.By {
		record = append(record, row.Value(c))
	}
	return append(record, strconv.FormatInt(row.Billed, 10), strconv.FormatInt(row.Rejected, 10))
}

// sayRead says on stderr how much was read and what it came to.
func (a *app) sayRead(counted proxylog.Report) {
	if a.quiet {
		return
	}
	var billed, rejected int64
	for _, row := range counted.Rows {
		billed += row.Billed
		rejected += row.Rejected
	}
	n := counted.Stats
	_, _ = fmt.Fprintf(a.stderr, "%s in %s read, %d not understood; %s billed, %d rejected\n",
		several(n.Lines, "line"), several(int64(n.Files), "file"), n.NotUnderstood, several(billed, "call"), rejected)
}

func several(n int64, noun string) string {
	return fmt.Sprintf("%d %s", n, pick(n == 1, noun, noun+"s"))
}

// reading shows now and then how much of the logs was read.
func (a *app) reading() func(int64) {
	var read int64
	var shown time.Time
	return func(n int64) {
		read += n
		if now := time.Now(); now.Sub(shown) > 100*time.Millisecond {
			shown = now
			a.term.progress("reading logs, MiB:", int(read>>20), 0)
		}
	}
}
