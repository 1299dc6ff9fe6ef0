// Package admin is the operator's side: one table of routes for tests, state, probes and metrics, on listeners of its own.
package admin

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sfbroker/audit"
	"sfbroker/broker"
)

// Access says who may use a route.
type Access string

// The kinds of access.
const (
	Open     Access = "open"     // probes and metrics
	Operator Access = "operator" // the token of the token file, or the socket's own user
)

// Config is what New needs. All fields are required but where said otherwise.
type Config struct {
	Broker *broker.Broker
	Audit  *audit.Log
	// Token reports whether a presented bearer token is the operators', in constant time.
	Token func(presented string) bool
	// Hosts reports whether a Host header names this listener, against DNS rebinding.
	Hosts func(host string) bool
	// Loopback says that the listener is on loopback, where no name but its own is in use: open routes ask for it too.
	Loopback bool
	// Gatherer gives the metrics.
	Gatherer prometheus.Gatherer
	Logger   *slog.Logger
	Now      func() time.Time
	// Version is shown by status.
	Version string
}

// API serves the routes.
type API struct {
	cfg     Config
	started time.Time
	flood   *audit.Flood
}

// New returns an API.
func New(cfg Config) *API { return &API{cfg: cfg, started: cfg.Now(), flood: audit.NewFlood(cfg.Now)} }

// Route is one line of the route table.
type Route struct {
	// Pattern is that of http.ServeMux: method and path.
	Pattern string
	Access  Access
	Summary string
	handle  func(*API, http.ResponseWriter, *http.Request) error
}

// Routes is the one table of all routes. Nothing is served that does not stand here.
func Routes() []Route {
	return []Route{
		{"POST /v1/connections/{name}/test", Operator, "walk the hops of a connection and explain what does not work", (*API).test},
		{"GET /v1/connections", Operator, "the connections and their settings", (*API).connections},
		{"GET /v1/status", Operator, "what is broken since when, and who fixes it", (*API).status},
		{"GET /v1/connections/{name}/token", Operator, "the claims of AT1 and AT2", (*API).claims},
		{"POST /v1/connections/{name}/token", Operator, "AT2 itself, recorded before it is released", (*API).release},
		{"POST /v1/connections/{name}/unlock", Operator, "forget the failed logons of the connection's client ID", (*API).unlock},
		{"GET /metrics", Open, "metrics for Prometheus", (*API).metrics},
		{"GET /startupz", Open, "200 once every connection was tried", (*API).startupz},
		{"GET /readyz", Open, "200 while at least one connection can deliver; ?connection= asks for one", (*API).readyz},
		{"GET /livez", Open, "200 while the process makes progress", (*API).livez},
	}
}

// Handler serves all routes to operators by token. No route is for web pages, also not the open ones.
func (a *API) Handler() http.Handler {
	return a.handler(Routes(), func(r *http.Request, access Access) *failure {
		if access != Open || a.cfg.Loopback {
			if f := a.host(r); f != nil {
				return f
			}
		}
		if f := browser(r); f != nil || access == Open {
			return f
		}
		return a.byToken(r)
	})
}

// SocketHandler serves all routes on a Unix socket. peer reports whether the other end of the request's connection may
// operate the broker.
func (a *API) SocketHandler(peer func(*http.Request) bool) http.Handler {
	return a.handler(Routes(), func(r *http.Request, access Access) *failure {
		if access == Open {
			return nil
		}
		if f := browser(r); f != nil {
			return f
		}
		if !peer(r) {
			return &failure{http.StatusForbidden, "peer_refused", "the socket serves the user that the daemon runs as, and root"}
		}
		return nil
	})
}

// ProbeHandler serves probes and metrics alone.
func (a *API) ProbeHandler() http.Handler {
	open := slices.DeleteFunc(Routes(), func(r Route) bool { return r.Access != Open })
	return a.handler(open, func(*http.Request, Access) *failure { return nil })
}

// failure is an error with its HTTP status and public text.
type failure struct {
	status        int
	code, message string
}

func (f *failure) Error() string { return f.code }

// handler serves routes behind one gate. Whatever is not open is recorded, allowed or not, before anything is done.
func (a *API) handler(routes []Route, gate func(*http.Request, Access) *failure) http.Handler {
	mux := http.NewServeMux()
	for _, route := range routes {
		mux.HandleFunc(route.Pattern, func(w http.ResponseWriter, r *http.Request) {
			refused := gate(r, route.Access)
			if route.Access != Open {
				if f := a.decided(r, route, refused); f != nil {
					refused = f
				}
			}
			if refused != nil {
				a.cfg.Logger.Warn("admin request refused", "code", refused.code, "route", route.Pattern)
				writeFailure(w, refused)
				return
			}
			a.answer(w, route.handle(a, w, r))
		})
	}
	return mux
}

// decided records the decision on a route. What cannot be recorded is refused.
func (a *API) decided(r *http.Request, route Route, refused *failure) *failure {
	record := audit.Record{
		Time: a.cfg.Now(), Event: "admin", Decision: audit.Allow, Method: r.Method, Shape: route.Pattern, Revision: a.cfg.Broker.Revision(), Remote: remote(r),
	}
	if refused != nil {
		record.Decision, record.Code = audit.Deny, refused.code
		addr, _ := netip.ParseAddr(record.Remote) //nolint:errcheck // the socket has no address, and shares one count
		worth, suppressed := a.flood.Worth(addr)
		if !worth {
			return nil
		}
		record.Suppressed = suppressed
	} else {
		record.Caller = operatorName
	}
	return a.write(record)
}

// operatorName is the caller in records of operators: they share one token.
const operatorName = "operator"

func (a *API) write(r audit.Record) *failure {
	if err := a.cfg.Audit.Write(r); err != nil {
		a.cfg.Logger.Error("audit record not written", "error", err)
		return &failure{http.StatusServiceUnavailable, "audit_unavailable", "the audit record could not be written, so nothing was done"}
	}
	return nil
}

func remote(r *http.Request) string {
	if addr, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		return addr.Addr().Unmap().String()
	}
	return "socket"
}

func (a *API) answer(w http.ResponseWriter, err error) {
	if err == nil {
		return
	}
	var f *failure
	if !errors.As(err, &f) {
		a.cfg.Logger.Error("admin request failed", "error", err)
		f = &failure{http.StatusInternalServerError, "internal", "the broker met an error; its log says which"}
	}
	writeFailure(w, f)
}

// host keeps out a page that rebound its own name to our address.
func (a *API) host(r *http.Request) *failure {
	if !a.cfg.Hosts(r.Host) {
		return &failure{http.StatusMisdirectedRequest, "host_unknown", "this listener does not serve that host"}
	}
	return nil
}

// browser keeps out the pages of other origins.
func browser(r *http.Request) *failure {
	site := r.Header.Get("Sec-Fetch-Site")
	if len(r.Header["Origin"]) > 0 || site != "" && site != "none" && site != "same-origin" {
		return &failure{http.StatusForbidden, "origin_refused", "the admin API is not for web pages"}
	}
	return nil
}

func (a *API) byToken(r *http.Request) *failure {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return &failure{http.StatusUnauthorized, "token_missing", "send the token of the daemon's token file as Authorization: Bearer"}
	}
	scheme, presented, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") || !a.cfg.Token(presented) {
		return &failure{http.StatusUnauthorized, "token_wrong", "the token is not the one of the daemon's token file"}
	}
	return nil
}

func writeFailure(w http.ResponseWriter, f *failure) {
	if f.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="sfbroker admin"`)
	}
	_ = writeJSON(w, f.status, map[string]any{"error": map[string]string{"code": f.code, "message": f.message}}) // the client is gone then
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
