package follow

import "fmt"

// Dump tells what f knows. It must not be running.
func (f *Follower) Dump() string {
	out := ""
	for _, x := range f.files {
		out += fmt.Sprintf("file %v %s size %d form %d head %d life %t copy %t fresh %t away %t small %v open %t err %v\n",
			x.id.inode, x.path, x.facts.size, x.form, len(x.head), x.life != nil, x.copyOf != nil, x.fresh, x.away, x.small, x.handle != nil, x.err)
		if l := x.copyOf; l != nil {
			out += fmt.Sprintf("   copy of %s offset %d (its file: %t)\n", l.key, l.offset, l.file != nil)
		}
		if l := x.life; l != nil {
			out += fmt.Sprintf("   life %s stored %d offset %d looked %d complete %t\n", l.key, l.stored, l.offset, l.looked, l.complete)
		}
	}
	return out
}

// Distorted lets a test change what the disk says. Set its functions before
// Run, and have them be safe for concurrent use.
type Distorted struct {
	Size func(path string, size int64) int64 // what is told of a size
	Open func(path string) error             // an error for whoever opens
	Read func(path string) error             // an error for whoever reads
}

// Distort makes f see files on a network file system of that kind.
func (f *Follower) Distort(d Distorted) { f.disk = distortedDisk{d} }

type distortedDisk struct{ d Distorted }

func (d distortedDisk) stat(path string) (facts, error) {
	st, err := osDisk{}.stat(path)
	if err == nil && st.regular && d.d.Size != nil {
		st.size = d.d.Size(path, st.size)
	}
	return st, err
}

func (d distortedDisk) open(path string) (handle, error) {
	if d.d.Open != nil {
		if err := d.d.Open(path); err != nil {
			return nil, err
		}
	}
	h, err := osDisk{}.open(path)
	if err != nil {
		return nil, err
	}
	return distortedFile{h, path, d.d}, nil
}

type distortedFile struct {
	handle
	path string
	d    Distorted
}

func (f distortedFile) facts() (facts, error) {
	st, err := f.handle.facts()
	if err == nil && f.d.Size != nil {
		st.size = f.d.Size(f.path, st.size)
	}
	return st, err
}

func (f distortedFile) ReadAt(b []byte, off int64) (int, error) {
	if f.d.Read != nil {
		if err := f.d.Read(f.path); err != nil {
			return 0, err
		}
	}
	return f.handle.ReadAt(b, off)
}

func (f distortedFile) lagging() bool { return true }

// BeforeRead makes f call do before every read of lines.
func (f *Follower) BeforeRead(do func(path string)) {
	f.disk = momentDisk{do, func(string) {}}
}

// AfterRead makes f call do after every read of lines.
func (f *Follower) AfterRead(do func(path string)) {
	f.disk = momentDisk{func(string) {}, do}
}

type momentDisk struct{ before, after func(string) }

func (momentDisk) stat(path string) (facts, error) { return osDisk{}.stat(path) }

func (d momentDisk) open(path string) (handle, error) {
	h, err := osDisk{}.open(path)
	if err != nil {
		return nil, err
	}
	return momentFile{h, path, d}, nil
}

type momentFile struct {
	handle
	path string
	disk momentDisk
}

func (f momentFile) ReadAt(b []byte, off int64) (int, error) {
	if len(b) < chunkSize {
		return f.handle.ReadAt(b, off)
	}
	f.disk.before(f.path)
	n, err := f.handle.ReadAt(b, off)
	f.disk.after(f.path)
	return n, err
}
