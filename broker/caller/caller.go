// Package caller knows who may call the proxy: jobs with a key of their own, sent as Bearer or as the password of Basic.
package caller

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Caller is a job that may call the proxy.
type Caller struct {
	// Name is the caller's name in the configuration; it is in its key, in metrics and in the audit log.
	Name string
	// Connection names the one connection that the caller uses.
	Connection string
	// Company is the SuccessFactors company of that connection: the part after @ in a Basic user name.
	Company string
	// Username is a Basic user name accepted besides Name, without the company.
	Username string
	// Key is the digest of the caller's key; it is not used when Anonymous is set.
	Key Digest
	// Anonymous accepts requests without credentials. The listener must be loopback; the configuration sees to that.
	Anonymous bool
}

// Config is what New needs.
type Config struct {
	Callers []Caller
	// Now is the clock of the failure limiter.
	Now func() time.Time
	// FailuresPerMinute is how many wrong credentials one address may present a minute before it is answered 429;
	// 0 means 10.
	FailuresPerMinute int
}

// Set is the compiled set of callers.
type Set struct {
	byName    map[string]*Caller
	byUser    map[string]*Caller
	anonymous *Caller
	failures  *limiter
}

// New compiles cfg. Two callers that a request could not tell apart are refused.
func New(cfg Config) (*Set, error) {
	limit := cfg.FailuresPerMinute
	if limit == 0 {
		limit = 10
	}
	s := &Set{byName: map[string]*Caller{}, byUser: map[string]*Caller{}, failures: newLimiter(limit, cfg.Now)}
	var problems []error
	for _, c := range cfg.Callers {
		if s.byName[c.Name] != nil {
			problems = append(problems, fmt.Errorf("caller %q is defined twice", c.Name))
			continue
		}
		s.byName[c.Name] = &c
		if c.Anonymous {
			if s.anonymous != nil {
				problems = append(problems, fmt.Errorf("callers %q and %q are both anonymous: a request could be either", s.anonymous.Name, c.Name))
			}
			s.anonymous = &c
		}
		for _, user := range c.usernames() {
			if other := s.byUser[user]; other != nil && other.Name != c.Name {
				problems = append(problems, fmt.Errorf("callers %q and %q share the user name %q", other.Name, c.Name, user))
			}
			s.byUser[user] = &c
		}
	}
	return s, errors.Join(problems...)
}

// usernames lists the Basic user names of c: its name and its configured user name, each with @company. A bare name is
// accepted too where it is the caller's own name, which is unique; a configured one is unique only in its company.
func (c *Caller) usernames() []string {
	names := []string{c.Name}
	if c.Company != "" {
		names = append(names, c.Name+"@"+c.Company)
	}
	if c.Username != "" && c.Company != "" {
		names = append(names, c.Username+"@"+c.Company)
	}
	return names
}

// Named returns the caller of that name.
func (s *Set) Named(name string) (*Caller, bool) { c, ok := s.byName[name]; return c, ok }

// Names lists the callers, sorted.
func (s *Set) Names() []string { return slices.Sorted(maps.Keys(s.byName)) }

// Reason says why a request was not recognised.
type Reason string

// The reasons of a failed login.
const (
	Missing   Reason = "credentials_missing"
	Ambiguous Reason = "credentials_ambiguous" // two Authorization headers
	Scheme    Reason = "scheme_unsupported"
	Malformed Reason = "credentials_malformed"
	Wrong     Reason = "credentials_wrong"
	Throttled Reason = "too_many_failures"
)

// Error is a failed login. It never holds what was presented.
type Error struct {
	Reason Reason
	// Claimed is the name of the caller that the credentials named, if it exists; for the operator only.
	Claimed string
	// RetryAfter is set with Throttled.
	RetryAfter time.Duration
}

func (e *Error) Error() string { return "caller not recognised: " + string(e.Reason) }

// Authenticate returns the caller that the request's Authorization header proves, or an *Error. remote is the peer's
// address, to which failures are counted: a right key is always accepted, a wrong one beyond the limit is Throttled.
func (s *Set) Authenticate(h http.Header, remote netip.Addr) (*Caller, error) {
	values := h.Values("Authorization")
	if len(values) == 0 {
		if s.anonymous != nil {
			return s.anonymous, nil
		}
		return nil, &Error{Reason: Missing}
	}
	if len(values) > 1 {
		return nil, s.failed(remote, &Error{Reason: Ambiguous})
	}
	claimed, key, reason := s.credentials(values[0])
	if reason != "" {
		return nil, s.failed(remote, &Error{Reason: reason})
	}
	// An unknown caller takes the same path as a wrong key: one hash, one comparison.
	var want Digest
	if claimed != nil {
		want = claimed.Key
	}
	got := sha256.Sum256([]byte(key))
	if subtle.ConstantTimeCompare(got[:], want[:]) == 1 && claimed != nil && !claimed.Anonymous {
		return claimed, nil
	}
	e := &Error{Reason: Wrong}
	if claimed != nil {
		e.Claimed = claimed.Name
	}
	return nil, s.failed(remote, e)
}

// credentials finds out which caller the header claims to be and the key it presents for that.
func (s *Set) credentials(header string) (claimed *Caller, key string, reason Reason) {
	scheme, rest, ok := strings.Cut(header, " ")
	rest = strings.TrimLeft(rest, " ")
	switch {
	case !ok || rest == "":
		return nil, "", Malformed
	case strings.EqualFold(scheme, "Bearer"):
		id, ok := keyID(rest)
		if !ok {
			return nil, rest, "" // hashed all the same, so that a malformed key costs what a wrong one costs
		}
		return s.byName[id], rest, ""
	case strings.EqualFold(scheme, "Basic"):
		raw, err := base64.StdEncoding.DecodeString(rest)
		if err != nil {
			return nil, "", Malformed
		}
		user, password, ok := strings.Cut(string(raw), ":")
		if !ok {
			return nil, "", Malformed
		}
		return s.byUser[user], password, ""
	}
	return nil, "", Scheme
}

func (s *Set) failed(remote netip.Addr, e *Error) *Error {
	if wait := s.failures.record(remote); wait > 0 {
		e.Reason, e.RetryAfter = Throttled, wait
	}
	return e
}
