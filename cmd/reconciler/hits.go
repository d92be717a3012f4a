package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/molecule-ai/billing-reconciler/internal/config"
	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
)

// hitsFlags are what to count, as typed.
type hitsFlags struct {
	by, format   string
	operations   []string
	since, until string
	billed       []string
	trusted      []string
}

func (a *app) hitsCommand() *cobra.Command {
	var f hitsFlags
	cmd := &cobra.Command{
		Use:   "hits FILE...",
		Short: "count the billable calls in proxy logs",
		Long: `Reads access logs of the LLM proxy and counts its billable calls, with the same
code as the daemon. FILE is a file, a quoted glob, or - for standard input;
what is packed by gzip or zstd is unpacked. Needs no configuration file.

The result has the columns of --by, then billed and rejected: calls that cost
money, and calls that were tried and did not. What no line gave is - in a table,
null in JSON and YAML, nothing in CSV (-o csv). How much was read, and how many lines were not
understood, is said on stderr.

Times are of the lines, in UTC. A time is 2026-05-28T18:31:00Z, a date (its
first moment), or how long ago, such as 2h or 1d12h.

Exit status: 0 counted; 1 it failed, a file could not be read (the others are
counted all the same), or not one line was understood.`,
		Example: `  reconciler hits /var/log/cp/access.log
  reconciler hits --by ip,minute --since 2h --operation messages '/var/log/cp/access*'
  zcat old.log.gz | reconciler hits -o json -`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.hits(cmd.Context(), args, f, cmd.InOrStdin())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.by, "by", "ip", "`columns` to group by, any of ip, minute, workspace, operation, status")
	flags.StringSliceVar(&f.operations, "operation", nil, "only these `operations`: messages, batches, chat_completions, responses (default all)")
	flags.StringVar(&f.since, "since", "", "only calls at or after this `time`")
	flags.StringVar(&f.until, "until", "", "only calls before this `time`")
	flags.StringVar(&f.format, "format", "auto", "`format` of the lines: auto, combined, json or alb")
	flags.StringSliceVar(&f.billed, "billed", proxylog.DefaultBilled, "`statuses` that cost money")
	flags.StringSliceVar(&f.trusted, "trusted-proxy", nil, "`networks` whose X-Forwarded-For is believed")
	completeWords(cmd, "by", "ip", "minute", "workspace", "operation", "status")
	completeWords(cmd, "operation", "messages", "batches", "chat_completions", "responses")
	completeWords(cmd, "format", "auto", "combined", "json", "alb")
	return cmd
}

// completeWords offers a flag's words to the shell.
func completeWords(cmd *cobra.Command, flag string, words ...string) {
	offer := cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)
	if err := cmd.RegisterFlagCompletionFunc(flag, offer); err != nil {
		panic(err) // no such flag: a slip in this file
	}
}

func (a *app) hits(ctx context.Context, inputs []string, f hitsFlags, stdin io.Reader) error {
	if err := a.oneOf("table", "json", "csv", "yaml"); err != nil {
		return err
	}
	if len(inputs) == 0 {
		return errors.New("hits: no log given: name files, or - for standard input")
	}
	options, err := f.options(time.Now())
	if err != nil {
		return err
	}
	options.Stdin = interruptible(ctx, stdin)
	if a.term.live {
		options.Progress = a.reading()
	}
	names, errs := present(inputs)
	counted, err := proxylog.Count(ctx, names, options)
	a.term.settle()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	errs = append(errs, err)
	if counted.Stats.Files > 0 {
		errs = append(errs, a.writeHits(counted))
		a.sayRead(counted)
	}
	if n := counted.Stats; n.Lines > 0 && n.NotUnderstood == n.Lines {
		errs = append(errs, errors.New("hits: no line was understood: are these access logs? --format takes combined, json and alb"))
	}
	return errors.Join(errs...)
}

// options reads the flags. Times that are so long ago are so before now.
func (f *hitsFlags) options(now time.Time) (o proxylog.CountOptions, err error) {
	if o.By, err = proxylog.ParseColumns(f.by); err != nil {
		return o, fmt.Errorf("--by: %w", err)
	}
	if o.Format, err = proxylog.ParseFormat(f.format); err != nil {
		return o, fmt.Errorf("--format: %w", err)
	}
	for _, name := range f.operations {
		op, err := proxylog.ParseOperation(name)
		if err != nil {
			return o, fmt.Errorf("--operation: %w", err)
		}
		o.Operations = append(o.Operations, op)
	}
	if o.Billed, err = proxylog.ParseStatuses(f.billed); err != nil {
		return o, fmt.Errorf("--billed: %w", err)
	}
	if o.Proxies, err = proxylog.ParseProxies(f.trusted); err != nil {
		return o, fmt.Errorf("--trusted-proxy: %w", err)
	}
	if o.Since, err = moment(f.since, now); err != nil {
		return o, fmt.Errorf("--since: %w", err)
	}
	if o.Until, err = moment(f.until, now); err != nil {
		return o, fmt.Errorf("--until: %w", err)
	}
	if !o.Until.IsZero() && !o.Since.Before(o.Until) {
		return o, fmt.Errorf("--since %s: not before --until %s", f.since, f.until)
	}
	return o, nil
}

// moment reads a time, a date or how long ago; "" is the zero time.
func moment(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := config.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q: want a time such as 2026-05-28T18:31:00Z, a date, or how long ago such as 2h", text)
}

// present sorts out what is not there to be read: one file that is missing
// must not keep the others from being counted.
func present(inputs []string) (names []string, errs []error) {
	for _, in := range inputs {
		for _, name := range matching(in) {
			st, err := os.Stat(name)
			switch {
			case name == proxylog.Stdin:
				names = append(names, name)
			case err != nil && name == in && strings.ContainsAny(in, `*?[`):
				errs = append(errs, fmt.Errorf("read log: no file matches %q", in))
			case err != nil:
				errs = append(errs, fmt.Errorf("read log: %w", err))
			case st.IsDir():
				errs = append(errs, fmt.Errorf("read log: %s is a directory: name its files, such as '%s'", name, filepath.Join(name, "*.log")))
			default:
				names = append(names, name)
			}
		}
	}
	return names, errs
}

// matching gives the files that a glob matches; anything else is itself.
func matching(in string) []string {
	if _, err := os.Lstat(in); err != nil {
		if files, err := filepath.Glob(in); err == nil && len(files) > 0 {
			return files
		}
	}
	return []string{in}
}

// readerFunc is a Read.
type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// interruptible makes a reader that is done when ctx is: a terminal or a silent
// pipe would let nobody leave otherwise. The read that is then left behind has
// a buffer that is not looked at again, and ends with the program.
func interruptible(ctx context.Context, r io.Reader) io.Reader {
	type result struct {
		n   int
		err error
	}
	return readerFunc(func(p []byte) (int, error) {
		done := make(chan result, 1)
		go func() {
			n, err := r.Read(p)
			done <- result{n, err}
		}()
		select {
		case got := <-done:
			return got.n, got.err
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	})
}
