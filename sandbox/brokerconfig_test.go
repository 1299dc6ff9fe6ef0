package sandbox_test

import (
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"sfbroker/sandbox"
)

// written is a BrokerConfig as a YAML reader sees it.
type written map[string]any

func (w written) at(path string) any {
	var node any = map[string]any(w)
	for key := range strings.SplitSeq(path, "/") {
		fields, _ := node.(map[string]any)
		node = fields[key]
	}
	return node
}

func parse(t *testing.T, text []byte) written {
	t.Helper()
	var w written
	if err := yaml.UnmarshalWithOptions(text, &w, yaml.Strict()); err != nil {
		t.Fatalf("not YAML: %v\n%s", err, text)
	}
	return w
}

func TestBrokerConfig(t *testing.T) {
	s, _ := start(t, sandbox.Config{TLS: true})
	options := sandbox.ConfigOptions{
		Dir: "/some dir/it's \"here\"", ProxyListen: "127.0.0.1:8020", PublicURLs: []string{"http://localhost:8020"},
		AdminListen: "127.0.0.1:8021", StateDir: "/state", AuditFile: "/audit.jsonl",
		Callers: map[string]string{"nightly": strings.Repeat("ab", 32)}, Allow: []string{"User", "PerPerson/employmentNav"},
	}
	w := parse(t, s.Info.BrokerConfig(options))
	i := s.Info
	for path, want := range map[string]any{
		"allow_insecure_loopback": true,
		"proxy/listen":            options.ProxyListen,
		"admin/listen":            options.AdminListen,
		"egress/ca_file":          options.Dir + "/" + sandbox.CAFile,
		"state/dir":               options.StateDir,
		"audit/file":              options.AuditFile,
		"workload_identities/sandbox-vm/source/entra/tenant_id":     i.TenantID,
		"workload_identities/sandbox-vm/source/entra/client_id":     i.WorkloadClientID,
		"workload_identities/sandbox-vm/source/entra/scope":         i.Scope,
		"workload_identities/sandbox-vm/source/entra/authority":     i.EntraURL,
		"workload_identities/sandbox-vm/source/entra/client_secret": "file:" + options.Dir + "/" + sandbox.SecretFile,
		"workload_identities/sandbox-vm/trust_by_issuer/issuer":     i.Issuer,
		"workload_identities/sandbox-vm/trust_by_issuer/jwks_uri":   i.JWKSURI,
		"workload_identities/sandbox-vm/trust_by_issuer/subject":    i.Subject,
		"workload_identities/sandbox-vm/trust_by_issuer/audience":   i.Audience,
		"connections/hr-prod/workload_identity":                     "sandbox-vm",
		"connections/hr-prod/ias/url":                               i.IASURL,
		"connections/hr-prod/ias/client_id":                         i.IASClientID,
		"connections/hr-prod/ias/dependency":                        i.Dependency,
		"connections/hr-prod/successfactors/api_url":                i.APIURL,
		"connections/hr-prod/successfactors/company_id":             i.CompanyID,
		"connections/hr-prod/successfactors/technical_user":         i.TechnicalUser,
		"connections/hr-prod/successfactors/application_type":       i.ApplicationType,
		"callers/nightly/connection":                                "hr-prod",
		"callers/nightly/key/sha256":                                options.Callers["nightly"],
		"connections/hr-second":                                     nil,
		"workload_identities/sandbox-vm/source/entra/certificate":   nil,
		"workload_identities/sandbox-vm/source/file":                nil,
	} {
		if got := w.at(path); got != want {
			t.Errorf("%s: got %v, want %v", path, got, want)
		}
	}
	if got, _ := w.at("callers/nightly/allow/read").([]any); len(got) != 2 || got[0] != "User" {
		t.Errorf("allow: %v", got)
	}
	if text := string(s.Info.BrokerConfig(options)); strings.Contains(text, i.WorkloadClientSecret) || strings.Contains(text, i.ControlToken) {
		t.Error("a secret is in the configuration")
	}
}

func TestBrokerConfigSources(t *testing.T) {
	s, _ := start(t, sandbox.Config{})
	for source, path := range map[sandbox.Source]string{
		sandbox.SourceEntraCertificate: "entra/certificate/key_file",
		sandbox.SourceEntra:            "entra/client_secret",
		sandbox.SourceFile:             "file/path",
	} {
		w := parse(t, s.Info.BrokerConfig(sandbox.ConfigOptions{Dir: "/d", Source: source}))
		if got, _ := w.at("workload_identities/sandbox-vm/source/" + path).(string); !strings.Contains(got, "/d/") {
			t.Errorf("%s: %q", source, got)
		}
		for _, section := range []string{"proxy", "admin", "egress", "state", "audit", "callers"} {
			if w.at(section) != nil {
				t.Errorf("%s: %s is there without anything in it", source, section)
			}
		}
	}
	w := parse(t, s.Info.BrokerConfig(sandbox.ConfigOptions{Dir: "/d", SecondCallers: map[string]string{"other": strings.Repeat("cd", 32)}}))
	if got := w.at("connections/hr-second/ias/client_id"); got != s.Info.Second.IASClientID {
		t.Errorf("second connection: %v", got)
	}
	if got := w.at("callers/other/connection"); got != "hr-second" {
		t.Errorf("its caller: %v", got)
	}
}
