// Package broker is the proxy: it recognises the caller, decides on exactly the request that it then sends, sends it with a
// token of its own, and returns the answer with its links leading back here.
package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sfbroker/audit"
	"sfbroker/broker/caller"
	"sfbroker/broker/policy"
)

// Config is what New needs. All fields are required but where said otherwise.
type Config struct {
	// Revision names the configuration that this broker was made from.
	Revision string
	// PublicURLs are the origins under which jobs reach the proxy, without a trailing slash.
	PublicURLs []string
	// TerminatedBy lists the networks from which plain HTTP is taken; empty means any.
	TerminatedBy []netip.Prefix
	Connections  []*Connection
	Callers      *caller.Set
	// Policies holds the policy of each caller by name. A caller without one may do nothing.
	Policies map[string]*policy.Policy
	Audit    *audit.Log
	// Metrics may be nil.
	Metrics *Metrics
	Logger  *slog.Logger
	Now     func() time.Time
	// WriteStall is how long a caller may take to accept a piece of an answer; 0 means 2 minutes.
	WriteStall time.Duration
	// MaxInFlight bounds the requests served at a time, over all callers; beyond it the answer is 503. 0 means 1,024.
	MaxInFlight int
}

// Broker is the proxy's handler and the owner of its connections.
type Broker struct {
	cfg         Config
	connections map[string]*Connection
	public      map[string]string // host and port in lower case to public URL
	draining    atomic.Bool
	slots       chan struct{}
	flood       *audit.Flood
	buffers     sync.Pool // of *[]byte
	links       sync.Pool // of *odata.LinkReader, whose buffers are worth keeping
}

// New returns a Broker. It refuses a configuration in which a caller has no connection.
func New(cfg Config) (*Broker, error) {
	if cfg.WriteStall == 0 {
		cfg.WriteStall = 2 * time.Minute
	}
	if cfg.MaxInFlight == 0 {
		cfg.MaxInFlight = 1024
	}
	b := &Broker{cfg: cfg, flood: audit.NewFlood(cfg.Now), slots: make(chan struct{}, cfg.MaxInFlight), connections: map[string]*Connection{}, public: map[string]string{}}
	b.buffers.New = func() any { p := make([]byte, 32<<10); return &p }
	for _, c := range cfg.Connections {
		if b.connections[c.Name()] != nil {
			return nil, fmt.Errorf("connection %q is defined twice", c.Name())
		}
		b.connections[c.Name()] = c
	}
	for _, name := range cfg.Callers.Names() {
		if c, ok := cfg.Callers.Named(name); ok && b.connections[c.Connection] == nil {
			return nil, fmt.Errorf("caller %q names connection %q, which there is not", name, c.Connection)
		}
	}
	for _, s := range cfg.PublicURLs {
		u, err := url.Parse(s)
		if err != nil || u.Host == "" {
			return nil, fmt.Errorf("public URL %q is not a scheme and a host", s)
		}
		origin := u.Scheme + "://" + u.Host
		for _, host := range spellings(u) {
			if other, ok := b.public[host]; ok && other != origin {
				return nil, fmt.Errorf("public URLs %q and %q share the host %q: a request could have come by either, and its links would lead to the wrong one", other, origin, host)
			}
			b.public[host] = origin
		}
	}
	if len(b.public) == 0 {
		return nil, errors.New("no public URL: links could not lead back")
	}
	return b, nil
}

// spellings lists the Host headers that mean u: with and without the scheme's default port.
func spellings(u *url.URL) []string {
	name, port := strings.ToLower(u.Hostname()), u.Port()
	standard := map[string]string{"http": "80", "https": "443"}[u.Scheme]
	if port != "" && port != standard {
		return []string{net.JoinHostPort(name, port)}
	}
	bare := name
	if strings.Contains(name, ":") {
		bare = "[" + name + "]"
	}
	return []string{bare, net.JoinHostPort(name, standard)}
}

// Connection returns the connection of that name.
func (b *Broker) Connection(name string) (*Connection, bool) {
	c, ok := b.connections[name]
	return c, ok
}

// Connections returns all connections, sorted by name.
func (b *Broker) Connections() []*Connection {
	return slices.SortedFunc(maps.Values(b.connections), func(x, y *Connection) int { return strings.Compare(x.Name(), y.Name()) })
}

// Drain makes every answer from now on ask its client to close the connection, and readiness say no.
func (b *Broker) Drain() { b.draining.Store(true) }

// Draining reports whether Drain was called.
func (b *Broker) Draining() bool { return b.draining.Load() }

// Close ends all connections and waits for their background work.
func (b *Broker) Close() {
	var wg sync.WaitGroup
	for _, c := range b.connections {
		wg.Go(c.Close)
	}
	wg.Wait()
}

// ServeHTTP is the data path. A request goes through its steps from top to bottom and never back.
func (b *Broker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := newExchange(b, w, r)
	defer x.finish()
	defer x.recovered()
	if !x.admitted() {
		return
	}
	defer x.leave()
	if x.listener() && x.recognise() && x.parse() {
		if g, ok := x.authorise(); ok {
			x.forward(g)
		}
	}
}

// Revision names the configuration that the broker was made from.
func (b *Broker) Revision() string { return b.cfg.Revision }
