package admin_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"sfbroker/admin"
	"sfbroker/audit"
)

// split makes a request line of a route's pattern.
func split(t *testing.T, pattern string) (method, target string) {
	t.Helper()
	method, target, ok := strings.Cut(pattern, " ")
	if !ok {
		t.Fatalf("route %q names no method", pattern)
	}
	return method, strings.ReplaceAll(target, "{name}", name)
}

// bodyOf is what a route needs to be sent.
func bodyOf(target string) string {
	if strings.HasSuffix(target, "/unlock") {
		return `{"reason":"rule mended"}`
	}
	return ""
}

// answered reports whether a request got past the guard: the broker of these tests has no connection, so that a route for
// one of them says just that.
func answered(t *testing.T, target string, w *httptest.ResponseRecorder) bool {
	if strings.Contains(target, "/"+name) {
		return w.Code == http.StatusNotFound && code(t, w) == "connection_unknown"
	}
	return w.Code == http.StatusOK
}

// TestOpenRoutes: what is open is listed here once more. Whoever opens a route has to say so in two places.
func TestOpenRoutes(t *testing.T) {
	var open []string
	for _, r := range admin.Routes() {
		switch r.Access {
		case admin.Open:
			open = append(open, r.Pattern)
		case admin.Operator:
		default:
			t.Errorf("%s has the access %q", r.Pattern, r.Access)
		}
		if r.Summary == "" {
			t.Errorf("%s has no summary", r.Pattern)
		}
	}
	slices.Sort(open)
	want := []string{"GET /livez", "GET /metrics", "GET /readyz", "GET /startupz"}
	if !slices.Equal(open, want) {
		t.Errorf("open routes are %q, want %q", open, want)
	}
}

// TestEveryRouteIsGuarded sends each operator route in each way that must not open it, beside the one way that does.
func TestEveryRouteIsGuarded(t *testing.T) {
	ways := []struct {
		rule   string
		change func(*http.Request)
		status int
		code   string
	}{
		{"no token", func(r *http.Request) { r.Header.Del("Authorization") }, 401, "token_missing"},
		{"a wrong token", func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+strings.Replace(token, "A", "B", 1)) }, 401, "token_wrong"},
		{"a token that is only begun", func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token[:20]) }, 401, "token_wrong"},
		{"an empty token", func(r *http.Request) { r.Header.Set("Authorization", "Bearer ") }, 401, "token_wrong"},
		{"the token as Basic", func(r *http.Request) { r.SetBasicAuth("operator", token) }, 401, "token_wrong"},
		{"a caller's key", func(r *http.Request) { r.Header.Set("Authorization", "Bearer sfb_nightly_"+strings.Repeat("a", 59)) }, 401, "token_wrong"},
		{"the token in the query", func(r *http.Request) {
			r.Header.Del("Authorization")
			r.URL.RawQuery = "access_token=" + token + "&token=" + token
		}, 401, "token_missing"},
		{"the token in a cookie", func(r *http.Request) {
			r.Header.Del("Authorization")
			r.AddCookie(&http.Cookie{Name: "token", Value: token})
		}, 401, "token_missing"},
		{"two Authorization headers", func(r *http.Request) { r.Header.Add("Authorization", "Bearer "+token) }, 401, "token_missing"},
		{"a foreign Origin", func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") }, 403, "origin_refused"},
		{"an Origin of null", func(r *http.Request) { r.Header.Set("Origin", "null") }, 403, "origin_refused"},
		{"another site's page", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, 403, "origin_refused"},
		{"the same site's other host", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") }, 403, "origin_refused"},
		{"a name rebound to our address", func(r *http.Request) { r.Host = "evil.example:8021" }, 421, "host_unknown"},
		{"our host with another port", func(r *http.Request) { r.Host = "127.0.0.1:9999" }, 421, "host_unknown"},
	}
	guarded := 0
	for _, route := range admin.Routes() {
		if route.Access != admin.Operator {
			continue
		}
		h := newHouse(t) // beyond a bound denials are counted, not written: each route has a peer's whole bound
		guarded++
		method, target := split(t, route.Pattern)
		for _, way := range ways {
			before := h.audit.String()
			r := asOperator(newRequest(t, method, target, bodyOf(target)))
			way.change(r)
			w := httptest.NewRecorder()
			h.api.Handler().ServeHTTP(w, r)
			if w.Code != way.status || code(t, w) != way.code {
				t.Errorf("%s with %s: %d %s, want %d %s", route.Pattern, way.rule, w.Code, w.Body, way.status, way.code)
			}
			if challenge := w.Header().Get("WWW-Authenticate"); (w.Code == 401) != strings.HasPrefix(challenge, "Bearer ") {
				t.Errorf("%s with %s: %d with the challenge %q", route.Pattern, way.rule, w.Code, challenge)
			}
			var denial audit.Record
			if err := json.Unmarshal([]byte(strings.TrimPrefix(h.audit.String(), before)), &denial); err != nil || denial.Decision != audit.Deny || denial.Code != way.code {
				t.Errorf("%s with %s: not exactly one denial on record: %q", route.Pattern, way.rule, strings.TrimPrefix(h.audit.String(), before))
			}
		}
		before := len(h.audit.String())
		if w := h.ask(t, method, target, bodyOf(target)); !answered(t, target, w) {
			t.Errorf("%s with the token: %d %s", route.Pattern, w.Code, w.Body)
		}
		got := h.audit.String()[before:]
		if !strings.Contains(got, `"decision":"allow"`) || !strings.Contains(got, `"shape":"`+route.Pattern+`"`) || !strings.Contains(got, `"caller":"operator"`) {
			t.Errorf("%s with the token: recorded %s", route.Pattern, got)
		}
		w := httptest.NewRecorder()
		r := asOperator(newRequest(t, method, target, bodyOf(target)))
		r.Header.Set("Sec-Fetch-Site", "none")
		if h.api.Handler().ServeHTTP(w, r); !answered(t, target, w) {
			t.Errorf("%s typed into an address bar, with the token: %d %s", route.Pattern, w.Code, w.Body)
		}
	}
	if guarded == 0 {
		t.Fatal("no route is guarded")
	}
}

// open reports whether an open route answered: without a connection the broker is not ready, and says so.
func open(target string, w *httptest.ResponseRecorder) bool {
	if target == "/readyz" {
		return w.Code == http.StatusServiceUnavailable && strings.Contains(w.Body.String(), "no active connection")
	}
	return w.Code == http.StatusOK
}

// TestOpenRoutesNeedNoToken: a scraper and a kubelet ask by whatever address they know. But nothing is for web pages, and on
// loopback, where a page may rebind its name to us, only our own names count.
func TestOpenRoutesNeedNoToken(t *testing.T) {
	h := newHouse(t)
	scraper := func(r *http.Request) { r.Host = "10.0.0.7:9000" }
	page := func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }
	for _, route := range admin.Routes() {
		if route.Access != admin.Open {
			continue
		}
		method, target := split(t, route.Pattern)
		for _, row := range []struct {
			rule     string
			loopback bool
			change   func(*http.Request)
			code     string
		}{
			{"by our own name", true, func(*http.Request) {}, ""},
			{"by another name, on loopback", true, scraper, "host_unknown"},
			{"by another name, on a network", false, scraper, ""},
			{"by another site's page, on loopback", true, page, "origin_refused"},
			{"by another site's page, on a network", false, page, "origin_refused"},
		} {
			cfg := h.config()
			cfg.Loopback = row.loopback
			r := newRequest(t, method, target, "")
			row.change(r)
			w := httptest.NewRecorder()
			admin.New(cfg).Handler().ServeHTTP(w, r)
			if row.code == "" && !open(target, w) || row.code != "" && code(t, w) != row.code {
				t.Errorf("%s %s: %d %s", route.Pattern, row.rule, w.Code, w.Body)
			}
		}
	}
	if got := h.audit.String(); got != "" {
		t.Errorf("open routes are recorded: %s", got)
	}
}

// sealed is an audit log that cannot be written.
type sealed struct{}

func (sealed) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// TestWithoutARecordNobodyIsLetIn: not even the one who may, and readiness says so.
func TestWithoutARecordNobodyIsLetIn(t *testing.T) {
	h := newHouse(t)
	cfg := h.config()
	cfg.Audit = audit.New(sealed{}, time.Now)
	api := admin.New(cfg)
	for _, route := range admin.Routes() {
		method, target := split(t, route.Pattern)
		w := httptest.NewRecorder()
		api.Handler().ServeHTTP(w, asOperator(newRequest(t, method, target, bodyOf(target))))
		if route.Access == admin.Operator && (w.Code != http.StatusServiceUnavailable || code(t, w) != "audit_unavailable") {
			t.Errorf("%s: %d %s", route.Pattern, w.Code, w.Body)
		}
	}
	w := httptest.NewRecorder()
	api.Handler().ServeHTTP(w, newRequest(t, http.MethodGet, "/readyz", ""))
	if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "audit records cannot be written") {
		t.Errorf("/readyz: %d %s", w.Code, w.Body)
	}
}

// TestProbeHandlerServesOnlyOpenRoutes: the listener that may stand open has nothing else, even for the right token.
func TestProbeHandlerServesOnlyOpenRoutes(t *testing.T) {
	h := newHouse(t)
	for _, route := range admin.Routes() {
		method, target := split(t, route.Pattern)
		w := httptest.NewRecorder()
		h.api.ProbeHandler().ServeHTTP(w, asOperator(newRequest(t, method, target, bodyOf(target))))
		served := open(target, w)
		if served != (route.Access == admin.Open) || !served && (w.Code != http.StatusNotFound || code(t, w) != "") {
			t.Errorf("%s: %d %s", route.Pattern, w.Code, w.Body)
		}
	}
}

func TestNothingElseIsServed(t *testing.T) {
	h := newHouse(t)
	for _, target := range []string{"/", "/v1", "/v1/", "/debug/pprof/", "/debug/vars", "/metrics/", "/v1/connections/", "/v1/status/x", "/odata/v2/PerPerson"} {
		if w := h.ask(t, http.MethodGet, target, ""); w.Code != http.StatusNotFound {
			t.Errorf("GET %s: %d", target, w.Code)
		}
	}
	for _, target := range []string{"/v1/status", "/metrics", "/readyz"} {
		if w := h.ask(t, http.MethodPost, target, ""); w.Code != http.StatusMethodNotAllowed {
			t.Errorf("POST %s: %d", target, w.Code)
		}
	}
}

// TestSocketAsksForThePeer: the socket needs no token, but the kernel's word on who is at the other end.
func TestSocketAsksForThePeer(t *testing.T) {
	h := newHouse(t)
	for _, route := range admin.Routes() {
		method, target := split(t, route.Pattern)
		for _, row := range []struct {
			rule   string
			own    bool
			change func(*http.Request)
			code   string
		}{
			{"the own user", true, func(*http.Request) {}, ""},
			{"another user", false, func(*http.Request) {}, "peer_refused"},
			{"another user with the token", false, func(r *http.Request) { asOperator(r) }, "peer_refused"},
			{"the own user's browser", true, func(r *http.Request) { r.Header.Set("Origin", "http://sfbroker") }, "origin_refused"},
		} {
			want := row.code
			if route.Access == admin.Open {
				want = ""
			}
			r := newRequest(t, method, target, bodyOf(target))
			r.Host = "sfbroker"
			row.change(r)
			w := httptest.NewRecorder()
			h.api.SocketHandler(func(*http.Request) bool { return row.own }).ServeHTTP(w, r)
			if want == "" && !open(target, w) && !answered(t, target, w) || want != "" && (w.Code != http.StatusForbidden || code(t, w) != want) {
				t.Errorf("%s for %s: %d %s, want code %q", route.Pattern, row.rule, w.Code, w.Body, want)
			}
		}
	}
}
