package assembly_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sfbroker/broker/caller"
	"sfbroker/cmd/internal/assembly"
	"sfbroker/config"
	"sfbroker/sandbox"
)

const (
	first = sandbox.FirstConnection
	other = sandbox.SecondConnection
)

// records is an audit sink that can fail.
type records struct {
	mu     sync.Mutex
	lines  strings.Builder
	broken bool
}

func (r *records) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.broken {
		return 0, errors.New("no space left on device")
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

// house is a whole daemon with two connections in front of a sandbox, on free ports.
type house struct {
	dir     string
	sandbox *sandbox.Sandbox
	daemon  *assembly.Daemon
	audit   *records
	log     *records
	token   string // of operators
	key     string // of the caller "nightly" of the first connection
	stop    context.CancelFunc
	ended   chan error // what Serve returned
}

type options struct {
	faults  []string
	alone   bool
	untried bool
	extra   string
	now     func() time.Time
	latency time.Duration
}

type option func(*options)

func faults(names ...string) option       { return func(o *options) { o.faults = names } }
func alone() option                       { return func(o *options) { o.alone = true } }
func clocked(now func() time.Time) option { return func(o *options) { o.now = now } }

// extra replaces the proxy's section of the configuration.
func extra(yaml string) option { return func(o *options) { o.extra = yaml } }

// slow delays each answer of SuccessFactors.
func slow(by time.Duration) option { return func(o *options) { o.latency = by } }

// untried gives the connection, which is the second one, an issuer that never answers.
func untried(string) option { return func(o *options) { o.untried = true } }

func newHouse(t *testing.T, opts ...option) *house {
	t.Helper()
	o := options{now: time.Now}
	for _, opt := range opts {
		opt(&o)
	}
	h := &house{dir: t.TempDir(), audit: &records{}, log: &records{}, ended: make(chan error, 1)}
	var err error
	if h.sandbox, err = sandbox.Start(t.Context(), sandbox.Config{Workers: 5, Seed: 1, Faults: o.faults, Now: o.now, Latency: o.latency}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.sandbox.Close() })
	h.daemon = h.open(t, h.configure(t, o), o.now)
	ctx, cancel := context.WithCancel(context.Background())
	h.stop = cancel
	go func() { h.ended <- h.daemon.Serve(ctx) }()
	t.Cleanup(func() { h.daemon.Close(); cancel() })
	token, err := os.ReadFile(filepath.Join(h.dir, "state", "admin-token"))
	if err != nil {
		t.Fatal(err)
	}
	h.token = strings.TrimSpace(string(token))
	return h
}

// configure writes what an operator would, and the files that it names.
func (h *house) configure(t *testing.T, o options) string {
	t.Helper()
	if err := h.sandbox.WriteFiles(h.dir); err != nil {
		t.Fatal(err)
	}
	key, digest, err := caller.NewKey("nightly")
	if err != nil {
		t.Fatal(err)
	}
	h.key = key
	c := sandbox.ConfigOptions{
		Dir: h.dir, ProxyListen: "127.0.0.1:0", AdminListen: "127.0.0.1:0", StateDir: filepath.Join(h.dir, "state"),
		Callers: map[string]string{"nightly": digest.String()}, Allow: []string{"PerPerson"},
	}
	if !o.alone {
		_, unused, err := caller.NewKey("weekly")
		if err != nil {
			t.Fatal(err)
		}
		c.SecondCallers = map[string]string{"weekly": unused.String()}
	}
	yaml := string(h.sandbox.Info.BrokerConfig(c))
	if o.untried {
		yaml = h.withSilentIssuer(t, yaml)
	}
	if o.extra != "" {
		yaml = strings.Replace(yaml, "proxy:\n  listen: \"127.0.0.1:0\"\n", o.extra, 1)
	}
	return yaml
}

// withSilentIssuer moves the second connection to a workload identity of its own.
func (h *house) withSilentIssuer(t *testing.T, yaml string) string {
	t.Helper()
	over := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-over }))
	t.Cleanup(silent.Close)
	t.Cleanup(func() { close(over) })
	before, after, ok := strings.Cut(yaml, "connections:\n")
	if !ok {
		t.Fatalf("no connections in\n%s", yaml)
	}
	_, identity, _ := strings.Cut(before, "workload_identities:\n  "+sandbox.WorkloadIdentity+":\n")
	before += "  silent:\n" + strings.Replace(identity, h.sandbox.Info.EntraURL+`"`, silent.URL+`"`, 1)
	head, tail, ok := strings.Cut(after, "  "+other+":\n")
	if !ok {
		t.Fatalf("no second connection in\n%s", yaml)
	}
	tail = strings.Replace(tail, `"`+sandbox.WorkloadIdentity+`"`, `silent`, 1)
	return before + "connections:\n" + head + "  " + other + ":\n" + tail
}

func environment(vars map[string]string) config.Env {
	return config.Env{ReadFile: os.ReadFile, LookupEnv: func(name string) (string, bool) { v, ok := vars[name]; return v, ok }}
}

func (h *house) options(now func() time.Time) assembly.Options {
	return assembly.Options{Env: environment(nil), Now: now, Audit: h.audit, Log: h.log, Version: "test"}
}

func (h *house) open(t *testing.T, yaml string, now func() time.Time) *assembly.Daemon {
	t.Helper()
	d, err := h.tryOpen(t, yaml, now)
	if err != nil {
		t.Fatalf("%v in\n%s", err, yaml)
	}
	return d
}

func (h *house) tryOpen(t *testing.T, yaml string, now func() time.Time) (*assembly.Daemon, error) {
	t.Helper()
	cfg, err := config.Parse("sfbroker.yaml", []byte(yaml), environment(nil))
	if err != nil {
		return nil, err
	}
	compiled, err := assembly.Compile(cfg, h.options(now))
	if err != nil {
		return nil, err
	}
	return compiled.Open()
}

func client() *http.Client { return &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} }

func request(t *testing.T, method, address, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body == "" {
		r.Body, r.ContentLength = http.NoBody, 0
	}
	return r
}

// do sends a request and returns the whole answer.
func do(t *testing.T, r *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	return doWith(t, client(), r)
}

func doWith(t *testing.T, c *http.Client, r *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	w := httptest.NewRecorder()
	for name, values := range resp.Header {
		w.Header()[name] = values
	}
	w.Code = resp.StatusCode
	if resp.Close {
		w.Header().Set("Connection", "close")
	}
	if _, err := io.Copy(w.Body, resp.Body); err != nil {
		t.Fatal(err)
	}
	return w
}

// ask sends one request to the admin listener, with the token.
func (h *house) ask(t *testing.T, method, target, body string) *httptest.ResponseRecorder {
	t.Helper()
	r := request(t, method, h.daemon.AdminURL()+target, body)
	r.Header.Set("Authorization", "Bearer "+h.token)
	return do(t, r)
}

// job asks the proxy as the caller "nightly".
func (h *house) job(t *testing.T, target string) *http.Request {
	t.Helper()
	r := request(t, http.MethodGet, h.daemon.ProxyURL()+target, "")
	r.SetBasicAuth("nightly@"+h.sandbox.Info.CompanyID, h.key)
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
	if w.Code == http.StatusOK {
		return ""
	}
	return decode[struct{ Error struct{ Code string } }](t, w).Error.Code
}

// split makes a request line of a route's pattern.
func split(t *testing.T, pattern string) (method, target string) {
	t.Helper()
	method, target, ok := strings.Cut(pattern, " ")
	if !ok {
		t.Fatalf("route %q names no method", pattern)
	}
	return method, strings.ReplaceAll(target, "{name}", first)
}

// bodyOf is what a route needs to be sent.
func bodyOf(target string) string {
	if strings.HasSuffix(target, "/unlock") {
		return `{"reason":"rule mended"}`
	}
	return ""
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
		c, ok := h.daemon.Broker().Connection(name)
		if !ok {
			t.Fatalf("no connection %q", name)
		}
		until(t, name+" was tried", func() bool { return c.Status().Tried() })
	}
}
