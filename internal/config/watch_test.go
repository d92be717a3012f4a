package config_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/molecule-ai/billing-reconciler/internal/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// watched is a directory with one file in every place that the tests change,
// and a Watch over it.
type watched struct {
	*testing.T
	dir   string
	names atomic.Pointer[[]string]
	calls chan string // what conf/a.yaml held when changed was called
	looks atomic.Int64
	end   func()
}

// begin watches conf/a.yaml, tenants/*.yaml, and the volume's key. then, if any,
// is what a reload does.
func begin(t *testing.T, how config.Watching, then func(*watched)) *watched {
	t.Helper()
	w := &watched{T: t, dir: t.TempDir(), calls: make(chan string, 100)}
	w.write("conf/a.yaml", "before")
	w.write("tenants/one.yaml", "one")
	w.write("tenants/empty.yaml", "")
	w.write("volume/..2024/key", "secret")
	w.link("..2024", "volume/..data")
	w.link("..data/key", "volume/key")
	w.names.Store(&[]string{w.path("conf/a.yaml"), w.path("tenants/*.yaml"), w.path("volume/key")})
	if how.Patience == 0 {
		how.Patience = 3 * time.Second
	}
	how.Files = func() []string { w.looks.Add(1); return *w.names.Load() }
	how.Changed = func() {
		text, _ := os.ReadFile(w.path("conf/a.yaml"))
		w.calls <- string(text)
		if then != nil {
			then(w)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	begun, ended := make(chan struct{}), make(chan error, 1)
	how.Begun = func() { close(begun) }
	go func() { ended <- how.Run(ctx) }()
	w.end = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		ended <- nil
	}
	t.Cleanup(w.end)
	<-begun
	return w
}

func (w *watched) path(name string) string { return filepath.Join(w.dir, name) }

func (w *watched) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *watched) write(name, text string) {
	w.Helper()
	w.must(os.MkdirAll(filepath.Dir(w.path(name)), 0o750))
	w.must(os.WriteFile(w.path(name), []byte(text), 0o600))
}

func (w *watched) link(to, name string) { w.Helper(); w.must(os.Symlink(to, w.path(name))) }

func (w *watched) rename(from, to string) {
	w.Helper()
	w.must(os.Rename(w.path(from), w.path(to)))
}

func (w *watched) remove(name string) { w.Helper(); w.must(os.RemoveAll(w.path(name))) }

// called waits for changed to be called, and gives what it saw.
func (w *watched) called() string {
	w.Helper()
	select {
	case saw := <-w.calls:
		return saw
	case <-time.After(30 * time.Second):
		w.Fatal("changed was not called")
		return ""
	}
}

// looked waits until everything was looked at again.
func (w *watched) looked() {
	w.Helper()
	const aimAndLook = 2
	before := w.looks.Load()
	for deadline := time.Now().Add(30 * time.Second); w.looks.Load() < before+aimAndLook; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			w.Fatal("nothing was looked at")
		}
	}
}

// changes are what people, editors, Kubernetes and other programs do to files.
var changes = map[string]func(*watched){
	"written over in place": func(w *watched) { w.write("conf/a.yaml", "after") },
	"truncated, and written in pieces": func(w *watched) {
		f, err := os.Create(w.path("conf/a.yaml"))
		w.must(err)
		for _, piece := range []string{"a", "ft", "er"} {
			_, err = f.WriteString(piece)
			w.must(err)
		}
		w.must(f.Close())
	},
	"an editor's rename": func(w *watched) {
		w.write("conf/a.yaml.swp", "after")
		w.rename("conf/a.yaml.swp", "conf/a.yaml")
	},
	"moved away as a backup, and written anew": func(w *watched) {
		w.rename("conf/a.yaml", "conf/a.yaml~")
		w.write("conf/a.yaml", "after")
	},
	"removed, and back": func(w *watched) {
		w.remove("conf/a.yaml")
		w.write("conf/a.yaml", "after")
	},
	"its directory removed, and back": func(w *watched) {
		w.remove("conf")
		w.write("conf/a.yaml", "after")
	},
	"its directory moved away, another in its place": func(w *watched) {
		w.write("next/a.yaml", "after")
		w.rename("conf", "last")
		w.rename("next", "conf")
	},
	"a Kubernetes volume's swap": func(w *watched) {
		w.write("volume/..2025/key", "new secret")
		w.link("..2025", "volume/..data_tmp")
		w.rename("volume/..data_tmp", "volume/..data")
		w.remove("volume/..2024")
	},
	"changed behind its links":       func(w *watched) { w.write("volume/..2024/key", "other secret") },
	"another tenant's file":          func(w *watched) { w.write("tenants/two.yaml", "two") },
	"a tenant's file that is empty":  func(w *watched) { w.write("tenants/two.yaml", "") },
	"a tenant's file that is gone":   func(w *watched) { w.remove("tenants/one.yaml") },
	"a tenant's file of other name":  func(w *watched) { w.rename("tenants/one.yaml", "tenants/uno.yaml") },
	"a file that is gone, and stays": func(w *watched) { w.remove("volume/..data") },
	"an empty file that can't be read any more": func(w *watched) {
		w.remove("tenants/empty.yaml")
		w.must(os.Mkdir(w.path("tenants/empty.yaml"), 0o750))
	},
	"a file that can't be read, being a directory": func(w *watched) {
		w.remove("conf/a.yaml")
		w.must(os.Mkdir(w.path("conf/a.yaml"), 0o750))
	},
}

func TestEveryChangeIsToldOnce(t *testing.T) {
	for how, watching := range map[string]config.Watching{
		"the kernel tells": {Told: true, Patience: time.Second},
		"by polling alone": {Poll: 20 * time.Millisecond, Patience: time.Second},
	} {
		for what, change := range changes {
			t.Run(how+"/"+what, func(t *testing.T) {
				t.Parallel()
				w := begin(t, watching, nil)
				change(w)
				saw := w.called()
				if _, err := os.Stat(w.path("conf/a.yaml/.")); err != nil && saw != "after" && saw != "before" {
					t.Errorf("it saw %q, half of the change", saw)
				}
				w.write("conf/last.yaml", "no file of ours")
				w.end()
				if more := len(w.calls); more != 0 {
					t.Errorf("%d more calls", more)
				}
			})
		}
	}
}

func TestWhatChangesNoContentIsNotTold(t *testing.T) {
	for what, change := range map[string]func(*watched){
		"touched": func(w *watched) {
			w.must(os.Chtimes(w.path("conf/a.yaml"), time.Time{}, time.Now().Add(time.Hour)))
		},
		"written again":           func(w *watched) { w.write("conf/a.yaml", "before") },
		"another file's change":   func(w *watched) { w.write("conf/b.yaml", "x") },
		"a file outside the glob": func(w *watched) { w.write("tenants/two.yaml.bak", "x") },
		"permissions":             func(w *watched) { w.must(os.Chmod(w.path("conf/a.yaml"), 0o640)) },
		"a swap to the same": func(w *watched) {
			w.write("volume/..2025/key", "secret")
			w.link("..2025", "volume/tmp")
			w.rename("volume/tmp", "volume/..data")
		},
		"gone for a moment":          func(w *watched) { w.remove("conf/a.yaml"); w.looked(); w.write("conf/a.yaml", "before") },
		"its directory for a moment": func(w *watched) { w.remove("conf"); w.looked(); w.write("conf/a.yaml", "before") },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := begin(t, config.Watching{Told: true, Patience: time.Minute}, nil)
			change(w)
			w.looked()
			w.write("conf/a.yaml", "after")
			if saw := w.called(); saw != "after" {
				t.Errorf("told when it held %q", saw)
			}
			w.end()
			if more := len(w.calls); more != 0 {
				t.Errorf("%d more calls", more)
			}
		})
	}
}

// A reload reads the files while they may change again: that must not be lost.
func TestAChangeWhileChangedRunsIsToldAfterIt(t *testing.T) {
	var running atomic.Bool
	var calls atomic.Int64
	w := begin(t, config.Watching{Told: true}, func(w *watched) {
		if !running.CompareAndSwap(false, true) {
			t.Error("two calls at once")
		}
		if calls.Add(1) == 1 {
			w.write("conf/a.yaml", "second")
		}
		running.Store(false)
	})
	w.write("conf/a.yaml", "first")
	for _, want := range []string{"first", "second"} {
		if got := w.called(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// A reload may bring files in directories that nobody has watched before.
func TestFilesThatANewConfigurationNamesAreWatched(t *testing.T) {
	w := begin(t, config.Watching{Told: true}, func(w *watched) {
		w.names.Store(&[]string{w.path("conf/a.yaml"), w.path("keys/new")})
	})
	w.write("conf/a.yaml", "names keys/new")
	w.called()
	w.called() // for the new name, which may have come before it was watched
	w.write("keys/new", "not there until now")
	w.called()
	w.write("keys/new", "changed")
	w.called()
	w.end()
	if more := len(w.calls); more != 0 {
		t.Errorf("%d more calls", more)
	}
}

// Where something is written all the time, a change is told all the same.
func TestABusyDirectoryDoesNotHideAChange(t *testing.T) {
	w := begin(t, config.Watching{Told: true, Patience: 500 * time.Millisecond}, nil)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
				_ = os.WriteFile(w.path("conf/log"), []byte(time.Now().String()), 0o600)
			}
		}
	}()
	w.write("conf/a.yaml", "after")
	w.called()
	close(stop)
	<-stopped
}

func TestWatchEndsWithItsContext(t *testing.T) {
	file := filepath.Join(t.TempDir(), "reconciler.yaml")
	ctx, cancel := context.WithCancel(t.Context())
	called := make(chan struct{}, 100)
	asked := make(chan struct{}, 100)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		config.Watch(ctx, func() []string { asked <- struct{}{}; return []string{file} }, func() { called <- struct{}{} })
	}()
	<-asked // to watch
	<-asked // to look
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	cancel()
	<-ended
}

func TestFilesListsAllThatCouldChangeTheConfiguration(t *testing.T) {
	c, wrong := load(t, `
registry: providers.yaml
sources: [{ name: first, database_file: keys/there, encryption_key_file: keys/not_there }]
sources_from: "tenants.d/*.yaml"
policy: { global_secrets: platform }
proxy: { endpoints: ["https://proxy.example/llm"], prices: /etc/prices.yaml }
admin: { tls: { cert: c.pem, key: k.pem } }
`, map[string]string{"keys/there": "x", "tenants.d/a.yaml": "- { name: second, database_file: keys/there }\n"})
	if len(wrong) != 1 {
		t.Errorf("got %v", wrong)
	}
	var got []string
	files := c.Files()
	for _, f := range files {
		rel, err := filepath.Rel(filepath.Dir(string(c.Registry)), f)
		if err != nil || strings.HasPrefix(rel, "..") {
			rel = f
		}
		got = append(got, rel)
	}
	want := "/etc/prices.yaml c.pem k.pem keys/not_there keys/there providers.yaml reconciler.yaml tenants.d/*.yaml"
	if got := strings.Join(got, " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
