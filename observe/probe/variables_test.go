package probe_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/fleetsim/machine"
)

// What is printed of a variable. All rows are put into as few looks as there
// are variables for.
func TestVariables(t *testing.T) {
	long := strings.Repeat("0123456789", 30)
	urls := []struct {
		name, value string
		want        drift.Variable
	}{
		{"plain", "https://api.kimi.com/coding", drift.Variable{Value: "https://api.kimi.com/coding"}},
		{"blank stays", "  ", drift.Variable{Value: "  "}},
		{"empty is set", "", drift.Variable{}},
		{"userinfo goes", "https://user:secret@host.example/v1", drift.Variable{Value: "https://host.example/v1"}},
		{"userinfo that looks like a vendor", "https://api.anthropic.com@proxy.example/", drift.Variable{Value: "https://proxy.example/"}},
		{"the last at sign counts", "https://a@b:secret@c@proxy.example:8443/x", drift.Variable{Value: "https://proxy.example:8443/x"}},
		{"an at sign in the path stays", "https://host.example/@cf/meta", drift.Variable{Value: "https://host.example/@cf/meta"}},
		{"query goes", "https://host.example/v1?key=secret&a=https://b@c/", drift.Variable{Value: "https://host.example/v1"}},
		{"fragment goes", "https://host.example#secret", drift.Variable{Value: "https://host.example"}},
		{"a question mark ends the authority", "https://host.example?x@secret", drift.Variable{Value: "https://host.example"}},
		{"slashes before userinfo", "https:///user:secret@host.example/", drift.Variable{Value: "https:///host.example/"}},
		{"without scheme", "user:secret@host.example/v1", drift.Variable{Value: "host.example/v1"}},
		{"without scheme, with slashes", "//user:secret@host.example/v1", drift.Variable{Value: "//host.example/v1"}},
		{"an at sign where it cannot be told", "https:/user:secret@host.example/", drift.Variable{Value: "//", Cut: true}},
		{"a backslash where it cannot be told", `https://user\:secret@host.example/`, drift.Variable{Value: "https://", Cut: true}},
		{"a scheme that is none", "user:secret@host://x", drift.Variable{Value: "//", Cut: true}},
		{"an authority without end", "https://user:secret" + strings.Repeat("s", 3000) + "@host.example/", drift.Variable{Value: "https://", Cut: true}},
		{"a long path is cut", "https://host.example/" + long, drift.Variable{Value: ("https://host.example/" + long)[:120], Cut: true}},
		{"a long query does not cut", "https://host.example/?" + strings.Repeat("s", 4000), drift.Variable{Value: "https://host.example/"}},
		{"newlines and the probe's words", "https://host.example/\nend 1 00000000\nv6=forged", drift.Variable{Value: "https://host.example/\nend 1 00000000\nv6=forged"}},
		{"per cent", "https://host.example/%2e%2E/%", drift.Variable{Value: "https://host.example/%2e%2E/%"}},
		{"every ASCII", "x\x01\x02\t\r '\"`$(id)*~!;|&<>(){}[]^\\\x7f", drift.Variable{Value: "x\x01\x02\t\r '\"`$(id)*~!;|&<>(){}[]^\\\x7f"}},
		{"not ASCII", "höst\xff", drift.Variable{Value: "höst\xff"}},
	}
	slots := []string{drift.VarAnthropicURL, drift.VarOpenAIURL, drift.VarProxyURL}
	for len(urls)%len(slots) != 0 {
		urls = append(urls[:len(urls):len(urls)], urls[0])
	}
	everywhere(t, func(t *testing.T, shell string) {
		m, err := machine.New(t.TempDir(), "i-1", usual())
		if err != nil {
			t.Fatal(err)
		}
		p := small(t)
		script, err := p.Command(key, "")
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(urls); i += len(slots) {
			host := usual()
			want := map[string]drift.Variable{drift.VarModeResolved: {Value: "platform_managed"}, drift.VarModel: {Value: "opus"}}
			names := ""
			for j, slot := range slots {
				row := urls[i+j]
				host.Env[slot], want[slot] = row.value, row.want
				names += row.name + "; "
			}
			if err := m.Set(host); err != nil {
				t.Fatal(err)
			}
			out, _, _, err := m.Run(t.Context(), shell, script)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(out, "secret") {
				t.Errorf("%s: a secret was printed:\n%s", names, out)
			}
			got, err := p.Decode(out)
			if err != nil {
				t.Errorf("%s: %v\n%s", names, err, out)
			}
			if diff := cmp.Diff(want, got.Variables); diff != "" {
				t.Errorf("%s (-want +got)\n%s", names, diff)
			}
		}
	})
}

func TestAModelIsCutAndMarked(t *testing.T) {
	everywhere(t, func(t *testing.T, shell string) {
		host := usual()
		host.Env[drift.VarModel] = strings.Repeat("x", 119) + "\n\n\n"
		host.Env[drift.VarMoleculeModel] = strings.Repeat("m", 121)
		host.Env[drift.VarMode] = "vertex://user:secret@host/claude@2024?secret"
		got := look(t, small(t), shell, host).Variables
		want := map[string]drift.Variable{
			drift.VarModel:         {Value: strings.Repeat("x", 119), Cut: true},
			drift.VarMoleculeModel: {Value: strings.Repeat("m", 120), Cut: true},
			drift.VarMode:          {Value: "vertex://host/claude@2024"},
		}
		for name, v := range want {
			if diff := cmp.Diff(v, got[name]); diff != "" {
				t.Errorf("%s (-want +got)\n%s", name, diff)
			}
		}
	})
}

// Only addresses are taken for addresses; none is no failure.
func TestAddresses(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*machine.Host)
		want   []netip.Addr
	}{
		{"no public one", func(h *machine.Host) { h.PublicIP = netip.Addr{} }, []netip.Addr{netip.MustParseAddr("10.0.0.7")}},
		{"no metadata service", func(h *machine.Host) { h.Faults = machine.NoIMDS }, nil},
		{"a metadata service that talks", func(h *machine.Host) { h.Faults = machine.StrangeIMDS }, nil},
		{"both the same", func(h *machine.Host) { h.PublicIP = h.PrivateIP }, []netip.Addr{netip.MustParseAddr("10.0.0.7")}},
		{"docker is absent", func(h *machine.Host) { h.State = machine.NoDocker },
			[]netip.Addr{netip.MustParseAddr("10.0.0.7"), netip.MustParseAddr("203.0.113.7")}},
	} {
		t.Run(row.name, func(t *testing.T) {
			everywhere(t, func(t *testing.T, shell string) {
				host := usual()
				row.change(&host)
				got := look(t, small(t), shell, host).Addresses
				if diff := cmp.Diff(row.want, got, compareAddr); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
			})
		})
	}
}
