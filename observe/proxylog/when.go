package proxylog

import (
	"bytes"
	"encoding/binary"
	"math"
	"strconv"
	"time"
)

// moment is a point in time: Unix seconds and nanoseconds.
type moment struct {
	sec  int64
	nsec int64
}

func (m moment) time() time.Time { return time.Unix(m.sec, m.nsec).UTC() }

// clock reads times. It remembers the last second that it has worked out,
// since most lines of a log are of the same second as the one before.
type clock struct {
	clf   [clfLen]byte // "28/May/2026:18:31:54 +0000"
	clfAt int64
	iso   [isoLen]byte // "2026-05-28T18:31:54"; what rfc3339 hands over is never all NULs
	isoAt int64        // as if it were UTC
}

const (
	clfLen = len("28/May/2026:18:31:54 +0000")
	isoLen = len("2026-05-28T18:31:54")
)

// common reads a time of the common log format; b is clfLen long.
func (c *clock) common(b []byte) (int64, bool) {
	if len(b) == clfLen && c.isLast(b) && c.clfAt != 0 {
		return c.clfAt, true
	}
	return c.commonSlowly(b)
}

// isLast tells whether b is the time read before, by overlapping words.
func (c *clock) isLast(b []byte) bool {
	last := &c.clf
	return binary.LittleEndian.Uint64(b[18:26]) == binary.LittleEndian.Uint64(last[18:26]) &&
		binary.LittleEndian.Uint64(b[12:20]) == binary.LittleEndian.Uint64(last[12:20]) &&
		binary.LittleEndian.Uint64(b[0:8]) == binary.LittleEndian.Uint64(last[0:8]) &&
		binary.LittleEndian.Uint64(b[8:16]) == binary.LittleEndian.Uint64(last[8:16])
}

func (c *clock) commonSlowly(b []byte) (int64, bool) {
	if len(b) != clfLen || b[2] != '/' || b[6] != '/' || b[11] != ':' || b[14] != ':' || b[17] != ':' || b[20] != ' ' {
		return 0, false
	}
	sec, ok := civil(two(b[7:])*100+two(b[9:]), month(b[3:6]), two(b[0:]), b[12:])
	zone, zoneOK := offset(b[21:])
	if !ok || !zoneOK {
		return 0, false
	}
	copy(c.clf[:], b)
	c.clfAt = sec - zone
	return c.clfAt, true
}

// parse reads a time as text: RFC 3339 (a blank in place of the T, a comma in
// the fraction and a zone without colon are taken too; no zone is UTC), common
// log format, or a number as epoch reads it.
func (c *clock) parse(b []byte) (moment, bool) {
	switch {
	case len(b) >= isoLen && b[4] == '-':
		return c.rfc3339(b)
	case len(b) == clfLen && b[2] == '/':
		sec, ok := c.common(b)
		return moment{sec: sec}, ok
	}
	return epoch(b)
}

func (c *clock) rfc3339(b []byte) (moment, bool) {
	sec, ok := c.isoSecond(b[:isoLen])
	if !ok {
		return moment{}, false
	}
	nsec, rest := fraction(b[isoLen:])
	if nsec < 0 {
		return moment{}, false
	}
	zone, ok := isoZone(rest)
	return moment{sec - zone, nsec}, ok
}

func (c *clock) isoSecond(b []byte) (int64, bool) {
	last := &c.iso
	if binary.LittleEndian.Uint64(b[11:19]) == binary.LittleEndian.Uint64(last[11:19]) &&
		binary.LittleEndian.Uint64(b[0:8]) == binary.LittleEndian.Uint64(last[0:8]) &&
		binary.LittleEndian.Uint64(b[8:16]) == binary.LittleEndian.Uint64(last[8:16]) {
		return c.isoAt, true
	}
	return c.isoSecondSlowly(b)
}

func (c *clock) isoSecondSlowly(b []byte) (int64, bool) {
	sep := b[10] == 'T' || b[10] == 't' || b[10] == ' '
	if !sep || b[4] != '-' || b[7] != '-' || b[13] != ':' || b[16] != ':' {
		return 0, false
	}
	sec, ok := civil(two(b[0:])*100+two(b[2:]), two(b[5:]), two(b[8:]), b[11:])
	if !ok {
		return 0, false
	}
	copy(c.iso[:], b)
	c.isoAt = sec
	return sec, true
}

// fraction reads what may stand behind a second, cut to nanoseconds; -1: it is
// broken. The rest is returned.
func fraction(b []byte) (int64, []byte) {
	if len(b) >= 4 && b[0] == '.' && (len(b) == 4 || b[4]-'0' > 9) {
		if hundreds, rest := b[1]-'0', two(b[2:]); hundreds <= 9 && rest >= 0 {
			return (int64(hundreds)*100 + int64(rest)) * int64(time.Millisecond), b[4:]
		}
	}
	if len(b) == 0 || (b[0] != '.' && b[0] != ',') {
		return 0, b
	}
	var n int64
	scale := int64(time.Second)
	i := 1
	for ; i < len(b) && b[i]-'0' <= 9; i++ {
		if scale > 1 {
			n = n*10 + int64(b[i]-'0')
			scale /= 10
		}
	}
	if i == 1 {
		return -1, b
	}
	return n * scale, b[i:]
}

// isoZone reads Z, +hh:mm, +hhmm or nothing, in seconds east.
func isoZone(b []byte) (int64, bool) {
	switch {
	case len(b) == 0 || (len(b) == 1 && b[0]|0x20 == 'z'):
		return 0, true
	case len(b) == 6 && b[3] == ':':
		return offset([]byte{b[0], b[1], b[2], b[4], b[5]})
	}
	return offset(b)
}

// offset reads +hhmm in seconds east.
func offset(b []byte) (int64, bool) {
	if len(b) != 5 || (b[0] != '+' && b[0] != '-') {
		return 0, false
	}
	h, m := two(b[1:]), two(b[3:])
	if h < 0 || h > 23 || m < 0 || m > 59 {
		return 0, false
	}
	east := int64(h*60+m) * 60
	if b[0] == '-' {
		east = -east
	}
	return east, true
}

// two reads two digits; what is none gives a number far below any.
func two(b []byte) int {
	hi, lo := b[0]-'0', b[1]-'0'
	if hi > 9 || lo > 9 {
		return -1 << 20
	}
	return int(hi)*10 + int(lo)
}

func month(b []byte) int {
	const names = "JanFebMarAprMayJunJulAugSepOctNovDec"
	for m := range 12 {
		if string(b) == names[m*3:m*3+3] {
			return m + 1
		}
	}
	return 0
}

// civil is the Unix second of a date and of clock, which begins with hh?mm?ss;
// false where there is no such moment. A leap second counts as the next one.
func civil(year, month, day int, clock []byte) (int64, bool) {
	h, m, s := two(clock), two(clock[3:]), two(clock[6:])
	if year < 0 || month < 1 || month > 12 || day < 1 || h < 0 || h > 23 || m < 0 || m > 59 || s < 0 || s > 60 {
		return 0, false
	}
	t := time.Date(year, time.Month(month), day, h, m, s, 0, time.UTC)
	if s < 60 && (t.Day() != day || t.Month() != time.Month(month)) {
		return 0, false // such as 31 April, which time.Date carries over
	}
	return t.Unix(), true
}

// epoch reads a number of seconds, milliseconds, microseconds or nanoseconds
// since 1970, told apart by size: seconds stay below 1e11 until the year 5138.
func epoch(b []byte) (moment, bool) {
	dot := bytes.IndexByte(b, '.')
	whole, rest := b, []byte(nil)
	if dot >= 0 {
		whole, rest = b[:dot], b[dot:]
	}
	n, ok := digits(whole)
	if !ok {
		return epochFloat(b)
	}
	unit := int64(time.Second)
	for limit := int64(1e11); n >= limit && unit > 1; limit *= 1000 {
		unit /= 1000
	}
	part, tail := fraction(rest)
	if part < 0 || len(tail) > 0 || n == 0 {
		return epochFloat(b)
	}
	per := int64(time.Second) / unit
	return moment{n / per, n%per*unit + part*unit/int64(time.Second)}, true
}

// epochFloat reads the rare spellings, such as 1.7e9 and 19 digits.
func epochFloat(b []byte) (moment, bool) {
	const longest = 40
	if len(b) == 0 || len(b) > longest || b[0]-'0' > 9 || bytes.ContainsAny(b, "xXpP_") {
		return moment{}, false // no hexadecimal
	}
	f, err := strconv.ParseFloat(string(b), 64)
	if err != nil || !(f > 0) || f >= 1e20 {
		return moment{}, false
	}
	for limit := 1e11; f >= limit; {
		f /= 1000
	}
	sec, part := math.Modf(f)
	return moment{int64(sec), int64(part * 1e9)}, true
}
