package desired

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/jackc/pgx/v5/pgconn"
)

// codeProtocolViolation is how PgBouncer refuses a start-up parameter.
const codeProtocolViolation = "08P01"

// remedies say what to do about errors of PostgreSQL, by SQLSTATE.
var remedies = map[string]string{
	"28P01": "check the password of the source's database",
	"28000": "let this role in: pg_hba.conf, or the role's LOGIN",
	"3D000": "check the database's name",
	"3F000": "check the search_path of the role",
	"42501": "run deploy/sql/reader.sql for this role",
	"42P01": "check that this is the tenant's database, and the search_path of the role",
	"42703": "run deploy/sql/reader.sql for this role, or upgrade the reconciler",
	"53300": "raise the role's or the server's connection limit, or lower pool_max_conns",
	"57014": "raise the source's statement time-out, or look at what slows the database down",
	"57P03": "wait for the server to finish starting",
	"40001": "on a standby: raise max_standby_streaming_delay, or read the primary",
}

// userError is an error that says itself what to do.
type userError struct{ text string }

func (e userError) Error() string { return e.text }

// stopped is an error of the caller's own, to be handed back as it is.
type stopped struct{ error }

// wrap names the source and what was being done, and adds what may help.
func (r *Reader) wrap(what string, err error) error {
	var own stopped
	switch {
	case err == nil:
		return nil
	case errors.As(err, &own):
		return own.error
	}
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) {
		c := connect.Config
		what = fmt.Sprintf("connect to %s:%d/%s as %s", c.Host, c.Port, c.Database, c.User)
		err = connect.Unwrap()
	}
	if hint := remedy(err); hint != "" {
		return fmt.Errorf("source %s: %s: %w: %s", r.source, what, err, hint)
	}
	return fmt.Errorf("source %s: %s: %w", r.source, what, err)
}

func remedy(err error) string {
	var server *pgconn.PgError
	if errors.As(err, &server) {
		return remedies[server.Code]
	}
	var lookup *net.DNSError
	var dial *net.OpError
	switch {
	case errors.As(err, &lookup):
		return "check the host's name"
	case errors.Is(err, context.DeadlineExceeded):
		return "the database did not answer in time: check that it can be reached from here"
	case errors.As(err, &dial) && dial.Op == "dial":
		return "check host, port and that the database can be reached from here"
	}
	return ""
}
