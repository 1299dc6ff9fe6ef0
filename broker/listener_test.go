package broker_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sfbroker/broker/diagnosis"
)

func TestListenerRules(t *testing.T) {
	h := build(t, setup{public: []string{"http://proxy.example", "https://secure.example:8443"}})
	h.warm("one")
	own := strings.TrimPrefix(h.public, "http://")
	auth := "Authorization: Bearer " + h.keys["nightly"] + "\r\n"
	host := "Host: " + own + "\r\n"
	const target = "/odata/v2/User"
	rows := []struct {
		rule, text string
		code       diagnosis.Code // empty: 200
	}{
		{"origin-form", "GET " + target + " HTTP/1.1\r\n" + host + auth, ""},
		{"HTTP/1.0", "GET " + target + " HTTP/1.0\r\n" + host + auth, diagnosis.RequestMalformed},
		{"CONNECT", "CONNECT " + own + " HTTP/1.1\r\n" + host + auth, diagnosis.RequestMalformed},
		{"CONNECT to another host", "CONNECT evil.example:443 HTTP/1.1\r\n" + host + auth, diagnosis.RequestMalformed},
		{"Upgrade", "GET " + target + " HTTP/1.1\r\n" + host + auth + "Connection: Upgrade\r\nUpgrade: websocket\r\n", diagnosis.RequestMalformed},
		{"Upgrade to h2c", "GET " + target + " HTTP/1.1\r\n" + host + auth + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n", diagnosis.RequestMalformed},
		{"own absolute-form", "GET " + h.public + target + " HTTP/1.1\r\n" + host + auth, ""},
		{"own absolute-form without a path", "GET " + h.public + " HTTP/1.1\r\n" + host + auth, diagnosis.RequestMalformed},
		{"own absolute-form with user information", "GET http://u:p@" + own + target + " HTTP/1.1\r\n" + host + auth, diagnosis.RequestMalformed},
		{"own absolute-form with another scheme", "GET https://" + own + target + " HTTP/1.1\r\n" + host + auth, diagnosis.RequestMalformed},
		{"foreign absolute-form with our Host", "GET http://evil.example" + target + " HTTP/1.1\r\n" + host + auth, diagnosis.HostUnknown},
		{"absolute-form whose path begins with //", "GET " + h.public + "/" + target + " HTTP/1.1\r\n" + host + auth, diagnosis.RequestMalformed},
		{"asterisk-form", "OPTIONS * HTTP/1.1\r\n" + host + auth, diagnosis.RequestMalformed},
		{"// at the start", "GET /" + target + " HTTP/1.1\r\n" + host + auth, diagnosis.RequestMalformed},
		{"//host at the start", "GET //evil.example" + target + " HTTP/1.1\r\n" + host + auth, diagnosis.RequestMalformed},
		{"backslash at the start", "GET /\\evil.example" + target + " HTTP/1.1\r\n" + host + auth, diagnosis.RequestMalformed},
		{"Host of another public URL", "GET " + target + " HTTP/1.1\r\nHost: proxy.example\r\n" + auth, ""},
		{"Host in other letter case", "GET " + target + " HTTP/1.1\r\nHost: PROXY.Example\r\n" + auth, ""},
		{"Host with the default port", "GET " + target + " HTTP/1.1\r\nHost: proxy.example:80\r\n" + auth, ""},
		{"Host with the other scheme's port", "GET " + target + " HTTP/1.1\r\nHost: proxy.example:443\r\n" + auth, diagnosis.HostUnknown},
		{"Host with its own port", "GET " + target + " HTTP/1.1\r\nHost: secure.example:8443\r\n" + auth, ""},
		{"Host without its own port", "GET " + target + " HTTP/1.1\r\nHost: secure.example\r\n" + auth, diagnosis.HostUnknown},
		{"Host with a trailing dot", "GET " + target + " HTTP/1.1\r\nHost: proxy.example.\r\n" + auth, diagnosis.HostUnknown},
		{"Host that only begins like ours", "GET " + target + " HTTP/1.1\r\nHost: proxy.example.evil.example\r\n" + auth, diagnosis.HostUnknown},
		{"foreign Host", "GET " + target + " HTTP/1.1\r\nHost: evil.example\r\n" + auth, diagnosis.HostUnknown},
		{"foreign Host, ours in X-Forwarded-Host", "GET " + target + " HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: " + own + "\r\n" + auth, diagnosis.HostUnknown},
		{"our Host, another in X-Forwarded-Host", "GET " + target + " HTTP/1.1\r\n" + host + "X-Forwarded-Host: evil.example\r\nForwarded: host=evil.example\r\n" + auth, ""},
		{"Origin", "GET " + target + " HTTP/1.1\r\n" + host + "Origin: http://" + own + "\r\n" + auth, diagnosis.BrowserRefused},
		{"empty Origin", "GET " + target + " HTTP/1.1\r\n" + host + "Origin:\r\n" + auth, diagnosis.BrowserRefused},
		{"Sec-Fetch-Site", "GET " + target + " HTTP/1.1\r\n" + host + "Sec-Fetch-Site: none\r\n" + auth, diagnosis.BrowserRefused},
		{"request body", "GET " + target + " HTTP/1.1\r\n" + host + auth + "Content-Length: 2\r\n", diagnosis.NotAnalysed},
		{"empty request body", "GET " + target + " HTTP/1.1\r\n" + host + auth + "Content-Length: 0\r\n", ""},
		{"chunked request body", "GET " + target + " HTTP/1.1\r\n" + host + auth + "Transfer-Encoding: chunked\r\n", diagnosis.NotAnalysed},
		{"X-HTTP-Method", "GET " + target + " HTTP/1.1\r\n" + host + auth + "X-HTTP-Method: DELETE\r\n", diagnosis.NotAnalysed},
		{"x-http-method-override", "GET " + target + " HTTP/1.1\r\n" + host + auth + "x-http-method-override: MERGE\r\n", diagnosis.NotAnalysed},
		{"X-Method-Override", "GET " + target + " HTTP/1.1\r\n" + host + auth + "X-Method-Override: PUT\r\n", diagnosis.NotAnalysed},
		{"X-Method", "GET " + target + " HTTP/1.1\r\n" + host + auth + "X-Method: PUT\r\n", diagnosis.NotAnalysed},
		{"Authorization twice", "GET " + target + " HTTP/1.1\r\n" + host + auth + auth, diagnosis.RequestMalformed},
		{"Authorization twice in two spellings", "GET " + target + " HTTP/1.1\r\n" + host + auth + "authorization: Bearer x\r\n", diagnosis.RequestMalformed},
	}
	for _, row := range rows {
		before := len(h.sf.requests())
		answers, err := h.raw(row.text+"\r\n", 1)
		if err != nil {
			t.Errorf("%s: %v", row.rule, err)
			continue
		}
		sent := len(h.sf.requests()) - before
		if row.code == "" {
			if answers[0].status != http.StatusOK || sent != 1 {
				t.Errorf("%s: %d %s, %d sent; want 200 and 1", row.rule, answers[0].status, answers[0].code(), sent)
			} else if got := h.sf.last(t).target; got != target {
				t.Errorf("%s: %q was sent", row.rule, got)
			}
			continue
		}
		wantError(t, row.rule, answers[0], row.code)
		if sent != 0 {
			t.Errorf("%s: a refused request was sent", row.rule)
		}
	}
}

// TestForwardedHeadersChangeNothing asks twice, with and without what a proxy in front might say; nobody is believed.
func TestForwardedHeadersChangeNothing(t *testing.T) {
	h := build(t, setup{terminated: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	plain := h.get("/odata/v2/User", nil)
	for name, value := range map[string]string{
		"X-Forwarded-For": "10.0.0.1", "X-Real-Ip": "10.0.0.1", "Forwarded": "for=10.0.0.1;proto=https", "X-Forwarded-Proto": "https",
		"X-Forwarded-Host": "proxy.example", "X-Forwarded-User": "nightly", "X-Original-Url": "/odata/v2/User", "X_Forwarded_For": "10.0.0.1",
	} {
		a := h.get("/odata/v2/User", http.Header{name: {value}})
		wantError(t, name, a, diagnosis.PeerNotAllowed)
		if a.status != plain.status {
			t.Errorf("%s changes the answer from %d to %d", name, plain.status, a.status)
		}
	}
	for _, r := range h.records() {
		if r.Remote != "127.0.0.1" {
			t.Errorf("recorded peer %q, want the one that connected", r.Remote)
		}
	}
}

func TestTerminatorsAreAccepted(t *testing.T) {
	h := build(t, setup{terminated: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8")}})
	if a := h.get("/odata/v2/User", nil); a.status != http.StatusOK {
		t.Errorf("a terminator gets %d %s", a.status, a.code())
	}
}

// TestSmugglingPoisonsNothing writes two requests in one piece, the second hidden in what could be the first one's body.
func TestSmugglingPoisonsNothing(t *testing.T) {
	h := build(t, setup{})
	h.warm("one")
	own := "Host: " + strings.TrimPrefix(h.public, "http://") + "\r\nAuthorization: Bearer " + h.keys["nightly"] + "\r\n"
	hidden := "GET /odata/v2/PerPerson?smuggled HTTP/1.1\r\n" + own + "\r\n"
	for name, text := range map[string]string{
		"CL and TE":          "GET /odata/v2/User HTTP/1.1\r\n" + own + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
		"TE and CL":          "GET /odata/v2/User HTTP/1.1\r\n" + own + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + hidden,
		"POST CL and TE":     "POST /odata/v2/User HTTP/1.1\r\n" + own + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
		"two CL":             "GET /odata/v2/User HTTP/1.1\r\n" + own + "Content-Length: 0\r\nContent-Length: 5\r\n\r\n" + hidden,
		"obfuscated TE":      "GET /odata/v2/User HTTP/1.1\r\n" + own + "Transfer-Encoding: xchunked\r\n\r\n" + hidden,
		"TE with a tab":      "GET /odata/v2/User HTTP/1.1\r\n" + own + "Transfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n" + hidden,
		"blank before colon": "GET /odata/v2/User HTTP/1.1\r\n" + own + "Content-Length : 5\r\n\r\n" + hidden,
		"body of a denial":   "GET /odata/v2/PerNationalId HTTP/1.1\r\n" + own + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(hidden)) + hidden,
	} {
		before := len(h.sf.requests())
		answers, err := h.raw(text, 2)
		for _, a := range answers {
			if a.status == http.StatusOK {
				t.Errorf("%s: an ambiguous request was answered with 200", name)
			}
		}
		if err == nil {
			t.Errorf("%s: the connection serves on: %d, %d", name, answers[0].status, answers[1].status)
		}
		for _, r := range h.sf.requests()[before:] {
			if strings.Contains(r.target, "smuggled") {
				t.Errorf("%s: the hidden request was sent", name)
			}
		}
		if a := h.get("/odata/v2/User?$top=7", nil); a.status != http.StatusOK || h.sf.last(t).target != "/odata/v2/User?$top=7" {
			t.Errorf("%s: the next request gets %d", name, a.status)
		}
	}
}

// TestPipelinedRequestsStayApart is the allowed neighbour of smuggling: two whole requests in one piece are two requests.
func TestPipelinedRequestsStayApart(t *testing.T) {
	h := build(t, setup{})
	own := " HTTP/1.1\r\nHost: " + strings.TrimPrefix(h.public, "http://") + "\r\nAuthorization: Bearer " + h.keys["nightly"] + "\r\n\r\n"
	answers, err := h.raw("GET /odata/v2/User?$top=1"+own+"GET /odata/v2/PerNationalId"+own+"GET /odata/v2/User?$top=3"+own, 3)
	if err != nil {
		t.Fatal(err)
	}
	if answers[0].status != 200 || answers[1].code() != diagnosis.PolicyDenied || answers[2].status != 200 {
		t.Errorf("%d, %d %s, %d", answers[0].status, answers[1].status, answers[1].code(), answers[2].status)
	}
}

func TestChallenge(t *testing.T) {
	h := build(t, setup{failures: 3})
	basic := func(user, password string) http.Header {
		return http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))}}
	}
	none := h.get("/odata/v2/User", http.Header{"Authorization": nil})
	wantError(t, "no credentials", none, diagnosis.CredentialsMissing)
	if got := none.header.Get("WWW-Authenticate"); !strings.HasPrefix(got, "Basic ") {
		t.Errorf("WWW-Authenticate = %q, want Basic", got)
	}
	if a := h.get("/odata/v2/User", basic("nightly@ACMEone", h.keys["nightly"])); a.status != http.StatusOK || a.header.Get("WWW-Authenticate") != "" {
		t.Errorf("after the challenge: %d", a.status)
	}
	// A caller that exists and one that does not get the same answer.
	known := h.get("/odata/v2/User", basic("nightly@ACMEone", "wrong"))
	unknown := h.get("/odata/v2/User", basic("nobody@ACMEone", "wrong"))
	wantError(t, "known caller", known, diagnosis.CredentialsWrong)
	wantError(t, "unknown caller", unknown, diagnosis.CredentialsWrong)
	id := func(a answered) string { return strings.ReplaceAll(a.body, a.header.Get("Sfbroker-Request-Id"), "") }
	if id(known) != id(unknown) || known.header.Get("WWW-Authenticate") != unknown.header.Get("WWW-Authenticate") {
		t.Errorf("the answers tell a known caller from an unknown one:\n%s\n%s", known.body, unknown.body)
	}
	wantError(t, "third failure", h.get("/odata/v2/User", basic("nightly@ACMEone", "wrong")), diagnosis.CredentialsWrong)
	throttled := h.get("/odata/v2/User", basic("nightly@ACMEone", "wrong"))
	wantError(t, "fourth failure", throttled, diagnosis.CallerThrottled)
	if throttled.header.Get("WWW-Authenticate") != "" {
		t.Error("429 challenges")
	}
	if a := h.get("/odata/v2/User", nil); a.status != http.StatusOK {
		t.Errorf("a right key from a throttled address gets %d", a.status)
	}
	if n := len(h.sf.requests()); n != 2 {
		t.Errorf("%d requests were sent, want the 2 that were recognised", n)
	}
}

func TestThrottlingEnds(t *testing.T) {
	var c clock
	h := build(t, setup{failures: 1, now: c.Now})
	wrong := http.Header{"Authorization": {"Bearer wrong"}}
	wantError(t, "first", h.get("/odata/v2/User", wrong), diagnosis.CredentialsWrong)
	wantError(t, "second", h.get("/odata/v2/User", wrong), diagnosis.CallerThrottled)
	c.advance(time.Minute)
	wantError(t, "a minute later", h.get("/odata/v2/User", wrong), diagnosis.CredentialsWrong)
}
