package admin_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/admin"
)

// authority signs certificates.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.sign(name, true)
	return a
}

// sign makes a certificate of its own, or for a name, and writes name.pem and
// name.key.
func (a *authority) sign(name string, self bool) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	tmpl := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: self, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	parent, signer := a.cert, a.key
	if self {
		parent, signer = tmpl, key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(name+".pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	a.write(name+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	return cert, key
}

func (a *authority) write(name string, text []byte) {
	a.t.Helper()
	if err := os.WriteFile(a.path(name), text, 0o600); err != nil {
		a.t.Fatal(err)
	}
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

func overTLS(a *authority, clientCA string) func(*admin.Options) {
	return func(o *admin.Options) {
		o.TLS = &admin.TLS{Cert: a.path("server.pem"), Key: a.path("server.key"), ClientCA: clientCA}
	}
}

func TestTLSAndItsCertificateAnew(t *testing.T) {
	a := newAuthority(t, "ca")
	a.sign("server", false)
	w := serve(t, overTLS(a, ""))
	w.url = "https" + strings.TrimPrefix(w.url, "http")
	trusting := admin.ClientOptions{Server: w.url, Token: operatorToken, CA: a.path("ca.pem")}
	if _, err := client(t, trusting).Status(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.api(t).Status(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a client that does not know the authority: got %v", err)
	}
	if got := raw(t, &served{url: strings.Replace(w.url, "https", "http", 1)}, "GET /healthz HTTP/1.0\r\n\r\n"); !strings.Contains(got, "400") {
		t.Errorf("plain HTTP: got %q", got)
	}

	b := newAuthority(t, "other") // the files change: the next connection shows the new one
	b.sign("server", false)
	for _, name := range []string{"server.key", "server.pem"} {
		text, err := os.ReadFile(b.path(name))
		if err != nil {
			t.Fatal(err)
		}
		a.write(name, text)
	}
	if _, err := client(t, admin.ClientOptions{Server: w.url, Token: operatorToken, CA: b.path("other.pem")}).Status(t.Context()); err != nil {
		t.Errorf("after a renewal: %v", err)
	}

	a.write("server.pem", []byte("half a certif")) // broken: the last good one stays
	if _, err := client(t, admin.ClientOptions{Server: w.url, Token: operatorToken, CA: b.path("other.pem")}).Status(t.Context()); err != nil {
		t.Errorf("with a broken file: %v", err)
	}
	if !strings.Contains(w.log.String(), "tls files kept as they were") {
		t.Error("the broken file is not in the log")
	}
}

func TestClientCertificatesAreDemanded(t *testing.T) {
	a, strangers := newAuthority(t, "ca"), newAuthority(t, "strangers")
	a.sign("server", false)
	a.sign("client", false)
	strangers.sign("client", false)
	w := serve(t, overTLS(a, a.path("ca.pem")))
	server := "https" + strings.TrimPrefix(w.url, "http")
	for who, c := range map[string]struct {
		cert, key, token string
		want             string
	}{
		"with one and a token":    {a.path("client.pem"), a.path("client.key"), viewerToken, ""},
		"with one, without token": {a.path("client.pem"), a.path("client.key"), "", "401"},
		"without one":             {"", "", viewerToken, "/status"}, // the server hangs up, and what the client makes of that differs
		"of another authority":    {strangers.path("client.pem"), strangers.path("client.key"), viewerToken, "/status"},
	} {
		opts := admin.ClientOptions{Server: server, CA: a.path("ca.pem"), Cert: c.cert, Key: c.key}
		if c.token != "" {
			opts.Token = viewerToken
		}
		_, err := client(t, opts).Status(t.Context())
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", who, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: got %v, want an error about %q", who, err, c.want)
		}
	}
}

func TestTLSFilesThatCannotBeUsed(t *testing.T) {
	a := newAuthority(t, "ca")
	a.sign("server", false)
	a.write("empty", nil)
	for rule, files := range map[string]admin.TLS{
		"no certificate":     {Cert: a.path("none"), Key: a.path("server.key")},
		"another's key":      {Cert: a.path("server.pem"), Key: a.path("ca.key")},
		"no client CA":       {Cert: a.path("server.pem"), Key: a.path("server.key"), ClientCA: a.path("none")},
		"an empty client CA": {Cert: a.path("server.pem"), Key: a.path("server.key"), ClientCA: a.path("empty")},
	} {
		server, err := admin.New(admin.Options{Store: newStore(t), Tokens: tokens(), TLS: &files})
		if err != nil {
			t.Fatal(err)
		}
		if err := server.Serve(t.Context(), listen(t, "127.0.0.1:0")); err == nil || !strings.Contains(err.Error(), "tls") {
			t.Errorf("%s: got %v", rule, err)
		}
	}
}
