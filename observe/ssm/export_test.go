package ssm

// For the test of what callers can't bring about at will: a place that is given
// at the moment in which its caller leaves.
type Line = line

var NewLine = newLine

var (
	Take  = (*line).take
	Leave = (*line).leave
)
