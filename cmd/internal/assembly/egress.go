package assembly

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"time"

	"sfbroker/config"
)

func (h *House) compileEgress() config.Problems {
	file := h.cfg.Egress.CAFile
	if file == "" {
		return nil
	}
	pem, err := h.opts.Env.ReadFile(file)
	if err != nil {
		return config.Problems{h.cfg.Problem("egress.ca_file", "cannot be read: "+err.Error(), "name a file with certificates in PEM that the broker's user may read")}
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(pem) {
		return config.Problems{h.cfg.Problem("egress.ca_file", "holds no certificate in PEM", "it must have a block that begins with -----BEGIN CERTIFICATE-----")}
	}
	h.roots = roots
	return nil
}

// transport is one peer's way out: no proxy of the environment, TLS 1.2 or later, HTTP/1.1, capped headers.
func (h *House) transport(answerWithin time.Duration) *http.Transport {
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: h.roots},
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  answerWithin,
		MaxResponseHeaderBytes: 64 << 10,
		MaxIdleConnsPerHost:    64,
		IdleConnTimeout:        90 * time.Second,
		DisableCompression:     true,
		ForceAttemptHTTP2:      false,
	}
}

// client is for the short answers of issuers. It follows no redirect: where a token or an assertion goes is configured.
func (h *House) client() *http.Client {
	return &http.Client{
		Transport:     h.transport(10 * time.Second),
		Timeout:       15 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
