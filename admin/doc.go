// Package admin is the reconciler's face: the HTTP API with who may use it, the
// event stream, health and metrics, and the client that the command line uses.
//
// It promises that nobody gets in without a token unless the listener is on
// loopback; that a change that is sent twice under one Idempotency-Key happens
// once; that a reader of the event stream who names the last event it saw gets
// every later one, once; that every error is a problem document (RFC 9457).
//
// It never keeps or prints a token, decides nothing about billing, and asks no
// tenant's database, no AWS and no platform: all that it shows, the store holds.
package admin
