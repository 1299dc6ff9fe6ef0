package oauthclient

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"time"
)

// Assertion is AT1 as it is presented: the raw JWT and the verified identity
// that it stands for.
type Assertion struct {
	// Raw is the compact JWS that goes out as client_assertion.
	Raw Secret
	// Issuer, Subject, Audience and KeyID are what verification found.
	Issuer, Subject, Audience, KeyID string
	// Expiry is the assertion's own exp.
	Expiry time.Time
}

// Like returns what makes two assertions alike to the authorization server.
func (a Assertion) Like() AssertionLike {
	return AssertionLike{Issuer: a.Issuer, KeyID: a.KeyID, Subject: a.Subject, Audience: a.Audience}
}

// AssertionLike names all assertions that the authorization server judges
// alike: if it refused one, it will refuse the next, until somebody changes a
// setting.
type AssertionLike struct {
	Issuer, KeyID, Subject, Audience string
}

// hash is the form in which a like is remembered on disk.
func (l AssertionLike) hash() string { return hashFields(l.Issuer, l.KeyID, l.Subject, l.Audience) }

// hashFields hashes length-prefixed fields, so that ("ab","c") and ("a","bc")
// differ.
func hashFields(fields ...string) string {
	h := sha256.New()
	var n [8]byte
	for _, f := range fields {
		binary.BigEndian.PutUint64(n[:], uint64(len(f)))
		h.Write(n[:])
		h.Write([]byte(f))
	}
	return hex.EncodeToString(h.Sum(nil))
}
