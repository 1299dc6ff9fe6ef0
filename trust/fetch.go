package trust

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// maxBody bounds a key set or discovery document, in bytes after inflating.
const maxBody = 1 << 20

// Outcome is how a refresh of a key set ended; a metric label.
type Outcome string

// Outcomes of a refresh.
const (
	OutcomeOK          Outcome = "ok"
	OutcomeUnreachable Outcome = "unreachable" // no connection, or no readable file
	OutcomeTimeout     Outcome = "timeout"     // not done within 10 s
	OutcomeInsecure    Outcome = "insecure"    // plain http or TLS below 1.2
	OutcomeRedirect    Outcome = "redirect"    // redirects are not followed
	OutcomeStatus      Outcome = "status"      // another status than 200
	OutcomeTooLarge    Outcome = "too_large"   // more than 1 MiB or 100 keys
	OutcomeGarbled     Outcome = "garbled"     // no JWK set, no discovery document
	OutcomeMismatch    Outcome = "mismatch"    // discovery names another issuer or a foreign host
	OutcomeRefused     Outcome = "refused"     // a duplicate kid, or no usable key
	OutcomeClosed      Outcome = "closed"      // the rule set was closed
)

// KeySetError says why an issuer's keys were not refreshed. It holds no part
// of a response body.
type KeySetError struct {
	Issuer  string
	Outcome Outcome
	// Detail is safe to show.
	Detail string
	// Err is the cause; may be nil.
	Err error
}

// Error names issuer, outcome, detail and cause.
func (e *KeySetError) Error() string {
	text := fmt.Sprintf("fetching keys of %q: %s: %s", safe(e.Issuer), e.Outcome, e.Detail)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *KeySetError) Unwrap() error { return e.Err }

func outcomeOf(err error) Outcome {
	if fault := (*KeySetError)(nil); errors.As(err, &fault) {
		return fault.Outcome
	}
	return OutcomeUnreachable
}

// fetcher reads documents from configured addresses and nowhere else.
type fetcher struct {
	client           *http.Client
	insecureLoopback bool
}

func newFetcher(given *http.Client, insecureLoopback bool) *fetcher {
	client := &http.Client{Timeout: fetchDeadline}
	var next http.RoundTripper
	if given != nil {
		next = given.Transport
		if given.Timeout > 0 {
			client.Timeout = min(given.Timeout, fetchDeadline)
		}
	}
	if next == nil {
		next = newTransport()
	}
	client.Transport = &cappedTransport{next: next, insecureLoopback: insecureLoopback}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &fetcher{client: client, insecureLoopback: insecureLoopback}
}

// newTransport keeps no idle connections: it is used about once an hour.
func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:                  nil,
		DialContext:            (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    5 * time.Second,
		ForceAttemptHTTP2:      true,
		DisableKeepAlives:      true,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// get fetches one document.
func (f *fetcher) get(ctx context.Context, address string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, &KeySetError{Outcome: OutcomeUnreachable, Detail: "no usable URL"}
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	response, err := f.client.Do(request)
	if err != nil {
		return nil, transportFault(ctx, err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, transportFault(ctx, err)
	}
	return body, nil
}

// discover finds the issuer's jwks_uri (OpenID Connect Discovery 1.0).
func (f *fetcher) discover(ctx context.Context, issuer string) (string, error) {
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, f.client), issuer)
	if err != nil {
		return "", discoveryFault(ctx, err)
	}
	var document json.RawMessage
	if err := provider.Claims(&document); err != nil {
		return "", &KeySetError{Outcome: OutcomeGarbled, Detail: "discovery document is no JSON object"}
	}
	return jwksURIOf(string(document), issuer, f.insecureLoopback)
}

// jwksURIOf reads the document once more, strictly: go-oidc folds the case of
// names, and which of two issuers it believed cannot be seen.
func jwksURIOf(document, issuer string, insecureLoopback bool) (string, error) {
	members, refusal := readObject(document, nil)
	if refusal != nil {
		return "", &KeySetError{Outcome: OutcomeGarbled, Detail: "discovery document: " + string(refusal.Reason)}
	}
	if named, _ := members["issuer"].(string); named != issuer {
		return "", &KeySetError{Outcome: OutcomeMismatch, Detail: "discovery document names issuer " + safe(named)}
	}
	jwksURI, _ := members["jwks_uri"].(string)
	if err := checkURL(jwksURI, insecureLoopback); err != nil {
		return "", &KeySetError{Outcome: OutcomeInsecure, Detail: "discovered jwks_uri " + err.Error()}
	}
	at, err := url.Parse(jwksURI)
	home, err2 := url.Parse(issuer)
	if err != nil || err2 != nil || !strings.EqualFold(at.Host, home.Host) {
		return "", &KeySetError{Outcome: OutcomeMismatch, Detail: "discovered jwks_uri is on another host than the issuer: configure jwks_uri if that is right"}
	}
	return jwksURI, nil
}

// discoveryFault keeps causes and drops the texts of go-oidc, which quote the
// answer.
func discoveryFault(ctx context.Context, err error) error {
	var other *oidc.IssuerMismatchError
	if errors.As(err, &other) {
		return &KeySetError{Outcome: OutcomeMismatch, Detail: "discovery document names issuer " + safe(other.Discovered)}
	}
	var transport *url.Error
	if errors.As(err, &transport) || ctx.Err() != nil {
		return transportFault(ctx, err)
	}
	return &KeySetError{Outcome: OutcomeGarbled, Detail: "no discovery document"}
}

// transportFault makes the error of a request that brought no whole answer.
func transportFault(ctx context.Context, err error) error {
	if fault := (*KeySetError)(nil); errors.As(err, &fault) {
		return fault
	}
	cause := quieted(ctx, err, false)
	if errors.Is(context.Cause(ctx), context.Canceled) {
		return &KeySetError{Outcome: OutcomeClosed, Detail: "closed meanwhile", Err: cause}
	}
	if isTimeout(err) || ctx.Err() != nil {
		return &KeySetError{Outcome: OutcomeTimeout, Detail: "no whole answer in time", Err: cause}
	}
	return &KeySetError{Outcome: OutcomeUnreachable, Detail: "no answer", Err: cause}
}

// cappedTransport hands out whole bounded 200 answers over secure connections,
// or an error. It reads the body itself, since go-oidc reads without bound and
// puts the bodies of other answers into its errors.
type cappedTransport struct {
	next             http.RoundTripper
	insecureLoopback bool
}

// RoundTrip implements http.RoundTripper.
func (t *cappedTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	if err := checkURL(request.URL.String(), t.insecureLoopback); err != nil {
		return nil, &KeySetError{Outcome: OutcomeInsecure, Detail: "address " + err.Error()}
	}
	var answered atomic.Bool
	ctx := httptrace.WithClientTrace(request.Context(), &httptrace.ClientTrace{GotFirstResponseByte: func() { answered.Store(true) }})
	response, err := t.next.RoundTrip(request.WithContext(ctx))
	if err != nil {
		return nil, quieted(ctx, err, answered.Load())
	}
	defer func() { _ = response.Body.Close() }()
	if fault := answerFault(request, response); fault != nil {
		return nil, fault
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	if err != nil {
		return nil, quieted(ctx, err, true)
	}
	if len(body) > maxBody {
		return nil, &KeySetError{Outcome: OutcomeTooLarge, Detail: "answer larger than 1 MiB"}
	}
	whole := *response
	whole.Body = io.NopCloser(bytes.NewReader(body))
	whole.ContentLength = int64(len(body))
	return &whole, nil
}

func answerFault(request *http.Request, response *http.Response) error {
	switch {
	case request.URL.Scheme == "https" && (response.TLS == nil || response.TLS.Version < tls.VersionTLS12):
		return &KeySetError{Outcome: OutcomeInsecure, Detail: "TLS below 1.2"}
	case response.StatusCode >= 300 && response.StatusCode < 400:
		return &KeySetError{Outcome: OutcomeRedirect, Detail: fmt.Sprintf("HTTP %d, redirects are not followed", response.StatusCode)}
	case response.StatusCode != http.StatusOK:
		return &KeySetError{Outcome: OutcomeStatus, Detail: fmt.Sprintf("HTTP %d", response.StatusCode)}
	}
	return nil
}
