package admin_test

import (
	"context"
	"strings"
	"testing"

	"github.com/molecule-ai/billing-reconciler/admin"
)

func withoutTokens(o *admin.Options) { o.Tokens = nil }

func TestWithoutTokensOnlyLoopbackIsServed(t *testing.T) {
	s := newStore(t)
	server, err := admin.New(admin.Options{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range []string{"0.0.0.0:0", "[::]:0"} {
		err := server.Serve(t.Context(), listen(t, addr))
		if err == nil || !strings.Contains(err.Error(), "admin.tokens") || !strings.Contains(err.Error(), "127.0.0.1") {
			t.Errorf("%s: got %v, want a refusal that says what to do", addr, err)
		}
	}
}

func TestTokensOpenEveryAddress(t *testing.T) {
	w := serve(t)
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	ln := listen(t, "0.0.0.0:0")
	w.url = "http://127.0.0.1:" + ln.Addr().String()[strings.LastIndex(ln.Addr().String(), ":")+1:]
	w.run(ln)
	w.ask("GET /status").want(t, 200)
	if err := w.server.SetTokens(nil); err == nil {
		t.Error("the last token was taken away from a listener that others reach")
	}
	w.as("").ask("GET /status").want(t, 401)
}

func TestWithoutTokensWhoIsLetIn(t *testing.T) {
	w := serve(t, withoutTokens).as("")
	port := w.url[strings.LastIndex(w.url, ":"):]
	for rule, c := range map[string]struct {
		headers []string
		want    int
	}{
		"a program":                     {nil, 200},
		"localhost":                     {[]string{"Host: LOCALHOST" + port}, 200},
		"ipv6":                          {[]string{"Host: [::1]" + port}, 200},
		"without a port":                {[]string{"Host: 127.0.0.1"}, 200},
		"its own page":                  {[]string{"Sec-Fetch-Site: same-origin"}, 200},
		"a name bent to loopback":       {[]string{"Host: evil.example" + port}, 403},
		"a name that begins so":         {[]string{"Host: localhost.evil.example"}, 403},
		"an address that begins so":     {[]string{"Host: 127.0.0.1.evil.example"}, 403},
		"a page of another site":        {[]string{"Sec-Fetch-Site: cross-site"}, 403},
		"a page, by an older browser":   {[]string{"Origin: https://evil.example"}, 403},
		"a page bent to loopback":       {[]string{"Host: evil.example", "Origin: http://evil.example", "Sec-Fetch-Site: same-origin"}, 403},
		"passed on by a proxy":          {[]string{"X-Forwarded-For: 203.0.113.7"}, 403},
		"passed on by a modern proxy":   {[]string{"Forwarded: for=203.0.113.7"}, 403},
		"a token that is not asked for": {[]string{"Authorization: Bearer whatever"}, 200},
	} {
		got := w.ask(`POST /pause {"scope":"all","reason":"test"}`, c.headers...)
		if got.want(t, got.status); got.status != c.want {
			t.Errorf("%s: got %d, want %d: %s", rule, got.status, c.want, got.body)
		}
	}
	if got := decode[admin.Status](t, w.ask("GET /status")); len(got.Pauses) != 1 || got.Pauses[0].By != "local" {
		t.Errorf("got pauses %+v, want one by local", got.Pauses)
	}
}

func TestCrossOriginIsRefusedWithTokensToo(t *testing.T) {
	w := serve(t)
	w.ask(`POST /pause {"scope":"all","reason":"x"}`, "Origin: https://evil.example").want(t, 403)
}

func TestServeEndsWithItsContext(t *testing.T) {
	w := serve(t)
	w.ask("GET /status").want(t, 200)
	r := w.request("GET /events/stream")
	answer, err := w.client.Do(r.WithContext(context.WithoutCancel(r.Context())))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.client.Do(w.request("GET /status")); err == nil {
		t.Error("it still answers")
	}
}
