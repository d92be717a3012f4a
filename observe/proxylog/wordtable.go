package proxylog

import "math/rand/v2"

// wordTable finds tallies by a word. They lie beside their words, so that one
// look into memory finds both. The zero value is empty.
type wordTable struct {
	places []wordPlace // some are free; as many as a power of two
	count  int
	seed   uint64
}

// wordPlace is free where nothing was counted.
type wordPlace struct {
	word uint64
	tally
}

func (p *wordPlace) free() bool { return p.billed == 0 && p.rejected == 0 }

// at finds the tally of a word, in which something is to be counted at once.
func (t *wordTable) at(word uint64) *tally {
	if len(t.places) > 0 {
		if p := t.find(word); !p.free() {
			return &p.tally
		}
	}
	if 4*(t.count+1) > 3*len(t.places) {
		t.grow()
	}
	t.count++
	p := t.find(word)
	p.word = word
	return &p.tally
}

// find gives the place of a word, which is free where it is not there yet.
func (t *wordTable) find(word uint64) *wordPlace {
	mask := uint64(len(t.places)) - 1
	for i := fold(word^t.seed, 0x9e3779b97f4a7c15); ; i++ {
		if p := &t.places[i&mask]; p.word == word || p.free() {
			return p
		}
	}
}

func (t *wordTable) grow() {
	const few = 64
	old := t.places
	if t.seed == 0 {
		t.seed = rand.Uint64() // #nosec G404 -- clients choose addresses, but do not see how long a line takes
	}
	t.places = make([]wordPlace, max(few, 2*len(old)))
	for i := range old {
		if !old[i].free() {
			*t.find(old[i].word) = old[i]
		}
	}
}

// all gives every word and its tally, in no order.
func (t *wordTable) all(yield func(uint64, *tally) bool) {
	for i := range t.places {
		if p := &t.places[i]; !p.free() && !yield(p.word, &p.tally) {
			return
		}
	}
}
