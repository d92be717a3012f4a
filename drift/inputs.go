package drift

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"
)

// InputsDigest hashes all that the desired mode of a workspace rests on, with
// the dates of the stored secrets among it and the digest of registry and
// policy: where it is the same, an attempt that changed nothing would change
// nothing again. It holds no secret, and no fingerprint of one.
func InputsDigest(w *Workspace, d *Desired, resolver string) string {
	h := sha256.New()
	add := func(parts ...string) {
		for _, part := range parts {
			h.Write([]byte(strings.ReplaceAll(part, "\x00", "")))
			h.Write([]byte{0})
		}
	}
	add(resolver, string(d.Mode), string(d.Source), d.Provider, d.Model, d.ModelFrom, string(d.Override), w.RuntimeOrDefault())
	for _, rows := range [][]StoredSecret{w.Secrets, w.Globals} {
		for i := range rows {
			row := &rows[i]
			if row.Key == KeyModel || row.Key == KeyMoleculeModel || slices.Contains(d.AuthEnv, row.Key) {
				add(row.Key, row.UpdatedAt.UTC().Format(time.RFC3339Nano))
			}
		}
		add("")
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
