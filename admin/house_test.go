package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sfbroker/admin"
	"sfbroker/audit"
	"sfbroker/broker"
	"sfbroker/broker/caller"
	"sfbroker/broker/policy"
	"sfbroker/oauthclient"
	"sfbroker/sandbox"
	"sfbroker/trust"
	"sfbroker/workload"
)

const (
	host  = "127.0.0.1:8021"
	token = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	first = sandbox.FirstConnection
	other = sandbox.SecondConnection
)

// records is an audit sink that can fail.
type records struct {
	mu     sync.Mutex
	lines  strings.Builder
	broken bool
	told   func()
}

func (r *records) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.broken {
		return 0, errors.New("no space left on device")
	}
	if r.told != nil {
		r.told()
	}
	return r.lines.Write(p)
}

func (r *records) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lines.String()
}

func (r *records) fail(yes bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.broken = yes
}

// house is a broker with two connections in front of a sandbox, and its admin API.
type house struct {
	sandbox *sandbox.Sandbox
	broker  *broker.Broker
	guard   *oauthclient.Guard
	api     *admin.API
	audit   *records
	key     string // of the caller "nightly"
}

// held is a source that gives nothing until it is closed: its connection stays untried.
type held struct{ workload.Source }

func (held) Assertion(ctx context.Context) (oauthclient.Secret, error) {
	<-ctx.Done()
	return oauthclient.Secret{}, ctx.Err()
}

type option func(*options)

type options struct {
	faults      []string
	connections []string
	untried     string
}

func faults(names ...string) option      { return func(o *options) { o.faults = names } }
func untried(connection string) option   { return func(o *options) { o.untried = connection } }
func connections(names ...string) option { return func(o *options) { o.connections = names } }

func newHouse(t *testing.T, opts ...option) *house {
	t.Helper()
	o := options{connections: []string{first, other}}
	for _, opt := range opts {
		opt(&o)
	}
	h := &house{audit: &records{}}
	var err error
	if h.sandbox, err = sandbox.Start(t.Context(), sandbox.Config{Workers: 5, Seed: 1, Faults: o.faults}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.sandbox.Close() })
	registry := prometheus.NewRegistry()
	logger := slog.New(slog.DiscardHandler)
	log := audit.New(h.audit, time.Now)
	if h.guard, err = oauthclient.OpenGuard(oauthclient.GuardConfig{Dir: t.TempDir(), Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	var conns []*broker.Connection
	for _, name := range o.connections {
		conns = append(conns, h.connection(t, name, name == o.untried))
	}
	h.broker = h.newBroker(t, conns, log, registry)
	t.Cleanup(h.broker.Close)
	registry.MustRegister(broker.NewCollector(h.broker))
	h.api = admin.New(admin.Config{
		Broker: h.broker, Audit: log, Token: func(s string) bool { return s == token }, Hosts: func(s string) bool { return s == host },
		Gatherer: registry, Logger: logger, Now: time.Now, Version: "test",
	})
	return h
}

func (h *house) connection(t *testing.T, name string, untried bool) *broker.Connection {
	t.Helper()
	info := h.sandbox.Info
	company := info.First()
	if name == other {
		company = *info.Second
	}
	client := oauthclient.NewHTTPClient(nil)
	rules, err := trust.Compile(trust.Config{
		Rules:      []trust.Rule{{Name: "vm", Issuer: info.Issuer, JWKSURI: info.JWKSURI, Subject: info.Subject, Audience: info.Audience, Algorithms: []string{"RS256"}}},
		HTTPClient: client, AllowInsecureLoopback: true, Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(rules.Close)
	var source workload.Source
	source, err = workload.NewEntra(workload.EntraConfig{
		TokenURL: info.EntraTokenURL, ClientID: info.WorkloadClientID, Scope: info.Scope, HTTPClient: client, Now: time.Now,
		ClientSecret: func() (oauthclient.Secret, error) { return oauthclient.NewSecret(info.WorkloadClientSecret), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	if untried {
		source = held{source}
	}
	dependency, err := oauthclient.ParseDependency(company.Dependency)
	if err != nil {
		t.Fatal(err)
	}
	api, err := url.Parse(company.APIURL)
	if err != nil {
		t.Fatal(err)
	}
	c, err := broker.NewConnection(broker.ConnectionConfig{
		Name: name, Revision: "r1", WorkloadIdentity: "vm", Source: source, Rules: rules,
		Application: oauthclient.Application{TokenURL: info.IASTokenURL, ClientID: company.IASClientID, Resource: oauthclient.Resource(dependency)},
		Dependency:  dependency, TokenClient: client, Guard: h.guard, API: api, APITransport: &http.Transport{DisableCompression: true},
		CompanyID: company.CompanyID, TechnicalUser: company.TechnicalUser, ApplicationType: company.ApplicationType,
		Probes: []string{"PerPerson"}, Now: time.Now, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (h *house) newBroker(t *testing.T, conns []*broker.Connection, log *audit.Log, registry prometheus.Registerer) *broker.Broker {
	t.Helper()
	key, digest, err := caller.NewKey("nightly")
	if err != nil {
		t.Fatal(err)
	}
	h.key = key
	cfg := broker.Config{
		Revision: "r1", PublicURLs: []string{"http://127.0.0.1:8020"}, Connections: conns, Policies: map[string]*policy.Policy{}, Audit: log,
		Metrics: broker.NewMetrics(registry), Logger: slog.New(slog.DiscardHandler), Now: time.Now,
	}
	var callers []caller.Caller
	if len(conns) > 0 {
		if cfg.Policies["nightly"], err = policy.Compile(policy.Grants{Read: []string{"PerPerson"}}); err != nil {
			t.Fatal(err)
		}
		callers = append(callers, caller.Caller{Name: "nightly", Connection: first, Company: "ACMEDEMO", Key: digest})
	}
	if cfg.Callers, err = caller.New(caller.Config{Callers: callers, Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	b, err := broker.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// ask sends one request to the operators' handler, with the token.
func (h *house) ask(t *testing.T, method, target, body string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.api.Handler().ServeHTTP(w, asOperator(newRequest(t, method, target, body)))
	return w
}

func newRequest(t *testing.T, method, target, body string) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	r.Host = host
	return r
}

func asOperator(r *http.Request) *http.Request {
	r.Header.Set("Authorization", "Bearer "+token)
	return r
}

// decode reads a JSON answer.
func decode[T any](t *testing.T, w *httptest.ResponseRecorder) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	return v
}

// code is the code of an error answer, "" when it is none.
func code(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	type answer struct{ Error struct{ Code string } }
	if w.Code == http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
		return ""
	}
	return decode[answer](t, w).Error.Code
}

// until polls: what it waits for happens in background work.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// tried waits until each connection named was tried once.
func (h *house) tried(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		c, ok := h.broker.Connection(name)
		if !ok {
			t.Fatalf("no connection %q", name)
		}
		until(t, name+" was tried", func() bool { return c.Status().Tried() })
	}
}
