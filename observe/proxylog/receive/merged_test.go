package receive_test

import (
	"fmt"
	"math/rand"
	"net/http"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/internal/tcpfault"
)

// stream is a stream of Loki's with some of the numbered lines.
type stream struct {
	labels string
	lines  []int
}

func lines(from, to int) (out []int) {
	for n := from; n < to; n++ {
		out = append(out, n)
	}
	return out
}

func lokiStreams(streams ...stream) sent {
	var list []any
	for _, s := range streams {
		var values [][2]string
		for _, n := range s.lines {
			values = append(values, [2]string{fmt.Sprint(stamp(0, n)), numbered(n)})
		}
		list = append(list, map[string]any{"stream": map[string]string{"app": s.labels}, "values": values})
	}
	return sent{path: "/loki/api/v1/push", kind: "application/json", body: asJSON(map[string]any{"streams": list})}
}

// TestWhatIsSentAgainWithNewerLines: a batch whose answer was lost is put back
// before the lines that have come meanwhile.
func TestWhatIsSentAgainWithNewerLines(t *testing.T) {
	for _, c := range []struct {
		name   string
		pushes []sent
		want   int
	}{
		{"newer lines behind", []sent{lokiStreams(stream{"a", lines(0, 5)}), lokiStreams(stream{"a", lines(0, 9)})}, 9},
		{"and again", []sent{lokiStreams(stream{"a", lines(0, 5)}), lokiStreams(stream{"a", lines(0, 9)}), lokiStreams(stream{"a", lines(0, 12)}), lokiStreams(stream{"a", lines(0, 12)})}, 12},
		{"newer streams before and behind", []sent{lokiStreams(stream{"a", lines(0, 5)}),
			lokiStreams(stream{"b", lines(10, 13)}, stream{"a", lines(0, 6)}, stream{"c", lines(20, 21)})}, 10},
		{"newer lines of the stream before it", []sent{lokiStreams(stream{"a", lines(0, 5)}), lokiStreams(stream{"a", lines(5, 9)}, stream{"a", lines(0, 5)}), lokiStreams(stream{"a", lines(0, 12)})}, 12},
		{"the same first line twice in a push", []sent{lokiStreams(stream{"a", lines(0, 2)}, stream{"a", lines(0, 3)}), lokiStreams(stream{"a", lines(0, 2)}, stream{"a", lines(0, 3)})}, 5},
		{"fewer lines than were counted", []sent{lokiStreams(stream{"a", lines(0, 5)}), lokiStreams(stream{"a", lines(0, 3)})}, 8},
		{"the same lines under other labels are others", []sent{lokiStreams(stream{"a", lines(0, 5)}), lokiStreams(stream{"b", lines(0, 5)})}, 10},
		{"only the first line in common", []sent{lokiStreams(stream{"a", lines(0, 5)}), lokiStreams(stream{"a", append([]int{0}, lines(50, 60)...)})}, 5 + 11},
		{"that again", []sent{lokiStreams(stream{"a", lines(0, 5)}), lokiStreams(stream{"a", append([]int{0}, lines(50, 60)...)}), lokiStreams(stream{"a", append([]int{0}, lines(50, 60)...)})}, 5 + 11},
		{"newer lines alone", []sent{lokiStreams(stream{"a", lines(0, 5)}), lokiStreams(stream{"a", lines(5, 7)})}, 7},
	} {
		t.Run(c.name, func(t *testing.T) {
			for what, plan := range map[string]func(int) fate{"counted": nil, "counted, and an error came": func(n int) fate { return []fate{failsAfter, counts}[n%2] }} {
				l := newLedger(plan)
				h := routes(receiver(l))
				for i, push := range c.pushes {
					if w := push.to(h); w.Code != 204 {
						t.Fatalf("%s: push %d: got %d %s", what, i, w.Code, w.Body)
					}
				}
				if got := l.sums(); got != [3]int64{int64(c.want), int64(c.want), 0} {
					t.Errorf("%s: got %v lines, want %d", what, got, c.want)
				}
			}
		})
	}
}

// TestManyStreamsAreRecognisedAsAWhole, for then each has no position of its own.
func TestManyStreamsAreRecognisedAsAWhole(t *testing.T) {
	var streams []stream
	for n := range 1000 {
		streams = append(streams, stream{fmt.Sprint(n), lines(n, n+1)})
	}
	l := newLedger(nil)
	h := routes(receiver(l))
	for range 2 {
		if w := lokiStreams(streams...).to(h); w.Code != 204 {
			t.Fatal(w.Code)
		}
		rand.Shuffle(len(streams), func(i, j int) { streams[i], streams[j] = streams[j], streams[i] })
	}
	if got := l.sums()[0]; got != 1000 || len(l.at) > 0 {
		t.Errorf("got %d lines, %d positions", got, len(l.at))
	}
}

// TestTortureOfASenderThatMerges: a sender that puts a failed batch back before
// its newer lines, as winston-loki does, through a line that is cut and a
// counter that fails before and after counting.
func TestTortureOfASenderThatMerges(t *testing.T) {
	const total = 20_000
	chance := rand.New(rand.NewSource(3))
	l := newLedger(func(int) fate { return []fate{failsBefore, failsAfter, counts, isBusy, counts}[chance.Intn(5)] })
	h := newHouse(t, func() http.Handler { return routes(receiver(l)) })
	line, err := tcpfault.Open(t.Context(), h.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer line.Close()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 5 * time.Second}
	var waiting []stream
	failed, next := 0, 0
	for pushes := 0; next < total || len(waiting) > 0; pushes++ {
		for range chance.Intn(400) {
			if next < total {
				waiting = join(waiting, fmt.Sprint(next%3), next)
				next++
			}
		}
		if pushes%5 == 0 {
			go line.Cut()
		}
		if len(waiting) > 0 && accepted(t, client, lokiStreams(waiting...).request("http://"+line.Addr())) {
			waiting = nil
		} else {
			failed++
		}
	}
	exact(t, l.by, total)
	if failed < 5 {
		t.Errorf("only %d pushes failed", failed)
	}
}

func join(streams []stream, labels string, n int) []stream {
	for i := range streams {
		if streams[i].labels == labels {
			streams[i].lines = append(streams[i].lines, n)
			return streams
		}
	}
	return append(streams, stream{labels, []int{n}})
}
