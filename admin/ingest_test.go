package admin_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/molecule-ai/billing-reconciler/admin"
)

// pushes takes what is pushed to paths, and says so.
func pushes(paths ...string) func(*admin.Options) {
	return func(o *admin.Options) {
		for _, p := range paths {
			o.Pushes = append(o.Pushes, admin.Push{Path: p, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				_, _ = io.WriteString(w, r.Method+" took "+string(body))
			})})
		}
	}
}

func TestOnlyIngestMayPush(t *testing.T) {
	w := serve(t, pushes("/lines", "/lines/firehose", "/v1/logs"))
	for _, path := range []string{"/lines", "/lines/firehose", "/v1/logs"} {
		for token, want := range map[string]int{ingestToken: 200, operatorToken: 403, viewerToken: 403, "": 401, "guess": 401} {
			w.as(token).ask("POST !"+path+" {}").want(t, want)
			w.as(token).ask("GET !"+path).want(t, want) // which is the handler's to refuse
		}
		w.as(ingestToken).ask("POST !"+path+" {}").says(t, "POST took {}")
	}
	w.as(ingestToken).ask("POST !/lines/more {}").want(t, 404)
	w.as(operatorToken).ask("POST !/linesmore {}").want(t, 404)
	w.as(ingestToken).ask("POST !/linesmore {}").want(t, 403)
	for _, route := range []string{"GET !/api/v1/status", "POST !/api/v1/pause {}", "GET !/api/v1/openapi.json"} {
		w.as(ingestToken).ask(route).want(t, 403)
	}
}

func TestWhoeverIsLocalMayPush(t *testing.T) {
	w := serve(t, pushes("/lines"), func(o *admin.Options) { o.Tokens = nil }).as("")
	w.ask("POST !/lines {}").want(t, 200).says(t, "took {}")
	w.ask("GET !/api/v1/status").want(t, 200)
}

func TestFirehosesKeyIsATokenWhereLinesArePushedAlone(t *testing.T) {
	w := serve(t, pushes("/lines/firehose")).as("")
	w.ask("POST !/lines/firehose {}", "X-Amz-Firehose-Access-Key: "+ingestToken).want(t, 200)
	w.ask("POST !/lines/firehose {}", "X-Amz-Firehose-Access-Key: guess").want(t, 401)
	w.ask("POST !/lines/firehose {}", "X-Amz-Firehose-Access-Key: "+operatorToken).want(t, 403)
	w.ask("GET !/api/v1/status", "X-Amz-Firehose-Access-Key: "+operatorToken).want(t, 401)
}

func TestWhatIsPushedIsNotLogged(t *testing.T) {
	w := serve(t, pushes("/lines")).as(ingestToken)
	w.ask(`POST !/lines {"planted":"7c1e"}`).want(t, 200)
	w.ask("POST !/lines/planted-7c1e {}").want(t, 404)
	if log := w.log.String(); strings.Contains(log, "7c1e") || !strings.Contains(log, "route=/lines") || !strings.Contains(log, "level=DEBUG") {
		t.Errorf("got a log of\n%s", log)
	}
}

func TestLinesAreNotPushedWhereSomethingElseIs(t *testing.T) {
	for path, want := range map[string]string{
		"/":                "give a plain path",
		"":                 "give a plain path",
		"lines":            "give a plain path",
		"/lines/":          "give a plain path",
		"/a/../lines":      "give a plain path",
		"/{anything}":      "give a plain path",
		"/api":             "where /api/v1 is",
		"/api/v1/pause":    "where /api/v1 is",
		"/healthz":         "where /healthz is", // which needs no token
		"/readyz/lines":    "where /readyz is",
		"/metrics":         "where /metrics is",
		"/lines":           "twice",
		"/loki/api/v1/yes": "",
	} {
		o := admin.Options{Store: newStore(t)}
		pushes(path)(&o)
		if want == "twice" {
			pushes(path)(&o)
		}
		_, err := admin.New(o)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
}
