package follow

import (
	"os"
	"syscall"
)

// network are file systems of which another machine may be ahead: statfs(2).
var network = map[uint32]bool{
	0x6969: true, 0x517b: true, 0xff534d42: true, 0xfe534d42: true, // nfs, smb, cifs, smb2
	0x65735546: true, 0x01021997: true, 0x00c36400: true, 0x6b414653: true, // fuse, 9p, ceph, afs
	0x0bd00bd0: true, 0x47504653: true, 0x01161970: true, 0x7461636f: true, // lustre, gpfs, gfs2, ocfs2
}

func onNetwork(f *os.File) bool {
	var st syscall.Statfs_t
	if err := syscall.Fstatfs(int(f.Fd()), &st); err != nil {
		return true // the careful answer
	}
	return network[uint32(st.Type)] // #nosec G115 -- the magic numbers are of 32 bits
}
