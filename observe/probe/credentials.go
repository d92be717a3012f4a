package probe

import (
	"strconv"
	"strings"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// presence is how a credential is there in one place.
type presence uint8

const (
	absent presence = iota
	empty
	filled
)

// flags says what each character of the answer's line "has" means: for a name
// the environment, and secrets.d. 'b' is both with one fingerprint, 'd' with two.
var flags = map[byte]struct{ env, dir presence }{
	'-': {absent, absent}, 'S': {absent, empty}, 's': {absent, filled},
	'E': {empty, absent}, 'B': {empty, empty}, 'y': {empty, filled},
	'e': {filled, absent}, 'x': {filled, empty}, 'd': {filled, filled}, 'b': {filled, filled},
}

// credentials joins names, flags and fingerprints. Nothing may be left over.
func (p *Probe) credentials(a *answer) error {
	if len(a.flags) != len(p.names) {
		return unreadable("it has another number of credentials")
	}
	r := reader{rest: a.digits}
	for i, name := range p.names {
		at, known := flags[a.flags[i]]
		if !known {
			return unreadable("a credential's flag")
		}
		env := r.credential(name, drift.WhereEnv, at.env)
		if a.flags[i] == 'b' {
			r.again = env
		}
		r.credential(name, drift.WhereSecretsDir, at.dir)
	}
	if r.bad || r.rest != "" {
		return unreadable("its fingerprints")
	}
	a.observation.Credentials = r.found
	return nil
}

// reader takes fingerprints one after the other.
type reader struct {
	rest  string
	again drift.Fingerprint // to be used once more
	found []drift.Credential
	bad   bool
}

func (r *reader) credential(name, where string, is presence) drift.Fingerprint {
	if is == absent {
		return ""
	}
	c := drift.Credential{Name: name, Where: where, Empty: is == empty}
	if is == filled {
		c.Fingerprint = r.fingerprint()
	}
	r.found = append(r.found, c)
	return c.Fingerprint
}

func (r *reader) fingerprint() drift.Fingerprint {
	if fp := r.again; fp != "" {
		r.again = ""
		return fp
	}
	if len(r.rest) < digitsEach {
		r.bad = true
		return ""
	}
	fp, ok := lengthen(r.rest[:digitsEach])
	r.rest = r.rest[digitsEach:]
	r.bad = r.bad || !ok
	return drift.Fingerprint(fp)
}

const (
	digitsEach = 11 // base 64, of the 16 to base 16
	alphabet   = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"
)

// lengthen gives the 16 hex digits that the script shortened: two digits stand
// for three, the eleventh for the sixteenth.
func lengthen(short string) (string, bool) {
	var long strings.Builder
	for i := 0; i < digitsEach; i += 2 {
		high, low := strings.IndexByte(alphabet, short[i]), 0
		if i+1 == digitsEach {
			if high < 0 || high > 15 {
				return "", false
			}
			long.WriteString(strconv.FormatInt(int64(high), 16))
			break
		}
		if low = strings.IndexByte(alphabet, short[i+1]); high < 0 || low < 0 {
			return "", false
		}
		three := strconv.FormatInt(int64(high*64+low)+0x1000, 16)
		long.WriteString(three[1:])
	}
	return long.String(), true
}
