package ias

import (
	"context"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// refreshInterval is IAS's default: a key set is read again when it is older.
	refreshInterval = 24 * time.Hour
	keySetLimit     = 1 << 20
	fetchTimeout    = 10 * time.Second
)

var (
	errKeysUnreachable = errors.New("key set of the issuer cannot be read")
	errKeyUnknown      = errors.New("key is not in the issuer's key set")
)

// keySets caches the published keys of trusted issuers by address.
type keySets struct {
	client  *http.Client
	now     func() time.Time
	fetches atomic.Int64

	mu   sync.Mutex
	sets map[string]*keySet
}

type keySet struct {
	mu   sync.Mutex // held during a fetch: the second logon waits for the first
	keys map[string]*rsa.PublicKey
	read time.Time
}

func newKeySets(client *http.Client, now func() time.Time) *keySets {
	return &keySets{client: client, now: now, sets: map[string]*keySet{}}
}

func (k *keySets) forget(uri string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.sets, uri)
}

func (k *keySets) forgetAll() {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.sets)
}

// key finds a key. An unknown key ID does not make IAS look again before the
// interval is over: no such behaviour is documented.
func (k *keySets) key(ctx context.Context, uri, keyID string) (*rsa.PublicKey, error) {
	k.mu.Lock()
	set := k.sets[uri]
	if set == nil {
		set = &keySet{}
		k.sets[uri] = set
	}
	k.mu.Unlock()

	set.mu.Lock()
	defer set.mu.Unlock()
	if set.keys == nil || k.now().Sub(set.read) > refreshInterval {
		keys, err := k.fetch(ctx, uri)
		switch {
		case err == nil:
			set.keys, set.read = keys, k.now()
		case set.keys == nil:
			return nil, err
		}
	}
	key := set.keys[keyID]
	if key == nil {
		return nil, errKeyUnknown
	}
	return key, nil
}

func (k *keySets) fetch(ctx context.Context, uri string) (map[string]*rsa.PublicKey, error) {
	k.fetches.Add(1)
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errKeysUnreachable, err)
	}
	req.Header.Set("Accept", "application/json")
	resp, err := k.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errKeysUnreachable, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%w: status %d", errKeysUnreachable, resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, keySetLimit))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errKeysUnreachable, err)
	}
	return parseKeySet(body)
}

// parseKeySet takes the RSA signature keys of a JSON Web Key Set.
func parseKeySet(body []byte) (map[string]*rsa.PublicKey, error) {
	var set struct {
		Keys []struct {
			Type     string `json:"kty"`
			Use      string `json:"use"`
			KeyID    string `json:"kid"`
			Modulus  string `json:"n"`
			Exponent string `json:"e"`
		} `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, fmt.Errorf("%w: not a key set", errKeysUnreachable)
	}
	keys := make(map[string]*rsa.PublicKey, len(set.Keys))
	for _, k := range set.Keys {
		if k.Type != "RSA" || (k.Use != "" && k.Use != "sig") {
			continue
		}
		n, errN := base64.RawURLEncoding.DecodeString(k.Modulus)
		e, errE := base64.RawURLEncoding.DecodeString(k.Exponent)
		if errN != nil || errE != nil || len(e) == 0 || len(e) > 4 {
			continue
		}
		keys[k.KeyID] = &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
	}
	return keys, nil
}
