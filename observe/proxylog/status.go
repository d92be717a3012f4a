package proxylog

import "fmt"

// Statuses is a set of HTTP statuses. The zero value is DefaultBilled.
type Statuses struct {
	set   [1000]bool
	given bool
}

// DefaultBilled are the patterns of the statuses that cost money: success, and
// 499, where the caller hung up after the vendor had begun to work.
var DefaultBilled = []string{"2xx", "499"}

var defaultStatuses = func() *Statuses {
	s, err := ParseStatuses(DefaultBilled)
	if err != nil {
		panic(err)
	}
	return &s
}()

// ParseStatuses reads patterns of three characters, such as "499" and "2xx".
// None at all gives DefaultBilled.
func ParseStatuses(patterns []string) (Statuses, error) {
	var s Statuses
	for _, p := range patterns {
		if !s.add(p) {
			return Statuses{}, fmt.Errorf("status %q: want three digits, or x in place of the last ones, such as 499 or 2xx", p)
		}
		s.given = true
	}
	return s, nil
}

func (s *Statuses) add(p string) bool {
	if len(p) != 3 || p[0] < '1' || p[0] > '9' {
		return false
	}
	for i := 1; i < 3; i++ {
		digit := p[i] >= '0' && p[i] <= '9' && p[i-1]|0x20 != 'x'
		if !digit && p[i]|0x20 != 'x' {
			return false
		}
	}
	for n := 100; n < 1000; n++ {
		if matchDigit(p[0], n/100) && matchDigit(p[1], n/10%10) && matchDigit(p[2], n%10) {
			s.set[n] = true
		}
	}
	return true
}

func matchDigit(p byte, digit int) bool {
	return p|0x20 == 'x' || int(p-'0') == digit
}

// Has tells whether status is in the set.
func (s *Statuses) Has(status int) bool {
	if !s.given {
		s = defaultStatuses
	}
	return status >= 0 && status < len(s.set) && s.set[status]
}
