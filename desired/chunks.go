package desired

// chunks is a list that grows without being copied: a slice that doubles would
// need three times its space for a moment.
type chunks[T any] struct{ full [][]T }

const chunkSize = 1 << 12

// add appends v and gives its place.
func (c *chunks[T]) add(v T) int32 {
	last := len(c.full) - 1
	if last < 0 || len(c.full[last]) == chunkSize {
		size := chunkSize
		if last < 0 {
			size = 0 // most sources are small: let the first grow by itself
		}
		c.full = append(c.full, make([]T, 0, size))
		last++
	}
	c.full[last] = append(c.full[last], v)
	return int32(last*chunkSize + len(c.full[last]) - 1) // #nosec G115 -- two milliard rows do not fit in memory
}

func (c *chunks[T]) at(i int32) *T { return &c.full[i/chunkSize][i%chunkSize] }
