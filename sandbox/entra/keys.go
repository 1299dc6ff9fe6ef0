package entra

import (
	"slices"

	"sfbroker/sandbox/signing"
)

// keyRing is what signs and what is published; the two differ on purpose when
// a key is announced or was withdrawn too early.
type keyRing struct {
	signer    *signing.Key
	public    []*signing.Key
	announced *signing.Key
}

func newKeyRing(key *signing.Key) keyRing {
	return keyRing{signer: key, public: []*signing.Key{key}}
}

func (k *keyRing) published(issuer string) signing.JWKSet {
	set := signing.JWKSet{Keys: make([]signing.JWK, 0, len(k.public))}
	for _, key := range k.public {
		jwk := key.JWK()
		jwk.ThumbprintS256 = ""
		jwk.Issuer = issuer
		set.Keys = append(set.Keys, jwk)
	}
	return set
}

func (k *keyRing) publish(key *signing.Key) {
	if !slices.Contains(k.public, key) {
		k.public = append(k.public, key)
	}
}

// KeyID is the ID of the key that signs now.
func (s *Server) KeyID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys.signer.ID()
}

// Announce publishes the key that the next Rotate will sign with and returns
// its ID. A second call before Rotate changes nothing.
func (s *Server) Announce() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.announce()
}

func (s *Server) announce() (string, error) {
	if s.keys.announced == nil {
		key, err := signing.NewKey("accounts.accesscontrol.sandbox", s.now())
		if err != nil {
			return "", err
		}
		s.keys.announced = key
		s.keys.publish(key)
	}
	return s.keys.announced.ID(), nil
}

// Rotate makes the announced key, or a new one, sign from now on. The old key
// stays published until Withdraw.
func (s *Server) Rotate() (keyID string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	keyID, err = s.announce()
	if err != nil {
		return "", err
	}
	s.keys.signer, s.keys.announced = s.keys.announced, nil
	return keyID, nil
}

// Withdraw takes a key out of the published set and says whether it was there.
// Withdrawing the key that signs is the mistake that the real one would not
// make: its tokens stop verifying.
func (s *Server) Withdraw(keyID string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.keys.public)
	s.keys.public = slices.DeleteFunc(s.keys.public, func(k *signing.Key) bool { return k.ID() == keyID })
	return len(s.keys.public) < before
}

// Restore publishes the signing key again after it was withdrawn.
func (s *Server) Restore() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys.publish(s.keys.signer)
}
