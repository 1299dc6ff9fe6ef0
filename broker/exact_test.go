package broker_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sfbroker/broker/caller"
)

// TestTargetsAreExactOrRefused is DESIGN section 6: what the policy saw is byte for byte what upstream gets, or the answer
// is an OData error. Each row says which of the two it must be.
func TestTargetsAreExactOrRefused(t *testing.T) {
	wire := newWire(t)
	h := build(t, setup{api: "http://" + wire.addr, allow: map[string][]string{"nightly": {"*"}}})
	h.warm("one")
	long := "/odata/v2/User?$filter=userId%20in%20'" + strings.Repeat("12345678,", 910) + "'"
	rows := []struct {
		target string
		status int // of a refusal, 0: must be sent
	}{
		{"/odata/v2/User", 0},
		{"/odata/v2/User?", 0},
		{"/odata/v2/User?$filter=lastName%20eq%20'x;y'&$top=1", 0},
		{"/odata/v2/User?$filter=lastName%20eq%20'x%3By'", 0},
		{"/odata/v2/User?$filter=lastName%20eq%20'50%'", 0},
		{"/odata/v2/User?$filter=lastName%20eq%20'50%25'", 0},
		{"/odata/v2/User?$filter=lastName+eq+'a%2Bb'", 0},
		{"/odata/v2/User?$filter=lastName+eq+'a+b'", 0},
		{"/odata/v2/User?$filter=lastName%20eq%20'|[]{}^`<>\"'", 0},
		{"/odata/v2/User?$filter=lastName%20eq%20'a%26b'&$top=1", 0},
		{"/odata/v2/User?$filter=lastName%20eq%20'O''Neil'", 0},
		{"/odata/v2/User?$filter=lastName%20eq%20'M%C3%BCller'", 0},
		{"/odata/v2/User?$filter=lastName%20eq%20'a?b'", 0},
		{"/odata/v2/User?%24top=1", 0},
		{"/odata/v2/User?$top=1&$select=userId,lastName", 0},
		{"/odata/v2/User('a%20b')", 0},
		{"/odata/v2/User(userId='a',x='b')", 0},
		{long, 0},
		{"/odata/v2/User?$filter=a%20eq%201;$top=1", 400},
		{"/odata/v2/User;a=b?$top=1", 400},
		{"/odata/v2/User?$top=1&$top=2", 400},
		{"/odata/v2/User?$top=%31&%24top=2", 400},
		{"/odata/v2/User%2F..%2FPerPerson", 400},
		{"/odata/v2/%2e%2e/User", 400},
		{"/odata/v2/./User", 400},
		{"/odata/v2//User", 400},
		{"/odata/v2/User%00", 400},
		{"/odata/v2/User%23", 400},
		{"/odata/v2/User?$filter=a%20eq%20%2527x%2527", 400},
		{"/odata/v2\\User", 400},
		{"/odata/v2/User#x", 400},
		{"/odata/v2/User?$top=1#x", 400},
		{"/odata/v2/User?$filter=lastName%20eq%20'#'", 400},
		{"/odata/v2/User?$filter=lastName%20eq%20'\xc3\xbc'", 0},
		{"/odata/v2/User?$filter=lastName%20eq%20'\xff'", 400},
		{"/odata/v2/Us\xc3\xa9r", 400},
		{"/odata/v2/User?$filter=lastName%20eq%20'%FF'", 400},
		{"/odata/v2/User?$filter=lastName%20eq%20'%0d%0aHost:%20evil'", 0},
		{"/odata/v4/User", 403},
		{"/rest/x", 403},
		{"/", 403},
		{"/odata/v2/User?" + strings.Repeat("$top=1", 8000), 414},
	}
	for _, row := range rows {
		answers, err := h.raw("GET "+row.target+" HTTP/1.1\r\nHost: "+strings.TrimPrefix(h.public, "http://")+"\r\nAuthorization: Bearer "+h.keys["nightly"]+"\r\n\r\n", 1)
		if err != nil {
			t.Errorf("%.120q: %v", row.target, err)
			continue
		}
		a, sent := answers[0], wire.take()
		switch {
		case row.status == 0 && (a.status != http.StatusOK || len(sent) != 1 || sent[0] != "GET "+row.target+" HTTP/1.1"):
			t.Errorf("%.120q: %d %s, sent %.120q; want it sent as it is", row.target, a.status, a.body, sent)
		case row.status != 0 && (a.status != row.status || len(sent) != 0 || !isODataError(a)):
			t.Errorf("%.120q: %d %.200s, sent %q; want an OData error with %d", row.target, a.status, a.body, sent, row.status)
		}
	}
}

func isODataError(a answered) bool {
	var body struct{ Error struct{ Code string } }
	return json.Unmarshal([]byte(a.body), &body) == nil && body.Error.Code != "" && body.Error.Code == a.header.Get("Sfbroker-Error-Code")
}

// wire is a server below net/http: it records request lines as they came over the wire.
type wire struct {
	addr  string
	mu    sync.Mutex
	lines []string
}

func newWire(t *testing.T) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{addr: l.Addr().String()}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { w.serve(c) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return w
}

func (w *wire) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(patience))
	in := textproto.NewReader(bufio.NewReaderSize(c, 64<<10))
	line, err := in.ReadLine()
	if err != nil {
		return
	}
	if _, err := in.ReadMIMEHeader(); err != nil {
		return
	}
	w.mu.Lock()
	w.lines = append(w.lines, line)
	w.mu.Unlock()
	_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
}

func (w *wire) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.lines
	w.lines = nil
	return out
}

// TestHeadersUpstream is the header table: whatever the caller sends, SuccessFactors sees one Authorization, ours, and only
// the headers that a caller may set.
func TestHeadersUpstream(t *testing.T) {
	h := build(t, setup{callers: []caller.Caller{{Name: "nightly", Connection: "one", Company: "ACMEone"}}})
	h.warm("one")
	const evil = "Bearer smuggled"
	rows := []struct {
		rule   string
		header http.Header
	}{
		{"nothing special", nil},
		{"X_Authorization", http.Header{"X_Authorization": {evil}, "X_authorization": {evil}}},
		{"Proxy-Authorization", http.Header{"Proxy-Authorization": {evil}}},
		{"forwarded identity", http.Header{"X-Forwarded-Authorization": {evil}, "X-Forwarded-User": {evil}, "X-Forwarded-For": {evil}, "X-Forwarded-Host": {evil}, "Forwarded": {evil}, "X-Original-Authorization": {evil}}},
		{"our own names", http.Header{"X-Broker-User": {evil}, "Sfbroker-Caller": {evil}, "Sfbroker-Request-Id": {evil}}},
		{"Connection: Authorization", http.Header{"Connection": {"Authorization"}}},
		{"Connection: authorization, X-Caller", http.Header{"Connection": {"authorization, X-Caller"}, "X-Caller": {evil}}},
		{"connection in two lines, the first empty", http.Header{"Connection": {"", "keep-alive, AUTHORIZATION"}}},
		{"Connection with blanks", http.Header{"Connection": {" \tAuthorization ,, X-Caller"}, "X-Caller": {evil}}},
		{"connection in lower case", http.Header{"connection": {"authorization"}}},
		{"Keep-Alive and TE", http.Header{"Keep-Alive": {evil}, "Te": {"trailers"}, "Trailer": {"X"}, "Proxy-Connection": {"keep-alive"}}},
		{"cookies", http.Header{"Cookie": {"JSESSIONID=stolen; BIGipServer=1"}, "Cookie2": {evil}}},
		{"encodings", http.Header{"Accept-Encoding": {"br, zstd"}, "Range": {"bytes=0-1"}, "If-Range": {evil}, "Expect": {""}}},
		{"names of their own", http.Header{"User-Agent": {evil}, "Referer": {evil}, "Via": {evil}, "X-Custom": {evil}, "Max-Forwards": {"1"}}},
	}
	allowed := []string{"Accept", "Accept-Encoding", "Authorization", "User-Agent"}
	for _, row := range rows {
		exchanges := len(h.ias.tokens())
		a := h.get("/odata/v2/User", row.header)
		if a.status != http.StatusOK {
			t.Errorf("%s: %d %s", row.rule, a.status, a.body)
			continue
		}
		got := h.sf.last(t)
		if v := got.header["Authorization"]; len(v) != 1 || v[0] != "Bearer "+h.ias.tokens()[exchanges-1] {
			t.Errorf("%s: upstream sees %d Authorization headers, or another than ours", row.rule, len(v))
		}
		for name, values := range got.header {
			if !slices.Contains(allowed, name) || slices.Contains(values, evil) {
				t.Errorf("%s: upstream sees %s: %q", row.rule, name, values)
			}
		}
		if want := h.sf.Listener.Addr().String(); got.host != want {
			t.Errorf("%s: Host %q, want %q", row.rule, got.host, want)
		}
	}
}

// TestHeadersThatPass is the allowed neighbour: what a job may say arrives, unless it calls it hop-by-hop itself.
func TestHeadersThatPass(t *testing.T) {
	h := build(t, setup{})
	pass := http.Header{
		"Accept": {"application/json;odata=verbose"}, "Accept-Language": {"de-DE"}, "Dataserviceversion": {"2.0"}, "Maxdataserviceversion": {"2.0"}, "Prefer": {"return=minimal"},
		"X-Csrf-Token": {"Fetch"}, "If-None-Match": {`"1"`}, "X-Sf-Correlation-Id": {"c-1"}, "Successfactors-Sourcetype": {"Application"},
	}
	h.get("/odata/v2/User", pass)
	got := h.sf.last(t).header
	for name, want := range pass {
		if !slices.Equal(got[name], want) {
			t.Errorf("%s = %q, want %q", name, got[name], want)
		}
	}
	dropped := pass.Clone()
	dropped["Connection"] = []string{"x-sf-correlation-id", "Prefer , close"}
	h.get("/odata/v2/User", dropped)
	got = h.sf.last(t).header
	if got.Get("X-Sf-Correlation-Id") != "" || got.Get("Prefer") != "" {
		t.Errorf("headers that Connection names went further than one hop: %q %q", got.Get("X-Sf-Correlation-Id"), got.Get("Prefer"))
	}
	if got.Get("Accept-Language") != "de-DE" {
		t.Error("a header that Connection does not name was dropped")
	}
	for _, accept := range []http.Header{{"Accept": nil}, {"Accept": {"*/*"}}} {
		h.get("/odata/v2/User", accept)
		if got := h.sf.last(t).header.Get("Accept"); got != "application/json" {
			t.Errorf("a caller with Accept %q gets Atom: %q was sent", accept["Accept"], got)
		}
	}
}

// TestHeadersDownstream: what SuccessFactors says to us stays with us.
func TestHeadersDownstream(t *testing.T) {
	h := build(t, setup{})
	stays := []string{"Set-Cookie", "Www-Authenticate", "Location", "Server", "X-Powered-By", "Authorization", "Connection", "Keep-Alive", "Proxy-Authenticate", "Content-Location", "Link", "Refresh", "Access-Control-Allow-Origin", "Strict-Transport-Security", "Alt-Svc", "Trailer", "Content-Encoding"}
	for _, status := range []int{200, 404, 500} {
		h.sf.answer(func(w http.ResponseWriter, r *http.Request) {
			for _, name := range stays {
				if name != "Connection" && name != "Trailer" && name != "Content-Encoding" {
					w.Header().Set(name, h.sf.URL+"/somewhere")
				}
			}
			w.Header().Set("Set-Cookie", "JSESSIONID=1")
			w.Header().Set("Etag", `"1"`)
			w.Header().Set("X-Sf-Correlation-Id", "c-1")
			w.Header().Set("Dataserviceversion", "2.0")
			reply(status, "application/json", `{"error":{"code":"x","message":{"value":"y"}}}`)(w, r)
		})
		a := h.get("/odata/v2/User", nil)
		for _, name := range stays {
			if v := a.header.Values(name); len(v) > 0 {
				t.Errorf("%d: the caller sees %s: %q", status, name, v)
			}
		}
		if a.status != status || a.header.Get("Etag") != `"1"` || a.header.Get("X-Sf-Correlation-Id") != "c-1" || a.header.Get("Dataserviceversion") != "2.0" {
			t.Errorf("%d: headers that belong to the answer are missing: %d %v", status, a.status, a.header)
		}
	}
}
