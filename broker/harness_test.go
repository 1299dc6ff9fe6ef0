package broker_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/goleak"

	"sfbroker/audit"
	"sfbroker/broker"
	"sfbroker/broker/caller"
	"sfbroker/broker/diagnosis"
	"sfbroker/broker/policy"
	"sfbroker/oauthclient"
	"sfbroker/trust"
	"sfbroker/workload"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	at1Issuer, at1Subject, at1Audience = "https://issuer.example/v2.0", "subject-of-the-workload", "audience-of-the-workload"
	dependency                         = "SF-EC-TA"
	patience                           = 10 * time.Second // deadline of polls; never a measure
)

// signingKey is made once: it takes long with -race.
var signingKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

// lines is a writer that keeps whole lines and can be told to fail.
type lines struct {
	mu     sync.Mutex
	text   bytes.Buffer
	fail   error
	notify func(line []byte)
	// discard keeps nothing, for benchmarks.
	discard bool
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return 0, l.fail
	}
	if l.notify != nil {
		l.notify(p)
	}
	if l.discard {
		return len(p), nil
	}
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lines) set(f func(*lines)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(l)
}

// clock is a hand-driven clock.
type clock struct{ offset atomic.Int64 }

func (c *clock) Now() time.Time          { return time.Now().Add(time.Duration(c.offset.Load())) }
func (c *clock) advance(d time.Duration) { c.offset.Add(int64(d)) }

// ias is a token endpoint. It fails the test on any request but the documented one.
type ias struct {
	*httptest.Server
	mu       sync.Mutex
	asked    int
	issued   []string
	handler  http.HandlerFunc // replaces the answer
	lifetime time.Duration
	now      func() time.Time
}

func newIAS(t testing.TB, at1 func() string, now func() time.Time) *ias {
	s := &ias{lifetime: time.Hour, now: now}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil || r.Method != http.MethodPost || r.URL.Path != "/oauth2/token" || r.Header.Get("Authorization") != "" {
			t.Errorf("unexpected request to IAS: %s %s (%v)", r.Method, r.URL.Path, err)
		}
		for name, want := range map[string]string{
			"grant_type": "client_credentials", "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
			"client_assertion": at1(), "resource": "urn:sap:identity:application:provider:name:" + dependency, "token_format": "jwt",
		} {
			if got := r.PostForm[name]; len(got) != 1 || got[0] != want {
				t.Errorf("token request: %s is not as documented", name)
			}
		}
		s.mu.Lock()
		s.asked++
		handler := s.handler
		s.mu.Unlock()
		if handler != nil {
			handler(w, r)
			return
		}
		writeJSON(w, http.StatusOK, map[string]any{"access_token": s.issue(t, r.PostForm.Get("client_id")), "token_type": "Bearer", "expires_in": int(s.lifetime.Seconds())})
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *ias) issue(t testing.TB, clientID string) string {
	now := s.now()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss": s.URL, "sub": clientID, "azp": clientID, "aud": []string{"provider"}, "ias_apis": []string{"sf_technical_access"},
		"iat": now.Unix(), "exp": now.Add(s.lifetime).Unix(), "jti": rand.Text(),
	}).SignedString([]byte("key of the fake IAS"))
	if err != nil {
		t.Errorf("issuing AT2: %v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.issued = append(s.issued, token)
	return token
}

func (s *ias) answer(h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handler = h
}

func (s *ias) requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func (s *ias) tokens() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.issued)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// seen is a request as SuccessFactors got it.
type seen struct {
	method, target, host string
	header               http.Header
}

// system is a SuccessFactors API server: it records what it got and answers as it is told.
type system struct {
	*httptest.Server
	t       testing.TB
	mu      sync.Mutex
	got     []seen
	handler http.HandlerFunc
	onSeen  func()
	quiet   atomic.Bool // record nothing, for benchmarks
}

func newSystem(t testing.TB) *system {
	s := &system{t: t}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *system) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 || len(r.TransferEncoding) > 0 {
		s.t.Errorf("%s %s came with a body", r.Method, r.RequestURI)
	}
	s.mu.Lock()
	if !s.quiet.Load() {
		s.got = append(s.got, seen{r.Method, r.RequestURI, r.Host, r.Header.Clone()})
	}
	handler, onSeen := s.handler, s.onSeen
	s.mu.Unlock()
	if onSeen != nil {
		onSeen()
	}
	if handler == nil {
		handler = page(`{"d":{"results":[]}}`)
	}
	handler(w, r)
}

func (s *system) answer(h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handler = h
}

func (s *system) requests() []seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

// of lists the requests with that very target.
func (s *system) of(target string) []seen {
	return slices.DeleteFunc(slices.Clone(s.requests()), func(r seen) bool { return r.target != target })
}

func (s *system) last(t testing.TB) seen {
	t.Helper()
	all := s.requests()
	if len(all) == 0 {
		t.Fatal("nothing reached SuccessFactors")
	}
	return all[len(all)-1]
}

func page(body string) http.HandlerFunc {
	return reply(http.StatusOK, "application/json;charset=utf-8", body)
}

func reply(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func refusal(status int, code string) http.HandlerFunc {
	return reply(status, "application/json", `{"error":{"code":"SFAPI","message":{"lang":"en-US","value":"[`+code+`]no"}}}`)
}

// setup says what a house is made of; the zero value is one connection with one caller who may read User and PerPerson.
type setup struct {
	callers    []caller.Caller // Key is filled in
	allow      map[string][]string
	public     []string // besides the listener's own
	terminated []netip.Prefix
	stall      time.Duration
	failures   int
	inFlight   int
	now        func() time.Time
	connect    func(*broker.ConnectionConfig)
	api        string // where the connection "one" leads instead of its system
	second     bool   // a connection "two" to a system of its own
	transport  func(*http.Transport)
	noAT1      bool             // the source's file is not there yet
	ias        http.HandlerFunc // what IAS answers from the start
}

// house is a broker at work between real servers.
type house struct {
	t        testing.TB
	ias      *ias
	systems  map[string]*system
	sf       *system // the one of connection "one"
	broker   *broker.Broker
	server   *httptest.Server
	public   string
	audit    *lines
	log      *lines
	registry *prometheus.Registry
	keys     map[string]string
	at1      string // path
	at1Text  atomic.Value
	client   *http.Client
	served   atomic.Int64
	rawAudit bool // the audit log was made to fail, so lines are not counted
}

func build(t testing.TB, s setup) *house {
	t.Helper()
	if s.now == nil {
		s.now = time.Now
	}
	dir := t.TempDir()
	h := &house{t: t, systems: map[string]*system{}, audit: &lines{}, log: &lines{}, registry: prometheus.NewRegistry(), keys: map[string]string{}, at1: filepath.Join(dir, "at1.jwt")}
	h.at1Text.Store("")
	h.ias = newIAS(t, func() string { return h.at1Text.Load().(string) }, s.now)
	h.ias.answer(s.ias)
	if !s.noAT1 {
		h.writeAT1(nil)
	}
	logger := slog.New(slog.NewJSONHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	rules := compileRules(t, dir, logger, s.now)
	guard, err := oauthclient.OpenGuard(oauthclient.GuardConfig{Dir: filepath.Join(dir, "state"), Now: s.now, Logger: logger})
	h.must(err)
	names := []string{"one"}
	if s.second {
		names = append(names, "two")
	}
	oauthMetrics := oauthclient.NewMetrics(h.registry)
	var conns []*broker.Connection
	for _, name := range names {
		h.systems[name] = newSystem(t)
		api := h.systems[name].URL
		if name == "one" && s.api != "" {
			api = s.api
		}
		u, err := url.Parse(api)
		h.must(err)
		transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
		if s.transport != nil {
			s.transport(transport)
		}
		cfg := broker.ConnectionConfig{
			Name: name, Revision: "r1", WorkloadIdentity: "vm", Source: workload.NewFile(h.at1), Rules: rules,
			Application: oauthclient.Application{TokenURL: h.ias.URL + "/oauth2/token", ClientID: "client-of-" + name, Resource: oauthclient.Resource(dependency)},
			Dependency:  dependency, TokenClient: oauthclient.NewHTTPClient(nil), Guard: guard, API: u, APITransport: transport,
			CompanyID: "ACME" + name, TechnicalUser: "sfapi.broker", ApplicationType: "Entra-Provisioning", Probes: []string{"User"},
			Now: s.now, Logger: logger, TokenMetrics: oauthMetrics,
		}
		if s.connect != nil {
			s.connect(&cfg)
		}
		c, err := broker.NewConnection(cfg)
		h.must(err)
		conns = append(conns, c)
	}
	h.sf = h.systems["one"]
	h.server = httptest.NewUnstartedServer(nil)
	h.public = "http://" + h.server.Listener.Addr().String()
	set, policies := h.compileCallers(s)
	h.broker, err = broker.New(broker.Config{
		Revision: "r1", PublicURLs: append([]string{h.public}, s.public...), TerminatedBy: s.terminated, Connections: conns, Callers: set, Policies: policies,
		Audit: audit.New(h.audit, s.now), Metrics: broker.NewMetrics(h.registry), Logger: logger, Now: s.now, WriteStall: s.stall, MaxInFlight: s.inFlight,
	})
	h.must(err)
	h.registry.MustRegister(broker.NewCollector(h.broker))
	h.server.Config = &http.Server{
		ReadHeaderTimeout: patience, DisableGeneralOptionsHandler: true, ErrorLog: log.New(io.Discard, "", 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.served.Add(1)
			h.broker.ServeHTTP(w, r)
		}),
	}
	h.server.Start()
	addr := h.server.Listener.Addr().String()
	dial := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}}
	h.client = &http.Client{Transport: dial, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(func() {
		dial.CloseIdleConnections()
		h.server.Close()
		h.broker.Close()
		rules.Close()
		h.inspect()
	})
	return h
}

func compileRules(t testing.TB, dir string, logger *slog.Logger, now func() time.Time) *trust.Rules {
	t.Helper()
	k := &signingKey().PublicKey
	keys := filepath.Join(dir, "keys.json")
	set, err := json.Marshal(map[string]any{"keys": []any{map[string]string{
		"kty": "RSA", "use": "sig", "kid": "k1", "n": base64.RawURLEncoding.EncodeToString(k.N.Bytes()),
		"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(k.E)).Bytes()),
	}}})
	if err == nil {
		err = os.WriteFile(keys, set, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	rules, err := trust.Compile(trust.Config{
		Rules: []trust.Rule{{Name: "vm", Issuer: at1Issuer, KeysFile: keys, Subject: at1Subject, Audience: at1Audience}}, Now: now, Logger: logger,
	})
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

func (h *house) compileCallers(s setup) (*caller.Set, map[string]*policy.Policy) {
	if len(s.callers) == 0 {
		s.callers = []caller.Caller{{Name: "nightly", Connection: "one", Company: "ACMEone"}}
	}
	policies := map[string]*policy.Policy{}
	for i := range s.callers {
		c := &s.callers[i]
		var err error
		if !c.Anonymous {
			h.keys[c.Name], c.Key, err = caller.NewKey(c.Name)
			h.must(err)
		}
		allow, ok := s.allow[c.Name]
		if !ok {
			allow = []string{"User", "PerPerson"}
		}
		if len(allow) == 0 {
			continue // no policy at all
		}
		policies[c.Name], err = policy.Compile(policy.Grants{Read: allow})
		h.must(err)
	}
	set, err := caller.New(caller.Config{Callers: s.callers, Now: s.now, FailuresPerMinute: s.failures})
	h.must(err)
	return set, policies
}

func (h *house) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// writeAT1 puts a fresh AT1 where the source reads it.
func (h *house) writeAT1(change func(jwt.MapClaims)) {
	h.t.Helper()
	claims := jwt.MapClaims{"iss": at1Issuer, "sub": at1Subject, "aud": at1Audience, "iat": time.Now().Unix(), "exp": time.Now().Add(20 * time.Hour).Unix(), "jti": rand.Text()}
	if change != nil {
		change(claims)
	}
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	token.Header["kid"] = "k1"
	raw, err := token.SignedString(signingKey())
	h.must(err)
	h.at1Text.Store(raw)
	h.must(os.WriteFile(h.at1, []byte(raw+"\n"), 0o600))
}

// inspect holds for every test of this package: one audit line an answer, and no secret in what was written down.
func (h *house) inspect() {
	records := strings.Count(h.audit.String(), "\n")
	if served := int(h.served.Load()); !h.rawAudit && records != served {
		h.t.Errorf("%d requests were answered and %d audit lines written; want one each", served, records)
	}
	metrics := httptest.NewRecorder()
	promhttp.HandlerFor(h.registry, promhttp.HandlerOpts{}).ServeHTTP(metrics, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if metrics.Code != http.StatusOK {
		h.t.Errorf("metrics: %d", metrics.Code)
	}
	for where, text := range map[string]string{"log": h.log.String(), "audit log": h.audit.String(), "metrics": metrics.Body.String()} {
		h.noSecret(where, text)
	}
}

func (h *house) noSecret(where, text string) {
	h.t.Helper()
	for _, secret := range h.secrets() {
		if strings.Contains(text, secret) {
			h.t.Errorf("the %s holds a secret that begins with %.12s", where, secret)
		}
	}
}

// secrets lists AT1, all AT2 and the caller keys, and the parts of them that would do for an attacker.
func (h *house) secrets() []string {
	var out []string
	for _, token := range append(h.ias.tokens(), h.at1Text.Load().(string)) {
		if token == "" {
			continue
		}
		parts := strings.Split(token, ".")
		out = append(out, token, parts[2])
	}
	for _, key := range h.keys {
		out = append(out, key, key[len(key)-40:])
	}
	return out
}

// records returns the audit log.
func (h *house) records() []audit.Record {
	h.t.Helper()
	var out []audit.Record
	for line := range strings.Lines(h.audit.String()) {
		var r audit.Record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			h.t.Fatalf("audit line %q: %v", line, err)
		}
		out = append(out, r)
	}
	return out
}

// answered is an answer read whole.
type answered struct {
	status int
	header http.Header
	body   string
}

func (a answered) code() diagnosis.Code { return diagnosis.Code(a.header.Get("Sfbroker-Error-Code")) }

// request makes a request of the caller "nightly", whose header values replace or, with nil, remove the usual ones.
func (h *house) request(method, target string, header http.Header) *http.Request {
	h.t.Helper()
	host := strings.TrimPrefix(h.public, "http://")
	r := &http.Request{Method: method, URL: &url.URL{Scheme: "http", Host: host, Opaque: target}, Host: host, Header: http.Header{"Authorization": {"Bearer " + h.keys["nightly"]}}}
	for name, values := range header {
		if name == "Host" {
			r.Host = values[0]
			continue
		}
		r.Header[name] = values
		if values == nil {
			delete(r.Header, name)
		}
	}
	return r
}

func (h *house) send(r *http.Request) (answered, error) {
	h.t.Helper()
	resp, err := h.client.Do(r)
	if err != nil {
		return answered{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	a := answered{resp.StatusCode, resp.Header, string(body)}
	var headers bytes.Buffer
	_ = resp.Header.Write(&headers)
	h.noSecret("answer", headers.String()+a.body)
	if resp.Header.Get("Sfbroker-Request-Id") == "" {
		h.t.Error("an answer without Sfbroker-Request-Id")
	}
	return a, err
}

// get is a GET of the caller "nightly" that must be answered whole.
func (h *house) get(target string, header http.Header) answered {
	h.t.Helper()
	a, err := h.send(h.request(http.MethodGet, target, header))
	if err != nil {
		h.t.Fatalf("GET %.100s: %v", target, err)
	}
	return a
}

// as is the header of another caller.
func (h *house) as(name string) http.Header {
	return http.Header{"Authorization": {"Bearer " + h.keys[name]}}
}

// raw writes bytes to the proxy and reads n answers from the same connection.
func (h *house) raw(text string, n int) ([]answered, error) {
	h.t.Helper()
	c, err := net.Dial("tcp", h.server.Listener.Addr().String())
	h.must(err)
	defer func() { _ = c.Close() }()
	h.must(c.SetDeadline(time.Now().Add(patience)))
	if _, err := io.WriteString(c, text); err != nil {
		return nil, err
	}
	var out []answered
	in := bufio.NewReader(c)
	for len(out) < n {
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			return out, err
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			return out, err
		}
		out = append(out, answered{resp.StatusCode, resp.Header, string(body)})
	}
	return out, nil
}

// wantError checks that a is our OData error with that code, and that it is told apart from SuccessFactors' own.
func wantError(t testing.TB, what string, a answered, code diagnosis.Code) {
	t.Helper()
	entry := diagnosis.Lookup(code)
	var body struct {
		Error struct {
			Code       string
			Message    struct{ Value string }
			InnerError map[string]string
		}
	}
	if a.status != entry.Status || a.code() != code || a.header.Get("Sfbroker-Error-Origin") != string(entry.Origin) {
		t.Errorf("%s: %d %s of %q, want %d %s of %q", what, a.status, a.code(), a.header.Get("Sfbroker-Error-Origin"), entry.Status, code, entry.Origin)
		return
	}
	if err := json.Unmarshal([]byte(a.body), &body); err != nil || body.Error.Code != string(code) || body.Error.Message.Value != entry.Sentence {
		t.Errorf("%s: the body is no OData error with code and sentence: %v %.200s", what, err, a.body)
	}
	if (a.status == 503 || a.status == 429) && a.header.Get("Retry-After") == "" {
		t.Errorf("%s: %d without Retry-After", what, a.status)
	}
}

// poll waits until ok, with a deadline.
func poll(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
	}
}

// warm waits until the connection holds a token, so that counts begin from a known state.
func (h *house) warm(name string) *broker.Connection {
	h.t.Helper()
	c, ok := h.broker.Connection(name)
	if !ok {
		h.t.Fatalf("no connection %q", name)
	}
	if _, err := c.Token(context.Background()); err != nil {
		h.t.Fatalf("warming %q: %v", name, err)
	}
	return c
}

// bytesServer serves each connection with one fixed answer and cuts the connection after it, without close_notify on TLS.
type bytesServer struct {
	addr   string
	mu     sync.Mutex
	answer []byte
	count  int
}

func serveBytes(t testing.TB, config *tls.Config) *bytesServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &bytesServer{addr: l.Addr().String()}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { s.serve(c, config) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return s
}

func (s *bytesServer) serve(c net.Conn, config *tls.Config) {
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(patience))
	w := c
	if config != nil {
		w = tls.Server(c, config)
	}
	if _, err := http.ReadRequest(bufio.NewReader(w)); err != nil {
		return
	}
	s.mu.Lock()
	answer := s.answer
	s.count++
	s.mu.Unlock()
	_, _ = w.Write(answer)
}

func (s *bytesServer) set(answer []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

// certificate is a self-signed one for 127.0.0.1, with the pool that trusts it.
func certificate(t testing.TB) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &signingKey().PublicKey, signingKey())
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})) {
		t.Fatal("certificate not taken")
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: signingKey()}, pool
}

var errDiskFull = errors.New("no space left on device")

func user(i int) string { return fmt.Sprintf("/odata/v2/User('%d')", i) }
