package broker_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"sfbroker/audit"
	"sfbroker/broker"
	"sfbroker/broker/caller"
	"sfbroker/broker/diagnosis"
)

// The rows of this file are one rule: what one caller meets with its own request is no reason to fail another's.

// twoCallers builds a house whose caller "payroll" must not notice what the first caller does.
func twoCallers(t *testing.T, c *clock) (*house, func() answered) {
	h := build(t, setup{
		now: c.Now, callers: []caller.Caller{{Name: "nightly", Connection: "one"}, {Name: "payroll", Connection: "one"}},
		allow: map[string][]string{"nightly": {"*"}, "payroll": {"PerPerson"}},
	})
	h.warm("one")
	return h, func() answered { return h.get("/odata/v2/PerPerson", h.as("payroll")) }
}

// TestEchoedLoginCodeDropsNothing: a refusal that quotes the request is not SuccessFactors' verdict on the token.
func TestEchoedLoginCodeDropsNothing(t *testing.T) {
	answers := map[string]http.HandlerFunc{
		"403 that quotes the literal":            reply(403, "application/json", `{"error":{"code":"COE_FILTER","message":{"value":"No permission for filter userId eq '[LGN0022]'"}}}`),
		"403 that begins with the code, for one": refusal(403, "LGN0022"),
		"401 for one request":                    reply(401, "application/json", `{}`),
		"403 in plain text that quotes the code": reply(403, "text/plain", "filter '[LGN0006]' is not allowed"),
		"403 whose code is far into the message": reply(403, "text/plain", strings.Repeat("x", 100)+"[LGN0007]"),
	}
	for rule, answer := range answers {
		t.Run(rule, func(t *testing.T) {
			var c clock
			h, payroll := twoCallers(t, &c)
			h.sf.answer(func(w http.ResponseWriter, r *http.Request) {
				if strings.Contains(r.URL.RawQuery, "LGN") {
					answer(w, r)
					return
				}
				page(`{"d":{"results":[]}}`)(w, r)
			})
			for range 5 {
				a := h.get("/odata/v2/User?$filter=userId%20eq%20'%5BLGN0022%5D'", h.as("nightly"))
				if a.status < 400 || a.status == 503 {
					t.Errorf("the caller itself got %d", a.status)
				}
				c.advance(time.Minute)
			}
			if a := payroll(); a.status != http.StatusOK {
				t.Errorf("another caller got %d %s", a.status, a.code())
			}
			if n := h.ias.requests(); n != 1 {
				t.Errorf("%d exchanges, want 1", n)
			}
		})
	}
}

// TestOneCallersFailureIsNoVerdict: the connection's state follows what the broker sees for itself.
func TestOneCallersFailureIsNoVerdict(t *testing.T) {
	rows := map[string]struct {
		answer http.HandlerFunc
		broken diagnosis.Code // once the broker meets the same
	}{
		"a 400 that quotes an address refusal": {reply(400, "application/json", `{"error":{"code":"X","message":{"value":"bad filter: unauthorized ip eq 1"}}}`), ""},
		"an address refusal":                   {reply(403, "application/json", `{"error":{"code":"FAILED_AUTHENTICATION","message":{"value":"Authentication failed. Attempted login from unauthorized ip: 192.0.2.1 (status code = 8)"}}}`), diagnosis.IPNotAllowed},
		"a 401 for the address":                {reply(401, "application/json", `{"error":{"code":"FAILED_AUTHENTICATION","message":{"value":"Authentication failed. Attempted login from unauthorized ip: 192.0.2.1 (status code = 8)"}}}`), diagnosis.IPNotAllowed},
		"a gateway timeout":                    {reply(504, "text/plain", "slow"), ""},
		"maintenance":                          {reply(503, "text/plain", "later"), diagnosis.UpstreamUnavailable},
		"a page of HTML":                       {reply(200, "text/html", "<html>"), diagnosis.UpstreamGarbled},
		"an answer that breaks off":            {broken, diagnosis.UpstreamGarbled},
		"a partial answer":                     {reply(206, "application/json", "{}"), diagnosis.UpstreamGarbled},
	}
	for rule, row := range rows {
		t.Run(rule, func(t *testing.T) {
			var c clock
			h, _ := twoCallers(t, &c)
			conn, _ := h.broker.Connection("one")
			h.sf.answer(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/odata/v2/FOCompany" {
					row.answer(w, r)
					return
				}
				page(`{"d":{"results":[]}}`)(w, r)
			})
			fails := func() { _, _ = h.send(h.request(http.MethodGet, "/odata/v2/FOCompany", h.as("nightly"))) } // or breaks off
			looks := func() int { return len(h.sf.of("/odata/v2/User?$top=1&$format=json")) }
			fails()
			if row.broken != "" {
				poll(t, "the broker to look for itself", func() bool { return looks() > 0 })
			}
			if s := conn.Status(); s.State != broker.OK {
				t.Errorf("one caller's failure made the connection %s: %+v", s.State, s.Finding)
			}
			h.sf.answer(row.answer)
			c.advance(10 * time.Second)
			fails()
			if row.broken == "" {
				if s := conn.Status(); s.State != broker.OK {
					t.Errorf("state %s: %+v", s.State, s.Finding)
				}
				return
			}
			poll(t, "the broker's own verdict", func() bool { s := conn.Status(); return s.Finding != nil && s.Finding.Code == row.broken })
			fails() // the first look's good result may have come after the caller's hit
			if s := conn.Status(); s.Callers != 1 {
				t.Errorf("%d callers hit, want 1", s.Callers)
			}
			h.sf.answer(nil)
			c.advance(31 * time.Second)
			poll(t, "recovery without any request", func() bool { return conn.Status().State == broker.OK })
		})
	}
}

// TestOnlyKnownHeadersPassUp: a header that SuccessFactors may obey and nobody here knows stays here.
func TestOnlyKnownHeadersPassUp(t *testing.T) {
	h := build(t, setup{})
	h.warm("one")
	h.get("/odata/v2/User", http.Header{"X-Sf-Correlation-Id": {"a"}, "X-Sf-Client-Tenant-Id": {"OTHER"}, "X-Sf-Anything": {"x"}, "Successfactors-Companyid": {"OTHER"}, "Successfactors-Sourcetype": {"Application"}})
	got := h.sf.last(t).header
	for name, want := range map[string]bool{"X-Sf-Correlation-Id": true, "Successfactors-Sourcetype": true, "X-Sf-Client-Tenant-Id": false, "X-Sf-Anything": false, "Successfactors-Companyid": false} {
		if (len(got[name]) > 0) != want {
			t.Errorf("%s passed: %v, want %v", name, !want, want)
		}
	}
}

// nobody is a set of callers without callers.
func nobody(t *testing.T) *caller.Set {
	t.Helper()
	set, err := caller.New(caller.Config{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// TestPublicURLsOfOneHost: by which of them a request came could not be told, and its links would lead to the wrong one.
func TestPublicURLsOfOneHost(t *testing.T) {
	for _, urls := range [][]string{{"https://sfb.example.com", "http://sfb.example.com:443"}, {"http://a.example:8443", "https://a.example:8443"}} {
		_, err := broker.New(broker.Config{PublicURLs: urls, Callers: nobody(t)})
		if err == nil || !strings.Contains(err.Error(), "share the host") {
			t.Errorf("%v: %v", urls, err)
		}
	}
	if _, err := broker.New(broker.Config{PublicURLs: []string{"https://a.example", "https://b.example", "https://a.example:443"}, Callers: nobody(t)}); err == nil {
		t.Error("one origin in two spellings: links to one of them would be turned to the other's spelling")
	}
	if _, err := broker.New(broker.Config{PublicURLs: []string{"https://a.example", "https://b.example"}, Callers: nobody(t)}); err != nil {
		t.Errorf("two hosts: %v", err)
	}
}

type panicking struct{}

func (panicking) Write([]byte) (int, error) { panic("personal data: Mueller") }

// TestPanicIsAnErrorLine: a defect is loud, is an answer, and its value stays out of the log.
func TestPanicIsAnErrorLine(t *testing.T) {
	logged := &lines{}
	registry := prometheus.NewRegistry()
	b, err := broker.New(broker.Config{
		PublicURLs: []string{"http://sfb.example"}, Callers: nobody(t), Audit: audit.New(panicking{}, time.Now), Now: time.Now,
		Metrics: broker.NewMetrics(registry), Logger: slog.New(slog.NewJSONHandler(logged, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	b.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://sfb.example/odata/v2/User", nil))
	if w.Code != http.StatusInternalServerError || w.Header().Get("Sfbroker-Error-Code") != string(diagnosis.Internal) {
		t.Errorf("answered %d %s", w.Code, w.Header().Get("Sfbroker-Error-Code"))
	}
	if text := logged.String(); !strings.Contains(text, `"level":"ERROR"`) || !strings.Contains(text, "isolation_test.go") || strings.Contains(text, "Mueller") {
		t.Errorf("logged %s", text)
	}
	if n, err := testutil.GatherAndCount(registry, "sfbroker_panics_total"); err != nil || n != 1 {
		t.Errorf("%d series of sfbroker_panics_total, %v", n, err)
	}
}

// TestInFlightIsBounded: one request more than there is room for is told to come back; the next after it is served.
func TestInFlightIsBounded(t *testing.T) {
	h := build(t, setup{inFlight: 2})
	h.warm("one")
	arrived, release := make(chan struct{}), make(chan struct{})
	h.sf.answer(func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-release
		page(`{"d":{"results":[]}}`)(w, r)
	})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			if a := h.get("/odata/v2/User", nil); a.status != http.StatusOK {
				t.Errorf("within the bound: %d", a.status)
			}
		})
		<-arrived
	}
	a := h.get("/odata/v2/User", nil)
	wantError(t, "beyond the bound", a, diagnosis.Overloaded)
	if a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	close(release)
	wg.Wait()
	h.sf.answer(nil)
	if a := h.get("/odata/v2/User", nil); a.status != http.StatusOK {
		t.Errorf("after it: %d", a.status)
	}
}

// TestAcceptOfLibrariesMeansJSON: what a library sends by itself asks for no format, and Atom would be refused.
func TestAcceptOfLibrariesMeansJSON(t *testing.T) {
	h := build(t, setup{})
	h.warm("one")
	for accept, want := range map[string]string{
		"":    "application/json",
		"*/*": "application/json",
		"text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2": "application/json", // Java
		"application/json;odata=verbose":                       "application/json;odata=verbose",
		"application/atom+xml":                                 "application/atom+xml",
	} {
		header := http.Header{}
		if accept != "" {
			header.Set("Accept", accept)
		}
		h.get("/odata/v2/User", header)
		if got := h.sf.last(t).header.Get("Accept"); got != want {
			t.Errorf("Accept %q was sent as %q, want %q", accept, got, want)
		}
	}
}

// broken announces more than it sends.
func broken(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", "1000")
	_, _ = w.Write([]byte(`{"d" : {"results" : [`))
	_ = http.NewResponseController(w).Flush() // the client sees it fail
	panic(http.ErrAbortHandler)
}

// TestCallerThatHangsUpDecidesNothing: the broker asks for its verdict on a refused token in its own time.
func TestCallerThatHangsUpDecidesNothing(t *testing.T) {
	var c clock
	h, payroll := twoCallers(t, &c)
	h.rawAudit = true // what was begun for a caller that is gone is on record, and not answered
	asked, answer := make(chan struct{}, 1), make(chan struct{})
	h.sf.answer(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/$metadata"):
			asked <- struct{}{}
			<-answer
			reply(200, "application/xml", "<edmx/>")(w, r)
		case r.URL.Path == "/odata/v2/FOCompany":
			reply(401, "application/json", "{}")(w, r)
		default:
			page(`{"d":{"results":[]}}`)(w, r)
		}
	})
	ctx, hangUp := context.WithCancel(t.Context())
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if _, err := h.send(h.request(http.MethodGet, "/odata/v2/FOCompany", h.as("nightly")).WithContext(ctx)); err == nil {
			t.Error("answered although it hung up")
		}
	}()
	select {
	case <-asked:
	case <-gone:
		t.Fatal("the broker did not ask for itself")
	}
	hangUp()
	<-gone
	answer <- struct{}{}
	if a := payroll(); a.status != http.StatusOK {
		t.Errorf("another caller got %d %s", a.status, a.code())
	}
	if n := h.ias.requests(); n != 1 {
		t.Errorf("%d exchanges, want 1", n)
	}
}

// TestVerdictIsAskedOnce: however many requests are refused at a time, and however the question ends.
func TestVerdictIsAskedOnce(t *testing.T) {
	for rule, metadata := range map[string]http.HandlerFunc{
		"a good answer": reply(200, "application/xml", "<edmx/>"),
		"no answer":     func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(rule, func(t *testing.T) {
			h := build(t, setup{})
			h.warm("one")
			h.sf.answer(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "/$metadata") {
					metadata(w, r)
					return
				}
				refusal(403, "LGN0022")(w, r)
			})
			var wg sync.WaitGroup
			for range 40 {
				wg.Go(func() {
					if a := h.get("/odata/v2/User", nil); a.status != http.StatusForbidden {
						t.Errorf("%d %s", a.status, a.code())
					}
				})
			}
			wg.Wait()
			// the explanation of a 403 may ask once more, and net/http repeats a question that met a dead connection
			if n := len(h.sf.of("/odata/v2/User/$metadata")); n < 1 || n > 4 {
				t.Errorf("asked %d times", n)
			}
			if n := h.ias.requests(); n != 1 {
				t.Errorf("%d exchanges, want 1", n)
			}
		})
	}
}

// TestWhatProvesNothingEndsNothing: a connection that is broken stays so until an answer needed it whole.
func TestWhatProvesNothingEndsNothing(t *testing.T) {
	var c clock
	h, _ := twoCallers(t, &c)
	conn, _ := h.broker.Connection("one")
	h.sf.answer(reply(503, "text/plain", "maintenance"))
	h.get("/odata/v2/User", h.as("nightly"))
	poll(t, "the broker's own verdict", func() bool { return conn.Status().State == broker.Broken })
	for _, status := range []int{429, 500, 504, 404} {
		h.sf.answer(reply(status, "application/json", `{"error":{"code":"X","message":{"value":"no"}}}`))
		h.get("/odata/v2/User", h.as("nightly"))
		if s := conn.Status(); s.State != broker.Broken {
			t.Errorf("a %d made it %s", status, s.State)
		}
	}
	h.sf.answer(nil)
	if a := h.get("/odata/v2/PerPerson", h.as("payroll")); a.status != http.StatusOK || conn.Status().State != broker.OK {
		t.Errorf("a whole answer: %d, %s", a.status, conn.Status().State)
	}
}

// TestDeadSessionIsLeft: a 401 for the session, not for the token, costs one more request and no exchange.
func TestDeadSessionIsLeft(t *testing.T) {
	h := build(t, setup{})
	h.warm("one")
	h.sf.answer(func(w http.ResponseWriter, r *http.Request) {
		if _, err := r.Cookie("JSESSIONID"); err == nil {
			reply(401, "text/html", "session expired")(w, r)
			return
		}
		http.SetCookie(w, &http.Cookie{Name: "JSESSIONID", Value: "new"})
		page(`{"d":{"results":[]}}`)(w, r)
	})
	for range 3 {
		if a := h.get("/odata/v2/User", nil); a.status != http.StatusOK {
			t.Errorf("%d %s", a.status, a.code())
		}
	}
	if n := h.ias.requests(); n != 1 {
		t.Errorf("%d exchanges, want 1", n)
	}
}

// TestSlowConnectionLeavesRoom: one connection's share of the slots is not another's.
func TestSlowConnectionLeavesRoom(t *testing.T) {
	h := build(t, setup{
		second: true, connect: func(c *broker.ConnectionConfig) { c.MaxInFlight = 1 },
		callers: []caller.Caller{{Name: "a", Connection: "one"}, {Name: "b", Connection: "two"}}, allow: map[string][]string{"a": {"*"}, "b": {"*"}},
	})
	h.warm("one")
	h.warm("two")
	arrived, release := make(chan struct{}), make(chan struct{})
	h.sf.answer(func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-release
		page(`{"d":{"results":[]}}`)(w, r)
	})
	var wg sync.WaitGroup
	wg.Go(func() { h.get("/odata/v2/User", h.as("a")) })
	<-arrived
	wantError(t, "the full connection", h.get("/odata/v2/User", h.as("a")), diagnosis.Overloaded)
	if a := h.get("/odata/v2/User", h.as("b")); a.status != http.StatusOK {
		t.Errorf("the other connection: %d %s", a.status, a.code())
	}
	close(release)
	wg.Wait()
}

// TestBrokerIsLetInByAnEntityNobodyHas: where the company lacks the entity set that the broker looks at, being told so is
// proof enough that the connection works.
func TestBrokerIsLetInByAnEntityNobodyHas(t *testing.T) {
	var c clock
	h, _ := twoCallers(t, &c)
	conn, _ := h.broker.Connection("one")
	h.sf.answer(reply(503, "text/plain", "maintenance"))
	h.get("/odata/v2/User", h.as("nightly"))
	poll(t, "the broker's own verdict", func() bool { return conn.Status().State == broker.Broken })
	h.sf.answer(reply(400, "application/json", `{"error":{"code":"COE_ENTITY_NOT_FOUND","message":{"value":"[COE0021]no such entity"}}}`))
	c.advance(31 * time.Second)
	poll(t, "recovery", func() bool { return conn.Status().State == broker.OK })
}

// TestNotModified: an answer without a body has no type to judge it by.
func TestNotModified(t *testing.T) {
	h := build(t, setup{})
	h.warm("one")
	h.sf.answer(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-None-Match") != `"1"` {
			t.Errorf("If-None-Match = %q", r.Header.Get("If-None-Match"))
		}
		w.WriteHeader(http.StatusNotModified)
	})
	if a := h.get("/odata/v2/User", http.Header{"If-None-Match": {`"1"`}}); a.status != http.StatusNotModified {
		t.Errorf("%d %s", a.status, a.code())
	}
}
