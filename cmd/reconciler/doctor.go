package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/molecule-ai/billing-reconciler/desired"
	"github.com/molecule-ai/billing-reconciler/internal/config"
	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
)

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "try every dependency, one by one, and say how to mend what is wrong",
		Long: `Tries the configuration, the registry, each tenant's database (its columns, the
encryption key, the clock), AWS (identity, inventory, document), each platform's
token, the proxy logs, and whether each sink can be reached. Writes nothing, changes nothing.

Exit status: 0 all is well, warnings included; 1 something is not.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.doctor(cmd.Context()) },
	}
}

// diagnosis is one thing tried.
type diagnosis struct {
	Check  string `json:"check"`
	Of     string `json:"of"`
	Status string `json:"status"` // ok, warning, failed
	What   string `json:"what"`
	Remedy string `json:"remedy,omitempty"`
}

const (
	statusOK      = "ok"
	statusWarning = "warning"
	statusFailed  = "failed"
)

// examination gathers diagnoses.
type examination struct {
	list []diagnosis
	each func(diagnosis) // shows one as soon as it is known
}

func (x *examination) add(d diagnosis) {
	x.list = append(x.list, d)
	if x.each != nil {
		x.each(d)
	}
}

func (x *examination) ok(check, of, format string, args ...any) {
	x.add(diagnosis{check, of, statusOK, fmt.Sprintf(format, args...), ""})
}

func (x *examination) warn(check, of, what, remedy string) {
	x.add(diagnosis{check, of, statusWarning, what, remedy})
}

func (x *examination) fail(check, of string, err error, remedy string) {
	x.add(diagnosis{check, of, statusFailed, err.Error(), remedy})
}

func (a *app) doctor(ctx context.Context) error {
	if err := a.oneOf("table", "json", "yaml"); err != nil {
		return err
	}
	x := &examination{}
	if a.output == "table" {
		x.each = a.showDiagnosis
	}
	a.examine(ctx, x)
	if a.output != "table" {
		if err := a.write(x.list); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, d := range x.list {
		if d.Status == statusFailed {
			return exitError(exitFailed)
		}
	}
	return nil
}

func (a *app) showDiagnosis(d diagnosis) {
	color := map[string]string{statusOK: green, statusWarning: yellow, statusFailed: red}[d.Status]
	name := d.Check
	if d.Of != "" {
		name += " " + d.Of
	}
	_, _ = fmt.Fprintf(a.stdout, "%s  %-28s %s\n", a.term.paint(color, fmt.Sprintf("%-7s", d.Status)), printable(name),
		strings.ReplaceAll(printable(d.What), "\n", "\n"+strings.Repeat(" ", 38)))
	if d.Remedy != "" {
		_, _ = fmt.Fprintf(a.stdout, "%38s→ %s\n", "", d.Remedy)
	}
}

// examine tries everything; what builds on something that failed is left out.
func (a *app) examine(ctx context.Context, x *examination) {
	cfg, err := a.load()
	if err != nil {
		x.fail("configuration", "", err, "correct the file; reconciler config init writes a new one, config schema helps editors")
		return
	}
	if err := cfg.Validate(config.NeedAWS); err != nil {
		x.fail("configuration", "", err, "correct the file")
		return
	}
	x.ok("configuration", "", "%d sources, global_secrets are the %s's", len(cfg.Sources), cfg.Policy.GlobalSecrets)
	registry, err := desired.LoadRegistry(string(cfg.Registry))
	if err != nil {
		x.fail("registry", "", err, "give the very file that the platform runs with")
		return
	}
	a.examineState(ctx, x, cfg)
	x.ok("registry", "", "%d providers, %d runtimes, sha256 %.12s", len(registry.Providers), len(registry.Runtimes), registry.Digest())
	w, err := a.open(ctx, forCheck)
	if err != nil {
		x.fail("configuration", "", err, "")
		return
	}
	defer w.close()
	for _, s := range w.sources {
		w.examineSource(ctx, x, s.Name)
	}
	w.examineAWS(ctx, x)
	w.examinePlatforms(ctx, x)
	w.examineLogs(ctx, x)
	examineSinks(ctx, x, cfg)
}

// clockTolerance is how far a tenant's clock may be off before dates of
// secrets and starts of containers cannot be compared.
const clockTolerance = 5 * time.Second

func (w *world) examineSource(ctx context.Context, x *examination, name string) {
	e, err := w.readers[name].Examine(ctx)
	if err != nil {
		x.fail("database", name, err, "")
		return
	}
	x.ok("database", name, "PostgreSQL %s, %d workspaces", e.Version, e.Workspaces)
	if len(e.Missing) > 0 {
		x.ok("columns", name, "an older platform: without %s", strings.Join(e.Missing, ", "))
	}
	if e.MayWrite {
		x.warn("role", name, "the role may write; every transaction is read-only all the same", "make a role that only reads: deploy/sql/reader.sql")
	}
	switch {
	case e.Unopened > 0:
		x.fail("key", name, fmt.Errorf("%d of %d models do not decrypt", e.Unopened, e.Unopened+e.Opened), "give sources[].encryption_key as the platform has SECRETS_ENCRYPTION_KEY")
	case e.Opened > 0:
		x.ok("key", name, "%d of the newest models decrypt; %d encrypted rows in all", e.Opened, e.Sealed)
	case e.Sealed > 0:
		x.warn("key", name, fmt.Sprintf("%d rows are encrypted, but no model to try the key on", e.Sealed), "")
	default:
		x.ok("key", name, "not needed: no row is encrypted")
	}
	if off := e.Ahead.Abs(); off > clockTolerance {
		x.warn("clock", name, fmt.Sprintf("the database's clock differs from ours by %s", e.Ahead.Round(time.Millisecond)), "run NTP on both")
	} else {
		x.ok("clock", name, "differs by %s", off.Round(time.Millisecond))
	}
}

// nobody is a workspace id that does not exist: the read endpoint answers it
// with the default, which proves route, organisation and token.
const nobody = "00000000-0000-4000-8000-000000000000"

func (w *world) examinePlatforms(ctx context.Context, x *examination) {
	for _, s := range w.sources {
		if s.Platform == nil {
			x.ok("platform", s.Name, "not configured: the read endpoint is not asked")
			continue
		}
		if answer := s.Platform.ReadMode(ctx, nobody); answer.Err != "" {
			x.fail("platform", s.Name, fmt.Errorf("%s", answer.Err), "check sources[].platform: url, admin_token, org_id")
			continue
		}
		x.ok("platform", s.Name, "the read endpoint answers")
	}
}

func (w *world) examineLogs(ctx context.Context, x *examination) {
	files := 0
	for _, l := range w.cfg.Observe.Logs {
		if l.File == nil {
			x.warn("log", "", "inputs other than files are the daemon's: check reads files alone", "")
			continue
		}
		files++
		w.examineLog(ctx, x, l.File)
	}
	if files == 0 {
		x.warn("log", "", "no log file is configured: nobody sees the calls that cost money", "set observe.logs")
	}
}

func (w *world) examineLog(ctx context.Context, x *examination, l *config.LogFile) {
	path := string(l.Path)
	if found, err := filepath.Glob(path); err == nil && len(found) == 0 {
		x.fail("log", path, fmt.Errorf("no such file"), "correct observe.logs, or wait for the proxy's first call")
		return
	}
	format, err := proxylog.ParseFormat(string(l.Format))
	if err != nil {
		x.fail("log", path, err, "")
		return
	}
	stats, err := proxylog.Read(ctx, []string{path}, proxylog.ReadOptions{Format: format}, func(*proxylog.Hit) {})
	switch {
	case err != nil:
		x.fail("log", path, err, "let the reconciler's user read it")
	case stats.Lines > 0 && stats.NotUnderstood*2 > stats.Lines:
		x.fail("log", path, fmt.Errorf("%d of %d lines are not understood", stats.NotUnderstood, stats.Lines), "set observe.logs[].file.format; docs/facts.md lists the formats")
	default:
		x.ok("log", path, "%d lines, %d billable calls, %d lines not understood", stats.Lines, stats.Calls, stats.NotUnderstood)
	}
}
