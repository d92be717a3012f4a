// Package receive takes log lines that others push over HTTP, in the forms that
// they have already: plain lines and NDJSON, Loki's push, OTLP logs, and what
// Amazon Data Firehose delivers.
//
// It promises: a push is answered with success when its calls are counted for
// good and not before; what is sent again, because no answer came, is counted
// once, where its sender or its content tells that it is the same; a body is
// either counted whole or not at all; the memory that all pushes take together
// is bounded, and who comes beyond is told to come again; a body that can never
// be taken is told apart from one that can be sent again.
//
// It never keeps or logs a line, never asks who a sender is (whoever mounts it
// does), and rejects no push for lines that it does not understand: those are
// counted as such.
package receive
