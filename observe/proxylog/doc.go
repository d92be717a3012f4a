// Package proxylog reads the access logs of the platform's LLM proxy and says
// which workspace made which billed call: a line becomes a Hit (Parser), hits
// are counted (Count) or attributed to workspaces by address and time
// (Holders, Ledger).
//
// It promises: a line that it does not understand is counted as such and never
// guessed at; an address that several workspaces may have held accuses none of
// them; nothing is allocated for an ordinary line; memory is bounded by the
// number of groups, workspaces and addresses, not by the length of a log.
//
// It never writes to a log, never follows one (it reads what is there now), and
// knows neither databases nor networks.
package proxylog
