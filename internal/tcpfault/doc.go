// Package tcpfault is a line between two programs that fails as lines do: cut,
// silent, slow, refused, or broken off just when a certain thing was said. It
// stands between a daemon and its database, AWS or a platform in tests.
//
// It carries bytes and knows no protocol. It never changes a byte, and what it
// has carried it has carried in order.
package tcpfault
