package upstream_test

import (
	"crypto/x509"
	"net/http/httptest"
)

// pool trusts the certificate of srv alone.
func pool(srv *httptest.Server) *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(srv.Certificate())
	return p
}
