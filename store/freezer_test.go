package store_test

import (
	"bytes"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// freezer is a way to the server on which the client falls silent, as a frozen
// process does: its connections stay, and nothing more comes from it.
type freezer struct {
	url    string
	frozen chan struct{} // closed when it has fallen silent
	thawed chan struct{}

	mu    sync.Mutex
	after string // it falls silent once it has said this; "": it does not
	ice   bool
}

func newFreezer(t *testing.T, to string) *freezer {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	server := u.Host
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u.Host = l.Addr().String()
	f := &freezer{url: u.String(), frozen: make(chan struct{}), thawed: make(chan struct{})}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { f.carry(client, server) })
		}
	})
	t.Cleanup(func() {
		f.thaw()
		_ = l.Close()
		running.Wait() // the store is closed before: cleanups run backwards
	})
	return f
}

func (f *freezer) carry(client net.Conn, server string) {
	defer client.Close()
	up, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer up.Close()
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(client, up)
		_ = client.Close()
	})
	buffer := make([]byte, 1<<16)
	for {
		n, err := client.Read(buffer)
		f.wait()
		if n > 0 {
			if _, err := up.Write(buffer[:n]); err != nil {
				break
			}
			f.heard(buffer[:n])
		}
		if err != nil {
			break
		}
	}
	_ = up.Close()
	back.Wait()
}

// wait holds back what comes while it is frozen.
func (f *freezer) wait() {
	f.mu.Lock()
	ice := f.ice
	f.mu.Unlock()
	if ice {
		<-f.thawed
	}
}

func (f *freezer) heard(said []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.after != "" && !f.ice && bytes.Contains(said, []byte(f.after)) {
		f.ice = true
		close(f.frozen)
	}
}

func (f *freezer) freezeAfter(words string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.after = words
}

func (f *freezer) thaw() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.after, f.ice = "", false
	select {
	case <-f.thawed:
	default:
		close(f.thawed)
	}
}
