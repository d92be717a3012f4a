package desired

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// Values as PostgreSQL sends them in binary. They are read by hand, without
// reflection, because a fleet has some hundred thousand rows; each query casts
// its columns, so that the types are known.

// eachRow runs a query whose parameters are text[] and gives each row to yield,
// which must not keep the values' bytes. The statement has no name and ends
// with the round trip, so that a pooler may do with the connection what it
// likes.
func eachRow(ctx context.Context, tx pgx.Tx, query string, params [][]string, yield func(values [][]byte) error) error {
	conn := tx.Conn()
	encoded := make([][]byte, len(params))
	for i, param := range params {
		b, err := conn.TypeMap().Encode(pgtype.TextArrayOID, pgtype.TextFormatCode, param, []byte{})
		if err != nil {
			return err
		}
		encoded[i] = b
	}
	rows := conn.PgConn().ExecParams(ctx, query, encoded, nil, nil, []int16{pgtype.BinaryFormatCode})
	for rows.NextRow() {
		if err := yield(rows.Values()); err != nil {
			_, _ = rows.Close() // it can only add that what was stopped has stopped
			return err
		}
	}
	_, err := rows.Close()
	return err
}

// postgresEpoch is 2000-01-01 UTC, from which PostgreSQL counts microseconds.
const postgresEpoch = 946_684_800_000_000

// uuid is an id as it is sent.
type uuid [16]byte

func wireUUID(b []byte) (id uuid) {
	copy(id[:], b)
	return id
}

// String gives the usual form, in lower case.
func (u uuid) String() string {
	var b [36]byte
	hex.Encode(b[:8], u[:4])
	hex.Encode(b[9:13], u[4:6])
	hex.Encode(b[14:18], u[6:8])
	hex.Encode(b[19:23], u[8:10])
	hex.Encode(b[24:], u[10:])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return string(b[:])
}

// wireInt reads an int4; 0 for NULL.
func wireInt(b []byte) int {
	if len(b) != 4 {
		return 0
	}
	return int(int32(binary.BigEndian.Uint32(b))) // #nosec G115 -- the wire's own two's complement
}

// never is a NULL or infinite time.
const never = math.MinInt64

// wireTime reads a timestamptz in microseconds since 1970, or never.
func wireTime(b []byte) int64 {
	if len(b) != 8 {
		return never
	}
	micros := int64(binary.BigEndian.Uint64(b)) // #nosec G115 -- the wire's own two's complement
	if micros == math.MaxInt64 || micros == math.MinInt64 {
		return never
	}
	return micros + postgresEpoch
}

func asTime(micros int64) time.Time {
	if micros == never {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}

// interner keeps one copy of texts that come again in every workspace.
type interner map[string]string

func (in interner) text(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if s, ok := in[string(b)]; ok {
		return s
	}
	s := string(b)
	in[s] = s
	return s
}
