package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/molecule-ai/billing-reconciler/admin"
	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
	"github.com/molecule-ai/billing-reconciler/store/storetest"
)

const opsToken = "ops-token-5ec7e7"

// answering is the API of a daemon over a database that holds a drift, and the
// command line that asks it.
type answering struct {
	t     *testing.T
	store *store.Store
	url   string
	env   map[string]string

	database string // its URL
}

const (
	marketing = "6b66de8d-9337-4fb4-be8d-6d49dca0d809"
	support   = "6b77de8d-9337-4fb4-be8d-6d49dca0d809"
)

func answer(t *testing.T) *answering {
	t.Helper()
	url := storetest.Database(t)
	s := storetest.Open(t, url, t.Name())
	seed(t, s)
	server, err := admin.New(admin.Options{Store: s, Tokens: []admin.Token{{Name: "ops", Role: admin.Operator, Hash: sha256.Sum256([]byte(opsToken))},
		{Name: "eyes", Role: admin.Viewer, Hash: sha256.Sum256([]byte("eyes"))}}})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	none := filepath.Join(t.TempDir(), "none.yaml")
	return &answering{t, s, "http://" + ln.Addr().String(), map[string]string{
		"RECONCILER_SERVER": "http://" + ln.Addr().String(), "RECONCILER_TOKEN": opsToken, "RECONCILER_CONFIG": none}, url}
}

// seed writes what a pass would: two workspaces, one of them drifted.
func seed(t *testing.T, s *store.Store) {
	t.Helper()
	kept, err := s.Keep(t.Context(), store.Replica{ID: uuid.NewString(), Name: "host-1", StartedAt: time.Now()}, []string{"reno-stars"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(-time.Minute)
	o := &store.Outcome{Lease: kept.Leases[0], At: at, Took: time.Second, Full: true, Counts: map[drift.Verdict]int{drift.Drifted: 1, drift.InSync: 1}}
	for _, l := range kept.Leases {
		if l.Source == "reno-stars" {
			o.Lease = l
		}
	}
	for id, name := range map[string]string{marketing: "Marketing Agent", support: "Support Agent"} {
		hash := sha256.Sum256([]byte(id))
		o.States = append(o.States, store.State{ID: id, Name: name, Status: "online", Verdict: drift.InSync, Observed: true, Kinds: []string{}, Overrides: []string{},
			Document: json.RawMessage(fmt.Sprintf(`{"source":"reno-stars","id":%q,"name":%q}`, id, name)), Digest: store.Digest(hash[:16])})
	}
	e, events := (&drift.Alerting{}).Advance(nil, &drift.Sight{Source: "reno-stars", Workspace: marketing, Name: "Marketing Agent", At: at, Verdict: drift.Drifted, Seen: true,
		Findings: []drift.Finding{{Kind: drift.ModeMismatch, Severity: drift.Critical, Summary: "the container is platform_managed", Evidence: []string{"desired byok"}}},
		Causes:   []drift.Cause{{Code: drift.ModelEmpty, Summary: "the model is empty"}}})
	o.Episodes = []store.EpisodeChange{{Episode: *e, Events: events}}
	if _, err := s.Apply(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

// types runs the program as somebody types it.
func (a *answering) types(args ...string) (code int, stdout, stderr string) {
	a.t.Helper()
	var out, talk bytes.Buffer
	code = run(a.t.Context(), args, a.lookup, &out, &talk)
	return code, out.String(), talk.String()
}

func (a *answering) lookup(name string) (string, bool) {
	v, ok := a.env[name]
	return v, ok
}

// says runs the program, which must succeed and say the words.
func (a *answering) says(line string, words ...string) string {
	a.t.Helper()
	code, out, talk := a.types(strings.Fields(line)...)
	if code != exitOK {
		a.t.Fatalf("%s: exit %d: %s%s", line, code, out, talk)
	}
	for _, w := range words {
		if !strings.Contains(out, w) {
			a.t.Errorf("%s: lacks %q:\n%s", line, w, out)
		}
	}
	return out
}

// fails runs the program, which must fail and say why.
func (a *answering) fails(line string, words ...string) {
	a.t.Helper()
	code, out, talk := a.types(strings.Fields(line)...)
	if code != exitFailed {
		a.t.Fatalf("%s: exit %d: %s%s", line, code, out, talk)
	}
	for _, w := range words {
		if !strings.Contains(talk, w) {
			a.t.Errorf("%s: lacks %q:\n%s", line, w, talk)
		}
	}
	if strings.Contains(out+talk, opsToken) {
		a.t.Errorf("%s: shows the token:\n%s%s", line, out, talk)
	}
}

func TestStatusOfADaemon(t *testing.T) {
	a := answer(t)
	a.says("status", "1 replica", "reno-stars", "host-1", "open drifts: 1 critical; the oldest for 1m")
	a.says("pause --reason moving --for 2h")
	a.says("status", "paused: acting for everything, by ops", "moving", "left")
	var s admin.Status
	if err := json.Unmarshal([]byte(a.says("status -o json")), &s); err != nil || len(s.Sources) != 1 || len(s.Pauses) != 1 {
		t.Errorf("got %+v, %v", s, err)
	}
	a.says("status -o yaml", "sources:", "name: reno-stars")
	a.fails("status --source nobody", "there are: reno-stars")
	a.fails("status -o csv", "--output")
}

func TestDriftsOfADaemon(t *testing.T) {
	a := answer(t)
	a.says("drifts", "critical", "6b66de8d", "Marketing Agent", "mode_mismatch; cause model_empty")
	a.says("drifts 1", "drift 1, open, critical", "the container is platform_managed", "  desired byok", "cause model_empty", "reconciler explain 6b66de8d")
	a.says("drifts --workspace 6b66 --severity low --all", "no drift")
	var all struct{ Drifts []admin.Drift }
	if err := json.Unmarshal([]byte(a.says("drifts --all --source reno-stars -o json")), &all); err != nil || len(all.Drifts) != 1 || !all.Drifts[0].Open {
		t.Errorf("got %+v, %v", all, err)
	}
	a.says("drifts 1 -o yaml", "severity: critical", "at_opening:")
	a.fails("drifts 99", "404", "there is no drift 99")
	a.fails("drifts 6b66de8d", "the number of a drift is wanted")
}

func TestPauseAndResumeByName(t *testing.T) {
	a := answer(t)
	code, out, talk := a.types("pause", "--workspace", "Marketing Agent", "--reason", "debugging", "--observing")
	if code != exitOK || !strings.Contains(out, "acting and looking for workspace "+marketing+" of reno-stars") {
		t.Fatalf("exit %d: %s%s", code, out, talk)
	}
	a.fails("pause --workspace 6b --reason x", "any of 2 workspaces", marketing, support)
	a.fails("pause --workspace Market --reason x", "whole name", marketing)
	a.fails("pause --workspace nobody --reason x", "no workspace has this name")
	a.fails("pause", "reason")
	a.fails("pause --reason x --for soon", "422", "body.for")
	a.says("resume --workspace 6b66", "resumed: workspace "+marketing)
	a.says("resume --workspace 6b66", "nothing to resume")
	a.says("pause --source reno-stars --reason x -o json", `"kind": "source"`)
	a.says("resume --source reno-stars --reason done", "resumed: source reno-stars")
	a.fails("pause --source nobody --reason x", "404", "reno-stars")
}

func TestSuppressLookAccept(t *testing.T) {
	a := answer(t)
	a.says("suppress 6b66 --kind mode_mismatch --reason known --for 7d", "suppressed: mode_mismatch of workspace "+marketing, "reconciler unsuppress 1")
	a.says("suppress --list", "mode_mismatch", "known", "ops")
	a.says("drifts", "suppressed")
	a.says("suppress --source reno-stars --reason all --for 1h", "every kind of finding of every workspace of reno-stars")
	a.fails("suppress --reason x --for 1h", "name a workspace")
	a.fails("suppress 6b66 --reason x", "for")
	a.fails("suppress 6b66 --kind odd --reason x --for 1h", "body.kind")
	a.says("unsuppress 1", "suppression 1 ended")
	a.fails("unsuppress 1", "404")
	a.fails("unsuppress one", "number")
	a.says("look 6b66 --reason now", "asked for a look at workspace "+marketing)
	a.fails("accept --source reno-stars --reason meant", "409", "nothing to accept")
	a.fails("accept --reason meant", "--source")
}

func TestEventsOfADaemon(t *testing.T) {
	a := answer(t)
	a.says("pause --reason first")
	a.says("resume")
	out := a.says("events", "drift_opened", "Marketing Agent", "paused", "resumed")
	if strings.Index(out, "drift_opened") > strings.Index(out, "resumed") {
		t.Errorf("the oldest is not first:\n%s", out)
	}
	for line, want := range map[string]int{
		"events -o json --limit 1": 1, "events -o json --since 30s": 2, "events -o json --since 1h": 3, "events -o json --after 1": 2,
		"events -o json --kind paused,resumed": 2, "events -o json --severity high": 1, "events -o json --workspace 6b66": 1, "events -o json --workspace 6b77": 0,
	} {
		var got admin.Events
		if err := json.Unmarshal([]byte(a.says(line)), &got); err != nil || len(got.Events) != want {
			t.Errorf("%s: got %d events, %v; want %d", line, len(got.Events), err, want)
		}
	}
	a.fails("events --since soon", "--since")
	a.fails("events --kind odd", "query.kinds")
	a.fails("events --limit 0", "--limit")
}

// notices lets a test wait for what is written.
type notices struct {
	mu    sync.Mutex
	text  string
	wrote chan struct{}
}

func (n *notices) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.text += string(p)
	select {
	case n.wrote <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (n *notices) waitFor(t *testing.T, words string) string {
	t.Helper()
	for late := time.After(20 * time.Second); ; {
		n.mu.Lock()
		text := n.text
		n.mu.Unlock()
		if strings.Contains(text, words) {
			return text
		}
		select {
		case <-n.wrote:
		case <-late:
			t.Fatalf("waited in vain for %q:\n%s", words, text)
		}
	}
}

func TestEventsAreFollowed(t *testing.T) {
	a := answer(t)
	for _, format := range []string{"table", "json", "yaml"} {
		ctx, cancel := context.WithCancel(t.Context())
		out, code := &notices{wrote: make(chan struct{}, 1)}, make(chan int, 1)
		go func() {
			code <- run(ctx, []string{"events", "--follow", "--limit", "1000", "-o", format}, a.lookup, out, &bytes.Buffer{})
		}()
		out.waitFor(t, "drift_opened") // what was; now what happens
		a.says("pause --reason while-" + format)
		text := out.waitFor(t, "while-"+format)
		if n := strings.Count(text, "while-"+format); n != 1 {
			t.Errorf("%s: came %d times", format, n)
		}
		cancel()
		if got := <-code; got != exitCanceled {
			t.Errorf("%s: exit %d, want %d", format, got, exitCanceled)
		}
	}
}

func TestWhichServerAndWhichToken(t *testing.T) {
	a := answer(t)
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	listen := strings.TrimPrefix(a.url, "http://")
	config := file("reconciler.yaml", "registry: none.yaml\nadmin:\n  listen: "+listen+"\n  tokens:\n  - {name: eyes, role: viewer, token: eyes}\n  - {name: ops, role: operator, token: "+opsToken+"}\n")
	wrong, good, empty := file("wrong", "guess\n"), file("good", opsToken+"\n"), file("empty", "\n")

	a.says("status --token-file " + good)
	a.fails("status --token-file "+wrong, "401", "address from $RECONCILER_SERVER", "sent the token in "+wrong)
	a.fails("status --token-file "+empty, "it is empty")
	a.fails("status --token-file "+filepath.Join(dir, "none"), "--token-file")
	a.fails("status --server http://127.0.0.1:1", "nothing listens there", "address from --server", "reconciler run")
	a.fails("status --server ftp://x", "server address", "--server")
	a.fails("status --server "+a.url+" --ca "+wrong, "no certificate in it")

	delete(a.env, "RECONCILER_SERVER")
	delete(a.env, "RECONCILER_TOKEN")
	a.env["RECONCILER_CONFIG"] = config
	a.says("pause --reason by-the-configuration", "by ops") // the operator's, though the viewer's comes first
	a.env["RECONCILER_TOKEN"] = "eyes"
	a.fails("resume", "403", "role operator", "address from admin.listen of "+config, "sent the token in $RECONCILER_TOKEN")
	a.env["RECONCILER_CONFIG"] = file("open.yaml", "registry: none.yaml\nadmin: {listen: \"0.0.0.0"+listen[strings.LastIndex(listen, ":"):]+"\"}\n")
	a.says("status") // every address of the machine is reached at loopback
	delete(a.env, "RECONCILER_TOKEN")
	a.fails("status", "401", "sent no token")
}

func TestWorkspacesAreCompleted(t *testing.T) {
	a := answer(t)
	a.says("__complete look 6b", marketing+"\tMarketing Agent, reno-stars", support)
	a.says("__complete pause --workspace Mark", marketing)
	a.says("__complete drifts 1", "1\tMarketing Agent, critical")
	a.says("__complete suppress --kind mode", "mode_mismatch")
	a.says("__complete events --kind drift_o", "drift_opened")
	a.says("suppress 6b66 --reason r --for 1h")
	a.says("__complete unsuppress 1", "1\tevery kind")
	a.says("pause --workspace 6b77 --reason r")
	a.says("__complete resume --workspace 6", support)
}
