package assembly_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"sfbroker/admin"
	"sfbroker/sandbox"
)

type probe struct {
	OK          bool
	Reason      string
	Connections map[string]string
}

// states are houses in each state that readiness tells apart.
func TestReadiness(t *testing.T) {
	const ok, broken, no = "ok", "broken: ias_locked", "untried"
	for _, row := range []struct {
		rule    string
		options []option
		tried   []string
		drain   bool
		target  string
		status  int
		reason  string
		states  map[string]string
	}{
		{"all tried and well", nil, []string{first, other}, false, "/readyz", 200, "", map[string]string{first: ok, other: ok}},
		{"one not tried yet is not ready", []option{untried(other)}, []string{first}, false, "/readyz", 503, "not every connection was tried yet", map[string]string{first: ok, other: no}},
		{"one not tried yet has not started", []option{untried(other)}, []string{first}, false, "/startupz", 503, "not every connection was tried yet", map[string]string{first: ok, other: no}},
		{"the untried one itself", []option{untried(other)}, []string{first}, false, "/readyz?connection=" + other, 503, "the connection cannot deliver", map[string]string{other: no}},
		{"its tried neighbour", []option{untried(other)}, []string{first}, false, "/readyz?connection=" + first, 200, "", map[string]string{first: ok}},
		{"one of two broken is ready", []option{faults(sandbox.FaultLockedClient)}, []string{first, other}, false, "/readyz", 200, "", map[string]string{first: broken, other: ok}},
		{"broken ones have started", []option{faults(sandbox.FaultLockedClient)}, []string{first, other}, false, "/startupz", 200, "", map[string]string{first: broken, other: ok}},
		{"the broken one itself", []option{faults(sandbox.FaultLockedClient)}, []string{first, other}, false, "/readyz?connection=" + first, 503, "the connection cannot deliver", map[string]string{first: broken}},
		{"its sound neighbour", []option{faults(sandbox.FaultLockedClient)}, []string{first, other}, false, "/readyz?connection=" + other, 200, "", map[string]string{other: ok}},
		{"the only one broken is not ready", []option{alone(), faults(sandbox.FaultLockedClient)}, []string{first}, false, "/readyz", 503, "no connection can deliver", map[string]string{first: broken}},
		{"draining is not ready", nil, []string{first, other}, true, "/readyz", 503, "draining", map[string]string{first: ok, other: ok}},
		{"draining, asked for one", nil, []string{first, other}, true, "/readyz?connection=" + first, 503, "draining", map[string]string{first: ok}},
	} {
		t.Run(row.rule, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, row.options...)
			h.tried(t, row.tried...)
			if row.drain {
				h.daemon.Broker().Drain()
			}
			w := h.ask(t, http.MethodGet, row.target, "")
			got := decode[probe](t, w)
			if w.Code != row.status || got.OK != (row.status == http.StatusOK) || got.Reason != row.reason || fmt.Sprint(got.Connections) != fmt.Sprint(row.states) {
				t.Errorf("%d %+v, want %d %q %v", w.Code, got, row.status, row.reason, row.states)
			}
			if live := h.ask(t, http.MethodGet, "/livez", ""); live.Code != http.StatusOK {
				t.Errorf("/livez: %d, although the process makes progress", live.Code)
			}
		})
	}
}

func TestReadinessOfAnUnknownConnection(t *testing.T) {
	h := newHouse(t, alone())
	if w := h.ask(t, http.MethodGet, "/readyz?connection=nobody", ""); w.Code != http.StatusNotFound || code(t, w) != "connection_unknown" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestReadinessFlipsBothWays: what breaks and what heals shows without a restart.
func TestReadinessFlipsBothWays(t *testing.T) {
	h := newHouse(t, alone())
	h.tried(t, first)
	for _, down := range []bool{false, true, false, true} {
		if err := h.sandbox.SetFault(sandbox.FaultODataDown, down); err != nil {
			t.Fatal(err)
		}
		report := decode[admin.Report](t, h.ask(t, http.MethodPost, "/v1/connections/"+first+"/test", ""))
		w := h.ask(t, http.MethodGet, "/readyz", "")
		if report.OK == down || (w.Code == http.StatusOK) == down {
			t.Errorf("SuccessFactors down %t: test %t, ready %d %s", down, report.OK, w.Code, w.Body)
		}
		status := decode[admin.Status](t, h.ask(t, http.MethodGet, "/v1/status", ""))
		c := status.Connections[0]
		if (c.State == "broken") != down || (c.Finding != nil) != down || (c.Since != nil) != down {
			t.Errorf("SuccessFactors down %t: status %+v", down, c)
		}
		if down && (c.Finding.Code != "successfactors_unavailable" || c.Finding.Owner == "" || c.Finding.Short == "") {
			t.Errorf("finding %+v", c.Finding)
		}
	}
}

func TestUnknownConnectionNamesTheKnown(t *testing.T) {
	h := newHouse(t)
	seen := 0
	for _, route := range admin.Routes() {
		if !strings.Contains(route.Pattern, "{name}") {
			continue
		}
		seen++
		method, target := split(t, route.Pattern)
		w := h.ask(t, method, strings.Replace(target, first, "hr-prdo", 1), bodyOf(target))
		if w.Code != http.StatusNotFound || code(t, w) != "connection_unknown" || !strings.Contains(w.Body.String(), first+", "+other) {
			t.Errorf("%s: %d %s", route.Pattern, w.Code, w.Body)
		}
	}
	if seen == 0 {
		t.Fatal("no route takes a name")
	}
	if got := h.audit.text(); strings.Contains(got, "hr-prdo") {
		t.Errorf("a name that is not ours is recorded: %s", got)
	}
}

// TestSettingsAndStatusHoldNoSecret: what an operator reads are names.
func TestSettingsAndStatusHoldNoSecret(t *testing.T) {
	h := newHouse(t)
	h.tried(t, first, other)
	raw := decode[struct {
		AccessToken string `json:"access_token"`
	}](t, h.ask(t, http.MethodPost, "/v1/connections/"+first+"/token", ""))
	if raw.AccessToken == "" {
		t.Fatal("no token was released")
	}
	all := h.audit.text()
	for _, target := range []string{"/v1/connections", "/v1/status", "/v1/connections/" + first + "/token", "/metrics", "/readyz", "/startupz"} {
		w := h.ask(t, http.MethodGet, target, "")
		if w.Code != http.StatusOK || w.Body.Len() == 0 {
			t.Errorf("GET %s: %d %s", target, w.Code, w.Body)
		}
		all += w.Body.String()
	}
	signature := raw.AccessToken[strings.LastIndex(raw.AccessToken, ".")+1:]
	for name, secret := range map[string]string{
		"AT2": raw.AccessToken, "the signature of AT2": signature, "the client secret": h.sandbox.Info.WorkloadClientSecret, "the admin token": h.token, "a caller's key": h.key,
	} {
		if strings.Contains(all, secret) {
			t.Errorf("%s stands in an answer or a record", name)
		}
	}
}

func TestTokenClaims(t *testing.T) {
	h := newHouse(t)
	h.tried(t, first)
	got := decode[admin.Claims](t, h.ask(t, http.MethodGet, "/v1/connections/"+first+"/token", ""))
	info := h.sandbox.Info
	for name, pair := range map[string][2]any{
		"iss of AT1": {got.AT1["iss"], info.Issuer}, "sub of AT1": {got.AT1["sub"], info.Subject},
		"azp of AT2": {got.AT2["azp"], info.IASClientID}, "iss of AT2": {got.AT2["iss"], info.IASURL},
		"ias_apis of AT2": {fmt.Sprint(got.AT2["ias_apis"]), "[sf_technical_access]"},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s is %v, want %v", name, pair[0], pair[1])
		}
	}
	if strings.Contains(h.audit.text(), "release_token") {
		t.Errorf("claims alone are recorded as a release: %s", h.audit.text())
	}
}

// TestReleaseIsRecorded: by whom, of what and which token; that it stands before the token leaves is shown by
// TestWithoutARecordNothingIsDone.
func TestReleaseIsRecorded(t *testing.T) {
	h := newHouse(t)
	h.tried(t, first)
	w := h.ask(t, http.MethodPost, "/v1/connections/"+first+"/token", "")
	released := decode[struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		ExpiresIn   int    `json:"expires_in"`
	}](t, w)
	if strings.Count(released.AccessToken, ".") != 2 || released.TokenType != "Bearer" || released.ExpiresIn < 1 || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("released type %q for %d s, Cache-Control %q", released.TokenType, released.ExpiresIn, w.Header().Get("Cache-Control"))
	}
	record := h.audit.text()
	for _, want := range []string{`"event":"release_token"`, `"decision":"allow"`, `"connection":"` + first + `"`, `"caller":"operator"`, "fingerprint "} {
		if !strings.Contains(record, want) {
			t.Errorf("the record lacks %s: %s", want, record)
		}
	}
}

// TestWithoutARecordNothingIsDone: an audit log that cannot be written stops what would have to be recorded.
func TestWithoutARecordNothingIsDone(t *testing.T) {
	h := newHouse(t, faults(sandbox.FaultLockedClient))
	h.tried(t, first, other)
	h.audit.fail(true)
	before := h.sandbox.Stats()
	for _, target := range []string{"/v1/connections/" + other + "/token", "/v1/connections/" + first + "/unlock", "/v1/connections/" + other + "/test"} {
		w := h.ask(t, http.MethodPost, target, bodyOf(target))
		if w.Code != http.StatusServiceUnavailable || code(t, w) != "audit_unavailable" || strings.Contains(w.Body.String(), ".eyJ") {
			t.Errorf("POST %s: %d %s", target, w.Code, w.Body)
		}
	}
	if c, _ := h.daemon.Broker().Connection(first); c.Lockout().FailedLogons != 1 {
		t.Errorf("failed logons are %d: the count was cleared without a record", c.Lockout().FailedLogons)
	}
	if after := h.sandbox.Stats(); after.Second.Requests != before.Second.Requests {
		t.Errorf("SuccessFactors was asked without a record")
	}
	h.audit.fail(false)
	if w := h.ask(t, http.MethodPost, "/v1/connections/"+other+"/token", ""); w.Code != http.StatusOK {
		t.Errorf("with a log again: %d %s", w.Code, w.Body)
	}
}

func TestReleaseWithoutAToken(t *testing.T) {
	h := newHouse(t, faults(sandbox.FaultLockedClient))
	h.tried(t, first, other)
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		w := h.ask(t, method, "/v1/connections/"+first+"/token", "")
		if w.Code != http.StatusServiceUnavailable || code(t, w) != "ias_locked" {
			t.Errorf("%s: %d %s", method, w.Code, w.Body)
		}
	}
	if got := h.audit.text(); strings.Contains(got, "release_token") {
		t.Errorf("a release that did not happen is recorded: %s", got)
	}
}

func TestUnlockNeedsAReason(t *testing.T) {
	h := newHouse(t, faults(sandbox.FaultLockedClient))
	h.tried(t, first, other)
	c, _ := h.daemon.Broker().Connection(first)
	target := "/v1/connections/" + first + "/unlock"
	for _, row := range []struct{ rule, body string }{
		{"no body", ""},
		{"no reason", `{}`},
		{"an empty reason", `{"reason":""}`},
		{"a blank reason", `{"reason":" \t "}`},
		{"a reason that is a book", `{"reason":"` + strings.Repeat("x", 501) + `"}`},
		{"an unknown field", `{"reason":"mended","force":true}`},
		{"no JSON", `mended`},
		{"a number", `{"reason":7}`},
	} {
		w := h.ask(t, http.MethodPost, target, row.body)
		if w.Code != http.StatusBadRequest || code(t, w) != "reason_missing" {
			t.Errorf("%s: %d %s", row.rule, w.Code, w.Body)
		}
	}
	if n := c.Lockout().FailedLogons; n != 1 || strings.Contains(h.audit.text(), `"event":"unlock"`) {
		t.Fatalf("failed logons %d, records %q: something was done without a reason", n, h.audit.text())
	}
	h.sandbox.UnlockClient(h.sandbox.Info.IASClientID)
	w := h.ask(t, http.MethodPost, target, `{"reason":"client unlocked in IAS, ticket 4711"}`)
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if got := decode[admin.Connection](t, w); got.Lockout.FailedLogons != 0 || got.Name != first {
		t.Errorf("answered %+v", got)
	}
	for _, want := range []string{`"event":"unlock"`, `"connection":"` + first + `"`, "ticket 4711"} {
		if !strings.Contains(h.audit.text(), want) {
			t.Errorf("the record lacks %s: %s", want, h.audit.text())
		}
	}
	until(t, "the connection delivers again", func() bool { return c.Status().CanDeliver() })
}

// TestProxyServesNoAdminRoute: on the jobs' listener these are addresses that nobody may read, for whoever asks.
func TestProxyServesNoAdminRoute(t *testing.T) {
	h := newHouse(t)
	h.tried(t, first, other)
	for _, route := range admin.Routes() {
		method, target := split(t, route.Pattern)
		for _, row := range []struct {
			rule, authorization string
			statuses            []int
		}{
			{"nobody", "", []int{401}},
			{"the admin token", "Bearer " + h.token, []int{401}},
			{"a caller's key", "Bearer " + h.key, []int{400, 403}},
		} {
			r := request(t, method, h.daemon.ProxyURL()+target, "")
			if row.authorization != "" {
				r.Header.Set("Authorization", row.authorization)
			}
			w := do(t, r)
			body := decode[struct {
				Error struct {
					Code    string
					Message struct{ Value string }
				}
			}](t, w)
			if !slices.Contains(row.statuses, w.Code) || body.Error.Code == "" || body.Error.Message.Value == "" ||
				body.Error.Code != w.Header().Get("Sfbroker-Error-Code") {
				t.Errorf("%s on the proxy, for %s: %d %s", route.Pattern, row.rule, w.Code, w.Body)
			}
		}
	}
}

func TestTestOfAConnectionIsRecorded(t *testing.T) {
	h := newHouse(t)
	h.tried(t, first)
	report := decode[admin.Report](t, h.ask(t, http.MethodPost, "/v1/connections/"+first+"/test", ""))
	if !report.OK || report.Connection != first || len(report.Steps) != 6 {
		t.Errorf("report %+v", report)
	}
	if got := h.audit.text(); strings.Count(got, `"event":"test_connection"`) != 1 || !strings.Contains(got, `"connection":"`+first+`"`) {
		t.Errorf("recorded: %s", got)
	}
}
