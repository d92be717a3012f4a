// Package traffic counts what the inputs of the proxy's log read: it decides
// whose calls are, by who held their address when they were made or by the name
// in their lines, and has them written together with the positions of the
// inputs. It answers the passes that ask what the log tells of a workspace.
//
// It promises: a batch is counted once or not at all; calls of an address that
// several may have held accuse none of them; what waits to be counted is
// bounded, and who brings more is told to wait.
package traffic
