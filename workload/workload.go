// Package workload gets AT1, the assertion that the job's machine already has
// or may ask its own issuer for. Each source is one file and implements
// [Source]; nothing is cached here, so whoever asks gets what is valid now.
//
// A source neither verifies nor interprets an assertion: that is the business
// of the trust rules.
package workload

import (
	"context"
	"fmt"
	"strings"

	"sfbroker/oauthclient"
)

// Source hands out assertions.
//
// Assertion blocks no longer than ctx allows, is safe for concurrent use, and
// returns a non-empty secret or an [*Error]. It must not return an assertion
// that it knows to be replaced by a newer one.
type Source interface {
	Assertion(ctx context.Context) (oauthclient.Secret, error)
	// Kind is the source's name in the configuration, such as "file".
	Kind() string
}

// Cause says what kind of failure an Error is.
type Cause string

// Causes.
const (
	CauseUnavailable Cause = "unavailable" // the source did not answer; a retry may help
	CauseRefused     Cause = "refused"     // the source answered no; somebody must change something
	CauseMissing     Cause = "missing"     // there is nothing to read: no file, no variable, no credential
	CauseGarbled     Cause = "garbled"     // there is something, but no assertion
)

// Owner is who can put a failure right.
type Owner string

// Owners.
const (
	OwnerEntraAdmin Owner = "Entra admin"
	OwnerOperator   Owner = "operator" // whoever runs this broker
)

// Error is why a source gave no assertion. It never holds an assertion, a
// secret or the body of an answer.
type Error struct {
	// Source is the Kind of the source.
	Source string
	Cause  Cause
	// Code is the source's own code, such as AADSTS700024; often empty.
	Code string
	// Detail says what happened, Hint what to do. Both are safe to show.
	Detail, Hint string
	FixedBy      Owner
	// Err is the cause below, such as an *oauthclient.Error or *fs.PathError;
	// may be nil.
	Err error
}

// Error names source, cause, code and detail.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "source %s: %s", e.Source, e.Cause)
	if e.Code != "" {
		b.WriteString(" (" + e.Code + ")")
	}
	b.WriteString(": " + e.Detail)
	return b.String()
}

// Unwrap returns the cause below.
func (e *Error) Unwrap() error { return e.Err }

// maxAssertion bounds what a file or variable may hold, in bytes; the trust
// rules accept no more.
const maxAssertion = 16 << 10

// fromText makes a secret of what an operator's file or variable holds: one
// trailing line end is theirs, anything else is left for the trust rules to
// judge, unless it is plainly something else than an assertion.
func fromText(source, text, place string) (oauthclient.Secret, error) {
	text = strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
	fail := func(cause Cause, detail, hint string) (oauthclient.Secret, error) {
		return oauthclient.Secret{}, &Error{Source: source, Cause: cause, Detail: place + " " + detail, Hint: hint, FixedBy: OwnerOperator}
	}
	switch content := strings.TrimSpace(text); {
	case content == "":
		return fail(CauseMissing, "is empty", "whatever provides the assertion has not written it yet, or writes it non-atomically: write a temporary file and rename it")
	case len(text) > maxAssertion:
		return fail(CauseGarbled, "holds more than 16 KiB", "it must hold one JWT and nothing else")
	case content[0] == '{':
		return fail(CauseGarbled, "holds JSON, not a JWT", "this may be a token endpoint's answer or a key file: store the value of access_token (or id_token) alone")
	case strings.HasPrefix(content, "-----BEGIN"):
		return fail(CauseGarbled, "holds PEM, not a JWT", "a certificate or key belongs into an entra source's certificate")
	case len(content) > 7 && strings.EqualFold(content[:7], "bearer "):
		return fail(CauseGarbled, "holds an Authorization header, not a JWT", "leave out the word Bearer")
	}
	return oauthclient.NewSecret(text), nil
}
