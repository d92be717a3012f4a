package drift

// Kinds lists the kinds of finding of a workspace, in the order in which
// Compare lists them.
var Kinds = func() (kinds []Kind) {
	for _, r := range rules {
		kinds = append(kinds, r.kind)
	}
	return kinds
}()
