package config

import "fmt"

// didYouMean gives `; did you mean "region"?` where one of the known words is
// near enough to be meant, "" else.
func didYouMean(word string, known []string) string {
	best, least := "", min(len(word)/2+1, 5)
	for _, k := range known {
		if d := distance(word, k); d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// distance is the number of bytes to insert, delete, replace, or swap with
// their neighbour, that makes b of a: the optimal string alignment distance.
func distance(a, b string) int {
	const longest = 64 // what is longer is no typing error
	if len(a) > longest || len(b) > longest {
		return longest
	}
	var before, above, row [longest + 1]int
	for j := range len(b) + 1 {
		above[j] = j // #nosec G602 -- no word is longer than the row
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1) // #nosec G602 -- as above
			}
		}
		before, above = above, row
	}
	return above[len(b)]
}
