package proxylog_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
)

func TestClientBehindProxies(t *testing.T) {
	proxies, err := proxylog.ParseProxies([]string{"10.0.0.0/8", "2001:db8:1::/48", "198.51.100.7", "::ffff:172.16.0.0/108"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		rule, peer, forwarded, want string
	}{
		{"nothing forwarded", "10.0.0.1", "", "10.0.0.1"},
		{"forwarded by a trusted proxy", "10.0.0.1", "192.0.2.1", "192.0.2.1"},
		{"an untrusted peer is the client", "192.0.2.9", "192.0.2.1", "192.0.2.9"},
		{"rightmost untrusted", "10.0.0.1", "192.0.2.66, 192.0.2.1, 10.2.2.2,10.3.3.3", "192.0.2.1"},
		{"all trusted: the leftmost", "10.0.0.1", "10.1.1.1, 10.2.2.2", "10.1.1.1"},
		{"garbage ends at the last vouched for", "10.0.0.1", "192.0.2.1, unknown, 10.2.2.2", "10.2.2.2"},
		{"all garbage", "10.0.0.1", "-", "10.0.0.1"},
		{"empty element", "10.0.0.1", "192.0.2.1,,10.2.2.2", "10.2.2.2"},
		{"a comma at the end", "10.0.0.1", "192.0.2.1,", "10.0.0.1"},
		{"a single address is a network", "198.51.100.7", "192.0.2.1", "192.0.2.1"},
		{"mapped network", "172.16.5.5", "192.0.2.1", "192.0.2.1"},
		{"ports", "10.0.0.1", "192.0.2.1:5", "192.0.2.1"},
		{"brackets", "2001:db8:1::5", "[2001:db8:2::1]:443", "2001:db8:2::1"},
		{"brackets without port", "10.0.0.1", "[2001:db8:2::1]", "2001:db8:2::1"},
		{"bare IPv6", "10.0.0.1", "2001:db8:2::1", "2001:db8:2::1"},
		{"zone goes", "10.0.0.1", "fe80::1%eth0", "fe80::1"},
		{"mapped is IPv4", "10.0.0.1", "::ffff:192.0.2.1", "192.0.2.1"},
		{"mapped and trusted", "10.0.0.1", "192.0.2.1, ::ffff:10.9.9.9", "192.0.2.1"},
		{"quotes", "10.0.0.1", `"192.0.2.1"`, "192.0.2.1"},
		{"octal is no address", "10.0.0.1", "192.0.2.010", "10.0.0.1"},
		{"too big", "10.0.0.1", "192.0.2.256", "10.0.0.1"},
		{"port that is none", "10.0.0.1", "192.0.2.1:", "10.0.0.1"},
		{"more behind it", "10.0.0.1", "192.0.2.1.5", "10.0.0.1"},
		{"open bracket", "10.0.0.1", "[2001:db8:2::1", "10.0.0.1"},
		{"something behind the bracket", "10.0.0.1", "[2001:db8:2::1]x", "10.0.0.1"},
	} {
		got := proxies.Client(netip.MustParseAddr(tc.peer), []byte(tc.forwarded))
		if got.String() != tc.want {
			t.Errorf("%s: got %v, want %s", tc.rule, got, tc.want)
		}
	}
	if got := proxylog.Proxies(nil).Client(netip.MustParseAddr("10.0.0.1"), []byte("192.0.2.1")); got.String() != "10.0.0.1" {
		t.Errorf("no trusted proxies: got %v, want the peer", got)
	}
	if got := proxies.Client(netip.Addr{}, []byte("192.0.2.1")); got.IsValid() {
		t.Errorf("no peer: got %v, want none", got)
	}
	if _, err := proxylog.ParseProxies([]string{"10.0.0.0/8", "lb.example"}); err == nil {
		t.Error("a host name as trusted proxy: got no error")
	}
}

// FuzzAddress holds reading an address against netip: what a whole line's
// first field gives is what netip makes of it.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{"192.0.2.1", "192.0.2.1:80", "[2001:db8::1]:80", "2001:db8::1", "::ffff:1.2.3.4", "1.2.3.04", "fe80::1%e", "[1.2.3.4]:5", "1.2.3.4:", ":1", "[]", "1.2.3.4:65536"} {
		f.Add(s)
	}
	proxies := proxylog.Proxies{netip.MustParsePrefix("10.0.0.0/8")}
	peer := netip.MustParseAddr("10.0.0.1")
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 64 || strings.ContainsAny(s, ", \t\"") {
			return // no single address, or none that is read
		}
		got := proxies.Client(peer, []byte(s))
		if want, err := netip.ParseAddr(s); err == nil {
			if want = want.WithZone("").Unmap(); got != want {
				t.Errorf("%q: got %v, want %v", s, got, want)
			}
		}
		if want, err := netip.ParseAddrPort(s); err == nil && len(s)-strings.LastIndexByte(s, ':') <= 19 { // more zeros are no port
			if a := want.Addr().WithZone("").Unmap(); got != a {
				t.Errorf("%q: got %v, want %v", s, got, a)
			}
		}
	})
}

// FuzzForwarded walks lists of X-Forwarded-For against a reader that splits them.
func FuzzForwarded(f *testing.F) {
	for _, s := range []string{"192.0.2.1", "192.0.2.66, 10.2.2.2,10.3.3.3", "unknown, 10.1.1.1", ",", "10.1.1.1,,10.2.2.2", "\"10.1.1.1\", [2001:db8::1]:5 , 10.0.0.9:80", "192.0.2.1,::ffff:10.9.9.9"} {
		f.Add("10.0.0.1", s)
		f.Add("192.0.2.5", s)
	}
	trusted := netip.MustParsePrefix("10.0.0.0/8")
	proxies := proxylog.Proxies{trusted}
	f.Fuzz(func(t *testing.T, from, list string) {
		want, err := netip.ParseAddr(from)
		if err != nil || len(list) > 500 {
			return
		}
		want = want.WithZone("").Unmap()
		got := proxies.Client(want, []byte(list))
		parts := strings.Split(list, ",")
		for i := len(parts) - 1; i >= 0 && list != "" && trusted.Contains(want); i-- {
			s := strings.Trim(parts[i], " \t")
			if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
				s = s[1 : len(s)-1]
			}
			a, err := netip.ParseAddr(naiveAddr(s))
			if err != nil || len(s) > 64 {
				break
			}
			want = a
		}
		if got != want {
			t.Errorf("from %s, %q: got %v, want %v", from, list, got, want)
		}
	})
}
