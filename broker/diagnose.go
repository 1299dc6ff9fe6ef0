package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"sfbroker/broker/diagnosis"
	"sfbroker/broker/upstream"
	"sfbroker/oauthclient"
	"sfbroker/odata"
	"sfbroker/trust"
	"sfbroker/workload"
)

// Finding is a finding of the catalogue, for packages that know the broker only.
type Finding = diagnosis.Finding

func find(code diagnosis.Code) diagnosis.Finding {
	return diagnosis.Finding{Entry: diagnosis.Lookup(code)}
}

// Diagnose turns an error of any hop into a finding. Our own verdict comes first; the peer's codes are hints.
func (c *Connection) Diagnose(err error) diagnosis.Finding {
	var (
		source  *workload.Error
		refusal *trust.Refusal
		guard   *oauthclient.GuardError
		token   *oauthclient.TokenError
		refused *oauthclient.RefusedError
		ias     *oauthclient.Error
		up      *UpstreamError
	)
	var f diagnosis.Finding
	switch {
	case errors.As(err, &up):
		return up.Finding
	case errors.As(err, &source):
		f = fromSource(source, c.cfg.Source.Kind())
	case errors.As(err, &refusal):
		f = fromRefusal(refusal)
	case errors.As(err, &refused):
		f = find(diagnosis.TokenRefused)
		f.Expected, f.Received = "AT2 of client "+c.cfg.Application.ClientID+" accepted", "refused, and so was a fresh one"
		f.RetryAfter = c.until(refused.RetryAt)
	case errors.As(err, &guard):
		f = c.fromGuard(guard)
	case errors.As(err, &token):
		f = find(diagnosis.AT2Invalid)
		f.Expected, f.Received = token.Expected, token.Received
	case errors.As(err, &ias):
		f = c.fromIAS(ias)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		f = find(diagnosis.IASUnavailable)
		f.Expected, f.Received = "a token within the request's patience", "none yet"
	default:
		return find(diagnosis.Internal)
	}
	return f
}

func (c *Connection) until(t time.Time) time.Duration { return max(0, t.Sub(c.cfg.Now())) }

func fromSource(e *workload.Error, kind string) diagnosis.Finding {
	code := map[workload.Cause]diagnosis.Code{
		workload.CauseMissing: diagnosis.SourceMissing, workload.CauseUnavailable: diagnosis.SourceUnavailable,
		workload.CauseRefused: diagnosis.SourceRefused, workload.CauseGarbled: diagnosis.SourceGarbled,
	}[e.Cause]
	f := find(code)
	f.Expected, f.Received = "a JWT from source "+kind, strings.TrimSpace(e.Code+" "+e.Detail)
	switch {
	case e.FixedBy == workload.OwnerOperator:
		f.Owner, f.Role = diagnosis.Operator, ""
	case e.FixedBy == workload.OwnerEntraAdmin && f.Owner != diagnosis.EntraAdmin:
		f.Owner, f.Role = diagnosis.EntraAdmin, diagnosis.Lookup(diagnosis.SourceRefused).Role
	}
	if e.Hint != "" {
		f.Hints = append(f.Hints, e.Hint)
	}
	return f
}

func fromRefusal(e *trust.Refusal) diagnosis.Finding {
	f := find(trustCode(e.Reason))
	f.Expected, f.Received, f.Hints, f.Detail = e.Expected, e.Received, e.Hints, string(e.Reason)
	var keys *trust.KeySetError
	if f.Received == "" && errors.As(e, &keys) {
		f.Expected, f.Received = "the keys of "+keys.Issuer, strings.TrimSuffix(string(keys.Outcome)+": "+keys.Detail, ": ")
	}
	return f
}

// fromGuard explains why IAS was not asked. The refusal that made the guard hold back says more than the guard does.
func (c *Connection) fromGuard(e *oauthclient.GuardError) diagnosis.Finding {
	if e.Reason == oauthclient.GuardUnsafeState {
		f := find(diagnosis.GuardState)
		f.Detail = e.Error()
		f.Hints = nonEmpty(e.Hint)
		return f
	}
	var f diagnosis.Finding
	var ias *oauthclient.Error
	if errors.As(e.Err, &ias) {
		f = c.fromIAS(ias)
		f.Hints = append(f.Hints, "an earlier refusal is not repeated, since five of them lock the client ID")
	} else {
		f = find(diagnosis.IASGuarded)
		f.Expected = c.presented()
		f.Received = fmt.Sprintf("%d failed logons counted", e.FailedLogons)
		f.Hints = append(f.Hints, c.afterTheFix())
	}
	f.RetryAfter = c.until(e.RetryAt)
	if !e.RetryAt.IsZero() {
		f.Hints = append(f.Hints, "the broker asks IAS again by itself at "+e.RetryAt.UTC().Format(time.RFC3339))
	}
	return f
}

func (c *Connection) fromIAS(e *oauthclient.Error) diagnosis.Finding {
	code := map[oauthclient.Kind]diagnosis.Code{
		oauthclient.KindLocked: diagnosis.IASLocked, oauthclient.KindThrottled: diagnosis.IASThrottled, oauthclient.KindClientUnknown: diagnosis.IASClientUnknown,
		oauthclient.KindAssertionRejected: diagnosis.IASAssertionRejected, oauthclient.KindClientRejected: diagnosis.IASAssertionRejected,
		oauthclient.KindKeysUnreachable: diagnosis.IASKeysUnreachable, oauthclient.KindResourceUnknown: diagnosis.IASResourceUnknown,
		oauthclient.KindRequestRejected: diagnosis.IASRequestRejected, oauthclient.KindUnavailable: diagnosis.IASUnavailable, oauthclient.KindGarbled: diagnosis.IASGarbled,
	}[e.Kind]
	f := find(code)
	f.Expected = c.presented()
	f.Received = received(e)
	f.RetryAfter = e.RetryAfter
	switch e.Kind {
	case oauthclient.KindResourceUnknown:
		f.Expected = "dependency " + string(c.cfg.Dependency)
	case oauthclient.KindUnavailable, oauthclient.KindGarbled, oauthclient.KindThrottled:
		f.Expected = "a token from " + c.cfg.Application.TokenURL
	}
	if e.FailedLogon {
		f.Hints = append(f.Hints, c.afterTheFix())
	}
	return f
}

func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// afterTheFix says how the operator makes the broker ask again: a refused assertion is not presented by itself.
func (c *Connection) afterTheFix() string {
	return "once it is mended: sfbroker connection unlock " + c.cfg.Name + " --reason '...'; otherwise the broker asks again after 60 minutes"
}

func received(e *oauthclient.Error) string {
	parts := []string{}
	if e.Status != 0 {
		parts = append(parts, fmt.Sprintf("HTTP %d", e.Status))
	}
	for _, s := range []string{e.Code, e.Description} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	if len(parts) == 0 {
		return "no answer: " + cause(e)
	}
	return strings.Join(parts, " ")
}

// presented says, in IAS's own words, what our assertion carries: the four words to compare with the rule there.
func (c *Connection) presented() string {
	id := c.identity.Load()
	if id == nil {
		return "client ID " + c.cfg.Application.ClientID
	}
	return fmt.Sprintf("client ID %s, Issuer %s, Subject %s, Audience %s, key ID %s", c.cfg.Application.ClientID, id.Issuer, id.Subject, id.Audience, id.KeyID)
}

// cause names the class of a transport error without its text, which could hold an address that the operator keeps private.
func cause(err error) string {
	var dns *net.DNSError
	var op *net.OpError
	switch {
	case errors.As(err, &dns):
		return "the name was not found"
	case errors.Is(err, context.DeadlineExceeded):
		return "timed out"
	case errors.As(err, &op) && op.Op == "dial":
		return "the connection was refused or not answered"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection broke off"
	}
	return "the connection failed"
}

// UpstreamError is a failure on SuccessFactors' side, already explained.
type UpstreamError struct {
	Finding diagnosis.Finding
	Err     error
}

func (e *UpstreamError) Error() string { return string(e.Finding.Code) }

// Unwrap returns the transport's error, if there was one.
func (e *UpstreamError) Unwrap() error { return e.Err }

// fromTransport explains a request that got no usable answer.
func (c *Connection) fromTransport(err error) diagnosis.Finding {
	var unproven *upstream.Unproven
	var link *odata.LinkError
	var f diagnosis.Finding
	switch {
	case errors.As(err, &link):
		f = find(diagnosis.ForeignLink)
		f.Expected, f.Received = "links to "+c.cfg.API.Host, "a link to another origin"
	case errors.As(err, &unproven):
		f = find(diagnosis.UpstreamGarbled)
		f.Expected, f.Received = "an answer with a length or in chunks", "an answer that ends with its connection"
	case errors.Is(err, upstream.ErrEncoding):
		f = find(diagnosis.UpstreamGarbled)
		f.Expected, f.Received = "an answer as it is or in gzip", "another encoding, or gzip that cannot be read"
	case errors.Is(err, io.ErrUnexpectedEOF):
		f = find(diagnosis.UpstreamGarbled)
		f.Expected, f.Received = "a whole answer", "the connection broke off"
	default:
		f = find(diagnosis.UpstreamUnavailable)
		f.Expected, f.Received = "an answer of "+c.cfg.API.Host, cause(err)
	}
	return f
}

// trustCode groups the reasons of a refusal by who mends them. What the rule itself does not accept is TrustRefused.
func trustCode(r trust.Reason) diagnosis.Code {
	switch r {
	case trust.ReasonIssuerUnknown:
		return diagnosis.TrustIssuer
	case trust.ReasonSubjectMismatch:
		return diagnosis.TrustSubject
	case trust.ReasonAudienceMismatch, trust.ReasonAudienceMany:
		return diagnosis.TrustAudience
	case trust.ReasonKeyUnknown:
		return diagnosis.TrustKeyUnknown
	case trust.ReasonSignature, trust.ReasonSignatureLength:
		return diagnosis.TrustSignature
	case trust.ReasonExpired, trust.ReasonNotYetValid, trust.ReasonIssuedInFuture:
		return diagnosis.TrustExpired
	case trust.ReasonKeysUnreachable, trust.ReasonKeysStale:
		return diagnosis.TrustKeysUnreachable
	case trust.ReasonTooLong, trust.ReasonHeaderTooLong, trust.ReasonEncrypted, trust.ReasonShape, trust.ReasonAlphabet,
		trust.ReasonEncoding, trust.ReasonUTF8, trust.ReasonJSON, trust.ReasonTrailingData, trust.ReasonNotObject:
		return diagnosis.TrustMalformed
	}
	return diagnosis.TrustRefused
}
