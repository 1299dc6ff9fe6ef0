package config_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sfbroker/config"
)

// mark stands in a row's text where the problem must be reported; it is taken out before the text is read.
const mark = "§"

const base = `version: 1
workload_identities:
  vm:
    source: {file: {path: /run/at1.jwt}}
    trust_by_issuer: {issuer: "https://issuer.example.com", subject: sub-1, audience: aud-1}
connections:
  hr:
    workload_identity: vm
    ias: {url: "https://acme.accounts.ondemand.com", client_id: c1, dependency: SF-EC-TA}
    successfactors: {api_url: "https://api012.successfactors.eu", company_id: ACME, technical_user: sfapi}
callers:
  nightly:
    connection: hr
    key: {sha256: "7f83b1657ff1fc53b92dc18148a1d65dfc2d4b1fa3d677284addd200126d9069"}
    allow: {read: [PerPerson]}
`

const otherHash = "0000000000000000000000000000000000000000000000000000000000000001"

// change replaces one part of base; an empty old appends.
func change(t *testing.T, old, new string) string {
	t.Helper()
	if old == "" {
		return base + new
	}
	if strings.Count(base, old) != 1 {
		t.Fatalf("%q stands %d times in the base document", old, strings.Count(base, old))
	}
	return strings.Replace(base, old, new, 1)
}

// unmark takes the mark out and returns its line and column.
func unmark(t *testing.T, text string) (plain string, line, column int) {
	t.Helper()
	before, after, ok := strings.Cut(text, mark)
	if !ok {
		t.Fatalf("no %s in the row", mark)
	}
	line = 1 + strings.Count(before, "\n")
	column = 1 + len([]rune(before[strings.LastIndex(before, "\n")+1:]))
	return before + after, line, column
}

func parse(text string) (*config.Config, error) {
	return config.Parse("sfbroker.yaml", []byte(text), hermetic())
}

// hermetic is an environment in which nothing exists.
func hermetic() config.Env {
	return config.Env{
		LookupEnv: func(string) (string, bool) { return "", false },
		ReadFile: func(name string) ([]byte, error) {
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		},
		Stat: func(name string) (fs.FileInfo, error) {
			return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
		},
	}
}

func problems(t *testing.T, err error) config.Problems {
	t.Helper()
	var ps config.Problems
	if !errors.As(err, &ps) || len(ps) == 0 {
		t.Fatalf("got error %v, want Problems", err)
	}
	return ps
}

func TestExampleOfTheDesign(t *testing.T) {
	c, err := config.Load(filepath.Join("testdata", "example.yaml"), config.Env{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.Connections["hr-prod"].IAS.TokenURL, "https://acme.accounts.ondemand.com/oauth2/token"; got != want {
		t.Errorf("token URL %q, want %q", got, want)
	}
	if got, want := c.Callers["nightly"].Allow.Read[2], "PerPerson/employmentNav/jobInfoNav"; got != want {
		t.Errorf("allow.read[2] %q, want %q", got, want)
	}
	if risks := c.Risks(); len(risks) != 0 {
		t.Errorf("unexpected risks:\n%v", config.Problems(risks))
	}
}

func TestEveryAcceptedKey(t *testing.T) {
	c, err := config.Load(filepath.Join("testdata", "full.yaml"), config.Env{})
	if err != nil {
		t.Fatal(err)
	}
	entra := c.WorkloadIdentities["by-secret"].Source.Entra
	for _, row := range []struct{ name, got, want string }{
		{"a slash at the end of a public URL goes", c.Proxy.PublicURLs[0], "https://sfbroker.example.com"},
		{"a slash at the end of ias.url goes", c.Connections["a"].IAS.URL, "https://sso.example.com"},
		{"a slash at the end of api_url goes", c.Connections["a"].SuccessFactors.APIURL, "https://api15.sapsf.cn"},
		{"a token URL is kept", c.Connections["a"].IAS.TokenURL, "https://sso.example.com/tenant/token"},
		{"a number is the text that was written", c.Connections["a"].SuccessFactors.CompanyID, "0123"},
		{"an issuer keeps its slash", c.WorkloadIdentities["by-certificate"].TrustByIssuer.Issuer, "https://issuer.example.com/"},
		{"the token URL of Entra follows the authority", entra.TokenURL, "https://login.microsoftonline.us/11111111-2222-3333-4444-555555555555/oauth2/v2.0/token"},
		{"a token URL of Entra is kept", c.WorkloadIdentities["by-certificate"].Source.Entra.TokenURL, "http://127.0.0.1:9000/token"},
		{"a relative path counts from the file", c.WorkloadIdentities["by-file"].Source.File.Path, filepath.Join("testdata", "at1.jwt")},
		{"an absolute path is kept", c.State.Dir, "/var/lib/sfbroker"},
		{"a hash is lower case", c.Callers["one"].Key.SHA256, "7f83b1657ff1fc53b92dc18148a1d65dfc2d4b1fa3d677284addd200126d9069"},
		{"a duration", c.Proxy.Drain.Timeout.String(), "1m30s"},
		{"a duration of nothing is not the default", c.Proxy.Drain.LameDuck.String(), "0s"},
	} {
		if row.got != row.want {
			t.Errorf("%s: got %q, want %q", row.name, row.got, row.want)
		}
	}
}

func TestDefaults(t *testing.T) {
	c, err := parse("version: 1\n")
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(c.Proxy.Listen, c.Proxy.PublicURLs, c.Admin.Listen, c.Proxy.Drain.LameDuck, c.Proxy.Drain.Timeout, c.Log.Level, c.Log.Format)
	want := fmt.Sprint("127.0.0.1:8020", []string{"http://127.0.0.1:8020"}, "127.0.0.1:8021", 5*time.Second, 30*time.Second, "info", "text")
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	c, err = parse(base)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.WorkloadIdentities["vm"].TrustByIssuer.Algorithms; len(got) != 1 || got[0] != "RS256" {
		t.Errorf("algorithms %v, want [RS256]", got)
	}
	c, err = parse(change(t, "{file: {path: /run/at1.jwt}}", "{entra: {tenant_id: t1, client_id: c, scope: api://x/.default, client_secret: 'file:s'}}"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.WorkloadIdentities["vm"].Source.Entra.TokenURL, "https://login.microsoftonline.com/t1/oauth2/v2.0/token"; got != want {
		t.Errorf("token URL %q, want %q", got, want)
	}
}

func TestPublicURLDefault(t *testing.T) {
	for _, row := range []struct{ name, proxy, want string }{
		{"loopback", `{listen: "127.0.0.1:9000"}`, "[http://127.0.0.1:9000]"},
		{"loopback of version 6", `{listen: "[::1]:9000"}`, "[http://[::1]:9000]"},
		{"with a certificate", `{listen: "localhost:9000", tls: {cert_file: a, key_file: b}}`, "[https://localhost:9000]"},
		{"a port that is not known yet", `{listen: "127.0.0.1:0"}`, "[]"},
	} {
		t.Run(row.name, func(t *testing.T) {
			c, err := parse("version: 1\nproxy: " + row.proxy)
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(c.Proxy.PublicURLs); got != row.want {
				t.Errorf("got %s, want %s", got, row.want)
			}
		})
	}
}

func TestTenProblemsAtOnce(t *testing.T) {
	_, err := config.Load(filepath.Join("testdata", "ten.yaml"), config.Env{})
	ps := problems(t, err)
	if len(ps) < 10 {
		t.Errorf("%d problems, want at least 10", len(ps))
	}
	golden(t, "ten.golden", ps.Error()+"\n")
}

func TestProblemAtTheNearestNode(t *testing.T) {
	c, err := parse(base)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		path         string
		line, column int
	}{
		{"connections.hr.ias.url", 9, 16},
		{"connections.hr.ias.token_url", 9, 5},
		{"connections.hr", 7, 3},
		{"callers.nightly.allow.read[0]", 15, 20},
		{"callers.nightly.allow.read[7]", 15, 19},
		{"callers.nightly.allow", 15, 5},
		{"proxy.tls.key_file", 1, 1},
		{"", 1, 1},
	} {
		p := c.Problem(row.path, "message", "hint")
		if p.Line != row.line || p.Column != row.column {
			t.Errorf("%s: at %d:%d, want %d:%d", row.path, p.Line, p.Column, row.line, row.column)
		}
		if p.File != "sfbroker.yaml" || p.Path != row.path || p.Message != "message" || p.Hint != "hint" {
			t.Errorf("%s: got %+v", row.path, p)
		}
	}
}

func TestRisks(t *testing.T) {
	folder := t.TempDir()
	secret := filepath.Join(folder, "secret")
	if err := os.WriteFile(secret, []byte("s"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := change(t, "{file: {path: /run/at1.jwt}}", "{entra: {tenant_id: t1, client_id: c, scope: api://x/.default, client_secret: 'file:"+secret+"'}}")
	count := func(text string) config.Problems {
		t.Helper()
		c, err := config.Parse("sfbroker.yaml", []byte(text), config.Env{})
		if err != nil {
			t.Fatal(err)
		}
		return c.Risks()
	}
	if risks := count(text); len(risks) != 0 {
		t.Errorf("a secret file with mode 0600 is a risk:\n%v", risks)
	}
	if err := os.Chmod(secret, 0o644); err != nil { //nolint:gosec // what the test is about
		t.Fatal(err)
	}
	risks := count(text)
	if len(risks) != 1 || risks[0].Path != "workload_identities.vm.source.entra.client_secret" || risks[0].Line != 4 ||
		!strings.Contains(risks[0].Message, "its group and every user") || !strings.Contains(risks[0].Hint, "chmod 0600 ") {
		t.Errorf("a secret file with mode 0644: got\n%v", risks)
	}
	for _, row := range []struct{ name, old, new, path string }{
		{"everything may be read", "[PerPerson]", `["*"]`, "callers.nightly.allow.read"},
		{"anonymous", `key: {sha256: "7f83b1657ff1fc53b92dc18148a1d65dfc2d4b1fa3d677284addd200126d9069"}`, "anonymous: true", "callers.nightly.anonymous"},
		{"plain http on loopback", "version: 1", "version: 1\nallow_insecure_loopback: true", "allow_insecure_loopback"},
		{"a host beyond SAP's", "version: 1", "version: 1\nallow_hosts: [sso.example.com]", "allow_hosts[0]"},
		{"plain http to a load balancer", "version: 1", "version: 1\nproxy: {tls_terminated_by: [127.0.0.0/8], public_urls: ['http://sfbroker']}", "proxy.public_urls[0]"},
	} {
		t.Run(row.name, func(t *testing.T) {
			c, err := parse(change(t, row.old, row.new))
			if err != nil {
				t.Fatal(err)
			}
			if risks := c.Risks(); len(risks) != 1 || risks[0].Path != row.path || risks[0].Hint == "" || risks[0].Line == 0 {
				t.Errorf("got %+v, want one at %s", risks, row.path)
			}
		})
	}
}

func TestTerminatedByIsParsed(t *testing.T) {
	c, err := parse("version: 1\nproxy: {listen: '0.0.0.0:8020', public_urls: ['https://x'], tls_terminated_by: [10.20.0.0/16, '2001:db8::/32']}")
	if err != nil {
		t.Fatal(err)
	}
	want := []netip.Prefix{netip.MustParsePrefix("10.20.0.0/16"), netip.MustParsePrefix("2001:db8::/32")}
	if got := c.Proxy.TLSTerminatedBy; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestNames(t *testing.T) {
	if got := config.Names(map[string]int{"b": 1, "a": 2}); fmt.Sprint(got) != "[a b]" {
		t.Errorf("got %v", got)
	}
}

func TestReportIsBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString("version: 1\n")
	for i := range 500 {
		fmt.Fprintf(&b, "unknown-%d: 1\n", i)
	}
	_, err := parse(b.String())
	ps := problems(t, err)
	if len(ps) != 201 || ps[200].Message != "300 more problems" {
		t.Errorf("%d problems, the last one %q", len(ps), ps[len(ps)-1].Message)
	}
}
