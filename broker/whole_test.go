package broker_test

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sfbroker/broker"
	"sfbroker/broker/diagnosis"
)

func zipped(t testing.TB, body string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := io.WriteString(z, body); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

const jsonHeader = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

func withLength(header, body string) string {
	return fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", header, len(body), body)
}

func inChunks(header, body string) string {
	var b strings.Builder
	b.WriteString(header + "Transfer-Encoding: chunked\r\n\r\n")
	for size := max(1, len(body)/3); len(body) > 0; {
		n := min(size, len(body))
		fmt.Fprintf(&b, "%x\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	return b.String() + "0\r\n\r\n"
}

// TestCutAnswersNeverEndWell is invariant 9 through the whole broker: an answer of SuccessFactors that is cut at any byte is
// an error or a broken transfer for the caller, in each framing; only the whole one is a well-formed 200.
func TestCutAnswersNeverEndWell(t *testing.T) {
	cert, pool := certificate(t)
	small := `{"d":{"results":[{"__metadata":{"uri":"https://127.0.0.1/x"}}]}}`
	large := `{"d":{"results":["` + strings.Repeat("0123456789abcdef", 12<<10) + `"]}}`
	const gz = jsonHeader + "Content-Encoding: gzip\r\n"
	rows := []struct {
		framing, body, answer string
		tls                   bool
		step                  int
	}{
		{"length", small, withLength(jsonHeader, small), false, 1},
		{"chunked", small, inChunks(jsonHeader, small), false, 1},
		{"gzip with length", small, withLength(gz, zipped(t, small)), false, 1},
		{"gzip in chunks", small, inChunks(gz, zipped(t, small)), false, 1},
		{"TLS without close_notify, length", small, withLength(jsonHeader, small), true, 3},
		{"TLS without close_notify, chunked", small, inChunks(jsonHeader, small), true, 3},
		{"large, length", large, withLength(jsonHeader, large), false, 9973},
		{"large, chunked", large, inChunks(jsonHeader, large), false, 9973},
		{"large, gzip in chunks", large, inChunks(gz, zipped(t, large)), false, 37},
	}
	for _, row := range rows {
		t.Run(row.framing, func(t *testing.T) {
			t.Parallel()
			var config *tls.Config
			scheme := "http://"
			if row.tls {
				config, scheme = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}, "https://"
			}
			sf := serveBytes(t, config)
			body := strings.ReplaceAll(row.body, "https://127.0.0.1/", scheme+sf.addr+"/")
			answer := strings.ReplaceAll(row.answer, "https://127.0.0.1/", "https://127.0.0.1/")
			if !strings.Contains(row.framing, "gzip") && len(row.body) < 1000 {
				answer = withLength(jsonHeader, body)
				if strings.Contains(row.framing, "chunked") {
					answer = inChunks(jsonHeader, body)
				}
			} else if len(row.body) < 1000 {
				answer = withLength(gz, zipped(t, body))
				if strings.Contains(row.framing, "chunks") {
					answer = inChunks(gz, zipped(t, body))
				}
			}
			h := build(t, setup{api: scheme + sf.addr, transport: func(tr *http.Transport) { tr.TLSClientConfig.RootCAs = pool }})
			h.warm("one")
			sf.set([]byte(answer))
			want := strings.ReplaceAll(body, scheme+sf.addr, h.public)
			if a := h.get("/odata/v2/User", nil); a.status != http.StatusOK || a.body != want {
				t.Fatalf("the whole answer: %d %.200s", a.status, a.body)
			}
			for cut := 0; cut < len(answer); cut += row.step {
				sf.set([]byte(answer[:cut]))
				wantErrorOrCut(t, h, fmt.Sprintf("cut at %d of %d", cut, len(answer)), diagnosis.UpstreamGarbled, diagnosis.UpstreamUnavailable)
			}
			sf.set([]byte(answer))
			if a := h.get("/odata/v2/User", nil); a.status != http.StatusOK || a.body != want {
				t.Errorf("after all that: %d %.200s", a.status, a.body)
			}
		})
	}
}

// TestAnswersThatAreNone: what is no OData answer, or cannot be shown to be whole, is an error of ours.
func TestAnswersThatAreNone(t *testing.T) {
	page := `{"d":{"results":[]}}`
	rows := []struct {
		rule, answer string
		code         diagnosis.Code // empty: 200
	}{
		{"JSON", withLength(jsonHeader, page), ""},
		{"HTML with 200", withLength("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n", "<html>maintenance</html>"), diagnosis.UpstreamGarbled},
		{"no Content-Type", withLength("HTTP/1.1 200 OK\r\n", page), diagnosis.UpstreamGarbled},
		{"two Content-Types", withLength("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Type: application/json\r\n", page), diagnosis.UpstreamGarbled},
		{"close-delimited", jsonHeader + "Connection: close\r\n\r\n" + page, diagnosis.UpstreamGarbled},
		{"close-delimited error", "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\n\r\n{}", diagnosis.UpstreamGarbled},
		{"HTTP/1.0 with length", strings.Replace(withLength(jsonHeader, page), "HTTP/1.1", "HTTP/1.0", 1), ""},
		{"HTTP/1.0 without length", strings.Replace(jsonHeader, "HTTP/1.1", "HTTP/1.0", 1) + "\r\n" + page, diagnosis.UpstreamGarbled},
		{"identity", withLength(jsonHeader+"Content-Encoding: identity\r\n", page), ""},
		{"unasked encoding", withLength(jsonHeader+"Content-Encoding: br\r\n", page), diagnosis.UpstreamGarbled},
		{"two encodings", withLength(jsonHeader+"Content-Encoding: gzip, gzip\r\n", page), diagnosis.UpstreamGarbled},
		{"gzip that is none", withLength(jsonHeader+"Content-Encoding: gzip\r\n", page), diagnosis.UpstreamGarbled},
		{"Atom", withLength("HTTP/1.1 200 OK\r\nContent-Type: application/atom+xml;charset=utf-8\r\n", "<feed/>"), diagnosis.FormatUnsupported},
		{"XML where no metadata was asked for", withLength("HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\n", "<x/>"), diagnosis.FormatUnsupported},
		{"multipart", withLength("HTTP/1.1 200 OK\r\nContent-Type: multipart/mixed; boundary=x\r\n", "--x--"), diagnosis.FormatUnsupported},
		{"no HTTP at all", "SSH-2.0-OpenSSH_9.9\r\n", diagnosis.UpstreamUnavailable},
		{"nothing", "", diagnosis.UpstreamUnavailable},
	}
	sf := serveBytes(t, nil)
	h := build(t, setup{api: "http://" + sf.addr})
	h.warm("one")
	for _, row := range rows {
		sf.set([]byte(row.answer))
		a := h.get("/odata/v2/User", nil)
		if row.code == "" {
			if a.status != http.StatusOK || a.body != page {
				t.Errorf("%s: %d %s", row.rule, a.status, a.body)
			}
			continue
		}
		wantError(t, row.rule, a, row.code)
	}
}

// TestRedirectIsNotFollowed: the token is bound to the API server; it goes nowhere else, whatever that server says.
func TestRedirectIsNotFollowed(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer elsewhere.Close()
	h := build(t, setup{})
	h.warm("one")
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, to := range []string{elsewhere.URL + "/odata/v2/User", h.sf.URL + "/odata/v2/PerPerson"} {
			before := len(h.sf.of("/odata/v2/User"))
			h.sf.answer(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, status) })
			a := h.get("/odata/v2/User", nil)
			wantError(t, fmt.Sprint(status), a, diagnosis.UpstreamGarbled)
			if a.header.Get("Location") != "" || len(h.sf.of("/odata/v2/User")) != before+1 {
				t.Errorf("%d: Location %q, %d requests", status, a.header.Get("Location"), len(h.sf.of("/odata/v2/User"))-before)
			}
		}
	}
}

// TestErrorOfOursSpeaksForItself: an answer that breaks off before its first byte leaves nothing of itself in ours.
func TestErrorOfOursSpeaksForItself(t *testing.T) {
	sf := serveBytes(t, nil)
	h := build(t, setup{api: "http://" + sf.addr})
	h.warm("one")
	sf.set([]byte(strings.TrimSuffix(withLength(jsonHeader+"Etag: \"1\"\r\nLast-Modified: Sat, 21 Nov 2026 00:00:00 GMT\r\nExpires: Tue, 24 Nov 2026 00:00:00 GMT\r\nCache-Control: max-age=86400\r\nX-Csrf-Token: t\r\nDataserviceversion: 2.0\r\n", "x"), "x")))
	a := h.get("/odata/v2/User", nil)
	wantError(t, "cut before the first byte", a, diagnosis.UpstreamGarbled)
	for _, name := range []string{"Etag", "Last-Modified", "Expires", "X-Csrf-Token"} {
		if v := a.header.Get(name); v != "" {
			t.Errorf("our error carries %s: %q of an answer that was never given", name, v)
		}
	}
	if got := a.header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control = %q", got)
	}
}

// TestGarbledAnswerIsNoProofOfHealth: a login page with 200 does not make a connection well.
func TestGarbledAnswerIsNoProofOfHealth(t *testing.T) {
	t.Parallel()
	h := build(t, setup{})
	c := h.warm("one")
	h.sf.answer(reply(200, "text/html", "<html>maintenance</html>"))
	wantError(t, "HTML", h.get("/odata/v2/User", nil), diagnosis.UpstreamGarbled)
	poll(t, "found broken by a look of its own", func() bool {
		s := c.Status()
		return s.State == broker.Broken && s.Finding.Code == diagnosis.UpstreamGarbled
	})
	if s := c.Status(); s.Callers != 1 {
		t.Errorf("%d callers hit, want 1", s.Callers)
	}
	h.sf.answer(reply(200, "application/atom+xml", "<feed/>"))
	wantError(t, "Atom", h.get("/odata/v2/User", nil), diagnosis.FormatUnsupported)
	if s := c.Status(); s.State != broker.OK {
		t.Errorf("after an answer in a format that the caller asked for: %+v", s)
	}
}
