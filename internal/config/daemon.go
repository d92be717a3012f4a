package config

import (
	"fmt"
	"log/slog"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// State says where the reconciler keeps what it knows: a database, or a
// directory in which it runs one of its own.
type State struct {
	// URL of a PostgreSQL database.
	Database drift.Secret `yaml:"database" restart:"yes"`
	// Directory in which to run a private PostgreSQL, in place of `database`.
	Embedded Path `yaml:"embedded" restart:"yes"`
	// Connections that one replica may have open at once.
	MaxConnections int `yaml:"max_connections" default:"10" min:"2" restart:"yes"`
	// How long what is over is kept.
	Retention Retention `yaml:"retention"`
}

// Retention says how long what is over is kept. What still lasts, an open drift
// or an address that is held, is never deleted.
type Retention struct {
	// Events, and with them how far back a reader of events may begin.
	Events Duration `yaml:"events" default:"90d" min:"1h"`
	// Drifts, from the day on which they closed.
	Drifts Duration `yaml:"drifts" default:"365d" min:"1h"`
	// Who held which address when, from the end of the holding: proxy logs older than this can no longer be attributed.
	Addresses Duration `yaml:"addresses" default:"90d" min:"1h"`
	// Calls read from the proxy's log, which are kept five minutes together for two days, then by the hour, and by the day from a month on.
	Traffic Duration `yaml:"traffic" default:"400d" min:"49h"`
}

// Surge says when so many desired modes have changed at once that the inputs
// are the suspect. Both must be reached.
type Surge struct {
	// Share of a tenant's workspaces in percent; 0 turns it off.
	Percent int `yaml:"percent" default:"20" min:"0" max:"100"`
	// Number of workspaces, so that a small tenant may change one.
	AtLeast int `yaml:"at_least" default:"3" min:"1"`
}

// Alerting says how often one drift is told.
type Alerting struct {
	// A drift that opens again so soon after it closed goes on, and is not told again.
	Settle Duration `yaml:"settle" default:"5m" min:"0s"`
	// From a drift's opening to its first reminder, each later distance being twice the one before; 0s is none.
	RemindAfter Duration `yaml:"remind_after" default:"1h" min:"0s"`
	// The longest distance from one reminder to the next.
	RemindAtMost Duration `yaml:"remind_at_most" default:"24h" min:"0s"`
}

// Logging is the daemon's own log, on stderr.
type Logging struct {
	// text, key=value for people; json, an object a line.
	Format LogStyle `yaml:"format" default:"text" restart:"yes"`
	// Nothing below it is written: debug, info, warn or error.
	Level LogLevel `yaml:"level" default:"info"`
}

func (s *State) validate(fail failer) {
	if s.Database != "" && s.Embedded != "" {
		fail("embedded", "database is given too: one of them")
	}
}

func (a *Alerting) validate(fail failer) {
	if a.RemindAfter.Duration > 0 && a.RemindAtMost.Duration < a.RemindAfter.Duration {
		fail("remind_at_most", fmt.Sprintf("shorter than remind_after, %s: the first reminder's distance is the least", a.RemindAfter))
	}
}

// LogStyle is how the daemon's own log is written.
type LogStyle string

// The styles of the log.
const (
	LogText LogStyle = "text"
	LogJSON LogStyle = "json"
)

func (LogStyle) words() []string { return []string{string(LogText), string(LogJSON)} }

// LogLevel is the least level that the daemon's own log writes.
type LogLevel string

func (LogLevel) words() []string { return []string{"debug", "info", "warn", "error"} }

// Level implements slog.Leveler.
func (l LogLevel) Level() slog.Level {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l)); err != nil {
		return slog.LevelInfo // the zero value; Load lets no other word pass
	}
	return level
}
