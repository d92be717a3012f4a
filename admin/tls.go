package admin

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"
)

// TLS names the files of a certificate. They are read again when they change.
type TLS struct {
	Cert     string // PEM, the chain behind it
	Key      string // PEM
	ClientCA string // PEM; where it is given, a client must show a certificate of one of these
}

// config gives the configuration of a listener. It fails where the files cannot
// be used now; later the last good ones are kept.
func (t *TLS) config(log *slog.Logger) (*tls.Config, error) {
	f := &tlsFiles{TLS: *t, log: log}
	f.stamp = f.stamps()
	made, err := f.read()
	if err != nil {
		return nil, err
	}
	f.made = made
	base := made.Clone()
	base.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return f.current(), nil }
	return base, nil
}

// tlsFiles holds what the files said when they were last good.
type tlsFiles struct {
	TLS
	log *slog.Logger

	mu    sync.Mutex
	stamp [3]stamp // of the files as last read
	made  *tls.Config
}

// stamp tells a file from what it was; zero: it is not there.
type stamp struct {
	changed time.Time
	size    int64
	mode    fs.FileMode
}

// current is asked at each handshake: three stats, and no goroutine to watch.
func (f *tlsFiles) current() *tls.Config {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.stamps()
	if now == f.stamp {
		return f.made
	}
	f.stamp = now
	made, err := f.read()
	if err != nil {
		f.log.Error("tls files kept as they were", "error", err)
		return f.made
	}
	f.made = made
	f.log.Info("tls files read again", "cert", f.Cert)
	return f.made
}

func (f *tlsFiles) stamps() (all [3]stamp) {
	for i, name := range []string{f.Cert, f.Key, f.ClientCA} {
		if st, err := os.Stat(name); err == nil {
			all[i] = stamp{st.ModTime(), st.Size(), st.Mode()}
		}
	}
	return all
}

func (f *tlsFiles) read() (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return nil, fmt.Errorf("read tls certificate: %w", err)
	}
	made := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}}
	if f.ClientCA == "" {
		return made, nil
	}
	pem, err := os.ReadFile(f.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("read tls client CA: %w", err)
	}
	made.ClientCAs, made.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
	if !made.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, errors.New("read tls client CA: " + f.ClientCA + ": no certificate in it; it must be PEM")
	}
	return made, nil
}
