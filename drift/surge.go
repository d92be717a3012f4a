package drift

import "fmt"

// Surge says how much may change at once before the inputs are the suspect.
type Surge struct {
	Percent int // of the workspaces that were known; 0: never a surge
	AtLeast int // workspaces; fewer are never a surge
}

// Census counts what a pass found of a source, beside what was known before.
type Census struct {
	Known   int // workspaces known before, in scope
	Flipped int // of those, how many have another desired mode now
	Missing int // of those, how many the list no longer has
}

// Exceeded tells whether n of known is too much at once.
func (s Surge) Exceeded(n, known int) bool {
	return s.Percent > 0 && n >= max(1, s.AtLeast) && n*100 > known*s.Percent
}

// Words says what is suspect; "" where nothing is.
func (s Surge) Words(c Census) string {
	switch {
	case s.Exceeded(c.Missing, c.Known):
		return fmt.Sprintf("%d of %d workspaces are missing from the tenant's list at once", c.Missing, c.Known)
	case s.Exceeded(c.Flipped, c.Known):
		return fmt.Sprintf("%d of %d desired modes flipped at once", c.Flipped, c.Known)
	}
	return ""
}
