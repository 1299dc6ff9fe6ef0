// Package trust decides whether an assertion (a workload's own JWT, AT1) may
// be believed. It is given rules in SAP's own four words (issuer, JWKS URI,
// subject, audience), compiles them once, and answers each assertion with the
// verified [Identity] or with a [Refusal] that carries one [Reason].
//
// Popular libraries let through duplicate members, case-folded names, foreign
// types and malleable encodings. So the pre-parse here is our own and strict,
// and what was parsed is what is used: no value is ever read twice by two
// parsers. Signatures are checked by the standard library's crypto packages.
//
// Checks run cheapest first. An unknown issuer costs no fetch and no signature
// check; a warm valid assertion costs no fetch and exactly one. An address to
// fetch keys from comes from configuration (or from the discovery document of
// a configured issuer), never from an assertion.
package trust

import (
	"context"
	"log/slog"
	"net/http"
	"time"
)

// Limits of what is read from others.
const (
	maxAssertionLength = 16 << 10
	maxHeaderLength    = 8 << 10
	maxJSONDepth       = 16
	maxKeyIDLength     = 256
)

// Config is what Compile needs.
type Config struct {
	// Rules must hold at least one rule: a rule set without rules would refuse
	// everything, which is more likely a mistake than a wish.
	Rules []Rule
	// HTTPClient fetches key sets and discovery documents. It is copied:
	// redirects, cookies and large bodies are refused whatever it says. Nil, or
	// a nil Transport in it, means a transport without proxy, TLS 1.2 or later.
	HTTPClient *http.Client
	// AllowInsecureLoopback permits plain http toward loopback addresses.
	AllowInsecureLoopback bool
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Metrics may be shared by several rule sets; nil counts nothing.
	Metrics *Metrics
	// Logger nil means silence. Assertions are never logged.
	Logger *slog.Logger
}

// Identity is what a verified assertion says. Only [Rules.Verify] makes one.
type Identity struct {
	Issuer, Subject, Audience string
	// KeyID is the kid of the key that signed; empty when the assertion named
	// none and the issuer has exactly one key.
	KeyID string
	// Rule is the name of the one rule that matched.
	Rule string
	// IssuedAt is zero when the assertion has no iat.
	IssuedAt, Expiry time.Time
	// Claims holds the whole payload with exact names, numbers as json.Number.
	// It belongs to the caller.
	Claims map[string]any
}

// Rules is a compiled rule set. It is safe for concurrent use and must be
// closed, since it refreshes key sets in the background once they are used.
type Rules struct {
	byIssuer map[string]*issuerRules
	order    []*issuerRules
	now      func() time.Time
	metrics  *Metrics
	logger   *slog.Logger
	jobs     *background
}

// issuerRules is all that is known about one issuer: its rules and its keys.
type issuerRules struct {
	issuer string
	rules  []*rule
	keys   *keySet
}

// Verify checks one assertion against the rules. The error is always a
// [*Refusal]. It blocks only when keys must be fetched first, and then no
// longer than ctx allows and no longer than 10 s.
func (r *Rules) Verify(ctx context.Context, assertion string) (Identity, error) {
	id, refusal := r.verify(ctx, assertion)
	if refusal != nil {
		r.metrics.verdict(refusal.Reason)
		return Identity{}, refusal
	}
	r.metrics.verdict("verified")
	return id, nil
}

func (r *Rules) verify(ctx context.Context, assertion string) (Identity, *Refusal) {
	a, refusal := parseUnverified(assertion)
	if refusal != nil {
		return Identity{}, refusal
	}
	issuer, refusal := r.issuerOf(a)
	if refusal != nil {
		return Identity{}, refusal
	}
	matched, refusal := issuer.match(a)
	if refusal != nil {
		return Identity{}, refusal
	}
	times, refusal := matched.check(a, r.now())
	if refusal != nil {
		return Identity{}, refusal.of(matched)
	}
	if len(a.ignored) > 0 {
		r.logger.DebugContext(ctx, "assertion header names keys of its own, ignored", "issuer", issuer.issuer, "members", a.ignored)
	}
	key, refusal := issuer.keys.key(ctx, a.keyID)
	if refusal != nil {
		return Identity{}, refusal.of(matched)
	}
	if refusal := key.suits(a.algorithm); refusal != nil {
		return Identity{}, refusal.of(matched)
	}
	r.metrics.signatureCheck()
	if refusal := verifySignature(key, a); refusal != nil {
		return Identity{}, refusal.of(matched)
	}
	return Identity{
		Issuer: matched.Issuer, Subject: matched.Subject, Audience: matched.Audience,
		KeyID: a.keyID, Rule: matched.Name,
		IssuedAt: times.issuedAt, Expiry: times.expiry, Claims: a.claims,
	}, nil
}

// Keys tells how each issuer's key set stands, in the order of the rules.
func (r *Rules) Keys() []KeySetState {
	states := make([]KeySetState, 0, len(r.order))
	for _, issuer := range r.order {
		states = append(states, issuer.keys.state())
	}
	return states
}

// Close ends fetches and background refresh and waits for them. Verify keeps
// working afterwards with the keys at hand, but fetches no more.
func (r *Rules) Close() { r.jobs.close() }
