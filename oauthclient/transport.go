package oauthclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"sync/atomic"
	"syscall"
)

// transportError is a round trip without a usable answer. Its text is one fixed
// sentence a class, because the errors of net/http quote what the peer sent. It
// unwraps to those causes alone that quote nothing: context, net, x509, io.
type transportError struct {
	class   string
	timeout bool
	causes  []error
}

// Error returns the class.
func (e *transportError) Error() string { return e.class }

// Unwrap returns the causes that are safe to show.
func (e *transportError) Unwrap() []error { return e.causes }

// Timeout and Temporary make this a net.Error.
func (e *transportError) Timeout() bool { return e.timeout }

// Temporary is never known.
func (e *transportError) Temporary() bool { return false }

// progress is how far a request came, as seen by httptrace.
type progress struct {
	sent      atomic.Bool // written at least in part
	answered  atomic.Bool // the peer sent at least a byte
	tlsFailed atomic.Bool
}

func (p *progress) watch(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteHeaderField:     func(string, []string) { p.sent.Store(true) },
		GotFirstResponseByte: func() { p.answered.Store(true) },
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) {
			if err != nil {
				p.tlsFailed.Store(true)
			}
		},
	})
}

// failure makes the *transportError of what net/http said.
func (p *progress) failure(ctx context.Context, err error) *transportError {
	timedOut := isTimeout(err)
	e := &transportError{timeout: timedOut, causes: quietCauses(ctx, err)}
	var dns *net.DNSError
	var op *net.OpError
	switch {
	case errors.Is(err, context.Canceled):
		e.class = "canceled"
	case timedOut:
		e.class = "timed out"
	case errors.As(err, &dns):
		e.class = "host name not found"
	case p.tlsFailed.Load() || isTLS(err):
		e.class = "TLS failed" + aboutCertificate(err)
	case errors.Is(err, syscall.ECONNREFUSED):
		e.class = "connection refused"
	case brokeOff(err):
		e.class = "the connection broke off"
	case p.answered.Load():
		e.class = "malformed answer"
	case p.sent.Load():
		e.class = "the connection broke off"
	case errors.As(err, &op):
		e.class = "no connection"
	default:
		e.class = "the request could not be sent"
	}
	return e
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

func brokeOff(err error) bool {
	for _, end := range []error{io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE} {
		if errors.Is(err, end) {
			return true
		}
	}
	return false
}

func isTLS(err error) bool {
	var op *net.OpError // crypto/tls says "remote error" and "local error" for alerts
	var record tls.RecordHeaderError
	return errors.As(err, &record) || errors.Is(err, http.ErrSchemeMismatch) || aboutCertificate(err) != "" ||
		errors.As(err, &op) && (op.Op == "remote error" || op.Op == "local error")
}

// aboutCertificate says in fixed words what is wrong with the peer's certificate.
func aboutCertificate(err error) string {
	var (
		unknown x509.UnknownAuthorityError
		host    x509.HostnameError
		invalid x509.CertificateInvalidError
		record  tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &unknown):
		return ": the certificate comes from an authority that is not trusted here"
	case errors.As(err, &host):
		return ": the certificate is for another host"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return ": the certificate is expired or not yet valid"
	case errors.As(err, &invalid):
		return ": the certificate is not valid"
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return ": the server does not speak TLS"
	}
	return ""
}

// quietCauses picks out of err's chain what callers look for with errors.Is and
// errors.As and what holds nothing that the peer wrote into its answer.
func quietCauses(ctx context.Context, err error) []error {
	var causes []error
	for _, known := range []error{
		context.Canceled, context.DeadlineExceeded, os.ErrDeadlineExceeded, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, http.ErrSchemeMismatch,
	} {
		if errors.Is(err, known) {
			causes = append(causes, known)
		}
	}
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, cause) {
		causes = append(causes, cause)
	}
	var op *net.OpError // a proxy's status line is quoted in that of "proxyconnect"
	if errors.As(err, &op) && op.Op != "proxyconnect" {
		causes = append(causes, op)
	}
	causes = keep[*net.DNSError](causes, err)
	causes = keep[syscall.Errno](causes, err)
	causes = keep[*tls.CertificateVerificationError](causes, err)
	causes = keep[x509.UnknownAuthorityError](causes, err)
	causes = keep[x509.HostnameError](causes, err)
	causes = keep[x509.CertificateInvalidError](causes, err)
	return keep[x509.SystemRootsError](causes, err)
}

func keep[T error](causes []error, err error) []error {
	var found T
	if errors.As(err, &found) {
		causes = append(causes, found)
	}
	return causes
}
