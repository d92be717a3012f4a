// Package desired says what each workspace should be: who should pay for its
// LLM calls, with which provider and model, and from which inputs that follows.
//
// It reads the provider registry (LoadRegistry), derives and resolves both of
// the platform's paths (Resolver, pure), and reads a tenant's workspaces from
// its PostgreSQL (Reader). It only ever reads: every query runs in a read-only
// transaction. Of secrets it decrypts the two model keys, and credentials for
// the moment it takes to fingerprint them; the bytes of every other secret are
// not even fetched.
package desired
