package sandbox_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sfbroker/sandbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// job is a client of the sandbox that knows nothing but its Info.
type job struct {
	t      *testing.T
	info   sandbox.Info
	client *http.Client
}

func start(t *testing.T, cfg sandbox.Config) (*sandbox.Sandbox, *job) {
	t.Helper()
	if cfg.Workers == 0 {
		cfg.Workers = 20
	}
	s, err := sandbox.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, newJob(t, s.Info)
}

func newJob(t *testing.T, info sandbox.Info) *job {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	if info.CAPEM != "" {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM([]byte(info.CAPEM)) {
			t.Fatal("CA PEM cannot be read")
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &job{t: t, info: info, client: &http.Client{Transport: transport, Timeout: 20 * time.Second}}
}

// reply is an answer; err is set when there was none.
type reply struct {
	status int
	header http.Header
	body   string
	err    error
}

func (r reply) field(t *testing.T, name string) string {
	t.Helper()
	var fields map[string]any
	if err := json.Unmarshal([]byte(r.body), &fields); err != nil {
		t.Fatalf("status %d: answer is not JSON: %v", r.status, err)
	}
	value, _ := fields[name].(string)
	return value
}

func (j *job) do(method, address, body string, header ...string) reply {
	j.t.Helper()
	req, err := http.NewRequestWithContext(j.t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		j.t.Fatal(err)
	}
	for n := 0; n+1 < len(header); n += 2 {
		req.Header.Set(header[n], header[n+1])
	}
	resp, err := j.client.Do(req)
	if err != nil {
		return reply{err: err}
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	return reply{resp.StatusCode, resp.Header, string(data), err}
}

func (j *job) form(address string, form url.Values) reply {
	j.t.Helper()
	return j.do(http.MethodPost, address, form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
}

func (j *job) askEntra() reply {
	j.t.Helper()
	return j.form(j.info.EntraTokenURL, url.Values{
		"grant_type": {"client_credentials"}, "client_id": {j.info.WorkloadClientID},
		"client_secret": {j.info.WorkloadClientSecret}, "scope": {j.info.Scope},
	})
}

func (j *job) askIAS(assertion string, c sandbox.Company) reply {
	j.t.Helper()
	return j.form(j.info.IASTokenURL, url.Values{
		"grant_type": {"client_credentials"}, "client_id": {c.IASClientID},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"client_assertion":      {assertion}, "token_format": {"jwt"},
		"resource": {"urn:sap:identity:application:provider:name:" + c.Dependency},
	})
}

func (j *job) read(token string, c sandbox.Company) reply {
	j.t.Helper()
	return j.do(http.MethodGet, c.APIURL+"/odata/v2/PerPerson?$top=1&$format=json", "", "Authorization", "Bearer "+token)
}

// walk goes the whole way into a company and returns the first answer that is
// no success, with its hop, or the last one.
func (j *job) walk(c sandbox.Company) (hop string, r reply) {
	j.t.Helper()
	r = j.askEntra()
	if r.status != http.StatusOK {
		return "entra", r
	}
	r = j.askIAS(r.field(j.t, "access_token"), c)
	if r.status != http.StatusOK || !json.Valid([]byte(r.body)) {
		return "ias", r
	}
	return "odata", j.read(r.field(j.t, "access_token"), c)
}

func (j *job) works(c sandbox.Company) {
	j.t.Helper()
	if hop, r := j.walk(c); hop != "odata" || r.status != http.StatusOK {
		j.t.Errorf("%s: stopped at %s: %d %.300s %v", c.CompanyID, hop, r.status, r.body, r.err)
	}
}

func TestBothCompaniesWork(t *testing.T) {
	for _, row := range []struct {
		name string
		cfg  sandbox.Config
	}{
		{"HTTP", sandbox.Config{}},
		{"HTTPS", sandbox.Config{TLS: true}},
		{"HTTPS by name", sandbox.Config{TLS: true, Host: "localhost"}},
		{"terse", sandbox.Config{ErrorProfile: "terse"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			s, j := start(t, row.cfg)
			j.works(s.Info.First())
			j.works(*s.Info.Second)
			for name, address := range map[string]string{
				"Entra": s.Info.EntraURL, "IAS": s.Info.IASURL, "SuccessFactors": s.Info.APIURL,
				"second": s.Info.Second.APIURL, "control": s.Info.ControlURL,
			} {
				if want := map[bool]string{true: "https://", false: "http://"}[row.cfg.TLS]; !strings.HasPrefix(address, want) {
					t.Errorf("%s is at %s", name, address)
				}
			}
			if (s.Info.CAPEM != "") != row.cfg.TLS {
				t.Error("the CA belongs to TLS alone")
			}
		})
	}
}

func TestTLSNeedsTheCA(t *testing.T) {
	s, _ := start(t, sandbox.Config{TLS: true})
	stranger := newJob(t, sandbox.Info{EntraTokenURL: s.Info.EntraTokenURL})
	var unknown x509.UnknownAuthorityError
	if r := stranger.askEntra(); !errors.As(r.err, &unknown) {
		t.Errorf("without the CA: %d, %v", r.status, r.err)
	}
}

func TestRefusedConfigurations(t *testing.T) {
	for _, row := range []struct {
		name string
		cfg  sandbox.Config
		want error
	}{
		{"all interfaces", sandbox.Config{Host: "0.0.0.0"}, sandbox.ErrNotLoopback},
		{"documentation address", sandbox.Config{Host: "192.0.2.1"}, sandbox.ErrNotLoopback},
		{"a name", sandbox.Config{Host: "example.com"}, sandbox.ErrNotLoopback},
		{"unknown fault", sandbox.Config{Faults: []string{"no-such"}}, sandbox.ErrUnknownFault},
		{"unknown profile", sandbox.Config{ErrorProfile: "polite"}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			s, err := sandbox.Start(t.Context(), row.cfg)
			if err == nil {
				_ = s.Close()
				t.Fatal("it started")
			}
			if row.want != nil && !errors.Is(err, row.want) {
				t.Errorf("got %v, want %v", err, row.want)
			}
		})
	}
}

func TestPortInUseIsAnError(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	address, _ := taken.Addr().(*net.TCPAddr)
	if s, err := sandbox.Start(t.Context(), sandbox.Config{Ports: sandbox.Ports{Control: address.Port}}); err == nil {
		_ = s.Close()
		t.Error("it started")
	}
}

func TestEndOfTheContextCloses(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s, err := sandbox.Start(ctx, sandbox.Config{Workers: 20})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	_ = s.Close() // waits for the closing that runs already
	j := newJob(t, s.Info)
	if r := j.askEntra(); !errors.Is(r.err, syscall.ECONNREFUSED) {
		t.Errorf("after the end: %d, %v", r.status, r.err)
	}
	if err := s.SetFault(sandbox.FaultIASDown, false); !errors.Is(err, sandbox.ErrClosed) {
		t.Errorf("fault on a closed sandbox: %v", err)
	}
}

func TestCloseCutsConnectionsAndWaitsForHandlers(t *testing.T) {
	var armed atomic.Bool
	entered, release := make(chan struct{}), make(chan struct{})
	s, j := start(t, sandbox.Config{Now: func() time.Time {
		if armed.CompareAndSwap(true, false) {
			close(entered)
			<-release
		}
		return time.Now()
	}})
	armed.Store(true)
	asked, closed := make(chan reply, 1), make(chan struct{})
	go func() { asked <- j.askEntra() }()
	<-entered
	go func() {
		defer close(closed)
		_ = s.Close()
	}()
	if r := <-asked; r.err == nil {
		t.Errorf("a cut connection answered %d", r.status)
	}
	select {
	case <-closed:
		t.Error("closed while a request was being handled")
	default:
	}
	close(release)
	<-closed
}

func TestForeignHostHeaderIsRefused(t *testing.T) {
	s, j := start(t, sandbox.Config{})
	for host, want := range map[string]int{"localhost": http.StatusOK, "rebound.example.com": http.StatusMisdirectedRequest} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.Info.JWKSURI, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		resp, err := j.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("Host %s: got %d, want %d", host, resp.StatusCode, want)
		}
	}
}

func TestSecretsAreRandomAndPeopleAreNot(t *testing.T) {
	one, j1 := start(t, sandbox.Config{Seed: 7})
	two, j2 := start(t, sandbox.Config{Seed: 7})
	for name, pair := range map[string][2]string{
		"tenant":        {one.Info.TenantID, two.Info.TenantID},
		"client ID":     {one.Info.WorkloadClientID, two.Info.WorkloadClientID},
		"secret":        {one.Info.WorkloadClientSecret, two.Info.WorkloadClientSecret},
		"subject":       {one.Info.Subject, two.Info.Subject},
		"audience":      {one.Info.Audience, two.Info.Audience},
		"IAS client ID": {one.Info.IASClientID, two.Info.IASClientID},
		"control token": {one.Info.ControlToken, two.Info.ControlToken},
		"key":           {one.KeyID(), two.KeyID()},
	} {
		if pair[0] == "" || pair[0] == pair[1] {
			t.Errorf("%s is not random", name)
		}
	}
	_, r1 := j1.walk(one.Info.First())
	_, r2 := j2.walk(two.Info.First())
	if r1.status != http.StatusOK || strings.ReplaceAll(r1.body, one.Info.APIURL, "") != strings.ReplaceAll(r2.body, two.Info.APIURL, "") {
		t.Error("the same seed made other people")
	}
}

func TestClockMovesAllStandIns(t *testing.T) {
	base := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	var ticks atomic.Int64
	s, j := start(t, sandbox.Config{Now: func() time.Time { return base.Add(time.Duration(ticks.Load())) }})
	at1 := j.askEntra().field(t, "access_token")
	at2 := j.askIAS(at1, s.Info.First()).field(t, "access_token")
	if r := j.read(at2, s.Info.First()); r.status != http.StatusOK {
		t.Fatalf("fresh: %d %s", r.status, r.body)
	}
	s.SetClockOffset(59 * time.Minute)
	if r := j.read(at2, s.Info.First()); r.status != http.StatusOK {
		t.Errorf("after 59 minutes: %d", r.status)
	}
	s.AddClockOffset(time.Minute)
	if r := j.read(at2, s.Info.First()); r.status != http.StatusForbidden || !strings.Contains(r.body, "LGN0006") {
		t.Errorf("after 60 minutes: %d %s", r.status, r.body)
	}
	if !s.Now().Equal(base.Add(time.Hour)) {
		t.Errorf("now is %s", s.Now())
	}
	ticks.Store(int64(30 * time.Minute))
	if r := j.askIAS(at1, s.Info.First()); r.status != http.StatusUnauthorized {
		t.Errorf("AT1 after 90 minutes: %d", r.status)
	}
}

func TestLifetimes(t *testing.T) {
	base := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	s, j := start(t, sandbox.Config{TokenLifetime: 10 * time.Second, AssertionLifetime: 20 * time.Second, Now: func() time.Time { return base }})
	at1 := j.askEntra().field(t, "access_token")
	at2 := j.askIAS(at1, s.Info.First()).field(t, "access_token")
	s.SetClockOffset(10 * time.Second)
	if r := j.read(at2, s.Info.First()); r.status != http.StatusForbidden {
		t.Errorf("AT2 after its life: %d", r.status)
	}
	if r := j.askIAS(at1, s.Info.First()); r.status != http.StatusOK {
		t.Errorf("AT1 within its life: %d", r.status)
	}
	s.SetClockOffset(20 * time.Second)
	if r := j.askIAS(at1, s.Info.First()); r.status != http.StatusUnauthorized {
		t.Errorf("AT1 after its life: %d", r.status)
	}
}

func TestTokensOfOneCompanyAreNoGoodForTheOther(t *testing.T) {
	s, j := start(t, sandbox.Config{})
	token := j.askIAS(j.askEntra().field(t, "access_token"), *s.Info.Second).field(t, "access_token")
	if r := j.read(token, *s.Info.Second); r.status != http.StatusOK {
		t.Errorf("own company: %d", r.status)
	}
	if r := j.read(token, s.Info.First()); r.status != http.StatusForbidden {
		t.Errorf("other company: %d", r.status)
	}
	other := *s.Info.Second
	other.Dependency = s.Info.Dependency
	if r := j.askIAS(j.askEntra().field(t, "access_token"), other); r.status != http.StatusBadRequest || r.field(t, "error") != "invalid_target" {
		t.Errorf("dependency of the other application: %d %s", r.status, r.body)
	}
}

func TestRotationIsSeenByIAS(t *testing.T) {
	s, j := start(t, sandbox.Config{})
	old := s.KeyID()
	announced, err := s.AnnounceKey()
	if err != nil {
		t.Fatal(err)
	}
	j.works(s.Info.First())
	if rotated, err := s.RotateKey(); err != nil || rotated != announced {
		t.Fatalf("rotated to %s, announced %s: %v", rotated, announced, err)
	}
	j.works(s.Info.First())
	if !s.WithdrawKey(old) {
		t.Error("the old key was not published")
	}
	s.RefreshIssuerKeys()
	j.works(s.Info.First())
}

func TestStats(t *testing.T) {
	s, j := start(t, sandbox.Config{})
	j.works(s.Info.First())
	if r := j.askIAS("abc", s.Info.First()); r.status != http.StatusUnauthorized {
		t.Fatalf("got %d", r.status)
	}
	got := s.Stats()
	if got.Entra.TokenRequests != 1 || got.Entra.TokensIssued != 1 || got.Entra.KeyFetches != 1 {
		t.Errorf("Entra: %+v", got.Entra)
	}
	if got.IAS.TokenRequests != 2 || got.IAS.TokensIssued != 1 || got.IAS.FailedLogons != 1 || got.IAS.MaxFailedLogons != 1 || got.IAS.IssuerKeyFetches != 1 {
		t.Errorf("IAS: %+v", got.IAS)
	}
	if got.IAS.Clients[s.Info.IASClientID].FailedLogons != 1 {
		t.Errorf("clients: %+v", got.IAS.Clients)
	}
	if got.SuccessFactors.Requests != 1 || got.Second.Requests != 0 {
		t.Errorf("SuccessFactors: %+v, second: %+v", got.SuccessFactors, got.Second)
	}
}

func TestWrittenFiles(t *testing.T) {
	s, j := start(t, sandbox.Config{TLS: true})
	dir := t.TempDir()
	for range 2 { // a second time replaces
		if err := s.WriteFiles(dir); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.WriteAssertion(dir); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{
		sandbox.SecretFile: 0o600, sandbox.KeyFile: 0o600, sandbox.AssertionFile: 0o600,
		sandbox.CertificateFile: 0o644, sandbox.CAFile: 0o644,
	} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
			continue
		}
		if info.Mode().Perm() != mode {
			t.Errorf("%s: mode %o, want %o", name, info.Mode().Perm(), mode)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 5 {
		t.Errorf("%d files, %v", len(entries), err)
	}
	assertion, err := os.ReadFile(filepath.Join(dir, sandbox.AssertionFile))
	if err != nil {
		t.Fatal(err)
	}
	if r := j.askIAS(strings.TrimSpace(string(assertion)), s.Info.First()); r.status != http.StatusOK {
		t.Errorf("the written assertion: %d", r.status)
	}
	secret, err := os.ReadFile(filepath.Join(dir, sandbox.SecretFile))
	if err != nil || strings.TrimSpace(string(secret)) != s.Info.WorkloadClientSecret {
		t.Errorf("the written secret is another one: %v", err)
	}
	if err := s.WriteFiles(filepath.Join(dir, "missing")); err == nil {
		t.Error("written into a directory that is not there")
	}
}
