package oauthclient_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"sfbroker/oauthclient"
)

func exchange(t *testing.T, answer reply) (oauthclient.Response, error) {
	t.Helper()
	s := newIAS(t, answer)
	c := client(t)
	c.CheckRedirect = nil // the package's own policy must hold with any client
	r, err := oauthclient.Exchange(t.Context(), c, application(s.tokenURL()), assertion(), newClock().Now)
	if n := s.asked.Load(); n != 1 {
		t.Errorf("IAS was asked %d times, want exactly 1", n)
	}
	return r, err
}

func TestExchangeSendsTheDocumentedForm(t *testing.T) {
	r, err := exchange(t, raw(200, "application/json;charset=UTF-8", `{"access_token":"a.b.c","token_type":"bearer","expires_in":3600}`))
	if err != nil {
		t.Fatal(err)
	}
	if r.AccessToken.Reveal() != "a.b.c" || r.TokenType != "bearer" || r.ExpiresIn != time.Hour || !r.ReceivedAt.Equal(start) {
		t.Errorf("response = %q %q %v %v", r.AccessToken.Reveal(), r.TokenType, r.ExpiresIn, r.ReceivedAt)
	}
}

func TestExpiresIn(t *testing.T) {
	for name, row := range map[string]struct {
		field string
		want  time.Duration
		kind  oauthclient.Kind
	}{
		"integer":            {field: `,"expires_in":3600`, want: time.Hour},
		"string":             {field: `,"expires_in":"3600"`, want: time.Hour},
		"float":              {field: `,"expires_in":1.5`, want: 1500 * time.Millisecond},
		"float in a string":  {field: `,"expires_in":"59.0"`, want: 59 * time.Second},
		"exponent":           {field: `,"expires_in":3.6e3`, want: time.Hour},
		"missing":            {},
		"null":               {field: `,"expires_in":null`},
		"zero":               {field: `,"expires_in":0`, kind: oauthclient.KindGarbled},
		"zero in a string":   {field: `,"expires_in":"0"`, kind: oauthclient.KindGarbled},
		"negative":           {field: `,"expires_in":-1`, kind: oauthclient.KindGarbled},
		"endless":            {field: `,"expires_in":1e300`, kind: oauthclient.KindGarbled},
		"not a number":       {field: `,"expires_in":"NaN"`, kind: oauthclient.KindGarbled},
		"hexadecimal":        {field: `,"expires_in":"0x10"`, kind: oauthclient.KindGarbled},
		"empty string":       {field: `,"expires_in":""`, kind: oauthclient.KindGarbled},
		"object":             {field: `,"expires_in":{}`, kind: oauthclient.KindGarbled},
		"other case of name": {field: `,"Expires_In":7`},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := exchange(t, raw(200, "application/json", `{"access_token":"a.b.c","token_type":"Bearer"`+row.field+`}`))
			if row.kind == "" {
				if err != nil || r.ExpiresIn != row.want {
					t.Errorf("= %v, %v, want %v", r.ExpiresIn, err, row.want)
				}
				return
			}
			wantKind(t, err, row.kind, false)
		})
	}
}

func wantKind(t *testing.T, err error, kind oauthclient.Kind, failedLogon bool) *oauthclient.Error {
	t.Helper()
	var e *oauthclient.Error
	if !errors.As(err, &e) {
		t.Fatalf("error is %T %v, want *Error", err, err)
	}
	if e.Kind != kind || e.FailedLogon != failedLogon {
		t.Errorf("kind %s, failed logon %v, want %s, %v (%v)", e.Kind, e.FailedLogon, kind, failedLogon, e)
	}
	return e
}

func TestWhatCountsAsAFailedLogon(t *testing.T) {
	const json = "application/json"
	for name, row := range map[string]struct {
		answer reply
		kind   oauthclient.Kind
		counts bool
	}{
		"401 invalid_client terse":               {refusal(401, "invalid_client", ""), oauthclient.KindClientRejected, true},
		"400 invalid_client terse":               {refusal(400, "invalid_client", ""), oauthclient.KindClientRejected, true},
		"401 client not found":                   {refusal(401, "invalid_client", "Client not found"), oauthclient.KindClientUnknown, true},
		"401 invalid_client about the assertion": {refusal(401, "invalid_client", "The client assertion is not valid"), oauthclient.KindAssertionRejected, true},
		"401 invalid_client_assertion":           {refusal(401, "invalid_client_assertion", "sub mismatch"), oauthclient.KindAssertionRejected, true},
		"400 invalid_client_assertion":           {refusal(400, "invalid_client_assertion", ""), oauthclient.KindAssertionRejected, true},
		"401 code in capitals":                   {refusal(401, "INVALID_CLIENT_ASSERTION", ""), oauthclient.KindAssertionRejected, true},
		"401 unauthorized_client":                {refusal(401, "unauthorized_client", ""), oauthclient.KindKeysUnreachable, true},
		"400 unauthorized_client":                {refusal(400, "unauthorized_client", ""), oauthclient.KindKeysUnreachable, true},
		"400 invalid_grant":                      {refusal(400, "invalid_grant", ""), oauthclient.KindAssertionRejected, true},
		"401 invalid_request":                    {refusal(401, "invalid_request", ""), oauthclient.KindRequestRejected, true},
		"400 invalid_request":                    {refusal(400, "invalid_request", ""), oauthclient.KindRequestRejected, false},
		"400 invalid_target":                     {refusal(400, "invalid_target", ""), oauthclient.KindResourceUnknown, false},
		"401 invalid_target":                     {refusal(401, "invalid_target", ""), oauthclient.KindResourceUnknown, false},
		"400 invalid_scope":                      {refusal(400, "invalid_scope", ""), oauthclient.KindRequestRejected, false},
		"400 unsupported_grant_type":             {refusal(400, "unsupported_grant_type", ""), oauthclient.KindRequestRejected, false},
		"unknown code 400":                       {refusal(400, "teapot", ""), oauthclient.KindRequestRejected, true},
		"unknown code 401":                       {refusal(401, "teapot", ""), oauthclient.KindClientRejected, true},
		"unknown code 403":                       {refusal(403, "teapot", ""), oauthclient.KindClientRejected, true},
		"401 without a body":                     {raw(401, "", ""), oauthclient.KindClientRejected, true},
		"400 HTML":                               {raw(400, "text/html", "<html>"), oauthclient.KindRequestRejected, true},
		"403 HTML":                               {raw(403, "text/html", "<html>"), oauthclient.KindClientRejected, true},
		"404 HTML":                               {raw(404, "text/html", "<html>"), oauthclient.KindRequestRejected, false},
		"404 with a code":                        {refusal(404, "teapot", ""), oauthclient.KindRequestRejected, true},
		"401 X-message-code locked":              {refusal(401, "invalid_client", "", "X-message-code: PASSWORD_LOCKED"), oauthclient.KindLocked, true},
		"401 X-message-code another":             {refusal(401, "invalid_client", "", "X-message-code: PASSWORD_WRONG"), oauthclient.KindClientRejected, true},
		"401 says locked":                        {refusal(401, "invalid_client", "Client is locked."), oauthclient.KindLocked, true},
		"401 says blocked":                       {refusal(401, "invalid_client", "Client is blocked."), oauthclient.KindClientRejected, true},
		"429":                                    {raw(429, "text/html", "slow"), oauthclient.KindThrottled, false},
		"429 with invalid_client":                {refusal(429, "invalid_client", ""), oauthclient.KindThrottled, false},
		"400 slow_down":                          {refusal(400, "slow_down", ""), oauthclient.KindThrottled, false},
		"400 temporarily_unavailable":            {refusal(400, "temporarily_unavailable", ""), oauthclient.KindUnavailable, false},
		"408":                                    {raw(408, "", ""), oauthclient.KindUnavailable, false},
		"500":                                    {refusal(500, "invalid_client", "Client is locked"), oauthclient.KindUnavailable, false},
		"503 HTML":                               {raw(503, "text/html", "<html>"), oauthclient.KindUnavailable, false},
		"200 with an error code":                 {refusal(200, "invalid_client", ""), oauthclient.KindClientRejected, true},
		"200 empty":                              {raw(200, json, ""), oauthclient.KindGarbled, false},
		"200 white space":                        {raw(200, json, " \n"), oauthclient.KindGarbled, false},
		"200 HTML":                               {raw(200, "text/html", "<html>login</html>"), oauthclient.KindGarbled, false},
		"200 HTML called JSON":                   {raw(200, json, "<html>login</html>"), oauthclient.KindGarbled, false},
		"200 token called HTML":                  {raw(200, "text/html", `{"access_token":"a.b.c","token_type":"Bearer"}`), oauthclient.KindGarbled, false},
		"200 array":                              {raw(200, json, "[]"), oauthclient.KindGarbled, false},
		"200 null":                               {raw(200, json, "null"), oauthclient.KindGarbled, false},
		"200 trailing garbage":                   {raw(200, json, `{"access_token":"a.b.c","token_type":"Bearer"}x`), oauthclient.KindGarbled, false},
		"200 without a token":                    {raw(200, json, `{"token_type":"Bearer"}`), oauthclient.KindGarbled, false},
		"200 token is a number":                  {raw(200, json, `{"access_token":1,"token_type":"Bearer"}`), oauthclient.KindGarbled, false},
		"200 token with a line break":            {raw(200, json, `{"access_token":"a.b.c\r\nX: y","token_type":"Bearer"}`), oauthclient.KindGarbled, false},
		"200 token type DPoP":                    {raw(200, json, `{"access_token":"a.b.c","token_type":"DPoP"}`), oauthclient.KindGarbled, false},
		"200 without a token type":               {raw(200, json, `{"access_token":"a.b.c"}`), oauthclient.KindGarbled, false},
		"201":                                    {raw(201, json, `{"access_token":"a.b.c","token_type":"Bearer"}`), oauthclient.KindGarbled, false},
		"302":                                    {raw(302, "", "", "Location: https://elsewhere.example/login?x=1"), oauthclient.KindGarbled, false},
		"307 would repeat the POST":              {raw(307, "", "", "Location: /oauth2/token"), oauthclient.KindGarbled, false},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := exchange(t, row.answer)
			wantKind(t, err, row.kind, row.counts)
		})
	}
}

func TestRedirectIsNamed(t *testing.T) {
	_, err := exchange(t, raw(302, "", "", "Location: https://elsewhere.example/login?token=x"))
	if e := wantKind(t, err, oauthclient.KindGarbled, false); !strings.Contains(e.Description, "https://elsewhere.example;") || strings.Contains(e.Error(), "token=x") {
		t.Errorf("description %q", e.Description)
	}
}

func TestErrorIsFoundAsRetrieveError(t *testing.T) {
	_, err := exchange(t, refusal(401, "invalid_client", "Client not found"))
	var e *oauth2.RetrieveError
	if !errors.As(err, &e) {
		t.Fatalf("%T %v", err, err)
	}
	if e.ErrorCode != "invalid_client" || e.ErrorDescription != "Client not found" || e.Body != nil || e.Response.StatusCode != 401 || e.Response.Request != nil {
		t.Errorf("%+v", e)
	}
	if got := err.Error(); got != "token endpoint answered 401 invalid_client (client_unknown): Client not found" {
		t.Errorf("error reads %q", got)
	}
}

func TestRetryAfter(t *testing.T) {
	for name, row := range map[string]struct {
		value string
		want  time.Duration
	}{
		"seconds":          {"17", 17 * time.Second},
		"date":             {start.Add(90 * time.Second).Format(http.TimeFormat), 90 * time.Second},
		"date in the past": {start.Add(-time.Hour).Format(http.TimeFormat), 0},
		"negative":         {"-5", 0},
		"nonsense":         {"soon", 0},
		"a year":           {"31536000", 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := exchange(t, raw(429, "", "", "Retry-After: "+row.value))
			if e := wantKind(t, err, oauthclient.KindThrottled, false); e.RetryAfter != row.want {
				t.Errorf("= %v, want %v", e.RetryAfter, row.want)
			}
		})
	}
}

func TestDescriptionsAreSafeToShow(t *testing.T) {
	other := strings.Replace(rawAT1, "issuer", "Issuer", 1)
	for name, row := range map[string]struct{ in, want string }{
		"plain":                        {"Client is unwell", "Client is unwell"},
		"assertion itself":             {"bad " + rawAT1 + " here", "bad [removed] here"},
		"part of the assertion":        {"bad " + rawAT1[40:90], "bad [removed]"},
		"assertion cut by a line":      {"bad " + rawAT1[:50] + "\n" + rawAT1[50:], "bad [removed] [removed]"},
		"another JWT":                  {"bad " + other, "bad [removed]"},
		"JWT with invisible character": {"bad " + other[:60] + "\u200b" + other[60:], "bad [removed]"},
		"a GUID stays":                 {"app " + clientID, "app " + clientID},
		"a host stays":                 {"at acme.accounts.ondemand.com", "at acme.accounts.ondemand.com"},
		"controls":                     {"a\x1b[31mb\u202ec\r\nd", "a[31mbc d"},
		"long":                         {strings.Repeat("word ", 100), strings.Repeat("word ", 39) + "word\u2026"},
		"long with a token at the cut": {strings.Repeat("word ", 38) + other, strings.Repeat("word ", 38) + "[removed]"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := exchange(t, func(w http.ResponseWriter, r *http.Request) {
				body := `{"error":"invalid_client","error_description":` + quoted(row.in) + `}`
				raw(401, "application/json", body)(w, r)
			})
			e := wantKind(t, err, oauthclient.KindClientRejected, true)
			if e.Description != row.want {
				t.Errorf("= %q\nwant %q", e.Description, row.want)
			}
			if n := len([]rune(e.Description)); n > 200 {
				t.Errorf("%d characters", n)
			}
			var held *oauth2.RetrieveError
			if errors.As(err, &held); strings.Contains(err.Error()+held.Error()+held.ErrorURI, rawAT1[40:60]) {
				t.Errorf("assertion leaks: %v, %v", err, held)
			}
		})
	}
}

func TestTransportFailuresDoNotCount(t *testing.T) {
	t.Run("nobody listens", func(t *testing.T) {
		s := httptest.NewServer(http.NotFoundHandler())
		s.Close()
		_, err := oauthclient.Exchange(t.Context(), client(t), application(s.URL), assertion(), time.Now)
		wantKind(t, err, oauthclient.KindUnavailable, false)
		var op *net.OpError
		if !errors.As(err, &op) {
			t.Errorf("the cause is lost: %v", err)
		}
	})
	t.Run("hangs up", func(t *testing.T) {
		_, err := exchange(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		wantKind(t, err, oauthclient.KindUnavailable, false)
	})
	t.Run("answer cut short", func(t *testing.T) {
		_, err := exchange(t, raw(200, "application/json", `{"access_`, "Content-Length: 500"))
		wantKind(t, err, oauthclient.KindUnavailable, false)
	})
	t.Run("refusal cut short counts", func(t *testing.T) {
		_, err := exchange(t, raw(401, "application/json", `{"err`, "Content-Length: 500"))
		wantKind(t, err, oauthclient.KindClientRejected, true)
	})
	t.Run("context ends", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := newIAS(t, func(_ http.ResponseWriter, r *http.Request) { cancel(); <-r.Context().Done() })
		_, err := oauthclient.Exchange(ctx, client(t), application(s.tokenURL()), assertion(), time.Now)
		wantKind(t, err, oauthclient.KindUnavailable, false)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the cause is lost: %v", err)
		}
	})
	t.Run("no client", func(t *testing.T) {
		_, err := oauthclient.PostForm(t.Context(), nil, "http://127.0.0.1:1", url.Values{}, time.Now)
		wantKind(t, err, oauthclient.KindUnavailable, false)
	})
	t.Run("not HTTP, echoing the assertion", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		go func() {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, rawAT1+"\r\n\r\n")
			_ = c.Close()
		}()
		_, err = oauthclient.Exchange(t.Context(), client(t), application("http://"+l.Addr().String()), assertion(), time.Now)
		if e := wantKind(t, err, oauthclient.KindUnavailable, false); strings.Contains(e.Error(), rawAT1[40:60]) {
			t.Errorf("the assertion leaks: %v", e)
		}
	})
}

func TestEndlessAnswerIsCutOff(t *testing.T) {
	endless := func(status int) reply {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			chunk := []byte(`{"access_token":"` + strings.Repeat("a", 8<<10))
			for {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		}
	}
	_, err := exchange(t, endless(200))
	wantKind(t, err, oauthclient.KindGarbled, false)
	_, err = exchange(t, endless(401))
	wantKind(t, err, oauthclient.KindClientRejected, true)
}

func TestBodyAtTheLimitIsRead(t *testing.T) {
	body := `{"access_token":"a.b.c","token_type":"Bearer"}`
	_, err := exchange(t, raw(200, "application/json", body+strings.Repeat(" ", 64<<10-len(body))))
	if err != nil {
		t.Error(err)
	}
	_, err = exchange(t, raw(200, "application/json", body+strings.Repeat(" ", 64<<10-len(body)+1)))
	wantKind(t, err, oauthclient.KindGarbled, false)
}
