package broker_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"sfbroker/broker"
	"sfbroker/broker/caller"
	"sfbroker/broker/diagnosis"
	"sfbroker/workload"
)

// TestStarvedConnectionAnswers503 is invariant 8: without a token there is an error with Retry-After, never an empty 200.
func TestStarvedConnectionAnswers503(t *testing.T) {
	hangUp := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	rows := []struct {
		rule  string
		setup setup
		at1   func(jwt.MapClaims)
		code  diagnosis.Code
		asked int // at most so often was IAS asked
		mend  func(h *house)
	}{
		{rule: "source missing", setup: setup{noAT1: true}, code: diagnosis.SourceMissing, mend: func(h *house) { h.writeAT1(nil) }},
		{rule: "subject differs", at1: func(c jwt.MapClaims) { c["sub"] = "another" }, code: diagnosis.TrustSubject, mend: func(h *house) { h.writeAT1(nil) }},
		{rule: "audience differs", at1: func(c jwt.MapClaims) { c["aud"] = "another" }, code: diagnosis.TrustAudience, mend: func(h *house) { h.writeAT1(nil) }},
		{rule: "issuer unknown", at1: func(c jwt.MapClaims) { c["iss"] = at1Issuer + "/" }, code: diagnosis.TrustIssuer, mend: func(h *house) { h.writeAT1(nil) }},
		{rule: "AT1 expired", at1: func(c jwt.MapClaims) { c["iat"], c["exp"] = 1, 2 }, code: diagnosis.TrustExpired, mend: func(h *house) { h.writeAT1(nil) }},
		{rule: "IAS hangs up", setup: setup{ias: hangUp}, code: diagnosis.IASUnavailable, asked: 100, mend: func(h *house) { h.ias.answer(nil) }},
		{rule: "IAS out of order", setup: setup{ias: reply(503, "text/plain", "")}, code: diagnosis.IASUnavailable, asked: 100, mend: func(h *house) { h.ias.answer(nil) }},
		{rule: "IAS answers 200 with HTML", setup: setup{ias: reply(200, "text/html", "<html>login</html>")}, code: diagnosis.IASGarbled, asked: 100, mend: func(h *house) { h.ias.answer(nil) }},
		{rule: "IAS answers 200 with nothing", setup: setup{ias: reply(200, "application/json", "")}, code: diagnosis.IASGarbled, asked: 100, mend: func(h *house) { h.ias.answer(nil) }},
		{rule: "IAS gives an opaque token", setup: setup{ias: reply(200, "application/json", `{"access_token":"opaque","token_type":"Bearer","expires_in":3600}`)}, code: diagnosis.AT2Invalid, asked: 100, mend: func(h *house) { h.ias.answer(nil) }},
		{rule: "IAS refuses", setup: setup{ias: reply(401, "application/json", `{"error":"invalid_client"}`)}, code: diagnosis.IASAssertionRejected, asked: 3},
		{rule: "IAS does not know the dependency", setup: setup{ias: reply(400, "application/json", `{"error":"invalid_target"}`)}, code: diagnosis.IASResourceUnknown, asked: 100},
	}
	for _, row := range rows {
		t.Run(row.rule, func(t *testing.T) {
			t.Parallel()
			var c clock
			if row.at1 != nil {
				row.setup.noAT1 = true
			}
			row.setup.now = c.Now
			h := build(t, row.setup)
			if row.at1 != nil {
				h.writeAT1(row.at1)
				c.advance(time.Minute) // past the pause after the file that was missing
				poll(t, "AT1 is looked at", func() bool { return h.get("/odata/v2/User", nil).code() == row.code })
			}
			for range 25 {
				wantError(t, row.rule, h.get("/odata/v2/User", nil), row.code)
			}
			if n := len(h.sf.requests()); n != 0 {
				t.Errorf("%d requests were sent without a token", n)
			}
			if n := h.ias.requests(); n > row.asked {
				t.Errorf("IAS was asked %d times, want at most %d", n, row.asked)
			}
			conn, _ := h.broker.Connection("one")
			if s := conn.Status(); s.State != broker.Broken || s.CanDeliver() || s.Finding == nil || s.Finding.Code != row.code || s.Callers != 1 || s.Since.IsZero() {
				t.Errorf("status %+v", s)
			}
			if row.mend == nil {
				return
			}
			row.mend(h)
			c.advance(2 * time.Minute)
			poll(t, "status is well again without a request", func() bool { s := conn.Status(); return s.State == broker.OK && s.Finding == nil && s.Callers == 0 })
			if a := h.get("/odata/v2/User", nil); a.status != http.StatusOK {
				t.Errorf("after the repair: %d %s", a.status, a.code())
			}
		})
	}
}

// TestOneBrokenConnectionLeavesTheOtherServing is invariant 5.
func TestOneBrokenConnectionLeavesTheOtherServing(t *testing.T) {
	h := build(t, setup{
		second:  true,
		callers: []caller.Caller{{Name: "nightly", Connection: "one"}, {Name: "hourly", Connection: "one"}, {Name: "other", Connection: "two"}},
		connect: func(c *broker.ConnectionConfig) {
			if c.Name == "one" {
				c.Source = workload.NewFile("/nonexistent/at1.jwt")
			}
		},
	})
	h.warm("two")
	one, _ := h.broker.Connection("one")
	poll(t, "connection one is tried", func() bool { return one.Status().Tried() })
	since := one.Status().Since
	for range 5 {
		wantError(t, "broken", h.get("/odata/v2/User", nil), diagnosis.SourceMissing)
		if a := h.get("/odata/v2/User", h.as("other")); a.status != http.StatusOK {
			t.Errorf("the other connection: %d", a.status)
		}
	}
	if s := one.Status(); s.State != broker.Broken || s.Callers != 1 || !s.Since.Equal(since) || since.IsZero() {
		t.Errorf("one caller was hit: %+v", s)
	}
	h.get("/odata/v2/User", h.as("hourly"))
	if s := one.Status(); s.Callers != 2 || !s.Since.Equal(since) {
		t.Errorf("two callers were hit: %+v", s)
	}
	two, _ := h.broker.Connection("two")
	if s := two.Status(); s.State != broker.OK || s.Callers != 0 || s.Finding != nil || s.Exchanges != 1 {
		t.Errorf("the other connection's status: %+v", s)
	}
}

// TestForbiddenIsToldApart: SuccessFactors answers a client without a user and a user without a permission alike. The
// metadata tells them apart, asked at most once a minute.
func TestForbiddenIsToldApart(t *testing.T) {
	no := reply(403, "application/json", `{"error":{"code":"COE_GENERAL_FORBIDDEN","message":{"value":"no"}}}`)
	for _, row := range []struct {
		rule     string
		metadata http.HandlerFunc
		code     diagnosis.Code
		state    broker.State
	}{
		{"metadata forbidden too", no, diagnosis.ApplicationMap, broker.Broken},
		{"metadata readable", reply(200, "application/xml", "<edmx/>"), diagnosis.PermissionMissing, broker.OK},
		{"metadata out of order", reply(503, "text/plain", ""), diagnosis.Forbidden, broker.OK},
	} {
		t.Run(row.rule, func(t *testing.T) {
			var c clock
			h := build(t, setup{now: c.Now})
			conn := h.warm("one")
			h.sf.answer(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.RequestURI, "/$metadata") {
					row.metadata(w, r)
					return
				}
				no(w, r)
			})
			probes := func() (n int) {
				for _, r := range h.sf.requests() {
					if strings.HasSuffix(r.target, "/$metadata") {
						n++
					}
				}
				return n
			}
			a := h.get("/odata/v2/User", nil)
			if a.status != http.StatusForbidden || a.code() != row.code || a.header.Get("Sfbroker-Error-Origin") != "successfactors" || !strings.Contains(a.body, "COE_GENERAL_FORBIDDEN") {
				t.Errorf("%d %s %s, want SuccessFactors' own 403 marked %s", a.status, a.code(), a.body, row.code)
			}
			for range 10 {
				if a := h.get("/odata/v2/User", nil); a.status != http.StatusForbidden {
					t.Errorf("%d", a.status)
				}
			}
			if n := probes(); n != 1 {
				t.Errorf("%d probes in a minute, want 1", n)
			}
			if s := conn.Status(); s.State != row.state {
				t.Errorf("state %s, want %s", s.State, row.state)
			}
			if row.state == broker.Broken {
				return // the connection is looked after from time to time, too
			}
			c.advance(time.Minute)
			if a := h.get("/odata/v2/User", nil); a.code() != row.code {
				t.Errorf("a minute later: %s", a.code())
			}
			if n := probes(); n != 2 {
				t.Errorf("%d probes in two minutes, want 2", n)
			}
		})
	}
}

// TestBrokenConnectionIsLookedAfter: a broker that is out of a load balancer for its readiness gets no request that could
// prove it well, so it looks itself.
func TestBrokenConnectionIsLookedAfter(t *testing.T) {
	t.Parallel()
	var c clock
	h := build(t, setup{now: c.Now})
	conn := h.warm("one")
	h.sf.answer(reply(503, "text/html", "<html>maintenance</html>"))
	if a := h.get("/odata/v2/User", nil); a.status != http.StatusServiceUnavailable || a.code() != diagnosis.UpstreamUnavailable {
		t.Errorf("%d %s", a.status, a.code())
	}
	poll(t, "found broken by a look of its own", func() bool { return conn.Status().State == broker.Broken })
	sent := len(h.sf.requests())
	h.sf.answer(nil)
	c.advance(31 * time.Second)
	poll(t, "well again", func() bool { return conn.Status().State == broker.OK })
	if n := len(h.sf.requests()) - sent; n != 1 {
		t.Errorf("%d looks, want 1", n)
	}
}

// TestPatienceOfACaller: one that hangs up while a token is awaited neither breaks the connection nor waits.
func TestPatienceOfACaller(t *testing.T) {
	release := make(chan struct{})
	h := build(t, setup{ias: func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-time.After(patience):
		}
		reply(503, "text/plain", "")(w, r)
	}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := h.send(h.request(http.MethodGet, "/odata/v2/User", nil).WithContext(ctx))
		done <- err
	}()
	poll(t, "the request waits", func() bool { return h.served.Load() == 1 && h.ias.requests() == 1 })
	cancel()
	if err := <-done; err == nil {
		t.Error("an answer after the caller hung up")
	}
	close(release)
}
