package oauthclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

const (
	requestTimeout  = 15 * time.Second
	maxResponseBody = 64 << 10
	maxLifetime     = 10 * 365 * 24 * time.Hour
	maxRetryAfter   = 24 * time.Hour
)

// Response is a token response (RFC 6749 section 5.1).
type Response struct {
	// AccessToken is never empty and holds no white space.
	AccessToken Secret
	// TokenType is as received; it equals "Bearer" but for case.
	TokenType string
	// ExpiresIn is 0 when the answer did not say.
	ExpiresIn time.Duration
	// ReceivedAt is when the answer came, by the clock given to PostForm.
	ReceivedAt time.Time
}

// NewHTTPClient returns a client fit for token endpoints: no proxy, no redirect,
// no cookie, TLS 1.2 or later, and a limit on each stage. A nil roots means the
// system's roots.
func NewHTTPClient(roots *x509.CertPool) *http.Client {
	return &http.Client{
		CheckRedirect: noRedirect,
		Timeout:       2 * requestTimeout,
		Transport: &http.Transport{
			Proxy:                  nil,
			DialContext:            (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
			TLSHandshakeTimeout:    5 * time.Second,
			ResponseHeaderTimeout:  requestTimeout,
			IdleConnTimeout:        90 * time.Second,
			MaxIdleConnsPerHost:    2,
			MaxResponseHeaderBytes: 64 << 10,
			ForceAttemptHTTP2:      true,
		},
	}
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// PostForm does one round trip to a token endpoint: one POST of form, client
// authentication included in it, no Authorization header, no redirect followed,
// at most 64 KiB of answer, at most 15 seconds in all. c must not be nil; its
// redirect policy and cookie jar are not used. A failure is an *Error.
func PostForm(ctx context.Context, c *http.Client, tokenURL string, form url.Values, now func() time.Time) (Response, error) {
	secrets := secretsOf(form)
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var wire progress
	ctx = wire.watch(ctx)
	req, err := tokenRequest(ctx, c, tokenURL, form)
	if err != nil {
		return Response{}, &Error{Kind: KindUnavailable, Err: err}
	}
	resp, err := post(c, req)
	if err != nil {
		return Response{}, &Error{Kind: KindUnavailable, Err: wire.failure(ctx, err), sent: wire.sent.Load()}
	}
	defer func() { _ = resp.Body.Close() }()
	received := now().Round(0)
	body, readErr := io.ReadAll(io.LimitReader(resp.Body, maxResponseBody+1))
	a := answer{resp: resp, body: body, received: received, secrets: secrets}
	if readErr != nil {
		a.readErr = wire.failure(ctx, readErr)
	}
	if resp.StatusCode != http.StatusOK {
		return Response{}, a.refusal()
	}
	return a.token()
}

// tokenRequest makes the request. Its errors do not quote tokenURL, which is the
// configuration's to show.
func tokenRequest(ctx context.Context, c *http.Client, tokenURL string, form url.Values) (*http.Request, error) {
	if c == nil {
		return nil, errors.New("no HTTP client given")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, tokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, errors.New("the token endpoint's address is not a URL")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.URL.User = nil // user info in the URL would become an Authorization header
	return req, nil
}

func post(c *http.Client, req *http.Request) (*http.Response, error) {
	client := *c
	client.CheckRedirect = noRedirect
	client.Jar = nil
	return client.Do(req)
}

// answer is an HTTP answer whose body was read as far as it is looked at.
type answer struct {
	resp     *http.Response
	body     []byte
	readErr  error // a *transportError, or nil
	received time.Time
	secrets  []string
}

// wire is a token response or an error response. Fields are raw because peers
// send numbers as strings.
type wire struct {
	AccessToken, TokenType, ExpiresIn  json.RawMessage
	Error, ErrorDescription, ErrorURIs json.RawMessage
}

func (a *answer) decode() (wire, error) {
	if a.readErr != nil {
		return wire{}, fmt.Errorf("reading the answer: %w", a.readErr)
	}
	if len(a.body) > maxResponseBody {
		return wire{}, fmt.Errorf("the answer is longer than %d bytes", maxResponseBody)
	}
	if len(strings.TrimSpace(string(a.body))) == 0 {
		return wire{}, errors.New("the answer has an empty body")
	}
	if err := checkMediaType(a.resp.Header.Get("Content-Type"), a.secrets); err != nil {
		return wire{}, err
	}
	// A map, not a struct: encoding/json would also take "ACCESS_TOKEN".
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(a.body, &fields); err != nil {
		return wire{}, errors.New("the answer is not a JSON object")
	}
	return wire{
		AccessToken: fields["access_token"], TokenType: fields["token_type"], ExpiresIn: fields["expires_in"],
		Error: fields["error"], ErrorDescription: fields["error_description"], ErrorURIs: fields["error_uri"],
	}, nil
}

// checkMediaType takes JSON and an absent media type; the body must parse anyway.
func checkMediaType(contentType string, secrets []string) error {
	if contentType == "" {
		return nil
	}
	mediaType, _, err := mime.ParseMediaType(contentType)
	if err == nil && (mediaType == "application/json" || strings.HasSuffix(mediaType, "+json")) {
		return nil
	}
	return fmt.Errorf("the answer is %s, not JSON", scrub(contentType, 60, secrets))
}

// token reads the answer to a 200.
func (a *answer) token() (Response, error) {
	w, err := a.decode()
	if err != nil {
		kind := KindGarbled
		if a.readErr != nil {
			kind = KindUnavailable
		}
		return Response{}, a.failure(verdict{kind, false}, "", err.Error(), a.readErr)
	}
	if code := text(w.Error); code != "" {
		return Response{}, a.refused(w)
	}
	garbled := func(why string) (Response, error) {
		return Response{}, a.failure(verdict{KindGarbled, false}, "", why, nil)
	}
	accessToken, tokenType := text(w.AccessToken), text(w.TokenType)
	switch {
	case accessToken == "":
		return garbled("the answer has no access_token")
	case strings.ContainsFunc(accessToken, func(r rune) bool { return r <= ' ' || r > '~' }):
		return garbled("the access_token holds characters that no header can carry")
	case !strings.EqualFold(tokenType, "Bearer"):
		return garbled(fmt.Sprintf("token_type is %q, not Bearer", scrub(tokenType, 40, a.secrets)))
	}
	expiresIn, err := parseExpiresIn(w.ExpiresIn)
	if err != nil {
		return garbled(err.Error())
	}
	return Response{
		AccessToken: NewSecret(accessToken), TokenType: tokenType,
		ExpiresIn: expiresIn, ReceivedAt: a.received,
	}, nil
}

// refusal reads any answer but a 200.
func (a *answer) refusal() *Error {
	if a.resp.StatusCode < 400 {
		return a.failure(verdict{KindGarbled, false}, "", a.notAnAnswer(), nil)
	}
	w, err := a.decode()
	if err != nil {
		// No fields to go by: the status alone decides.
		v := classify(a.resp.StatusCode, "", a.messageCode(), "")
		return a.failure(v, "", err.Error(), nil)
	}
	return a.refused(w)
}

func (a *answer) notAnAnswer() string {
	if u, err := a.resp.Location(); err == nil {
		origin := scrub((&url.URL{Scheme: u.Scheme, Host: u.Host}).String(), 100, a.secrets)
		return fmt.Sprintf("the endpoint redirects to %s; redirects are not followed, configure the address itself", origin)
	}
	return "the endpoint gave neither a token nor an error"
}

// refused makes the error of an answer with RFC 6749 section 5.2 fields.
func (a *answer) refused(w wire) *Error {
	code := scrub(text(w.Error), 64, a.secrets)
	description := scrub(text(w.ErrorDescription), maxDescription, a.secrets)
	v := classify(a.resp.StatusCode, code, a.messageCode(), description)
	return a.failure(v, code, description, &oauth2.RetrieveError{
		// Only the status: the answer's own headers, body and request stay out.
		Response: &http.Response{
			StatusCode: a.resp.StatusCode,
			Status:     fmt.Sprintf("%d %s", a.resp.StatusCode, http.StatusText(a.resp.StatusCode)),
			Header:     http.Header{}, Body: http.NoBody,
		},
		ErrorCode: code, ErrorDescription: description,
		ErrorURI: scrub(text(w.ErrorURIs), maxDescription, a.secrets),
	})
}

func (a *answer) failure(v verdict, code, description string, cause error) *Error {
	return &Error{
		Kind: v.kind, FailedLogon: v.failedLogon, Status: a.resp.StatusCode, sent: true,
		Code: code, Description: scrub(description, maxDescription, a.secrets),
		RetryAfter: parseRetryAfter(a.resp.Header.Get("Retry-After"), a.received), Err: cause,
	}
}

// messageCode is SAP's detailed error code, a hint only.
func (a *answer) messageCode() string { return a.resp.Header.Get("X-Message-Code") }

// text returns a JSON string's value, "" for anything else.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// parseExpiresIn takes an integer, a float, or either as a string. 0 means that
// the answer did not say.
func parseExpiresIn(raw json.RawMessage) (time.Duration, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return 0, nil
	}
	number := strings.TrimSpace(strings.Trim(string(raw), `"`))
	seconds, err := strconv.ParseFloat(number, 64)
	switch {
	case err != nil || strings.ContainsAny(number, "xXpP_"):
		return 0, errors.New("expires_in is not a number of seconds")
	case !(seconds > 0): // NaN as well
		return 0, errors.New("expires_in is not positive: the token is expired as it comes")
	case seconds > maxLifetime.Seconds():
		return 0, errors.New("expires_in is more than ten years")
	}
	return time.Duration(seconds * float64(time.Second)), nil
}

// parseRetryAfter reads seconds or an HTTP date (RFC 9110 section 10.2.3).
func parseRetryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	var d time.Duration
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		d = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), maxRetryAfter)
}
