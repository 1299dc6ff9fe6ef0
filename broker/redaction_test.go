package broker_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"sfbroker/broker/diagnosis"
)

// Every test of this package searches its log at debug level, its audit log, its metrics and its answers for AT1, AT2 and
// caller keys (see inspect and send). The tests here provoke what could put one there.

// TestPeersThatEcho: SuccessFactors, or what stands before it, repeats our token; IAS repeats our assertion.
func TestPeersThatEcho(t *testing.T) {
	h := build(t, setup{})
	conn := h.warm("one")
	for _, status := range []int{200, 400, 401, 403, 404, 500, 502, 503} {
		for _, form := range []string{`{"error":{"code":"x","message":{"value":"bad %s"}}}`, "<html>%s</html>", "[LGN0015] %s", "%s"} {
			h.sf.answer(func(w http.ResponseWriter, r *http.Request) {
				contentType := "application/json"
				if strings.HasPrefix(form, "<") || status == 200 {
					contentType = "text/html"
				}
				w.Header().Set("Www-Authenticate", r.Header.Get("Authorization"))
				w.Header().Set("X-Debug", r.Header.Get("Authorization"))
				reply(status, contentType, fmt.Sprintf(form, r.Header.Get("Authorization")))(w, r)
			})
			a := h.get("/odata/v2/User", nil) // send looks for the token in it
			if a.status == http.StatusOK {
				t.Errorf("%d %s: answered 200", status, form)
			}
		}
		_ = fmt.Sprintf("%+v", conn.Status())
	}
}

func TestIASThatEchoes(t *testing.T) {
	h := build(t, setup{ias: func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, http.StatusUnauthorized, map[string]string{"error": "invalid_client", "error_description": "not valid: " + r.PostFormValue("client_assertion")})
	}})
	wantError(t, "refused", h.get("/odata/v2/User", nil), diagnosis.IASAssertionRejected)
	conn, _ := h.broker.Connection("one")
	h.noSecret("status", fmt.Sprintf("%+v %+v", conn.Status(), *conn.Status().Finding))
}

// TestSourceThatHoldsSomethingElse: a file that is no JWT may hold any secret.
func TestSourceThatHoldsSomethingElse(t *testing.T) {
	h := build(t, setup{noAT1: true})
	h.at1Text.Store("hunter2.hunter3.hunter4")
	h.must(os.WriteFile(h.at1, []byte("hunter2.hunter3.hunter4"), 0o600))
	poll(t, "the file is read", func() bool { return h.get("/odata/v2/User", nil).code() == diagnosis.TrustMalformed })
	conn, _ := h.broker.Connection("one")
	h.noSecret("status", fmt.Sprintf("%+v %+v", conn.Status(), *conn.Status().Finding))
}

// TestKeysInWrongPlaces: a job that puts its key where it does not belong must not find it in our log.
func TestKeysInWrongPlaces(t *testing.T) {
	h := build(t, setup{failures: 1 << 30})
	h.warm("one")
	key := h.keys["nightly"]
	basic := func(s string) http.Header {
		return http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(s))}}
	}
	for rule, header := range map[string]http.Header{
		"as Basic user name":          basic(key + ":"),
		"as Basic user and password":  basic(key + ":" + key),
		"Basic without a colon":       basic(key),
		"without a scheme":            {"Authorization": {key}},
		"with another scheme":         {"Authorization": {"Token " + key}},
		"as scheme":                   {"Authorization": {key + " x"}},
		"twice":                       {"Authorization": {"Bearer " + key, "Bearer " + key}},
		"with the last sign cut":      {"Authorization": {"Bearer " + key[:len(key)-1]}},
		"in Host":                     {"Host": {key + ".example"}},
		"in Accept, allowed":          {"Accept": {key}},
		"in X-Http-Method":            {"X-Http-Method": {key}},
		"in Origin":                   {"Origin": {key}},
		"in X-Forwarded-For":          {"X-Forwarded-For": {key}},
		"in a cookie":                 {"Cookie": {"key=" + key}},
		"in Proxy-Authorization only": {"Authorization": nil, "Proxy-Authorization": {"Bearer " + key}},
	} {
		if a := h.get("/odata/v2/User", header); a.status == 0 {
			t.Error(rule)
		}
	}
	for _, target := range []string{
		"/odata/v2/User?$filter=lastName%20eq%20'" + key + "'", "/odata/v2/User('" + key + "')", "/odata/v2/User?access_token=" + key,
		"/odata/v2/User?$skiptoken=" + key, "/odata/v2/User?$format=" + key, "/odata/v2/User?$top=" + key,
	} {
		h.get(target, nil)
		h.get(target, http.Header{"Authorization": nil})
	}
}

// TestTransportErrorsHoldNoToken breaks the way to SuccessFactors in the middle of a request that carries one.
func TestTransportErrorsHoldNoToken(t *testing.T) {
	h := build(t, setup{})
	h.warm("one")
	h.sf.answer(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	wantError(t, "hung up", h.get("/odata/v2/User?$filter=lastName%20eq%20'"+h.keys["nightly"]+"'", nil), diagnosis.UpstreamUnavailable)
	h.sf.CloseClientConnections()
	_ = h.sf.Listener.Close()
	wantError(t, "refused", h.get("/odata/v2/User?$filter=lastName%20eq%20'"+h.keys["nightly"]+"'", nil), diagnosis.UpstreamUnavailable)
}
