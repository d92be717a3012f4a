package notify_test

import (
	"net"
	"net/netip"
	"testing"
)

// dns is a name server for which every name leads to one IPv4 address.
func dns(t *testing.T, to netip.Addr) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buffer := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(answerTo(buffer[:n], to), from)
		}
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	return conn.LocalAddr().String()
}

// answerTo answers one question (RFC 1035, 4.1).
func answerTo(query []byte, to netip.Addr) []byte {
	end := 12
	for query[end] != 0 {
		end += int(query[end]) + 1
	}
	end += 5 // the root, type and class
	answer := append([]byte{}, query[:end]...)
	answer[2], answer[3] = 0x81, 0x80                         // a response, no error
	copy(answer[6:12], []byte{0, 0, 0, 0, 0, 0})              // no answers
	if kind := query[end-3]; kind == 1 && query[end-4] == 0 { // A
		answer[7] = 1
		four := to.As4()
		answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4)
		answer = append(answer, four[:]...)
	}
	return answer
}
