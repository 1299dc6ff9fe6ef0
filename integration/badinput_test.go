package integration_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sfbroker/sandbox"
)

// TestBadInputConfiguration: the daemon does not start, and says where the mistake is.
func TestBadInputConfiguration(t *testing.T) {
	t.Parallel()
	w := startSandbox(t, "--workers", "1")
	whole, err := os.ReadFile(w.config(sandbox.ConfigOptions{}, nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		rule string
		edit func(string) string
		want string
	}{
		{"a bracket that is not closed", func(s string) string { return strings.Replace(s, "version: 1", "version: [1", 1) }, `:\d+:\d+: `},
		{"a tab for indentation", func(s string) string { return strings.Replace(s, "  listen:", "\tlisten:", 1) }, `:\d+:\d+: `},
		{"a key given twice", func(s string) string { return s + "version: 1\n" }, `:\d+:\d+: `},
		{"an unknown key, with the nearest known one", func(s string) string { return strings.Replace(s, "connections:", "conections:", 1) }, `(?s):\d+:1: .*conections.*connections`},
		{"a caller without a connection", func(s string) string {
			return strings.Replace(s, `connection: "`+sandbox.FirstConnection, `connection: "no-such`, 1)
		}, `(?s):\d+:\d+: .*no-such`},
		{"nothing at all", func(string) string { return "" }, `error: `},
		{"what is no YAML", func(string) string { return "\x00\x01\x02" }, `:\d+:\d+: `},
	} {
		t.Run(row.rule, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "sfbroker.yaml")
			if err := os.WriteFile(file, []byte(row.edit(string(whole))), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, command := range []string{"serve", "config check"} {
				r := outcome(t, append(strings.Fields(command), "--config", file)...)
				if r.code != 2 || r.stdout != "" || !regexp.MustCompile(row.want).MatchString(r.stderr) || !strings.Contains(r.stderr, "error: ") || !strings.Contains(r.stderr, file) {
					t.Errorf("%s: exit code %d, %q\n%s", command, r.code, r.stdout, r.stderr)
				}
			}
		})
	}
	if r := outcome(t, "config", "check", "--config", w.config(sandbox.ConfigOptions{}, nil)); r.code != 0 {
		t.Errorf("the whole configuration: %+v", r)
	}
}

// TestBadInputFromPeersAtStart: a broker whose peers are out of order starts, says what is wrong, and recovers by itself.
func TestBadInputFromPeersAtStart(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ fault, code, origin string }{
		{sandbox.FaultEntraDown, "at1_source_unavailable", "source"},
		{sandbox.FaultIASDown, "ias_unavailable", "ias"},
		{sandbox.FaultIASHTML, "ias_garbled", "ias"},
		{sandbox.FaultIASEndless, "ias_garbled", "ias"},
		{sandbox.FaultODataDown, "successfactors_unavailable", "successfactors"},
	} {
		t.Run(row.fault, func(t *testing.T) {
			t.Parallel()
			w := startSandbox(t, "--workers", "20", "--break", row.fault)
			d := w.startBroker(w.config(sandbox.ConfigOptions{}, noLameDuck))
			poll(t, "the first try", func() error {
				if r := d.operate("GET", "/startupz"); r.status != http.StatusOK {
					return errNotYet
				}
				return nil
			})
			r, err := d.get("nightly", plainRead)
			if err != nil || r.status != http.StatusServiceUnavailable || r.header.Get("Sfbroker-Error-Code") != row.code || r.header.Get("Sfbroker-Error-Origin") != row.origin {
				t.Errorf("%d %v %v", r.status, r.header, err)
			}
			if _, err := r.odataError(); err != nil && row.origin != "successfactors" { // SuccessFactors' own error is passed on
				t.Error(err)
			}
			if r.header.Get("Retry-After") == "" && row.origin != "successfactors" {
				t.Error("no Retry-After")
			}
			// Until SuccessFactors was asked nothing speaks against it: readiness needs a token alone.
			if r := d.operate("GET", "/readyz"); row.origin != "successfactors" && (r.status != http.StatusServiceUnavailable || !bytes.Contains(r.body, []byte(row.code))) {
				t.Errorf("readyz: %d %s", r.status, r.body)
			}
			w.fault(row.fault, false)
			poll(t, "the broker to recover", func() error {
				r, err := d.get("nightly", plainRead)
				if err == nil && r.status != http.StatusOK {
					err = fmt.Errorf("%d %s", r.status, r.body)
				}
				return err
			})
			d.ready()
			if peak := peakMemory(t, d.process); peak > 128<<20 {
				t.Errorf("the broker took %d MiB", peak>>20)
			}
		})
	}
}

// direct asks SuccessFactors without the broker, byte for byte.
func direct(t *testing.T, d *daemon) func(target string) response {
	t.Helper()
	var released struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(d.operate("POST", "/v1/connections/"+sandbox.FirstConnection+"/token").body, &released); err != nil || released.AccessToken == "" {
		t.Fatalf("no AT2: %v", err)
	}
	return func(target string) response {
		t.Helper()
		c := dialWire(t, d.w.info.APIURL)
		c.send("GET " + target + " HTTP/1.1\r\nHost: " + strings.TrimPrefix(d.w.info.APIURL, "http://") + "\r\nAccept: application/json\r\nConnection: close\r\nAuthorization: Bearer " + released.AccessToken + "\r\n\r\n")
		r, err := c.receive()
		if err != nil {
			t.Fatalf("directly %s: %v", target, err)
		}
		return r
	}
}

// TestBadInputTargetsArriveOrAreRefused sends addresses that libraries quietly change. Each is answered as SuccessFactors answers
// exactly these bytes, or refused with an OData error; nothing third.
func TestBadInputTargetsArriveOrAreRefused(t *testing.T) {
	t.Parallel()
	w := startSandbox(t, "--workers", "40")
	d := w.startBroker(w.config(sandbox.ConfigOptions{}, noLameDuck)).ready()
	ask := direct(t, d)
	const filter = "/odata/v2/User?$format=json&$select=userId&$filter="
	const arrives, refused = "arrives", "refused"
	const all = 40
	long := strings.Repeat("'x;y|z%20',", 740)
	for _, row := range []struct {
		rule, target, want string
		people             int // of an answer with status 200
	}{
		{"the neighbour without anything special", filter + "username%20ne%20'xy'", arrives, all},
		{"; in a literal filters", filter + "username%20eq%20'x;y'", arrives, 0},
		{"; in a literal, negated", filter + "username%20ne%20'x;y'", arrives, all},
		{"; encoded in a literal", filter + "username%20eq%20'x%3By'", arrives, 0},
		{"; outside of a literal", filter + "username%20eq%20'x';y", refused, 0},
		{"; between options", "/odata/v2/User?$format=json;$top=1", refused, 0},
		{"& in a literal ends it", filter + "username%20eq%20'x&y'", refused, 0},
		{"& encoded in a literal", filter + "username%20eq%20'x%26y'", arrives, 0},
		{"% encoded in a literal", filter + "username%20eq%20'100%25'", arrives, 0},
		{"% with digits after it, encoded twice over", filter + "username%20eq%20'100%2527'", refused, 0},
		{"| in a literal", filter + "username%20ne%20'a|b'", arrives, all},
		{"[ and ] in a literal", filter + "username%20ne%20'a[b]'", arrives, all},
		{`" in a literal`, filter + `username%20ne%20'a"b'`, arrives, all},
		{"{, }, ^ and ` in a literal", filter + "username%20ne%20'{a}^`'", arrives, all},
		{`\ in a literal`, filter + `username%20ne%20'a\b'`, arrives, all},
		{"+ as a space", filter + "username+ne+'xy'", arrives, all},
		{"a doubled quote in a literal", filter + "username%20eq%20'O''Neil'", arrives, 0},
		{"UTF-8, raw", filter + "username%20ne%20'Žofie'", arrives, all},
		{"UTF-8, encoded", filter + "username%20ne%20'%C5%BDofie'", arrives, all},
		{"bytes that are no UTF-8", filter + "username%20ne%20'\xff\xfe'", refused, 0},
		{"// at the start", "//odata/v2/User?$format=json", refused, 0},
		{"// in the middle", "/odata/v2//User?$format=json", refused, 0},
		{"a host after //", "//evil.example/odata/v2/User?$format=json", refused, 0},
		{"a dot segment", "/odata/v2/../v2/User?$format=json", refused, 0},
		{"an encoded dot segment", "/odata/v2/%2e%2e/v2/User?$format=json", refused, 0},
		{"an encoded slash", "/odata/v2%2FUser?$format=json", refused, 0},
		{"an encoded slash in a key", "/odata/v2/User('a%2Fb')?$format=json", refused, 0},
		{"a backslash", `/odata/v2\User?$format=json`, refused, 0},
		{"a matrix parameter", "/odata/v2/User;x=1?$format=json", refused, 0},
		{"an option given twice", "/odata/v2/User?$format=json&$top=1&$top=2", refused, 0},
		{"an option given twice, once encoded", "/odata/v2/User?$format=json&$top=1&%24top=2", refused, 0},
		{"a fragment", "/odata/v2/User?$format=json#x", refused, 0},
		{"an absolute address of another host", "http://evil.example/odata/v2/User?$format=json", refused, 0},
		{"another scheme", "file:///odata/v2/User", refused, 0},
		{"outside of the service", "/odata/v3/User?$format=json", refused, 0},
		{"the service without its slash", "/odata/v2User", refused, 0},
		{"8 KB of address", filter + "username%20in%20" + long[:len(long)-1], arrives, 0},
		{"more than 16 KB of address", filter + "username%20in%20" + long + long + long[:len(long)-1], refused, 0},
	} {
		t.Run(row.rule, func(t *testing.T) {
			before := w.stats().SuccessFactors.Requests
			got := d.exactly("nightly", row.target)
			reached := w.stats().SuccessFactors.Requests - before
			if row.want == refused {
				code, err := got.odataError()
				if err != nil || got.status < 400 || got.status >= 500 || got.header.Get("Sfbroker-Error-Origin") != "caller" {
					t.Errorf("%d %q, origin %q: %v", got.status, code, got.header.Get("Sfbroker-Error-Origin"), err)
				}
				if reached != 0 {
					t.Errorf("%d requests reached SuccessFactors", reached)
				}
				return
			}
			want := ask(row.target)
			expected := turn(want.body, w.info.APIURL, d.proxy, func([]byte) {})
			if got.status != want.status || !bytes.Equal(got.body, expected) || reached != 1 {
				t.Errorf("answered %d, directly %d, %d requests: %s", got.status, want.status, reached, difference(got.body, expected))
			}
			if n := bytes.Count(got.body, []byte(`"SFOData.User"`)); got.status == http.StatusOK && n != row.people {
				t.Errorf("%d people, want %d", n, row.people)
			}
			if got.status != http.StatusOK {
				t.Errorf("SuccessFactors refuses the row itself: %d %.300s", got.status, got.body)
			}
		})
	}
	d.mustGet("nightly", plainRead)
}

// TestBadInputSmuggling puts a second request where only one peer would see it. What SuccessFactors never sees is EmpJob.
func TestBadInputSmuggling(t *testing.T) {
	t.Parallel()
	w := startSandbox(t, "--workers", "20")
	d := w.startBroker(w.config(sandbox.ConfigOptions{Allow: []string{"User", "EmpJob"}}, noLameDuck)).ready()
	hidden := d.request("nightly", "/odata/v2/EmpJob?$top=1&$format=json")
	next := d.request("nightly", plainRead)
	chunk := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(hidden), hidden)
	host := "Host: " + strings.TrimPrefix(d.proxy, "http://")
	withLength := fmt.Sprintf("Content-Length: %d", len(hidden))
	folded := strings.Replace(next, "Authorization: Bearer ", "Authorization: Bearer\r\n ", 1)
	for _, row := range []struct {
		rule, text string
		good       int // answers with data: of the request itself, and of the plain one that follows it
	}{
		{"a plain request", next, 2},
		{"a body by length", d.request("nightly", plainRead, withLength) + hidden, 0},
		{"a body in chunks", d.request("nightly", plainRead, "Transfer-Encoding: chunked") + chunk, 0},
		{"length and chunks: chunks end first", d.request("nightly", plainRead, withLength, "Transfer-Encoding: chunked") + "0\r\n\r\n" + strings.Replace(hidden, "nightly", "nobody", 1), 0},
		{"length 0 and chunks", d.request("nightly", plainRead, "Content-Length: 0", "Transfer-Encoding: chunked") + chunk, 0},
		{"chunks before length", d.request("nightly", plainRead, "Transfer-Encoding: chunked", withLength) + chunk, 0},
		{"two lengths that differ", d.request("nightly", plainRead, "Content-Length: 0", withLength) + hidden, 0},
		{"the same length twice", d.request("nightly", plainRead, withLength, withLength) + hidden, 0},
		{"a length list", d.request("nightly", plainRead, "Content-Length: 0, "+withLength[16:]) + hidden, 0},
		{"a length with a sign", d.request("nightly", plainRead, "Content-Length: +"+withLength[16:]) + hidden, 0},
		{"a negative length", d.request("nightly", plainRead, "Content-Length: -1") + hidden, 0},
		{"another transfer coding", d.request("nightly", plainRead, "Transfer-Encoding: xchunked") + chunk, 0},
		{"a transfer coding list", d.request("nightly", plainRead, "Transfer-Encoding: identity, chunked") + chunk, 0},
		{"a space before the colon", d.request("nightly", plainRead, "Transfer-Encoding : chunked") + chunk, 0},
		{"a transfer coding behind a fold", d.request("nightly", plainRead, "X-A: b", " Transfer-Encoding: chunked") + chunk, 1},
		{"a folded header", folded, 2},
		{"a fold before the first header", strings.Replace(next, "Host:", " Host:", 1), 0},
		{"bare line feeds", strings.ReplaceAll(next, "\r\n", "\n"), 2},
		{"a bare carriage return in a value", d.request("nightly", plainRead, "X-A: b\rTransfer-Encoding: chunked") + chunk, 0},
		{"a NUL in a value", d.request("nightly", plainRead, "X-A: b\x00c"), 0},
		{"two Hosts", d.request("nightly", plainRead, host), 0},
		{"two Hosts that differ", d.request("nightly", plainRead, "Host: evil.example"), 0},
		{"no Host", strings.Replace(next, host+"\r\n", "", 1), 0},
		{"two request lines", "GET " + plainRead + " HTTP/1.1\r\n" + next, 0},
		{"a space in the target", d.request("nightly", plainRead+" x"), 0},
		{"HTTP/1.0", strings.Replace(next, "HTTP/1.1", "HTTP/1.0", 1), 0},
		{"HTTP/2's preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0},
		{"an upgrade to HTTP/2", d.request("nightly", plainRead, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"), 0},
		{"CONNECT", "CONNECT " + host[6:] + " HTTP/1.1\r\n" + host + "\r\n\r\n" + hidden, 0},
		{"a header line of 100 KB", d.request("nightly", plainRead, "X-A: "+strings.Repeat("a", 100<<10)), 0},
	} {
		t.Run(row.rule, func(t *testing.T) {
			c := d.wire()
			// The last request tells whether the connection is clean. A peer that has closed it refuses to take more.
			_, _ = io.WriteString(c.conn, row.text)
			_, _ = io.WriteString(c.conn, strings.Replace(next, "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1))
			var answers []response
			for {
				r, err := c.receive()
				if err != nil {
					break // closed, or reset since it was closed on what we still sent
				}
				answers = append(answers, r)
			}
			good := 0
			for i, r := range answers {
				switch {
				case r.status != http.StatusOK:
					if r.status < 400 || r.status >= 502 && r.status != 505 {
						t.Errorf("answer %d is %d %.300s", i, r.status, r.body)
					}
				case !json.Valid(r.body) || bytes.Count(r.body, []byte(`"SFOData.User"`)) != 1:
					t.Errorf("answer %d is not clean: %.300s", i, r.body)
				default:
					good++
				}
			}
			if good != row.good || len(answers) == 0 && row.good > 0 {
				t.Errorf("%d of %d answers have data, want %d", good, len(answers), row.good)
			}
			if n := w.stats().SuccessFactors.ByEntitySet["EmpJob"]; n != 0 {
				t.Errorf("SuccessFactors was asked for EmpJob %d times", n)
			}
		})
	}
	d.mustGet("nightly", plainRead)
	d.mustGet("nightly", "/odata/v2/EmpJob?$top=1&$format=json") // it could have been served
	if n := w.stats().SuccessFactors.ByEntitySet["EmpJob"]; n != 1 {
		t.Errorf("EmpJob was asked for %d times, so its absence above means nothing", n)
	}
}

// gauge reads one sample of the broker's metrics; a missing one is 0.
func (d *daemon) gauge(series string) string {
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(series) + ` (\S+)$`).FindSubmatch(d.operate("GET", "/metrics").body)
	if m == nil {
		return "0"
	}
	return string(m[1])
}

// TestBadInputMemoryStaysFlat streams 50 pages of the full query, with callers that leave in the middle of a page, and looks at the
// most memory that the broker ever had.
func TestBadInputMemoryStaysFlat(t *testing.T) {
	t.Parallel()
	w := startSandbox(t, "--workers", "6000")
	d := w.startBroker(w.config(sandbox.ConfigOptions{Allow: fullQueryGrants()}, noLameDuck)).ready()
	target := fullQuery()
	big := strings.Replace(target, "customPageSize=100", "customPageSize=1000", 1)
	d.mustGet("nightly", big) // buffers of the runtime, connections, the sandbox's own caches
	before := peakMemory(t, d.process)
	var bytesRead int64
	pages := 0
	for target != "" {
		if pages%10 == 0 {
			d.leaveMidPage(t, big)
		}
		r := d.mustGet("nightly", target)
		bytesRead += int64(len(r.body))
		pages++
		next, err := nextLink(r.body)
		if err != nil {
			t.Fatal(err)
		}
		target = strings.TrimPrefix(next, d.proxy)
	}
	after := peakMemory(t, d.process)
	t.Logf("%d pages, %d MiB; peak memory %d MiB, then %d MiB", pages, bytesRead>>20, before>>20, after>>20)
	if pages < 50 {
		t.Errorf("%d pages, want 50", pages)
	}
	if after-before > 64<<20 || bytesRead < 2*(64<<20)/10 {
		t.Errorf("peak memory grew by %d MiB over %d MiB of pages", (after-before)>>20, bytesRead>>20)
	}
	poll(t, "the requests of those who left to end", func() error {
		if n := d.gauge("sfbroker_requests_in_flight"); n != "0" {
			return fmt.Errorf("%s in flight", n)
		}
		return nil
	})
	if n := d.gauge(`sfbroker_aborted_responses_total{connection="` + sandbox.FirstConnection + `"}`); n == "0" {
		t.Error("nobody left in the middle of a page")
	}
	d.mustGet("nightly", fullQuery())
}

// leaveMidPage reads the beginning of a page and hangs up.
func (d *daemon) leaveMidPage(t *testing.T, target string) {
	t.Helper()
	c := d.wire()
	c.send(d.request("nightly", target))
	if _, err := c.in.Peek(2000); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	_ = c.conn.Close()
}
