package receive_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
)

// backend stands for the proxy's own work: its status is what the path's query
// asks for.
func backend(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	var status int
	if _, err := fmt.Sscanf(r.URL.Query().Get("status"), "%d", &status); err != nil {
		status = 200
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, "{}")
}

// freePort is one that nobody listens on, for a moment.
func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// program finds a program of a Debian package.
func program(t *testing.T, name, debian string) string {
	t.Helper()
	for _, path := range []string{name, "/usr/sbin/" + name} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	t.Skipf("%s is not installed: apt-get install %s", name, debian)
	return ""
}

// running runs a server until it is told to end, which flushes its logs.
func running(t *testing.T, addr, dir, name string, args ...string) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	server := exec.CommandContext(ctx, name, args...)
	server.Dir = dir
	server.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	server.Cancel = func() error { return server.Process.Signal(os.Interrupt) }
	server.WaitDelay = 20 * time.Second
	var out strings.Builder
	server.Stdout, server.Stderr = &out, &out
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Wait()
	}()
	end = func() {
		cancel()
		<-ended
	}
	t.Cleanup(end)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			return end
		}
		select {
		case <-ended:
			t.Fatalf("%s ended: %s", name, out.String())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not listen", name)
		}
	}
}

// requests are sent through each proxy.
var requests = []struct {
	method, path string
	header       string // X-Forwarded-For
	call         bool
}{
	{"POST", "/api/v1/internal/llm/anthropic/v1/messages?status=200&beta=true", "203.0.113.7", true},
	{"POST", "/api/v1/internal/llm/anthropic/v1/messages/batches?status=201", "203.0.113.8", true},
	{"POST", "/api/v1/internal/llm/openai/v1/chat/completions?status=401", "203.0.113.9, 10.1.1.1", true},
	{"POST", "/api/v1/internal/llm/openai/v1/responses/?status=529", "2001:db8::7", true},
	{"POST", "/api/v1/internal//llm/anthropic/v1/%6dessages?status=200", "203.0.113.10", true},
	{"GET", "/api/v1/internal/llm/anthropic/v1/messages", "203.0.113.7", false},
	{"POST", "/api/v1/internal/llm/anthropic/v1/messages/count_tokens", "203.0.113.7", false},
	{"POST", "/quotes%22and%5Cbackslashes?q=%22%7B%7D%0A", "203.0.113.7", false},
	{"GET", "/healthz", "", false},
}

// ask sends the requests through a proxy.
func ask(t *testing.T, addr string) {
	t.Helper()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	for _, r := range requests {
		request, err := http.NewRequest(r.method, "http://"+addr+r.path, strings.NewReader(`{"model":"claude"}`))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("User-Agent", `odd "agent" \ {"a":1}`)
		if r.header != "" {
			request.Header.Set("X-Forwarded-For", r.header)
		}
		response, err := transport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
}

// written waits until a log has all requests: an answer comes before its line.
func written(t *testing.T, name string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if text, err := os.ReadFile(name); err == nil && bytes.Count(text, []byte("\n")) >= len(requests) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s has no %d lines", name, len(requests))
		}
	}
}

// wholly pushes a log and checks that every line is understood, and every call
// seen with its address and status class.
func wholly(t *testing.T, name string, forwarded bool) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	l := newLedger(nil)
	rc := receiver(l)
	rc.Tally.Proxies = proxylog.Proxies{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")}
	if w := (sent{path: "/ingest", kind: "text/plain", body: text}).to(routes(rc)); w.Code != 200 {
		t.Fatalf("got %d %s", w.Code, w.Body)
	}
	if got, want := l.sums(), [3]int64{int64(len(requests)), 5, 0}; got != want {
		t.Errorf("got %v lines, calls, not understood, want %v:\n%s", got, want, text)
	}
	got := map[string]string{}
	for _, g := range l.groups {
		got[g.Operation.String()+" "+g.Address.String()] = fmt.Sprint(g.Class, " ", g.Billed, " ", g.Rejected)
		if age := time.Since(g.First); age < -time.Minute || age > 10*time.Minute {
			t.Errorf("a call %v ago", age)
		}
	}
	want := map[string]string{"messages 203.0.113.7": "2 1 0", "batches 203.0.113.8": "2 1 0", "chat_completions 203.0.113.9": "4 0 1", "responses 2001:db8::7": "5 0 1", "messages 203.0.113.10": "2 1 0"}
	if !forwarded {
		want = map[string]string{"messages 127.0.0.1": "2 2 0", "batches 127.0.0.1": "2 1 0", "chat_completions 127.0.0.1": "4 0 1", "responses 127.0.0.1": "5 0 1"}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s\n%s", diff, text)
	}
}

func behind(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(backend)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(ln)
	}()
	t.Cleanup(func() {
		server.Close()
		<-ended
	})
	return ln.Addr().String()
}

// TestRealNginx reads what nginx writes: its combined format, one with
// X-Forwarded-For behind it, and JSON as its own documentation shows it.
func TestRealNginx(t *testing.T) {
	nginx := program(t, "nginx", "nginx-light")
	dir, addr := t.TempDir(), freePort(t)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	conf := fmt.Sprintf(`
daemon off; master_process off; pid %[1]s/pid; error_log %[1]s/error.log;
events {}
http {
  client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  log_format main '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" "$http_x_forwarded_for"';
  log_format json escape=json '{"time":"$time_iso8601","remote_addr":"$remote_addr","request":"$request","status":"$status","agent":"$http_user_agent","http_x_forwarded_for":"$http_x_forwarded_for"}';
  log_format parts escape=json '{"msec":$msec,"remote_addr":"$remote_addr:$remote_port","request_method":"$request_method","request_uri":"$request_uri","status":$status,"x_forwarded_for":"$http_x_forwarded_for"}';
  access_log %[1]s/combined.log combined;
  access_log %[1]s/main.log main;
  access_log %[1]s/json.log json;
  access_log %[1]s/parts.log parts;
  server { listen %[2]s; location / { proxy_pass http://%[3]s; } }
}`, dir, addr, behind(t))
	write(t, filepath.Join(dir, "nginx.conf"), []byte(conf))
	end := running(t, addr, dir, nginx, "-p", dir, "-c", filepath.Join(dir, "nginx.conf"), "-e", filepath.Join(dir, "error.log"))
	ask(t, addr)
	for _, log := range []string{"combined", "main", "json", "parts"} {
		written(t, filepath.Join(dir, log+".log"))
	}
	end()
	for log, forwarded := range map[string]bool{"combined": false, "main": true, "json": true, "parts": true} {
		t.Run(log, func(t *testing.T) { wholly(t, filepath.Join(dir, log+".log"), forwarded) })
	}
}

// TestRealCaddy reads Caddy's own JSON, whose facts stand in nested objects.
func TestRealCaddy(t *testing.T) {
	caddy := program(t, "caddy", "caddy")
	dir, addr := t.TempDir(), freePort(t)
	for log, conf := range map[string]struct {
		encoder   string
		forwarded bool
	}{
		"json":      {"format json", true},
		"iso times": {"format json {\n time_format iso8601\n }", true},
	} {
		t.Run(log, func(t *testing.T) {
			file := filepath.Join(dir, strings.ReplaceAll(log, " ", "_")+".log")
			write(t, filepath.Join(dir, "Caddyfile"), []byte(fmt.Sprintf("{\n admin off\n auto_https off\n}\nhttp://%s {\n log {\n output file %s\n %s\n }\n reverse_proxy %s\n}\n", addr, file, conf.encoder, behind(t))))
			end := running(t, addr, dir, caddy, "run", "--config", filepath.Join(dir, "Caddyfile"), "--adapter", "caddyfile")
			ask(t, addr)
			written(t, file)
			end()
			wholly(t, file, conf.forwarded)
		})
	}
}
