package proxylog

// Eight bytes are looked at together, as one word: see "Hacker's Delight", 6-1,
// and https://graphics.stanford.edu/~seander/bithacks.html#ZeroInWord. Words are
// little endian, so that a word's lowest byte is the first.
const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// notDigits sets the upper bit of every byte that is no digit. Above one that is
// no ASCII character it may set more.
func notDigits(w uint64) uint64 {
	w ^= ones * '0'
	return (w + ones*(0x80-10) | w) & highs
}

// eighths gathers the bytes' upper bits, the first byte's in the lowest bit.
func eighths(w uint64) uint32 {
	return uint32(w >> 7 * 0x0102040810204080 >> 56) // #nosec G115 -- eight bits
}
