package sandbox

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"
)

const (
	certificateLife = 365 * 24 * time.Hour
	clientKeyBits   = 2048
)

// authority is the certificate authority of one start: its key is dropped once
// the server certificate is signed.
type authority struct {
	pem    string
	pool   *x509.CertPool
	server *tls.Config
}

// newAuthority makes a CA and a server certificate for localhost, 127.0.0.1,
// ::1 and host.
func newAuthority(host string) (*authority, error) {
	// The wall clock: TLS clients compare with theirs, not with the sandbox's.
	now := time.Now()
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the CA key: %w", err)
	}
	ca := template("sfbroker sandbox CA", now)
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return nil, fmt.Errorf("making the CA certificate: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the server key: %w", err)
	}
	leaf := template("sfbroker sandbox", now)
	leaf.KeyUsage = x509.KeyUsageDigitalSignature
	leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	leaf.DNSNames = []string{"localhost"}
	leaf.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	if ip := net.ParseIP(host); ip != nil {
		leaf.IPAddresses = append(leaf.IPAddresses, ip)
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	if err != nil {
		return nil, fmt.Errorf("making the server certificate: %w", err)
	}
	a := &authority{pem: encodePEM("CERTIFICATE", caDER), pool: x509.NewCertPool()}
	a.pool.AppendCertsFromPEM([]byte(a.pem))
	a.server = &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
	}
	return a, nil
}

// serverConfig and clientPool are nil without TLS.
func (a *authority) serverConfig() *tls.Config {
	if a == nil {
		return nil
	}
	return a.server
}

func (a *authority) clientConfig() *tls.Config {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if a != nil {
		config.RootCAs = a.pool
	}
	return config
}

// clientCertificate is what the workload may authenticate with at Entra.
type clientCertificate struct {
	certificate *x509.Certificate
	certPEM     string
	keyPEM      string
}

func newClientCertificate(name string) (*clientCertificate, error) {
	key, err := rsa.GenerateKey(rand.Reader, clientKeyBits)
	if err != nil {
		return nil, fmt.Errorf("making the client key: %w", err)
	}
	self := template(name, time.Now())
	self.KeyUsage = x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, self, self, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("making the client certificate: %w", err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("reading the client certificate: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(crypto.PrivateKey(key))
	if err != nil {
		return nil, fmt.Errorf("encoding the client key: %w", err)
	}
	return &clientCertificate{certificate, encodePEM("CERTIFICATE", der), encodePEM("PRIVATE KEY", keyDER)}, nil
}

func template(name string, now time.Time) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		serial = big.NewInt(now.UnixNano())
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(certificateLife),
	}
}

func encodePEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}
