package drift

import (
	"fmt"
	"net/url"
	"path"
	"strconv"
	"strings"
)

// Answer is a yes or no that may also be missing; the zero value says neither.
type Answer int8

// The answers.
const (
	Unclear Answer = iota
	Yes
	No
)

// Endpoint is a place of the platform's LLM proxy: host, port and, where one
// was given, a path prefix.
type Endpoint struct {
	host string // lower case, no trailing dot
	port int
	path string // clean, no trailing slash; "" any
}

// ParseEndpoint reads a proxy endpoint, an http or https URL with a host.
func ParseEndpoint(raw string) (Endpoint, error) {
	strict, err := url.Parse(raw)
	u, _ := splitURL(raw)
	if err != nil || strict.Scheme != "http" && strict.Scheme != "https" || strict.Hostname() == "" || u.host == "" || u.port == 0 {
		return Endpoint{}, fmt.Errorf("proxy endpoint %q: not a URL with a host, such as https://api.example.com/llm", raw)
	}
	return u, nil
}

// String gives the endpoint without what does not count.
func (e Endpoint) String() string {
	host := e.host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + strconv.Itoa(e.port) + e.path
}

// At tells whether a client that is given v as its base URL calls this
// endpoint. Userinfo, case, trailing dots, doubled, trailing and backward
// slashes, dot segments and percent-encoding do not matter. A value that is
// cut short may leave it unclear.
func (e Endpoint) At(v Variable) Answer {
	if strings.TrimSpace(v.Value) == "" {
		return No
	}
	u, authorityEnded := splitURL(v.Value)
	switch {
	case v.Cut && !authorityEnded:
		return Unclear
	case u.host != e.host || u.port != e.port:
		return No
	case e.path == "" || strings.HasPrefix(u.path, e.path+"/"):
		return Yes
	case v.Cut && strings.HasPrefix(e.path, u.path):
		return Unclear
	case u.path == e.path:
		return Yes
	}
	return No
}

// splitURL reads a URL the way HTTP clients do, which is laxer than RFC 3986:
// what is meant to mislead a reader must not mislead us. A missing scheme is
// https. authorityEnded tells that host and port were followed by something.
func splitURL(raw string) (u Endpoint, authorityEnded bool) {
	raw = strings.NewReplacer("\\", "/", "\t", "", "\r", "", "\n", "").Replace(strings.TrimSpace(raw))
	u.port = 443
	scheme, rest, found := strings.Cut(raw, "://")
	if !found {
		rest = raw
	} else if strings.EqualFold(scheme, "http") {
		u.port = 80
	}
	rest = strings.TrimLeft(rest, "/")
	end := strings.IndexAny(rest, "/?#")
	authorityEnded = end >= 0
	if !authorityEnded {
		end = len(rest)
	}
	authority, tail := rest[:end], rest[end:]
	if i := strings.IndexAny(tail, "?#"); i >= 0 {
		tail = tail[:i]
	}
	u.path = cleanPath(tail)
	u.host, u.port = splitHost(authority[strings.LastIndexByte(authority, '@')+1:], u.port)
	return u, authorityEnded
}

func splitHost(hostport string, port int) (string, int) {
	host := hostport
	if i := strings.LastIndexByte(hostport, ':'); i > strings.LastIndexByte(hostport, ']') {
		host = hostport[:i]
		if digits := hostport[i+1:]; digits != "" {
			n, err := strconv.Atoi(digits)
			if err != nil {
				n = 0
			}
			port = n
		}
	}
	if plain, err := url.PathUnescape(host); err == nil {
		host = plain
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.TrimRight(strings.ToLower(host), "."), port
}

// cleanPath gives the path as a server routes it; "" for the root.
func cleanPath(p string) string {
	if plain, err := url.PathUnescape(p); err == nil {
		p = plain
	}
	if p = path.Clean("/" + p); p == "/" {
		return ""
	}
	return p
}

// AtProxy tells whether a base URL leads to any of the proxy's endpoints.
func (p *Policy) AtProxy(v Variable) Answer {
	answer := No
	for _, e := range p.Proxy {
		switch e.At(v) {
		case Yes:
			return Yes
		case Unclear:
			answer = Unclear
		}
	}
	return answer
}
