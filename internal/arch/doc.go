// Package arch holds the architecture: which package may know which, and why.
// There is no code in it but its tests, which fail on an import that the table
// of rooms does not allow.
package arch
