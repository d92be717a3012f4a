package drift_test

import (
	"strings"
	"testing"

	"github.com/molecule-ai/billing-reconciler/drift"
)

func TestAtProxy(t *testing.T) {
	for _, row := range []struct {
		name, endpoint, url string
		cut                 bool
		want                drift.Answer
	}{
		{"exactly", proxyURL, proxyURL, false, drift.Yes},
		{"below", proxyURL, proxyURL + "/anthropic/v1", false, drift.Yes},
		{"trailing slash", proxyURL, proxyURL + "//", false, drift.Yes},
		{"case of the host", proxyURL, "HTTPS://API.MoleculesAI.app/api/v1/internal/llm", false, drift.Yes},
		{"trailing dot", proxyURL, "https://api.moleculesai.app./api/v1/internal/llm", false, drift.Yes},
		{"default port", proxyURL, "https://api.moleculesai.app:443/api/v1/internal/llm", false, drift.Yes},
		{"userinfo that looks like a vendor", proxyURL, "https://api.anthropic.com@api.moleculesai.app/api/v1/internal/llm", false, drift.Yes},
		{"two ats", proxyURL, "https://a@b:c@api.moleculesai.app/api/v1/internal/llm", false, drift.Yes},
		{"doubled slashes", proxyURL, "https://api.moleculesai.app//api///v1/internal/llm", false, drift.Yes},
		{"dot segments", proxyURL, "https://api.moleculesai.app/x/../api/v1/./internal/llm", false, drift.Yes},
		{"percent-encoding", proxyURL, "https://api.moleculesai.app/api/v1/int%65rnal/llm", false, drift.Yes},
		{"backslashes", proxyURL, `https:\\api.moleculesai.app\api\v1\internal\llm`, false, drift.Yes},
		{"query and fragment", proxyURL, proxyURL + "?a=b#c", false, drift.Yes},
		{"white space around", proxyURL, " " + proxyURL + "\n", false, drift.Yes},
		{"host alone is configured", "https://proxy.example", "https://proxy.example/anything", false, drift.Yes},
		{"address", "http://[2001:DB8::1]:8080/llm", "http://[2001:db8::1]:8080/llm/x", false, drift.Yes},
		{"unset", proxyURL, "", false, drift.No},
		{"a vendor", proxyURL, "https://api.anthropic.com", false, drift.No},
		{"the proxy's name in a vendor's userinfo", proxyURL, "https://api.moleculesai.app@api.anthropic.com/api/v1/internal/llm", false, drift.No},
		{"the proxy's name as a vendor's path", proxyURL, "https://api.anthropic.com/api.moleculesai.app/api/v1/internal/llm", false, drift.No},
		{"a name that begins alike", proxyURL, "https://api.moleculesai.app.evil.example/api/v1/internal/llm", false, drift.No},
		{"a name that ends alike", proxyURL, "https://xapi.moleculesai.app/api/v1/internal/llm", false, drift.No},
		{"not at a segment boundary", proxyURL, proxyURL + "x", false, drift.No},
		{"another path of the same host", proxyURL, "https://api.moleculesai.app/api/v1", false, drift.No},
		{"leaves the prefix again", proxyURL, proxyURL + "/../other", false, drift.No},
		{"another port", proxyURL, "https://api.moleculesai.app:8443/api/v1/internal/llm", false, drift.No},
		{"another scheme's default port", proxyURL, "http://api.moleculesai.app/api/v1/internal/llm", false, drift.No},
		{"cut within the host", proxyURL, "https://api.molecul", true, drift.Unclear},
		{"cut within the prefix", proxyURL, "https://api.moleculesai.app/api/v1/inter", true, drift.Unclear},
		{"cut at the prefix's end", proxyURL, proxyURL, true, drift.Unclear},
		{"cut after the prefix", proxyURL, proxyURL + "/anth", true, drift.Yes},
		{"cut elsewhere", proxyURL, "https://api.moleculesai.app/other", true, drift.No},
		{"cut at another host", proxyURL, "https://api.anthropic.com/v", true, drift.No},
	} {
		t.Run(row.name, func(t *testing.T) {
			e, err := drift.ParseEndpoint(row.endpoint)
			if err != nil {
				t.Fatal(err)
			}
			if got := e.At(drift.Variable{Value: row.url, Cut: row.cut}); got != row.want {
				t.Errorf("%q at %s: got %d, want %d", row.url, e, got, row.want)
			}
		})
	}
}

func TestParseEndpointRefuses(t *testing.T) {
	for _, raw := range []string{"", "proxy.example", "ftp://proxy.example", "https://", "https:///path", "https://host:notaport/"} {
		if e, err := drift.ParseEndpoint(raw); err == nil {
			t.Errorf("%q: accepted as %s", raw, e)
		} else if !strings.Contains(err.Error(), "proxy endpoint") {
			t.Errorf("%q: error does not say what it is about: %v", raw, err)
		}
	}
}

func FuzzAt(f *testing.F) {
	for _, s := range []string{proxyURL, "https://a@b", "http://[::1]:x/", "//x", "https:\\\\x", "%", "https://%41"} {
		f.Add(s)
	}
	e, err := drift.ParseEndpoint(proxyURL)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, url string) {
		whole := e.At(drift.Variable{Value: url})
		if whole == drift.Unclear {
			t.Errorf("%q: a whole value is unclear", url)
		}
		// What is at the proxy stays there, whoever is named before the @.
		if rest, ok := strings.CutPrefix(url, "https://"); ok && whole == drift.Yes && !strings.ContainsAny(rest, "@/?#\\\t\r\n ") {
			if e.At(drift.Variable{Value: "https://vendor.example@" + rest}) != drift.Yes {
				t.Errorf("%q: hidden by userinfo", url)
			}
		}
	})
}
