package config

import (
	"context"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Watching is Watch in parts, one of them left out.
type Watching struct {
	Poll     time.Duration // 0: no polling
	Told     bool          // by the kernel
	Patience time.Duration
	Files    func() []string
	Changed  func()
	Begun    func() // from now on every change is one
}

// Run is Watch.
func (o Watching) Run(ctx context.Context) error {
	w := &watch{files: o.Files, changed: o.Changed, calm: calm, patience: o.Patience, poll: o.Poll, wake: make(chan struct{}, 1)}
	if w.poll == 0 {
		w.poll = 24 * time.Hour
	}
	if o.Told {
		notes, err := fsnotify.NewWatcher()
		if err != nil {
			return err
		}
		defer w.listen(notes)()
	}
	w.begin()
	o.Begun()
	w.run(ctx)
	return nil
}
