package admin

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// admissible refuses to answer everybody on an address that others can reach.
func admissible(addr net.Addr, keys *keyring) error {
	if !keys.empty() || onLoopback(addr) {
		return nil
	}
	return fmt.Errorf("serve %s: without tokens only a loopback address is listened on, since whoever reaches it is an operator; "+
		"set admin.tokens, or admin.listen to 127.0.0.1 or [::1]", addr)
}

// onLoopback tells whether an address that is really bound is on loopback.
func onLoopback(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// admitLocal lets in whoever comes over loopback by a name of loopback's. A page
// from elsewhere whose name was bent to 127.0.0.1 (DNS rebinding) comes by its
// own name, and is refused; what a proxy passes on comes from anywhere.
func (s *Server) admitLocal(r *http.Request) (Principal, *refusal) {
	if !s.loopback.Load() {
		return Principal{}, refuse(http.StatusForbidden, "there are no tokens, and this listener is not on loopback: set admin.tokens")
	}
	if !loopbackHost(r.Host) {
		return Principal{}, refuse(http.StatusForbidden,
			"without tokens requests are taken for localhost, 127.0.0.1 and [::1] alone: use one of these in the URL, or set admin.tokens")
	}
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip"} {
		if r.Header.Get(name) != "" {
			return Principal{}, refuse(http.StatusForbidden,
				"a proxy passed this request on ("+name+"), so anybody may have sent it: set admin.tokens")
		}
	}
	return local, nil
}

// loopbackHost tells whether a Host header names loopback.
func loopbackHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
