// Package successfactors is a stand-in for the OData API of SAP SuccessFactors, for demos and tests. It is written from what
// SAP and Microsoft publish and from captured answers, shares nothing with what it tests, and refuses what the real one refuses.
//
// Where nothing is published the stand-in chooses: the codes of errors without a documented one, the HTTP status of a blocked
// address (403), that a comparison over a collection holds when any row fits, that Double is a JSON string, and that an entity
// type whose members are unknown has one key, externalCode, and no rows.
package successfactors

import (
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Config says which company the server keeps and whom it trusts.
type Config struct {
	// CompanyID is required.
	CompanyID string
	// BaseURL is the origin in links, without a slash at the end. It may be set later, by SetBaseURL, when the port is known.
	BaseURL string
	// Workers is the number of people with an employment, at most one million; their person IDs are "1" to that number.
	Workers int
	// Dependents are further persons without an employment, whose personEmpTerminationInfoNav is null.
	Dependents int
	// Seed decides who they are. The same seed gives the same answers, byte for byte.
	Seed int64
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Latency delays each answer.
	Latency time.Duration
	// Verify checks signature, issuer and expiry of an access token. Required. It wraps ErrExpired for one that is too old.
	Verify func(raw string) (Claims, error)
	// Audience is the provider's client ID, which a token must be for. Required.
	Audience string
	// LinkPort writes :443 into links of an https origin without a port, as many hosts do.
	LinkPort bool
	// EscapeLinks writes the slashes of a link's path as \/, as some hosts do.
	EscapeLinks bool
}

// Stats counts what reached the server.
type Stats struct {
	Requests          int
	ByStatus          map[int]int
	ByEntitySet       map[string]int // answered with 200; $metadata counts as a set
	SessionsOpened    int
	SessionViolations int // requests that presented the session cookie of another identity
}

// Server is the stand-in. Its methods may be called at any time from any goroutine.
type Server struct {
	cfg     Config
	now     func() time.Time
	model   *model
	company *company

	fullMetadata func() []byte

	mu            sync.Mutex
	base          string
	latency       time.Duration
	maintenance   bool
	tokenRefused  bool
	revokedBefore time.Time
	types         []string
	applications  map[string]*mapping
	permissions   map[string][]string // by user; a user who is missing may read everything
	exceptions    map[string][]ipRange
	sessions      map[string]*session
	swept         time.Time
	stats         Stats
}

// New builds a server. Nobody may log on until RegisterApplication and MapClient were called.
func New(cfg Config) (*Server, error) {
	switch {
	case cfg.Verify == nil:
		return nil, errors.New("building the SuccessFactors stand-in: Verify is missing")
	case cfg.CompanyID == "" || cfg.Audience == "":
		return nil, errors.New("building the SuccessFactors stand-in: CompanyID or Audience is missing")
	case cfg.Workers < 0 || cfg.Dependents < 0 || cfg.Workers+cfg.Dependents > 1_000_000:
		return nil, errors.New("building the SuccessFactors stand-in: Workers and Dependents must lie between 0 and one million")
	}
	m, err := compileModel()
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, now: cfg.Now, model: m, base: strings.TrimRight(cfg.BaseURL, "/"), latency: cfg.Latency,
		company: &company{
			seed: uint64(cfg.Seed), domain: strings.ToLower(cfg.CompanyID) + ".example", workers: cfg.Workers, dependents: cfg.Dependents,
		},
		applications: make(map[string]*mapping), permissions: make(map[string][]string),
		exceptions: make(map[string][]ipRange), sessions: make(map[string]*session),
		stats: Stats{ByStatus: make(map[int]int), ByEntitySet: make(map[string]int)},
	}
	if s.now == nil {
		s.now = time.Now
	}
	s.fullMetadata = sync.OnceValue(func() []byte {
		return edmx(m.types, func(*navigation) bool { return true })
	})
	return s, nil
}

// set changes a setting under the lock.
func (s *Server) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// SetBaseURL sets the origin that stands in links.
func (s *Server) SetBaseURL(origin string) {
	s.set(func() { s.base = strings.TrimRight(origin, "/") })
}

// SetLatency delays every further answer.
func (s *Server) SetLatency(d time.Duration) { s.set(func() { s.latency = d }) }

// SetMaintenance makes every further request end in 503.
func (s *Server) SetMaintenance(on bool) { s.set(func() { s.maintenance = on }) }

// SetTokenRefused makes the server refuse every token with LGN0022.
func (s *Server) SetTokenRefused(on bool) { s.set(func() { s.tokenRefused = on }) }

// RevokeIssuedBefore refuses tokens issued before t with LGN0022.
func (s *Server) RevokeIssuedBefore(t time.Time) { s.set(func() { s.revokedBefore = t }) }

// RegisterApplication adds an application type, the first tab of "Manage OIDC OAuth Client Application".
func (s *Server) RegisterApplication(applicationType string) {
	s.set(func() { s.types = append(s.types, applicationType) })
}

// MapClient adds a line to the application map, the second tab: the client acts as the user if it is bound to it.
func (s *Server) MapClient(clientID, userID string, bindToUser bool) {
	s.set(func() { s.applications[clientID] = &mapping{user: userID, bind: bindToUser, on: true} })
}

// SetMapped takes a client's line out of the application map, or puts it back. It does nothing for a client never mapped.
func (s *Server) SetMapped(clientID string, on bool) {
	s.set(func() {
		if entry := s.applications[clientID]; entry != nil {
			entry.on = on
		}
	})
}

// SetPermissions says which entity sets a user may read; nil means all, an empty slice none.
func (s *Server) SetPermissions(userID string, entitySets []string) {
	s.set(func() {
		if entitySets == nil {
			delete(s.permissions, userID)
			return
		}
		s.permissions[userID] = append([]string{}, entitySets...)
	})
}

// AllowIP sets the API login exceptions of a user: IPv4 addresses and ranges with a hyphen, separated by commas. From then on
// the user may come from nowhere else. An empty text takes the restriction away.
func (s *Server) AllowIP(userID, ranges string) error {
	if ranges == "" {
		s.set(func() { delete(s.exceptions, userID) })
		return nil
	}
	parsed, err := parseRanges(ranges)
	if err != nil {
		return err
	}
	s.set(func() { s.exceptions[userID] = parsed })
	return nil
}

// Stats returns a copy of the counters.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.stats
	out.ByStatus, out.ByEntitySet = maps.Clone(s.stats.ByStatus), maps.Clone(s.stats.ByEntitySet)
	return out
}

// EntitySets names every entity set, in the order of the service document.
func (s *Server) EntitySets() []string {
	var out []string
	for _, t := range s.model.types {
		out = append(out, t.name)
	}
	return out
}

// asker describes who asks, from the settings as they are now.
func (s *Server) asker(user string, isJSON bool) asker {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := asker{user: user, sets: slices.Clone(s.permissions[user]), base: s.base, isJSON: isJSON}
	if _, limited := s.permissions[user]; limited && a.sets == nil {
		a.sets = []string{}
	}
	if u, err := url.Parse(a.base); s.cfg.LinkPort && err == nil && u.Scheme == "https" && u.Port() == "" {
		a.base += ":443"
	}
	a.root = a.base + serviceRoot + "/"
	if s.cfg.EscapeLinks {
		a.root = a.base + strings.ReplaceAll(serviceRoot+"/", "/", `\/`)
	}
	return a
}
