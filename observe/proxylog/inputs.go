package proxylog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Stdin is the input's name that stands for ReadOptions.Stdin.
const Stdin = "-"

// expand turns globs into the names that they match, sorted. A file that
// several of inputs reach is given once: read twice, its calls would be
// counted twice. A glob without a match is an error.
func expand(inputs []string) ([]string, error) {
	var names []string
	var seen []fs.FileInfo
	for _, in := range inputs {
		matches, err := glob(in)
		if err != nil {
			return nil, err
		}
		for _, name := range matches {
			if name == Stdin {
				if !slices.Contains(names, Stdin) {
					names = append(names, Stdin)
				}
				continue
			}
			st, err := os.Stat(name)
			switch {
			case err != nil:
				return nil, fmt.Errorf("read log: %w", err)
			case st.IsDir():
				return nil, fmt.Errorf("read log: %s is a directory: name its files, such as %s", name, filepath.Join(name, "*.log"))
			case slices.ContainsFunc(seen, func(other fs.FileInfo) bool { return os.SameFile(other, st) }):
				continue
			}
			seen = append(seen, st)
			names = append(names, name)
		}
	}
	return names, nil
}

func glob(in string) ([]string, error) {
	if in == Stdin || !strings.ContainsAny(in, `*?[`) {
		return []string{in}, nil
	}
	if _, err := os.Lstat(in); err == nil {
		return []string{in}, nil // a file that is really called so
	}
	matches, err := filepath.Glob(in)
	if err != nil {
		return nil, fmt.Errorf("read log: pattern %q: %w", in, err)
	}
	if len(matches) == 0 {
		return nil, fmt.Errorf("read log: no file matches %q", in)
	}
	return matches, nil
}

// The first bytes of compressed files. A name says little: rotated files are
// called .1 as well as .gz.
var (
	gzipMagic = []byte{0x1f, 0x8b}
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
)

// decompress looks at the first bytes of r and unpacks what is packed. The
// result is to be closed; r is not closed by it.
func decompress(r io.Reader) (io.ReadCloser, error) {
	head := make([]byte, len(zstdMagic))
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	head = head[:n]
	r = io.MultiReader(bytes.NewReader(head), r)
	switch {
	case bytes.HasPrefix(head, gzipMagic):
		return gzip.NewReader(r)
	case bytes.HasPrefix(head, zstdMagic):
		// One core, and a window no bigger than zstd's own default limit.
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	}
	return io.NopCloser(r), nil
}
