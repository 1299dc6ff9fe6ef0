package check_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sfbroker/broker"
	"sfbroker/broker/check"
	"sfbroker/broker/diagnosis"
	"sfbroker/oauthclient"
	"sfbroker/sandbox"
	"sfbroker/trust"
	"sfbroker/workload"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type clock struct{ offset atomic.Int64 }

func (c *clock) Now() time.Time          { return time.Now().Add(time.Duration(c.offset.Load())) }
func (c *clock) advance(d time.Duration) { c.offset.Add(int64(d)) }

// bench is a connection to a sandbox.
type bench struct {
	clock clock
	box   *sandbox.Sandbox
	conn  *broker.Connection
	dir   string
}

type setup struct {
	profile string
	faults  []string
	noAT1   bool
	connect func(*broker.ConnectionConfig)
}

func build(t *testing.T, s setup) *bench {
	t.Helper()
	b := &bench{dir: t.TempDir()}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	b.box, err = sandbox.Start(t.Context(), sandbox.Config{Workers: 20, Now: b.clock.Now, AssertionLifetime: 20 * time.Hour, ErrorProfile: s.profile, Faults: s.faults})
	must(err)
	t.Cleanup(func() { must(b.box.Close()) })
	if !s.noAT1 {
		must(b.box.WriteAssertion(b.dir))
	}
	info := b.box.Info
	first := info.First()
	logger := slog.New(slog.NewTextHandler(io.Discard, nil))
	keys := &http.Transport{}
	rules, err := trust.Compile(trust.Config{
		Rules:      []trust.Rule{{Name: "vm", Issuer: info.Issuer, JWKSURI: info.JWKSURI, Subject: info.Subject, Audience: info.Audience}},
		HTTPClient: &http.Client{Transport: keys, Timeout: 10 * time.Second}, AllowInsecureLoopback: true, Now: b.clock.Now, Logger: logger,
	})
	must(err)
	guard, err := oauthclient.OpenGuard(oauthclient.GuardConfig{Dir: filepath.Join(b.dir, "state"), Now: b.clock.Now, Logger: logger})
	must(err)
	dependency, err := oauthclient.ParseDependency(first.Dependency)
	must(err)
	api, err := url.Parse(first.APIURL)
	must(err)
	tokens := oauthclient.NewHTTPClient(nil)
	cfg := broker.ConnectionConfig{
		Name: "hr-prod", Revision: "r1", WorkloadIdentity: "vm", Source: workload.NewFile(filepath.Join(b.dir, sandbox.AssertionFile)), Rules: rules,
		Application: oauthclient.Application{TokenURL: info.IASTokenURL, ClientID: first.IASClientID, Resource: oauthclient.Resource(dependency)},
		Dependency:  dependency, TokenClient: tokens, Guard: guard, API: api,
		APITransport: &http.Transport{DisableCompression: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}},
		CompanyID:    first.CompanyID, TechnicalUser: first.TechnicalUser, ApplicationType: first.ApplicationType, Probes: []string{"PerPerson", "User"},
		Now: b.clock.Now, Logger: logger,
	}
	if s.connect != nil {
		s.connect(&cfg)
	}
	b.conn, err = broker.NewConnection(cfg)
	must(err)
	t.Cleanup(func() {
		b.conn.Close()
		rules.Close()
		tokens.CloseIdleConnections()
		keys.CloseIdleConnections()
	})
	return b
}

// wantSteps checks what holds for every report: all six steps, in order, told as they end; the failed one is the only one
// with a finding, and what comes after it is skipped.
func wantSteps(t *testing.T, r check.Report, observed []check.Step, failed diagnosis.Step) {
	t.Helper()
	var names, told []diagnosis.Step
	for _, s := range observed {
		told = append(told, s.Step)
	}
	before := true
	for _, s := range r.Steps {
		names = append(names, s.Step)
		switch {
		case s.Step == failed:
			if s.OK || s.Skipped || s.Finding == nil {
				t.Errorf("%s should have failed: %+v", s.Step, s)
			}
			before = false
		case before && (!s.OK || s.Skipped || s.Finding != nil):
			t.Errorf("%s should be ok: %+v", s.Step, s.Finding)
		case !before && (s.OK || !s.Skipped || s.Finding != nil || s.Duration != 0):
			t.Errorf("%s should be skipped: %+v", s.Step, s)
		}
	}
	if !slices.Equal(names, diagnosis.Steps()) || !slices.Equal(told, diagnosis.Steps()) {
		t.Errorf("steps %v, told %v", names, told)
	}
	if r.OK != (failed == "") || (r.Failed() == nil) != r.OK || r.Connection != "hr-prod" {
		t.Errorf("report of %q: ok %v, failed %+v", r.Connection, r.OK, r.Failed())
	}
}

func walk(t *testing.T, c *broker.Connection) (check.Report, []check.Step) {
	t.Helper()
	var observed []check.Step
	r, err := check.Walk(t.Context(), c, func(s check.Step) { observed = append(observed, s) })
	if err != nil {
		t.Fatal(err)
	}
	return r, observed
}

func TestHealthyConnection(t *testing.T) {
	b := build(t, setup{})
	r, observed := walk(t, b.conn)
	wantSteps(t, r, observed, "")
	for i, detail := range []string{"source", "issuer", "token_url", "ias_apis", "status", "readable"} {
		if _, ok := r.Steps[i].Detail[detail]; !ok {
			t.Errorf("%s tells no %s: %v", r.Steps[i].Step, detail, r.Steps[i].Detail)
		}
	}
	if got := r.Steps[5].Detail["readable"].([]string); !slices.Equal(got, []string{"PerPerson", "User"}) {
		t.Errorf("readable %v", got)
	}
	token, err := b.conn.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprintf("%+v", r); strings.Contains(text, token.AccessToken.Reveal()) || strings.Contains(text, ".eyJ") {
		t.Error("the report holds a token")
	}
}

// TestEachHopFails breaks one hop at a time, under both profiles of IAS, and presses the button often: the finding stays
// the same and the client ID is never locked.
func TestEachHopFails(t *testing.T) {
	rows := []struct {
		rule   string
		setup  setup
		step   diagnosis.Step
		codes  []diagnosis.Code // any of these
		logons int64            // failed logons at most
	}{
		{"source missing", setup{noAT1: true}, diagnosis.AcquireAT1, []diagnosis.Code{diagnosis.SourceMissing}, 0},
		{"key withdrawn", setup{faults: []string{sandbox.FaultWithdrawnKey}}, diagnosis.CheckTrust, []diagnosis.Code{diagnosis.TrustKeyUnknown}, 0},
		{"issuer down", setup{faults: []string{sandbox.FaultEntraDown}}, diagnosis.CheckTrust, []diagnosis.Code{diagnosis.TrustKeysUnreachable}, 0},
		{"subject differs at IAS", setup{faults: []string{sandbox.FaultWrongSubject}}, diagnosis.ExchangeAT2, []diagnosis.Code{diagnosis.IASAssertionRejected}, 3},
		{"audience differs at IAS", setup{faults: []string{sandbox.FaultWrongAudience}}, diagnosis.ExchangeAT2, []diagnosis.Code{diagnosis.IASAssertionRejected}, 3},
		{"IAS down", setup{faults: []string{sandbox.FaultIASDown}}, diagnosis.ExchangeAT2, []diagnosis.Code{diagnosis.IASUnavailable}, 0},
		{"IAS answers HTML", setup{faults: []string{sandbox.FaultIASHTML}}, diagnosis.ExchangeAT2, []diagnosis.Code{diagnosis.IASGarbled}, 0},
		{"IAS answer endless", setup{faults: []string{sandbox.FaultIASEndless}}, diagnosis.ExchangeAT2, []diagnosis.Code{diagnosis.IASGarbled}, 0},
		{"client locked", setup{faults: []string{sandbox.FaultLockedClient}}, diagnosis.ExchangeAT2, []diagnosis.Code{diagnosis.IASLocked, diagnosis.IASAssertionRejected}, 3},
		{"opaque AT2", setup{connect: opaque(t)}, diagnosis.CheckAT2, []diagnosis.Code{diagnosis.AT2Invalid}, 0},
		{"client not mapped", setup{faults: []string{sandbox.FaultUnmappedClient}}, diagnosis.CallOData, []diagnosis.Code{diagnosis.ApplicationMap}, 0},
		{"SuccessFactors down", setup{faults: []string{sandbox.FaultODataDown}}, diagnosis.CallOData, []diagnosis.Code{diagnosis.UpstreamUnavailable}, 0},
		{"AT2 refused", setup{faults: []string{sandbox.FaultTokenRefused}}, diagnosis.CallOData, []diagnosis.Code{diagnosis.TokenRefused}, 0},
		{"no permission", setup{faults: []string{sandbox.FaultNoPermission}}, diagnosis.CheckTechnicalUser, []diagnosis.Code{diagnosis.PermissionMissing}, 0},
	}
	for _, profile := range []string{"microsoft", "terse"} {
		for _, row := range rows {
			t.Run(profile+"/"+row.rule, func(t *testing.T) {
				t.Parallel()
				row.setup.profile = profile
				b := build(t, row.setup)
				for press := range 6 {
					r, observed := walk(t, b.conn)
					wantSteps(t, r, observed, row.step)
					failed := r.Failed()
					if failed == nil {
						t.Fatalf("press %d: nothing failed", press)
					}
					f := failed.Finding
					if !slices.Contains(row.codes, f.Code) {
						t.Errorf("press %d: %s, want %v", press, f.Code, row.codes)
					}
					if f.Owner == "" || f.Where == "" || len(f.Causes) == 0 || f.Expected == "" && f.Received == "" || f.Letter() == "" {
						t.Errorf("press %d: the finding does not say who fixes it, where, and what differs: %+v", press, f)
					}
					b.clock.advance(20 * time.Second)
				}
				stats := b.box.Stats().IAS
				if stats.FailedLogons > row.logons || stats.MaxFailedLogons > 3 && row.rule != "client locked" {
					t.Errorf("%d failed logons, %d in a row; want at most %d", stats.FailedLogons, stats.MaxFailedLogons, row.logons)
				}
			})
		}
	}
}

// opaque leads the exchange to a token endpoint that issues opaque tokens.
func opaque(t *testing.T) func(*broker.ConnectionConfig) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"access_token":"opaque","token_type":"Bearer","expires_in":3600}`)
	}))
	t.Cleanup(srv.Close)
	return func(c *broker.ConnectionConfig) { c.Application.TokenURL = srv.URL }
}

// TestOneExchangeAMinute: however often the button is pressed.
func TestOneExchangeAMinute(t *testing.T) {
	b := build(t, setup{})
	if _, err := b.conn.Token(t.Context()); err != nil {
		t.Fatal(err)
	}
	asked := func() int64 { return b.box.Stats().IAS.TokenRequests }
	start := asked()
	for minute := range int64(3) {
		for range 5 {
			if r, _ := walk(t, b.conn); !r.OK {
				t.Fatalf("%+v", r.Failed())
			}
		}
		if n := asked() - start; n != minute+1 {
			t.Errorf("minute %d: %d exchanges, want %d", minute, n, minute+1)
		}
		b.clock.advance(time.Minute + time.Second)
	}
}

// TestOneWalkAtATime: walks of one connection take turns, and who will not wait is told so.
func TestOneWalkAtATime(t *testing.T) {
	b := build(t, setup{})
	ctx, cancel := context.WithCancel(t.Context())
	var second error
	r, err := check.Walk(t.Context(), b.conn, func(s check.Step) {
		if s.Step == diagnosis.CheckTrust {
			cancel()
			_, second = check.Walk(ctx, b.conn, func(check.Step) { t.Error("a second walk takes steps within the first") })
		}
	})
	if err != nil || !r.OK {
		t.Errorf("%v %+v", err, r.Failed())
	}
	if !errors.Is(second, context.Canceled) {
		t.Errorf("the second walk: %v, want that of its context", second)
	}
	var running, most atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			_, err := check.Walk(t.Context(), b.conn, func(s check.Step) {
				switch s.Step {
				case diagnosis.AcquireAT1:
					if n := running.Add(1); n > most.Load() {
						most.Store(n)
					}
				case diagnosis.CheckTechnicalUser:
					running.Add(-1)
				}
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if most.Load() != 1 {
		t.Errorf("%d walks at a time", most.Load())
	}
}

// TestRepairShows: after the repair the next walk is well, as far as the guard lets it.
func TestRepairShows(t *testing.T) {
	b := build(t, setup{faults: []string{sandbox.FaultNoPermission}})
	r, observed := walk(t, b.conn)
	wantSteps(t, r, observed, diagnosis.CheckTechnicalUser)
	if err := b.box.SetFault(sandbox.FaultNoPermission, false); err != nil {
		t.Fatal(err)
	}
	r, observed = walk(t, b.conn)
	wantSteps(t, r, observed, "")
	if s := b.conn.Status(); s.State != broker.OK || s.Finding != nil {
		t.Errorf("status %+v", s)
	}
}
