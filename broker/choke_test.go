package broker_test

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"sfbroker/audit"
	"sfbroker/broker/caller"
	"sfbroker/broker/diagnosis"
)

// TestNothingIsSentBeforeItIsRecorded is invariant 3: the record of an allowance is written before its request is sent.
func TestNothingIsSentBeforeItIsRecorded(t *testing.T) {
	h := build(t, setup{})
	h.warm("one")
	var mu sync.Mutex
	var order []string
	note := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, what)
	}
	h.audit.set(func(l *lines) { l.notify = func([]byte) { note("recorded") } })
	h.sf.onSeen = func() { note("sent") }
	for range 3 {
		if a := h.get("/odata/v2/User?$top=1", nil); a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	if want := []string{"recorded", "sent", "recorded", "sent", "recorded", "sent"}; !slices.Equal(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
}

func TestWhatCannotBeRecordedIsNotDone(t *testing.T) {
	h := build(t, setup{})
	h.warm("one")
	h.rawAudit = true
	h.audit.set(func(l *lines) { l.fail = errDiskFull })
	wantError(t, "allowed request", h.get("/odata/v2/User", nil), diagnosis.AuditUnavailable)
	wantError(t, "denied request", h.get("/odata/v2/PerNationalId", nil), diagnosis.AuditUnavailable)
	wantError(t, "unknown caller", h.get("/odata/v2/User", http.Header{"Authorization": nil}), diagnosis.AuditUnavailable)
	if n := len(h.sf.requests()); n != 0 {
		t.Errorf("%d requests were sent without a record", n)
	}
	h.audit.set(func(l *lines) { l.fail = nil })
	if a := h.get("/odata/v2/User", nil); a.status != http.StatusOK {
		t.Errorf("with a disk again: %d", a.status)
	}
}

// TestAllowanceHasADeniedNeighbour sends pairs that differ in one thing. A denial reaches nobody and costs no token.
func TestAllowanceHasADeniedNeighbour(t *testing.T) {
	h := build(t, setup{
		callers: []caller.Caller{{Name: "nightly", Connection: "one", Company: "ACMEone"}, {Name: "idle", Connection: "one"}},
		allow:   map[string][]string{"nightly": {"User", "PerPerson", "PerPerson/employmentNav"}, "idle": {}},
	})
	h.warm("one")
	exchanges := h.ias.requests()
	rows := []struct {
		rule, target string
		header       http.Header
		code         diagnosis.Code // empty: allowed
		reason       string
	}{
		{rule: "entity set listed", target: "/odata/v2/User"},
		{"entity set not listed", "/odata/v2/PerNationalId", nil, diagnosis.PolicyDenied, "not_granted"},
		{"entity set with a longer name", "/odata/v2/UserX", nil, diagnosis.PolicyDenied, "not_granted"},
		{"entity set in other letter case", "/odata/v2/user", nil, diagnosis.NotAnalysed, "function_import"},
		{rule: "expand listed", target: "/odata/v2/PerPerson?$expand=employmentNav"},
		{"expand not listed", "/odata/v2/PerPerson?$expand=employmentNav/jobInfoNav", nil, diagnosis.PolicyDenied, "not_granted"},
		{"navigation in the path not listed", "/odata/v2/PerPerson('1')/nationalIdNav", nil, diagnosis.PolicyDenied, "not_granted"},
		{"navigation in $filter not listed", "/odata/v2/User?$filter=manager/salary%20eq%201", nil, diagnosis.PolicyDenied, "not_granted"},
		{rule: "structure", target: "/odata/v2/User/$metadata", header: http.Header{"Accept": {"application/xml"}}},
		{"batch", "/odata/v2/$batch", nil, diagnosis.NotAnalysed, "batch_not_analysed"},
		{"function import", "/odata/v2/upsert", nil, diagnosis.NotAnalysed, "function_import"},
		{"option twice", "/odata/v2/User?$top=1&$top=2", nil, diagnosis.RequestMalformed, "query_option_duplicate"},
		{"encoded separator", "/odata/v2/User%2fPerPerson", nil, diagnosis.RequestMalformed, "path_escape"},
		{"dot segment", "/odata/v2/User/../PerPerson", nil, diagnosis.RequestMalformed, "path_dot_segment"},
		{"caller without a policy", "/odata/v2/User", h.as("idle"), diagnosis.PolicyDenied, "no_policy"},
	}
	h.sf.answer(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.RequestURI, "metadata") {
			reply(200, "application/xml", "<edmx/>")(w, r)
			return
		}
		page(`{"d":{"results":[]}}`)(w, r)
	})
	for _, row := range rows {
		before := len(h.sf.requests())
		a := h.get(row.target, row.header)
		sent := len(h.sf.requests()) - before
		last := h.records()[len(h.records())-1]
		if row.code == "" {
			if a.status != http.StatusOK || sent != 1 || last.Decision != audit.Allow || last.Subject != "sfapi.broker" {
				t.Errorf("%s: %d, %d sent, recorded %+v; want 200, 1 sent, allow", row.rule, a.status, sent, last)
			}
			continue
		}
		wantError(t, row.rule, a, row.code)
		if sent != 0 {
			t.Errorf("%s: a denied request was sent", row.rule)
		}
		if last.Decision != audit.Deny || last.Code != string(row.code) || last.Reason != row.reason || last.Subject != "" || last.RequestID != a.header.Get("Sfbroker-Request-Id") {
			t.Errorf("%s: recorded %+v, want deny %s %s", row.rule, last, row.code, row.reason)
		}
	}
	if n := h.ias.requests(); n != exchanges {
		t.Errorf("denials cost %d exchanges", n-exchanges)
	}
}

// TestDenialNeedsNoToken shows that a connection which cannot deliver still denies: what is not allowed is not even tried.
func TestDenialNeedsNoToken(t *testing.T) {
	h := build(t, setup{noAT1: true})
	wantError(t, "denied", h.get("/odata/v2/PerNationalId", nil), diagnosis.PolicyDenied)
	wantError(t, "allowed", h.get("/odata/v2/User", nil), diagnosis.SourceMissing)
	if n := h.ias.requests(); n != 0 {
		t.Errorf("IAS was asked %d times without an AT1", n)
	}
}

func TestMethodsThatWriteAreNotSent(t *testing.T) {
	h := build(t, setup{})
	h.warm("one")
	for _, method := range []string{"POST", "PUT", "PATCH", "MERGE", "DELETE", "OPTIONS", "TRACE", "get", "PROPFIND"} {
		a, err := h.send(h.request(method, "/odata/v2/User", nil))
		if err != nil {
			t.Errorf("%s: %v", method, err)
			continue
		}
		if a.status < 400 || a.status > 499 {
			t.Errorf("%s: %d", method, a.status)
		}
	}
	if n := len(h.sf.requests()); n != 0 {
		t.Errorf("%d were sent", n)
	}
	if a, err := h.send(h.request("HEAD", "/odata/v2/User", nil)); err != nil || a.status != 200 || a.body != "" {
		t.Errorf("HEAD: %v %v", a, err)
	}
}
