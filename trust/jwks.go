package trust

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/lestrrat-go/jwx/v2/jwk"
)

// Limits of a JWK set.
const (
	maxKeys    = 100
	maxKeySize = 16 << 10
	minRSABits = 2048
	maxRSABits = 8192
	minRSAE    = 65537
)

// keySetDocument is a parsed JWK set (RFC 7517 section 5). It is immutable.
type keySetDocument struct {
	keys       map[string]*publicKey // by kid
	unsuitable map[string]string     // kid of a published key that is not used, and why
	single     *publicKey            // the only key, when count is 1
	count      int                   // usable keys, those without kid included
	private    int                   // members that held private or symmetric keys
}

// rawKey is one member of a JWK set: its text and the same text strictly read.
type rawKey struct {
	text    string
	members map[string]any
}

// parseKeySet reads a JWK set strictly, keeps the public signature keys and
// refuses the whole set when a kid occurs twice or no key is left. The error
// is a *KeySetError without issuer.
func parseKeySet(text, issuer string) (*keySetDocument, error) {
	raw, err := readKeySet(text)
	if err != nil {
		return nil, err
	}
	d := &keySetDocument{keys: map[string]*publicKey{}, unsuitable: map[string]string{}}
	seen := map[string]bool{}
	for _, k := range raw {
		id, _ := k.members["kid"].(string)
		if id != "" && seen[id] {
			return nil, &KeySetError{Outcome: OutcomeRefused, Detail: "two keys have the kid " + safe(id)}
		}
		seen[id] = true
		d.add(k, id, issuer)
	}
	if d.count == 0 {
		return nil, &KeySetError{Outcome: OutcomeRefused, Detail: fmt.Sprintf("none of %d keys is usable%s", len(raw), d.firstReason())}
	}
	return d, nil
}

func (d *keySetDocument) firstReason() string {
	ids := make([]string, 0, len(d.unsuitable))
	for id := range d.unsuitable {
		ids = append(ids, id)
	}
	if len(ids) == 0 {
		return ""
	}
	slices.Sort(ids)
	return ": " + d.unsuitable[ids[0]]
}

func (d *keySetDocument) add(k rawKey, id, issuer string) {
	key, err := k.parse(issuer)
	if errors.Is(err, errPrivate) {
		d.private++
	}
	if err != nil {
		if id != "" {
			d.unsuitable[id] = safe(err.Error())
		}
		return
	}
	d.count++
	d.single = key
	if id != "" {
		d.keys[id] = key
	}
}

// readKeySet splits the set into its keys and reads each with our own reader,
// so that duplicate or misspelt names never reach the library.
func readKeySet(text string) ([]rawKey, error) {
	var keys []rawKey
	var found bool
	r := &reader{text: text}
	read := func() *Refusal {
		r.space()
		if r.peek() != '{' {
			return refuse(ReasonNotObject, nil)
		}
		return r.members(func(name string) *Refusal {
			r.space()
			if name != "keys" || r.peek() != '[' {
				_, refusal := r.value()
				return refusal
			}
			if found {
				return refuse(ReasonDuplicateName, nil)
			}
			found = true
			var refusal *Refusal
			keys, refusal = r.keys()
			return refusal
		})
	}
	// The first pass checks the document as a whole, the second cuts it up.
	if _, refusal := readObject(text, nameSet("keys")); refusal != nil {
		return nil, garbled(refusal)
	}
	if refusal := read(); refusal != nil {
		return nil, garbled(refusal)
	}
	if !found {
		return nil, &KeySetError{Outcome: OutcomeGarbled, Detail: "no keys member"}
	}
	return keys, nil
}

func garbled(refusal *Refusal) error {
	if refusal.Reason == reasonTooManyKeys {
		return &KeySetError{Outcome: OutcomeTooLarge, Detail: fmt.Sprintf("more than %d keys", maxKeys)}
	}
	return &KeySetError{Outcome: OutcomeGarbled, Detail: "no JWK set: " + string(refusal.Reason)}
}

// reasonTooManyKeys never leaves this file.
const reasonTooManyKeys Reason = "too_many_keys"

// keys reads an array of objects and keeps the text of each.
func (r *reader) keys() (keys []rawKey, refusal *Refusal) {
	refusal = r.elements(func() *Refusal {
		if len(keys) == maxKeys {
			return refuse(reasonTooManyKeys, nil)
		}
		r.space()
		start := r.pos
		if r.peek() != '{' {
			return refuse(ReasonNotObject, nil)
		}
		members, refusal := r.object()
		keys = append(keys, rawKey{text: r.text[start:r.pos], members: members})
		return refusal
	})
	return keys, refusal
}

// privateMembers are the secret parts of RFC 7518 section 6.
var privateMembers = [...]string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"}

var registeredKey = nameSet("kty", "use", "key_ops", "alg", "kid", "n", "e", "crv", "x", "y", "d", "k")

var errPrivate = errors.New("it holds private or symmetric key material")

// parse returns the key if it may check signatures of this issuer.
func (k rawKey) parse(issuer string) (*publicKey, error) {
	if err := k.screen(issuer); err != nil {
		return nil, err
	}
	parsed, err := jwk.ParseKey([]byte(k.text))
	if err != nil {
		return nil, errors.New("it is no well-formed JWK") // the library's text quotes the key
	}
	key := &publicKey{}
	key.id, _ = k.members["kid"].(string)
	key.algorithm, _ = k.members["alg"].(string)
	if err := key.materialise(parsed); err != nil {
		return nil, err
	}
	if key.algorithm != "" && key.suits(key.algorithm) != nil {
		return nil, fmt.Errorf("its alg %s does not fit its type", safe(key.algorithm))
	}
	return key, nil
}

// screen looks at everything but the numbers.
func (k rawKey) screen(issuer string) error {
	for _, name := range privateMembers {
		if _, present := k.members[name]; present {
			return errPrivate
		}
	}
	if len(k.text) > maxKeySize {
		return errors.New("it is larger than 16 KiB")
	}
	if refusal := checkNames(k.members, registeredKey); refusal != nil {
		return fmt.Errorf("%s", refusal.Reason)
	}
	switch k.members["kty"] {
	case "RSA", "EC", "OKP":
	default:
		return errors.New("its kty is not RSA, EC or OKP")
	}
	if id, present := k.members["kid"]; present {
		if text, ok := id.(string); !ok || !validKeyID(text) {
			return errors.New("its kid is no printable string of 1 to 256 bytes")
		}
	}
	if use, present := k.members["use"]; present && use != "sig" {
		return errors.New("its use is not sig")
	}
	if operations, present := k.members["key_ops"]; present && !allowsVerify(operations) {
		return errors.New("its key_ops do not allow verify")
	}
	if algorithm, present := k.members["alg"]; present {
		if text, ok := algorithm.(string); !ok || !supportedAlgorithm(text) {
			return errors.New("its alg is not supported")
		}
	}
	return k.screenIssuer(issuer)
}

func allowsVerify(operations any) bool {
	list, ok := operations.([]any)
	return ok && slices.Contains(list, any("verify"))
}

// screenIssuer: keys of Entra say which issuer may sign with them, with
// {tenantid} for the tenant where one set serves all.
func (k rawKey) screenIssuer(issuer string) error {
	value, present := k.members["issuer"]
	if !present {
		return nil
	}
	named, _ := value.(string)
	if u, err := url.Parse(issuer); err == nil {
		tenant, _, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
		named = strings.ReplaceAll(named, "{tenantid}", tenant)
	}
	if named != issuer {
		return fmt.Errorf("it belongs to the issuer %s", safe(named))
	}
	return nil
}

// materialise turns the parsed JWK into a key of the standard library and
// checks its numbers.
func (k *publicKey) materialise(parsed jwk.Key) error {
	var raw any
	if err := parsed.Raw(&raw); err != nil {
		return errors.New("its numbers are not those of a key")
	}
	switch key := raw.(type) {
	case *rsa.PublicKey:
		k.key = key
		return checkRSA(key, parsed)
	case *ecdsa.PublicKey:
		k.key = key
		return checkEC(key)
	case ed25519.PublicKey:
		k.key = key
		if len(key) != ed25519.PublicKeySize {
			return errors.New("it is no Ed25519 key of 32 bytes")
		}
		return nil
	}
	return errors.New("its curve is not P-256, P-384 or Ed25519")
}

func checkRSA(key *rsa.PublicKey, parsed jwk.Key) error {
	bits := key.N.BitLen()
	if bits < minRSABits || bits > maxRSABits {
		return fmt.Errorf("its %d bits are outside %d to %d", bits, minRSABits, maxRSABits)
	}
	// The library keeps the low 64 bits of a longer e, so its length counts too.
	public, ok := parsed.(jwk.RSAPublicKey)
	if !ok || len(public.E()) > 4 || key.E < minRSAE || key.E%2 == 0 || key.E > 1<<31-1 {
		return fmt.Errorf("its exponent is not an odd number from %d to 2^31-1", minRSAE)
	}
	return nil
}

func checkEC(key *ecdsa.PublicKey) error {
	if key.Curve != elliptic.P256() && key.Curve != elliptic.P384() {
		return errors.New("its curve is not P-256 or P-384")
	}
	if _, err := key.ECDH(); err != nil {
		return errors.New("its point is not on the curve")
	}
	return nil
}
