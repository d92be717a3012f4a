package proxylog

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
)

// groupTable holds groups in the order in which they came, and an index by key.
// It is what a map of the same would be, but that it does not allocate for each
// group, does not copy them when it grows, and keeps what is compared first (a
// part of the hash) where it is looked for. The zero value is empty.
type groupTable struct {
	// index has places for twice as many groups as there are, at least. A place
	// is 0, or the upper half of a hash and the group's number plus one.
	index  []uint64
	seed   [6]uint64
	blocks [maxBlocks][]tallied // each as long as all before it
	count  uint32
	named  bool // a workspace is in some key
}

const (
	firstBlock = 16 // groups; most pushes of lines hold fewer
	blockShift = 4
	maxBlocks  = 32 - blockShift + 1
)

// groupKey has no pointers.
type groupKey struct {
	address   [16]byte // IPv4 as mapped; zero: none
	workspace ID
	minute    int64 // Unix minutes
	operation uint8
	class     uint8 // status / 100; 0: none was sent
}

// at finds the sums of a key, which are empty where it is new.
func (t *groupTable) at(k *groupKey) *sums {
	if uint64(t.count)*2 >= uint64(len(t.index)) {
		t.grow()
	}
	hash := t.hash(k)
	mask := uint64(len(t.index)) - 1
	for i := hash & mask; ; i = (i + 1) & mask {
		place := t.index[i]
		if place == 0 {
			t.index[i] = hash>>32<<32 | uint64(t.count+1)
			return t.append(k)
		}
		if place>>32 == hash>>32 {
			if g := t.group(uint32(place) - 1); g.key == *k { // #nosec G115 -- the lower half
				return &g.sums
			}
		}
	}
}

// group gives the group of a number below count.
func (t *groupTable) group(n uint32) *tallied {
	block := bits.Len32(n >> blockShift)
	if block > 0 {
		n -= firstBlock << (block - 1)
	}
	return &t.blocks[block][n]
}

func (t *groupTable) append(k *groupKey) *sums {
	block := bits.Len32(t.count >> blockShift)
	if t.blocks[block] == nil {
		t.blocks[block] = make([]tallied, max(firstBlock, t.count))
	}
	g := t.group(t.count)
	t.count++
	g.key = *k
	t.named = t.named || k.workspace != ID{}
	return &g.sums
}

// grow makes the index twice as big. The upper half of a hash is in it,
// the lower one is worked out again.
func (t *groupTable) grow() {
	if t.index == nil {
		for i := range t.seed {
			t.seed[i] = rand.Uint64() // #nosec G404 -- clients choose addresses, but do not see how long a line takes
		}
	}
	t.index = make([]uint64, max(4*firstBlock, 2*len(t.index)))
	mask := uint64(len(t.index)) - 1
	for n := range t.count {
		hash := t.hash(&t.group(n).key)
		i := hash & mask
		for t.index[i] != 0 {
			i = (i + 1) & mask
		}
		t.index[i] = hash>>32<<32 | uint64(n+1)
	}
}

// hash multiplies the halves of a key, each with something that nobody outside
// knows: who chooses addresses cannot choose where they fall.
func (t *groupTable) hash(k *groupKey) uint64 {
	h := fold(binary.LittleEndian.Uint64(k.address[:8])^t.seed[0], binary.LittleEndian.Uint64(k.address[8:])^t.seed[1])
	h ^= fold(binary.LittleEndian.Uint64(k.workspace[:8])^t.seed[2], binary.LittleEndian.Uint64(k.workspace[8:])^t.seed[3])
	h ^= fold(uint64(k.minute)^t.seed[4], uint64(k.operation)<<8^uint64(k.class)^t.seed[5]) // #nosec G115 -- bits
	return fold(h^t.seed[0], 0x9e3779b97f4a7c15)
}

func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}
