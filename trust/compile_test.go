package trust_test

import (
	"errors"
	"testing"
	"time"

	"sfbroker/trust"
)

func TestCompileRefuses(t *testing.T) {
	good := func() trust.Rule {
		return trust.Rule{Name: "r", Issuer: "https://a.example", JWKSURI: "https://a.example/keys", Subject: "s", Audience: "a"}
	}
	rows := []struct {
		name  string
		edit  func(*trust.Rule)
		field string // empty: accepted
	}{
		{"control", func(*trust.Rule) {}, ""},
		{"no name", func(r *trust.Rule) { r.Name = "" }, "name"},
		{"no issuer", func(r *trust.Rule) { r.Issuer = "" }, "issuer"},
		{"no subject", func(r *trust.Rule) { r.Subject = "" }, "subject"},
		{"no audience", func(r *trust.Rule) { r.Audience = "" }, "audience"},
		{"white space", func(r *trust.Rule) { r.Subject = "s " }, "subject"},
		{"control character", func(r *trust.Rule) { r.Audience = "a\x00b" }, "audience"},
		{"plain http", func(r *trust.Rule) { r.JWKSURI = "http://a.example/keys" }, "jwks_uri"},
		{"plain http toward loopback without leave", func(r *trust.Rule) { r.JWKSURI = "http://127.0.0.1/keys" }, "jwks_uri"},
		{"user in the address", func(r *trust.Rule) { r.JWKSURI = "https://u:p@a.example/keys" }, "jwks_uri"},
		{"file address", func(r *trust.Rule) { r.JWKSURI = "file:///etc/passwd" }, "jwks_uri"},
		{"relative address", func(r *trust.Rule) { r.JWKSURI = "/keys" }, "jwks_uri"},
		{"file and address", func(r *trust.Rule) { r.KeysFile = "/x" }, "jwks_file"},
		{"file alone", func(r *trust.Rule) { r.KeysFile, r.JWKSURI, r.Issuer = "/x", "", "any issuer" }, ""},
		{"discovery", func(r *trust.Rule) { r.JWKSURI = "" }, ""},
		{"discovery at no URL", func(r *trust.Rule) { r.JWKSURI, r.Issuer = "", "issuer" }, "issuer"},
		{"discovery with a query", func(r *trust.Rule) { r.JWKSURI, r.Issuer = "", "https://a.example?x" }, "issuer"},
		{"discovery in plain http", func(r *trust.Rule) { r.JWKSURI, r.Issuer = "", "http://a.example" }, "issuer"},
		{"algorithm none", func(r *trust.Rule) { r.Algorithms = []string{"none"} }, "algorithms"},
		{"algorithm HS256", func(r *trust.Rule) { r.Algorithms = []string{"RS256", "HS256"} }, "algorithms"},
		{"all algorithms", func(r *trust.Rule) { r.Algorithms = trust.Algorithms() }, ""},
		{"type empty", func(r *trust.Rule) { r.Types = []string{""} }, "types"},
		{"type pattern", func(r *trust.Rule) { r.Types = []string{"*+jwt"} }, "types"},
		{"skew at the cap", func(r *trust.Rule) { r.Skew = 300 * time.Second }, ""},
		{"skew above the cap", func(r *trust.Rule) { r.Skew = 301 * time.Second }, "skew"},
		{"negative skew", func(r *trust.Rule) { r.Skew = -1 }, "skew"},
		{"negative lifetime", func(r *trust.Rule) { r.MaxLifetime = -1 }, "max_lifetime"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			rule := good()
			row.edit(&rule)
			wantField(t, trust.Config{Rules: []trust.Rule{rule}}, row.field)
		})
	}
	same, otherKeys := good(), good()
	same.Name, otherKeys.Name = "r2", "r2"
	otherKeys.Subject, otherKeys.JWKSURI = "s2", "https://a.example/other"
	wantField(t, trust.Config{}, "rules")
	wantField(t, trust.Config{Rules: []trust.Rule{good(), same}}, "subject")
	wantField(t, trust.Config{Rules: []trust.Rule{good(), otherKeys}}, "jwks_uri")
	same.Name, same.Subject = "r", "s2"
	wantField(t, trust.Config{Rules: []trust.Rule{good(), same}}, "name")
}

func wantField(t *testing.T, config trust.Config, field string) {
	t.Helper()
	rules, err := trust.Compile(config)
	if field == "" {
		if err != nil {
			t.Fatal(err)
		}
		rules.Close()
		return
	}
	var problem *trust.RuleError
	if !errors.As(err, &problem) || problem.Field != field || rules != nil {
		t.Errorf("error %v, want one about %s", err, field)
	}
}

func TestCompileReportsEverythingAtOnce(t *testing.T) {
	_, err := trust.Compile(trust.Config{Rules: []trust.Rule{{Name: "r", Issuer: "https://a.example", JWKSURI: "http://a.example", Skew: time.Hour}}})
	joined, ok := err.(interface{ Unwrap() []error }) //nolint:errorlint // the join itself is asked
	if !ok || len(joined.Unwrap()) != 4 {
		t.Errorf("want 4 problems (subject, audience, jwks_uri, skew), got: %v", err)
	}
}
