// Package fleetsim is a simulated fleet for the demo and for tests: tenants'
// databases in a real PostgreSQL, machines on which the real probe is run by a
// real shell, the platform's API and the proxy's log. Only what a machine at a
// desk cannot have is simulated, and what is simulated speaks its real
// protocol.
package fleetsim
