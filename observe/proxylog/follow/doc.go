// Package follow reads the log files of this host as they grow and gives their
// lines to a proxylog.Counter, through rotation by renaming, by copying and
// truncating, compression and deletion.
//
// It promises: every line of a file that was there to be read is counted once,
// whenever the reader, its machine or its database dies; a file that is far
// behind does not hold up the others; memory does not grow with the size of a
// file or of a line; a restart goes on at once.
//
// It never writes to a log, and keeps nothing on disk: what it knows of a file
// is stored beside the position that it has reached there, see life.
package follow
