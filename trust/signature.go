package trust

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // SHA-384 of ES384
	"fmt"
	"math/big"
)

// Algorithms lists the supported values of alg (RFC 7518, RFC 8037), all
// asymmetric. A rule allows RS256 alone unless it says otherwise.
func Algorithms() []string { return []string{"RS256", "PS256", "ES256", "ES384", "EdDSA"} }

func supportedAlgorithm(algorithm string) bool {
	switch algorithm {
	case "RS256", "PS256", "ES256", "ES384", "EdDSA":
		return true
	}
	return false
}

// publicKey is one usable verification key of an issuer.
type publicKey struct {
	id        string
	algorithm string           // the key's own alg; empty when it names none
	key       crypto.PublicKey // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
}

// suits checks that the key is one for alg. A key is never used for another
// algorithm than the one it names (RFC 8725 section 3.1).
func (k *publicKey) suits(algorithm string) *Refusal {
	if k.algorithm != "" && k.algorithm != algorithm {
		return mismatch(ReasonKeyAlgorithm, k.algorithm, algorithm)
	}
	var fits bool
	switch key := k.key.(type) {
	case *rsa.PublicKey:
		fits = algorithm == "RS256" || algorithm == "PS256"
	case *ecdsa.PublicKey:
		fits = algorithm == "ES256" && key.Curve == elliptic.P256() || algorithm == "ES384" && key.Curve == elliptic.P384()
	case ed25519.PublicKey:
		fits = algorithm == "EdDSA"
	}
	if !fits {
		return mismatch(ReasonKeyAlgorithm, "a key for "+algorithm, fmt.Sprintf("%T", k.key))
	}
	return nil
}

// verifySignature makes the one signature check. The key suits the algorithm.
func verifySignature(k *publicKey, a *assertion) *Refusal {
	signed := []byte(a.signed)
	var ok bool
	switch key := k.key.(type) {
	case *rsa.PublicKey:
		if refusal := signatureLength(a, key.Size()); refusal != nil {
			return refusal
		}
		ok = verifyRSA(key, a.algorithm, signed, a.signature)
	case *ecdsa.PublicKey:
		if refusal := signatureLength(a, 2*coordinate(key)); refusal != nil {
			return refusal
		}
		ok = verifyECDSA(key, signed, a.signature)
	case ed25519.PublicKey:
		if refusal := signatureLength(a, ed25519.SignatureSize); refusal != nil {
			return refusal
		}
		ok = ed25519.Verify(key, signed, a.signature)
	}
	if !ok {
		return refuse(ReasonSignature, nil)
	}
	return nil
}

func signatureLength(a *assertion, want int) *Refusal {
	if len(a.signature) == want {
		return nil
	}
	return mismatch(ReasonSignatureLength, fmt.Sprintf("%d bytes", want), fmt.Sprintf("%d bytes", len(a.signature)))
}

func verifyRSA(key *rsa.PublicKey, algorithm string, signed, signature []byte) bool {
	digest := sha256.Sum256(signed)
	if algorithm == "PS256" {
		// RFC 7518 section 3.5: the salt is as long as the hash.
		options := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
		return rsa.VerifyPSS(key, crypto.SHA256, digest[:], signature, options) == nil
	}
	return rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature) == nil
}

// coordinate is the length of one of the two numbers in a signature.
func coordinate(key *ecdsa.PublicKey) int { return (key.Curve.Params().BitSize + 7) / 8 }

func verifyECDSA(key *ecdsa.PublicKey, signed, signature []byte) bool {
	hash := crypto.SHA256
	if key.Curve == elliptic.P384() {
		hash = crypto.SHA384
	}
	h := hash.New()
	h.Write(signed)
	n := len(signature) / 2
	r, s := new(big.Int).SetBytes(signature[:n]), new(big.Int).SetBytes(signature[n:])
	return ecdsa.Verify(key, h.Sum(nil), r, s)
}
