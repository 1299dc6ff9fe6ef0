package oauthclient

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Kind is the cause of a failed round trip to a token endpoint, by class. The
// endpoint's own codes are hints: the class is what to act on.
type Kind string

// The kinds.
const (
	// KindLocked: the authorization server says that the client ID is locked.
	KindLocked Kind = "locked"
	// KindThrottled: too many requests; RetryAfter says how long to wait, if known.
	KindThrottled Kind = "throttled"
	// KindClientUnknown: no such client ID at this endpoint.
	KindClientUnknown Kind = "client_unknown"
	// KindAssertionRejected: issuer, subject or audience do not match the trust rule there.
	KindAssertionRejected Kind = "assertion_rejected"
	// KindKeysUnreachable: the server could not check the signature (its copy of the
	// issuer's keys is missing or old) or the client may not use this grant.
	KindKeysUnreachable Kind = "keys_unreachable"
	// KindResourceUnknown: RFC 8707 invalid_target, no such dependency.
	KindResourceUnknown Kind = "resource_unknown"
	// KindUnavailable: no answer, or an answer that says "not now".
	KindUnavailable Kind = "unavailable"
	// KindGarbled: an answer that is not a token response: a 200 with an empty or
	// HTML body, a redirect, an endless body, a token type other than Bearer.
	KindGarbled Kind = "garbled"
	// KindClientRejected: the client was not authenticated and the server says no more.
	KindClientRejected Kind = "client_rejected"
	// KindRequestRejected: the request itself was refused (parameter, grant, address).
	KindRequestRejected Kind = "request_rejected"
)

// Error is a failed round trip to a token endpoint. It never holds the body of
// the answer. errors.As finds an *oauth2.RetrieveError in it when the endpoint
// answered with RFC 6749 fields.
type Error struct {
	// Kind is the cause by class.
	Kind Kind
	// Status is the HTTP status, 0 when there was no answer.
	Status int
	// Code is RFC 6749's error, or "".
	Code string
	// Description is RFC 6749's error_description or our own sentence: at most 200
	// printable characters, with whatever looks like a token taken out.
	Description string
	// RetryAfter is the Retry-After of the answer, 0 when there is none.
	RetryAfter time.Duration
	// FailedLogon says that the authorization server answered and may have counted
	// this as a failed logon of the client ID; see classify for the table.
	FailedLogon bool
	// Err is the cause below, or nil.
	Err error

	// sent: the request was written at least in part, so that the server may act on it.
	sent bool
	// counted: the guard counted it though there was no answer.
	counted bool
}

// unanswered: the request went out and no status came back, so that the server
// may have judged it.
func (e *Error) unanswered() bool { return e.sent && e.Status == 0 }

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("token endpoint ")
	if e.Status == 0 {
		b.WriteString(string(e.Kind))
		if e.Err != nil {
			b.WriteString(": " + e.Err.Error())
		}
		return b.String()
	}
	fmt.Fprintf(&b, "answered %d", e.Status)
	if e.Code != "" {
		b.WriteString(" " + e.Code)
	}
	fmt.Fprintf(&b, " (%s)", e.Kind)
	if e.Description != "" {
		b.WriteString(": " + e.Description)
	}
	return b.String()
}

// Unwrap returns the cause below.
func (e *Error) Unwrap() error { return e.Err }

// verdict is what an answer means.
type verdict struct {
	kind        Kind
	failedLogon bool
}

// classify is the one table that says what a refusal means and which ones count
// as failed logons of the client ID. SAP publishes no list, so what is not known
// to be harmless counts.
//
//	answer                                             kind                counts
//	4xx with X-message-code or description "locked"    locked              yes
//	429, slow_down                                     throttled           no
//	5xx, 408, temporarily_unavailable, server_error    unavailable         no
//	3xx, 2xx but 200                                   garbled             no
//	invalid_target                                     resource_unknown    no
//	invalid_scope, unsupported_grant_type              request_rejected    no
//	400 invalid_request                                request_rejected    no
//	404, 405, 406, 411, 413, 414, 415, 431 with no code  request_rejected  no
//	invalid_client "client not found"                  client_unknown      yes
//	invalid_client naming the assertion                assertion_rejected  yes
//	invalid_client* (invalid_client_assertion ...)     assertion_rejected  yes
//	invalid_grant                                      assertion_rejected  yes
//	invalid_client, no hint                            client_rejected     yes
//	unauthorized_client                                keys_unreachable    yes
//	any other 400                                      request_rejected    yes
//	any other 401, 403                                 client_rejected     yes
//	any other 4xx                                      request_rejected    yes
//	no status, nothing of the request was written      unavailable         no
//	no status, the request was written                 unavailable         unless proven
//
// A 200 that carries an error code is judged as a 400. The last two rows have no
// answer to classify. The Guard decides them (OutcomeUnanswered): a client is
// proven while the last logon that IAS judged is a success. What keeps the answers
// of an unproven one away (a time limit, an egress that swallows a 401) may hide
// refusals that IAS counts, but an outage must not block a proven one.
func classify(status int, code, messageCode, description string) verdict {
	code = strings.ToLower(code)
	switch {
	case status == http.StatusOK && code != "":
		status = http.StatusBadRequest
	case status < 400:
		return verdict{KindGarbled, false}
	case status >= 500 || status == http.StatusRequestTimeout:
		return verdict{KindUnavailable, false}
	}
	if containsFold(messageCode, "LOCKED") || hasWord(description, "locked") {
		return verdict{KindLocked, true}
	}
	if status == http.StatusTooManyRequests {
		return verdict{KindThrottled, false}
	}
	if v, ok := classifyCode(status, code, description); ok {
		return v
	}
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return verdict{KindClientRejected, true}
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotAcceptable,
		http.StatusLengthRequired, http.StatusRequestEntityTooLarge, http.StatusRequestURITooLong,
		http.StatusUnsupportedMediaType, http.StatusRequestHeaderFieldsTooLarge:
		return verdict{KindRequestRejected, code != ""}
	}
	return verdict{KindRequestRejected, true}
}

// classifyCode judges the RFC 6749 codes that are known.
func classifyCode(status int, code, description string) (verdict, bool) {
	switch code {
	case "slow_down":
		return verdict{KindThrottled, false}, true
	case "temporarily_unavailable", "server_error":
		return verdict{KindUnavailable, false}, true
	case "invalid_target":
		return verdict{KindResourceUnknown, false}, true
	case "invalid_scope", "unsupported_grant_type":
		return verdict{KindRequestRejected, false}, true
	case "invalid_request":
		return verdict{KindRequestRejected, status != http.StatusBadRequest}, true
	case "unauthorized_client":
		return verdict{KindKeysUnreachable, true}, true
	case "invalid_grant":
		return verdict{KindAssertionRejected, true}, true
	case "invalid_client":
		switch {
		case containsFold(description, "client not found"):
			return verdict{KindClientUnknown, true}, true
		case containsFold(description, "assertion"):
			return verdict{KindAssertionRejected, true}, true
		}
		return verdict{KindClientRejected, true}, true
	}
	if strings.HasPrefix(code, "invalid_client") {
		return verdict{KindAssertionRejected, true}, true
	}
	return verdict{}, false
}

// hasWord finds word in s; "blocked" does not hold the word "locked".
func hasWord(s, word string) bool {
	return slices.Contains(strings.FieldsFunc(strings.ToLower(s), func(r rune) bool {
		return !unicode.IsLetter(r)
	}), word)
}

func containsFold(s, substr string) bool {
	return strings.Contains(strings.ToLower(s), strings.ToLower(substr))
}
