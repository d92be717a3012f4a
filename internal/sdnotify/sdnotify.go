// Package sdnotify tells systemd how the daemon is: started, reading its
// configuration again, stopping, alive. The protocol is sd_notify(3), and
// go-systemd speaks it. Where systemd did not start the process, every call
// does nothing and succeeds.
//
// It promises that the watchdog is fed only while the daemon says that it
// lives: a process that merely exists is not worth keeping.
package sdnotify

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Ready tells that the daemon has started, or has read its configuration again,
// and what it is doing.
func Ready(status string) error {
	return tell("ready", daemon.SdNotifyReady, statusLine(status))
}

// Reloading tells that the configuration is being read. Ready must follow, also
// where the configuration was refused: the one before is in force then. systemd
// matches the two by the time that goes with it.
func Reloading() error {
	return tell("reloading", daemon.SdNotifyReloading, strings.TrimSpace(daemon.SdNotifyMonotonicUsec()))
}

// Stopping tells that the daemon ends what is in flight.
func Stopping() error {
	return tell("stopping", daemon.SdNotifyStopping, statusLine("ending what is in flight"))
}

// Status sets the line that `systemctl status` shows.
func Status(status string) error { return tell("status", statusLine(status)) }

// Watchdog feeds systemd's watchdog, at half the time that it allows, while
// alive gives nil; what it gives else is shown as the status. It returns when
// ctx ends, at once where there is no watchdog. alive must end with its
// context, which lasts until the next feeding is due: one that hangs starves
// the watchdog too, and systemd then ends the daemon with its goroutines in the
// log.
func Watchdog(ctx context.Context, alive func(context.Context) error) error {
	allowed, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return fmt.Errorf("feed systemd's watchdog: %w; it sets WATCHDOG_USEC itself, so nothing else should", err)
	}
	if allowed == 0 {
		return nil
	}
	return feed(ctx, allowed/2, alive)
}

func feed(ctx context.Context, every time.Duration, alive func(context.Context) error) error {
	due := time.NewTicker(every)
	defer due.Stop()
	for {
		if err := check(ctx, every, alive); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-due.C:
		}
	}
}

// check feeds the watchdog once, or tells why not.
func check(ctx context.Context, within time.Duration, alive func(context.Context) error) error {
	checking, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	err := alive(checking)
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		return Status("watchdog not fed: " + err.Error())
	}
	return tell("alive", daemon.SdNotifyWatchdog)
}

// statusLine makes one line of a status: what follows a line's end would be
// read as more of the protocol.
func statusLine(status string) string {
	return "STATUS=" + strings.Join(strings.Fields(status), " ")
}

func tell(what string, lines ...string) error {
	if _, err := daemon.SdNotify(false, strings.Join(lines, "\n")); err != nil {
		return fmt.Errorf("tell systemd %s: %w", what, err)
	}
	return nil
}
