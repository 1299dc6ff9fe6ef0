package trust

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"
)

// quietError stands for an error of net/http, whose text may quote what the peer
// sent. Its own text is one fixed sentence a class, and it unwraps to those
// causes alone that quote nothing of an answer.
type quietError struct {
	class   string
	timeout bool
	causes  []error
}

// Error returns the class.
func (e *quietError) Error() string { return e.class }

// Unwrap returns the causes that are safe to show.
func (e *quietError) Unwrap() []error { return e.causes }

// Timeout and Temporary make this a net.Error.
func (e *quietError) Timeout() bool { return e.timeout }

// Temporary is never known.
func (e *quietError) Temporary() bool { return false }

// quieted makes a *quietError of err. answered says that the peer sent something.
func quieted(ctx context.Context, err error, answered bool) *quietError {
	if known := (*quietError)(nil); errors.As(err, &known) {
		return known
	}
	e := &quietError{timeout: isTimeout(err), causes: quietCauses(ctx, err)}
	var dns *net.DNSError
	switch {
	case errors.Is(err, context.Canceled):
		e.class = "canceled"
	case e.timeout:
		e.class = "timed out"
	case errors.As(err, &dns):
		e.class = "host name not found"
	case isTLS(err):
		e.class = "TLS failed" + aboutCertificate(err)
	case errors.Is(err, syscall.ECONNREFUSED):
		e.class = "connection refused"
	case brokeOff(err):
		e.class = "the connection broke off"
	case answered:
		e.class = "malformed answer"
	default:
		e.class = "no connection"
	}
	return e
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

func brokeOff(err error) bool {
	for _, end := range []error{io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, end) {
			return true
		}
	}
	return false
}

func isTLS(err error) bool {
	var op *net.OpError // crypto/tls says "remote error" and "local error" for alerts
	return aboutCertificate(err) != "" || errors.As(err, &op) && (op.Op == "remote error" || op.Op == "local error")
}

// aboutCertificate says in fixed words what is wrong with the peer's TLS.
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
	case errors.As(err, &invalid):
		return ": the certificate is expired or not valid"
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return ": the server does not speak TLS"
	}
	return ""
}

// quietCauses picks out of err's chain what callers look for and what holds
// nothing that the peer wrote into its answer.
func quietCauses(ctx context.Context, err error) []error {
	var causes []error
	for _, known := range []error{context.Canceled, context.DeadlineExceeded, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed} {
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
	return keep[x509.CertificateInvalidError](causes, err)
}

func keep[T error](causes []error, err error) []error {
	var found T
	if errors.As(err, &found) {
		causes = append(causes, found)
	}
	return causes
}
