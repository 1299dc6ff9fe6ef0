package caller

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
)

// A key reads sfb_<id>_<secret><checksum>: the id tells an operator whose key was found in a wrong place, the secret is
// 256 random bits, and the checksum lets a scanner, or us, tell a mistyped key from a wrong one without a look-up.
const (
	keyPrefix   = "sfb_"
	secretBytes = 32
	secretChars = 52 // base32 of 32 bytes, no padding
	checkChars  = 7  // base32 of 4 bytes, no padding
)

func encoding() *base32.Encoding {
	return base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
}

// Digest is what the broker keeps of a key: its SHA-256. A key has 256 random bits, so a slow hash would add nothing.
type Digest [sha256.Size]byte

// ParseDigest reads the 64 hexadecimal digits that "sfbroker caller add" printed.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(d) {
		return d, errors.New("a key digest is 64 hexadecimal digits: print one with sfbroker caller add")
	}
	copy(d[:], b)
	return d, nil
}

// String returns the 64 hexadecimal digits; a digest is no secret.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// NewKey makes a key for the caller id and returns it with its digest. The key is shown once and never kept.
func NewKey(id string) (key string, digest Digest, err error) {
	if id == "" || strings.ContainsAny(id, "_: @") {
		return "", digest, fmt.Errorf("caller name %q: use lower-case letters, digits and hyphens", id)
	}
	secret := make([]byte, secretBytes)
	if _, err := rand.Read(secret); err != nil {
		return "", digest, fmt.Errorf("reading random bits: %w", err)
	}
	body := keyPrefix + id + "_" + encoding().EncodeToString(secret)
	key = body + checksum(body)
	return key, sha256.Sum256([]byte(key)), nil
}

func checksum(body string) string {
	var sum [4]byte
	binary.BigEndian.PutUint32(sum[:], crc32.ChecksumIEEE([]byte(body)))
	return encoding().EncodeToString(sum[:])
}

// keyID returns the id that a well-formed key carries.
func keyID(key string) (id string, ok bool) {
	rest, ok := strings.CutPrefix(key, keyPrefix)
	if !ok || len(key) > 512 {
		return "", false
	}
	id, secret, ok := strings.Cut(rest, "_")
	if !ok || id == "" || len(secret) != secretChars+checkChars {
		return "", false
	}
	split := len(key) - checkChars
	return id, checksum(key[:split]) == key[split:]
}
