package kafka

import (
	"crypto/x509"
	"time"
)

// Hasten makes the group, the reports and the pauses as fast as tests want them.
func (c *Consumer) Hasten() *Consumer {
	c.timing = timing{session: time.Second, heartbeat: 50 * time.Millisecond, rebalance: time.Second, state: 50 * time.Millisecond, retry: 100 * time.Millisecond, answer: 2 * time.Second}
	return c
}

// Trust names whose certificates are believed.
func (c *Consumer) Trust(roots *x509.CertPool) *Consumer {
	c.roots = roots
	return c
}

// Facts are what Begin decides by.
type Facts struct {
	Stored        int64
	Was, Is       byte
	First, End    int64
	DivergedKnown bool
	Diverged      int64
}

// Begin says where reading goes on, and what has happened.
func Begin(x Facts) (int64, string) {
	f := facts{stored: x.Stored, was: topicID{x.Was}, is: topicID{x.Is}, first: x.First, end: x.End, diverged: noOffset}
	if x.DivergedKnown {
		f.diverged = x.Diverged
	}
	return f.begin()
}
