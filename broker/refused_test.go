package broker_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sfbroker/broker"
	"sfbroker/broker/caller"
	"sfbroker/broker/diagnosis"
)

// refusing answers requests that carry one of tokens with no, all others with a page.
func refusing(no http.HandlerFunc, tokens ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if slices.Contains(tokens, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")) {
			no(w, r)
			return
		}
		page(`{"d":{"results":[]}}`)(w, r)
	}
}

// TestRefusedTokenIsReplacedOnce holds SAP's table: what says "your token" and what says "your user" or "your permission".
func TestRefusedTokenIsReplacedOnce(t *testing.T) {
	rows := []struct {
		rule     string
		answer   http.HandlerFunc
		replaced bool
		status   int
		code     diagnosis.Code
	}{
		{"401 without a code", reply(401, "application/json", `{}`), true, 200, ""},
		{"401 with an empty body", reply(401, "text/plain", ""), true, 200, ""},
		{"401 with another code", refusal(401, "LGN0010"), true, 200, ""},
		{"403 LGN0006", refusal(403, "LGN0006"), true, 200, ""},
		{"403 LGN0007", refusal(403, "LGN0007"), true, 200, ""},
		{"403 LGN0022", refusal(403, "LGN0022"), true, 200, ""},
		{"403 LGN0022 in plain text", reply(403, "text/plain", "[LGN0022] Token rejected"), true, 200, ""},
		{"401 LGN0015, a bad user", refusal(401, "LGN0015"), false, 502, diagnosis.UserInvalid},
		{"403 LGN0015", refusal(403, "LGN0015"), false, 403, diagnosis.Forbidden},
		{"plain 403", reply(403, "application/json", `{"error":{"code":"COE_GENERAL_FORBIDDEN","message":{"value":"no"}}}`), false, 403, ""},
		{"404 that mentions LGN0022", refusal(404, "LGN0022"), false, 404, diagnosis.UpstreamError},
		{"500", reply(500, "application/json", `{}`), false, 500, diagnosis.UpstreamError},
	}
	for _, row := range rows {
		t.Run(row.rule, func(t *testing.T) {
			h := build(t, setup{})
			h.warm("one")
			first := h.ias.tokens()[0]
			h.sf.answer(refusing(row.answer, first))
			a := h.get("/odata/v2/User", nil)
			var data []seen
			for _, r := range h.sf.requests() {
				if r.target == "/odata/v2/User" {
					data = append(data, r)
				}
			}
			wantSent, wantExchanges := 1, 1
			if row.replaced {
				wantSent, wantExchanges = 2, 2
			}
			if a.status != row.status || len(data) != wantSent || h.ias.requests() != wantExchanges {
				t.Fatalf("%d, %d sent, %d exchanges; want %d, %d, %d", a.status, len(data), h.ias.requests(), row.status, wantSent, wantExchanges)
			}
			if row.code != "" && a.code() != row.code {
				t.Errorf("code %s, want %s", a.code(), row.code)
			}
			if a.header.Get("WWW-Authenticate") != "" {
				t.Error("the caller is challenged for a token that is not its own")
			}
			if row.replaced && data[1].header.Get("Authorization") != "Bearer "+h.ias.tokens()[1] {
				t.Error("the request was not sent again with the fresh token")
			}
		})
	}
}

// TestLastingRefusal: a fresh token is refused too. The job gets 503 and no further exchange is forced in the interval.
func TestLastingRefusal(t *testing.T) {
	var c clock
	h := build(t, setup{now: c.Now})
	conn := h.warm("one")
	h.sf.answer(refusal(403, "LGN0022"))
	first := h.get("/odata/v2/User", nil)
	wantError(t, "first", first, diagnosis.TokenRefused)
	if h.ias.requests() != 2 || len(h.sf.of("/odata/v2/User")) != 2 {
		t.Fatalf("%d exchanges and %d requests, want 2 and 2", h.ias.requests(), len(h.sf.of("/odata/v2/User")))
	}
	for range 20 {
		a := h.get("/odata/v2/User", nil)
		wantError(t, "in the interval", a, diagnosis.TokenRefused)
	}
	if h.ias.requests() != 2 || len(h.sf.of("/odata/v2/User")) != 2 {
		t.Errorf("within the interval: %d exchanges and %d requests, want 2 and 2", h.ias.requests(), len(h.sf.of("/odata/v2/User")))
	}
	if s := conn.Status(); s.State != broker.Broken || s.Finding.Code != diagnosis.TokenRefused || s.Callers != 1 {
		t.Errorf("status %+v", s)
	}
	h.sf.answer(nil)
	c.advance(5*time.Minute + time.Second)
	poll(t, "served again after the interval", func() bool { return h.get("/odata/v2/User", nil).status == http.StatusOK })
	if n := h.ias.requests(); n != 3 {
		t.Errorf("%d exchanges, want 3", n)
	}
	if s := conn.Status(); s.State != broker.OK || s.Finding != nil || s.Callers != 0 {
		t.Errorf("status after recovery %+v", s)
	}
}

// TestThousandRefusalsCostOneExchange lets a thousand requests meet the refusal of one AT2 at the same moment.
func TestThousandRefusalsCostOneExchange(t *testing.T) {
	const n = 1000
	h := build(t, setup{connect: func(c *broker.ConnectionConfig) { c.MaxInFlight = n }})
	h.warm("one")
	old := "Bearer " + h.ias.tokens()[0]
	var arrived atomic.Int64
	together := make(chan struct{})
	h.sf.answer(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/$metadata") && r.Header.Get("Authorization") == old {
			refusal(401, "LGN0022")(w, r) // the broker asks for itself, once
			return
		}
		if r.Header.Get("Authorization") != old {
			page(`{"d":{"results":[]}}`)(w, r)
			return
		}
		if arrived.Add(1) == n {
			close(together)
		}
		select {
		case <-together:
		case <-time.After(6 * patience):
		}
		refusal(401, "LGN0022")(w, r)
	})
	var wg sync.WaitGroup
	var served atomic.Int64
	for range n {
		wg.Go(func() {
			if a, err := h.send(h.request(http.MethodGet, "/odata/v2/User", nil)); err != nil || a.status != http.StatusOK {
				t.Errorf("%d %v", a.status, err)
				return
			}
			served.Add(1)
		})
	}
	wg.Wait()
	if served.Load() != n || h.ias.requests() != 2 || len(h.sf.of("/odata/v2/User")) != 2*n {
		t.Errorf("%d served, %d exchanges, %d requests; want %d, 2, %d", served.Load(), h.ias.requests(), len(h.sf.of("/odata/v2/User")), n, 2*n)
	}
}

// TestSnapshotPagesAreNeverAskedTwice: a second request for the first page of a snapshot blocks the user for 30 minutes, so
// even a connection that dies under the request is the job's to judge. net/http would send it again by itself.
func TestSnapshotPagesAreNeverAskedTwice(t *testing.T) {
	for target, twice := range map[string]bool{
		"/odata/v2/User?paging=snapshot&customPageSize=100":                                   false,
		"/odata/v2/User?paging=snapshot&customPageSize=100&$skiptoken=eyJzdGFydFJvdyI6MTAwfQ": false,
		"/odata/v2/User?customPageSize=100":                                                   true,
	} {
		h := build(t, setup{})
		h.warm("one")
		if a := h.get("/odata/v2/User?$top=1", nil); a.status != http.StatusOK { // leaves a connection to reuse
			t.Fatal(a.status)
		}
		var dropped atomic.Bool
		h.sf.answer(func(w http.ResponseWriter, r *http.Request) {
			if dropped.CompareAndSwap(false, true) {
				panic(http.ErrAbortHandler) // the connection closes without an answer
			}
			page(`{"d":{"results":[]}}`)(w, r)
		})
		h.sf.Config.ErrorLog = nil
		a := h.get(target, nil)
		sent := 0
		for _, r := range h.sf.requests() {
			if r.target == target {
				sent++
			}
		}
		if !twice {
			wantError(t, target, a, diagnosis.UpstreamUnavailable)
			if sent != 1 {
				t.Errorf("%s: sent %d times", target, sent)
			}
			continue
		}
		if a.status != http.StatusOK || sent != 2 {
			t.Errorf("%s: %d, sent %d times; a plain read is tried again", target, a.status, sent)
		}
	}
}

// TestSessionsAreNotShared: a login session is an identity. Each caller keeps its own, never sees it, and a refused token
// ends it.
func TestSessionsAreNotShared(t *testing.T) {
	h := build(t, setup{callers: []caller.Caller{{Name: "nightly", Connection: "one"}, {Name: "hourly", Connection: "one"}, {Name: "other", Connection: "two"}}, second: true})
	conn := h.warm("one")
	h.warm("two")
	var opened atomic.Int64
	login := func(w http.ResponseWriter, r *http.Request) {
		if c, err := r.Cookie("JSESSIONID"); err == nil {
			w.Header().Set("X-Sf-Session", c.Value) // tells the test which session served
		} else {
			id := fmt.Sprintf("s%d", opened.Add(1))
			w.Header().Set("X-Sf-Session", id)
			http.SetCookie(w, &http.Cookie{Name: "JSESSIONID", Value: id, HttpOnly: true, Secure: true})
			http.SetCookie(w, &http.Cookie{Name: "BIGipServerX", Value: "node1"})
		}
		page(`{"d":{"results":[]}}`)(w, r)
	}
	h.sf.answer(login)
	h.systems["two"].answer(login)
	session := func(name string) string {
		a := h.get("/odata/v2/User", h.as(name))
		if len(a.header["Set-Cookie"]) > 0 {
			t.Errorf("%s sees a cookie", name)
		}
		return a.header.Get("X-Sf-Session")
	}
	nightly, hourly, other := session("nightly"), session("hourly"), session("other")
	for range 3 {
		if session("nightly") != nightly || session("hourly") != hourly || session("other") != other {
			t.Error("a session was not kept")
		}
	}
	if nightly == hourly || nightly == other || hourly == other {
		t.Errorf("sessions are shared: %s %s %s", nightly, hourly, other)
	}
	if n := conn.Status().Sessions; n != 2 {
		t.Errorf("%d sessions on connection one, want 2", n)
	}
	h.sf.answer(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer "+h.ias.tokens()[0] || r.Header.Get("Authorization") == "Bearer "+h.ias.tokens()[1] {
			refusal(401, "LGN0022")(w, r)
			return
		}
		if _, err := r.Cookie("JSESSIONID"); err == nil && opened.Load() < 4 {
			t.Error("a session of the refused token serves on")
		}
		login(w, r)
	})
	if s := session("nightly"); s == nightly || s == hourly {
		t.Errorf("after the refusal the old session %s still serves", s)
	}
	if s := session("hourly"); s == hourly || s == nightly {
		t.Errorf("after the refusal the other caller's old session %s still serves", s)
	}
	if session("other") != other {
		t.Error("a refusal on one connection ended a session of another")
	}
}
