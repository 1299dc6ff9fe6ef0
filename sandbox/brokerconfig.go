package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Source names where the broker of a BrokerConfig gets its assertion.
type Source string

const (
	// SourceEntra is client credentials with the secret.
	SourceEntra Source = "entra"
	// SourceEntraCertificate is client credentials with the certificate.
	SourceEntraCertificate Source = "entra-certificate"
	// SourceFile is the file that WriteAssertion writes.
	SourceFile Source = "file"
)

// Names of the files in the directory given to WriteFiles.
const (
	SecretFile      = "entra-client-secret"
	CAFile          = "sandbox-ca.pem"
	CertificateFile = "entra-client.pem"
	KeyFile         = "entra-client.key"
	AssertionFile   = "at1.jwt"
)

// Names that a BrokerConfig gives to what it configures.
const (
	WorkloadIdentity = "sandbox-vm"
	FirstConnection  = "hr-prod"
	SecondConnection = "hr-second"
)

// ConfigOptions says what a BrokerConfig holds beyond what Info knows. An empty
// field leaves its key out, so that the broker's default applies.
type ConfigOptions struct {
	// Dir is the directory given to WriteFiles. Required.
	Dir         string
	ProxyListen string
	PublicURLs  []string
	AdminListen string
	StateDir    string
	AuditFile   string
	// Callers are the callers of the first connection: name to SHA-256 of the key, in hex.
	Callers map[string]string
	// SecondCallers are those of the second; empty leaves the second connection out.
	SecondCallers map[string]string
	// Allow is what all callers may read: entity sets and navigation paths. Required
	// when there are callers: the broker refuses a caller that may do nothing.
	Allow []string
	// Source is SourceEntra when empty.
	Source Source
}

// BrokerConfig returns the configuration of a broker that uses the sandbox.
func (i Info) BrokerConfig(o ConfigOptions) []byte {
	var w yamlWriter
	w.line(0, "version: 1")
	w.line(0, "allow_insecure_loopback: true")
	if o.ProxyListen != "" || len(o.PublicURLs) > 0 {
		w.line(0, "proxy:")
		w.field(1, "listen", o.ProxyListen)
		w.list(1, "public_urls", o.PublicURLs)
	}
	w.section("admin", "listen", o.AdminListen)
	if i.CAPEM != "" {
		w.section("egress", "ca_file", filepath.Join(o.Dir, CAFile))
	}
	w.section("state", "dir", o.StateDir)
	w.section("audit", "file", o.AuditFile)

	w.line(0, "workload_identities:")
	w.line(1, WorkloadIdentity+":")
	i.writeSource(&w, o)
	w.line(2, "trust_by_issuer:")
	w.field(3, "issuer", i.Issuer)
	w.field(3, "jwks_uri", i.JWKSURI)
	w.field(3, "subject", i.Subject)
	w.field(3, "audience", i.Audience)

	w.line(0, "connections:")
	i.writeConnection(&w, FirstConnection, i.First())
	if i.Second != nil && len(o.SecondCallers) > 0 {
		i.writeConnection(&w, SecondConnection, *i.Second)
	}
	if len(o.Callers)+len(o.SecondCallers) > 0 {
		w.line(0, "callers:")
		w.callers(FirstConnection, o.Callers, o.Allow)
		w.callers(SecondConnection, o.SecondCallers, o.Allow)
	}
	return w.Bytes()
}

func (i Info) writeSource(w *yamlWriter, o ConfigOptions) {
	w.line(2, "source:")
	if o.Source == SourceFile {
		w.line(3, "file:")
		w.field(4, "path", filepath.Join(o.Dir, AssertionFile))
		return
	}
	w.line(3, "entra:")
	w.field(4, "tenant_id", i.TenantID)
	w.field(4, "client_id", i.WorkloadClientID)
	w.field(4, "scope", i.Scope)
	w.field(4, "authority", i.EntraURL)
	if o.Source == SourceEntraCertificate {
		w.line(4, "certificate:")
		w.field(5, "cert_file", filepath.Join(o.Dir, CertificateFile))
		w.field(5, "key_file", filepath.Join(o.Dir, KeyFile))
		return
	}
	w.field(4, "client_secret", "file:"+filepath.Join(o.Dir, SecretFile))
}

func (i Info) writeConnection(w *yamlWriter, name string, c Company) {
	w.line(1, name+":")
	w.field(2, "workload_identity", WorkloadIdentity)
	w.line(2, "ias:")
	w.field(3, "url", i.IASURL)
	w.field(3, "client_id", c.IASClientID)
	w.field(3, "dependency", c.Dependency)
	w.line(2, "successfactors:")
	w.field(3, "api_url", c.APIURL)
	w.field(3, "company_id", c.CompanyID)
	w.field(3, "technical_user", c.TechnicalUser)
	w.field(3, "application_type", c.ApplicationType)
}

// yamlWriter writes block YAML; every scalar is a quoted JSON string, which is YAML.
type yamlWriter struct{ bytes.Buffer }

func (w *yamlWriter) line(depth int, text string) {
	w.WriteString(strings.Repeat("  ", depth) + text + "\n")
}

func (w *yamlWriter) field(depth int, key, value string) {
	if value != "" {
		w.line(depth, key+": "+quote(value))
	}
}

func (w *yamlWriter) list(depth int, key string, values []string) {
	if len(values) == 0 {
		return
	}
	quoted := make([]string, len(values))
	for n, v := range values {
		quoted[n] = quote(v)
	}
	w.line(depth, key+": ["+strings.Join(quoted, ", ")+"]")
}

func (w *yamlWriter) section(name, key, value string) {
	if value != "" {
		w.line(0, name+":")
		w.field(1, key, value)
	}
}

func (w *yamlWriter) callers(connection string, callers map[string]string, allow []string) {
	for _, name := range slices.Sorted(maps.Keys(callers)) {
		w.line(1, quote(name)+":")
		w.field(2, "connection", connection)
		w.line(2, "key:")
		w.field(3, "sha256", callers[name])
		if len(allow) > 0 {
			w.line(2, "allow:")
			w.list(3, "read", allow)
		}
	}
}

func quote(s string) string {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(s); err != nil {
		return `""` // a string always encodes
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// WriteFiles writes what a BrokerConfig refers to into dir, which must exist:
// the client secret, the client certificate with its key (made and registered
// at Entra at the first call), and, with TLS, the CA. Secrets are 0600.
func (s *Sandbox) WriteFiles(dir string) error {
	certificate, err := s.certificate()
	if err != nil {
		return err
	}
	err = errors.Join(
		writeFile(dir, SecretFile, s.Info.WorkloadClientSecret+"\n", 0o600),
		writeFile(dir, CertificateFile, certificate.certPEM, 0o644),
		writeFile(dir, KeyFile, certificate.keyPEM, 0o600),
	)
	if s.Info.CAPEM != "" {
		err = errors.Join(err, writeFile(dir, CAFile, s.Info.CAPEM, 0o644))
	}
	return err
}

// WriteAssertion writes a fresh AT1 into dir, 0600, in one rename: what an
// agent on the job's machine would do.
func (s *Sandbox) WriteAssertion(dir string) error {
	assertion, err := s.Assertion()
	if err != nil {
		return err
	}
	return writeFile(dir, AssertionFile, assertion+"\n", 0o600)
}

// writeFile replaces a file in one rename, so that no reader sees half of it.
func writeFile(dir, name, content string, mode os.FileMode) (err error) {
	temporary, err := os.CreateTemp(dir, "."+name+"-*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temporary.Name())
		}
	}()
	_, err = temporary.WriteString(content)
	err = errors.Join(err, temporary.Chmod(mode), temporary.Close())
	if err == nil {
		err = os.Rename(temporary.Name(), filepath.Join(dir, name))
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}
