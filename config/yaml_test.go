package config_test

import (
	"strings"
	"testing"
)

func TestAnonymousNeedsLoopback(t *testing.T) {
	withoutKey := strings.Replace(base, "    "+oldKey+"\n", "    §anonymous: true\n", 1)
	for _, row := range []struct{ name, proxy, message string }{
		{"on loopback", "{listen: 'localhost:1'}", ""},
		{"on the network", "{listen: '0.0.0.0:1', public_urls: ['https://x'], tls: {cert_file: a, key_file: b}}", "needs proxy.listen on a loopback address"},
		{"behind a load balancer", "{public_urls: ['https://x'], tls_terminated_by: [10.0.0.0/8]}", "does not go with proxy.tls_terminated_by"},
	} {
		t.Run(row.name, func(t *testing.T) {
			text, line, _ := unmark(t, withoutKey+"proxy: "+row.proxy+"\n")
			_, err := parse(text)
			if row.message == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			ps := problems(t, err)
			if len(ps) != 1 || ps[0].Path != "callers.nightly.anonymous" || ps[0].Line != line || !strings.Contains(ps[0].Message, row.message) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestOneAnonymousCaller(t *testing.T) {
	text := strings.Replace(base, oldKey, "anonymous: true", 1) + "  other: {connection: hr, anonymous: true, allow: {read: [A]}}\n"
	_, err := parse(text)
	ps := problems(t, err)
	if len(ps) != 1 || ps[0].Path != "callers.other.anonymous" || !strings.Contains(ps[0].Message, "is set at callers.nightly too") {
		t.Errorf("got %v", err)
	}
}

func TestLoopbackNeedsTheSwitch(t *testing.T) {
	text := strings.NewReplacer("https://acme.accounts.ondemand.com", "http://127.0.0.1:9001", "https://api012.successfactors.eu", "http://[::1]:9002", "https://issuer.example.com", "http://localhost:9003").Replace(base)
	_, err := parse(text)
	ps := problems(t, err)
	if len(ps) != 3 {
		t.Errorf("%d problems, want 3: %v", len(ps), err)
	}
	for _, p := range ps {
		if !strings.Contains(p.Hint, "allow_insecure_loopback: true") {
			t.Errorf("%s: hint %q", p.Path, p.Hint)
		}
	}
	if _, err := parse(text + "allow_insecure_loopback: true\n"); err != nil {
		t.Errorf("with the switch: %v", err)
	}
	beyond := strings.Replace(text, "127.0.0.1:9001", "127.0.0.1.evil.tld:9001", 1) + "allow_insecure_loopback: true\n"
	if ps := problems(t, second(parse(beyond))); len(ps) != 1 || ps[0].Path != "connections.hr.ias.url" {
		t.Errorf("a host that begins like loopback: %v", ps)
	}
}

func second[T any](_ T, err error) error { return err }

func TestAllowedHostsAreExact(t *testing.T) {
	for _, row := range []struct {
		name, url string
		ok        bool
	}{
		{"the host", "https://sso.example.com", true},
		{"the host in capitals", "https://SSO.example.com", true},
		{"the host with its port", "https://port.example.com:8443", true},
		{"a host below it", "https://x.sso.example.com", false},
		{"a host that ends like it", "https://xsso.example.com", false},
		{"the host with another port", "https://sso.example.com:8443", false},
		{"the host without its port", "https://port.example.com", false},
		{"the host in plain http", "http://sso.example.com", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			text := strings.Replace(base, "https://acme.accounts.ondemand.com", row.url, 1) + "allow_hosts: [sso.example.com, 'port.example.com:8443']\n"
			_, err := parse(text)
			if (err == nil) != row.ok {
				t.Errorf("error %v, want ok %v", err, row.ok)
			}
			if err != nil && problems(t, err)[0].Path != "connections.hr.ias.url" {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestSameUserOfAnotherCompany(t *testing.T) {
	other := strings.Replace(base, "callers:\n", `  us:
    workload_identity: vm
    ias: {url: "https://acme.accounts.ondemand.com", client_id: c2, dependency: D}
    successfactors: {api_url: "https://api4.successfactors.com", company_id: COMPANY, technical_user: sfapi}
callers:
`, 1) + strings.Replace(secondUser, "connection: hr", "connection: us\n    username: nightly", 1)
	if _, err := parse(strings.Replace(other, "COMPANY", "US", 1)); err != nil {
		t.Errorf("another company: %v", err)
	}
	_, err := parse(strings.Replace(other, "COMPANY", "ACME", 1))
	if ps := problems(t, err); len(ps) != 1 || ps[0].Path != "callers.weekly.username" {
		t.Errorf("the same company by another connection: %v", err)
	}
}

func TestYAML(t *testing.T) {
	for _, row := range []struct{ name, text, message, hint string }{
		{"an anchor", "version: §&v 1\n", "anchors", "write the value out"},
		{"an alias", "version: 1\nlog: §*v\n", "aliases", "write the value out"},
		{"a merge key", "version: 1\nlog:\n  §<<: {level: info}\n", "merge keys", "write the value out"},
		{"a tag", "version: §!!str 1\n", "tags", "remove it"},
		{"a directive", "§%YAML 1.2\n---\nversion: 1\n", "directives", "remove the line"},
		{"a complex key", "§? version\n: 1\n", "complex keys", "key: value"},
		{"a second document", "version: 1\n§---\nversion: 1\n", "second YAML document", "include"},
		{"a second document after dots", "version: 1\n...\n§version: 1\n", "second YAML document", "include"},
		{"a tab", "version: 1\nlog:\n§\tlevel: info\n", "a tab where spaces belong", "indent with spaces"},
		{"an open quote", "version: 1\nlog: {level: §\"info}\n", "not valid YAML", "indentation"},
		{"an open brace", "version: 1\nlog: §{level: info\n", "not valid YAML", "indentation"},
		{"a colon in a value", "version: 1\naudit: {file: a}\nlog:\n  level: §a: b\n", "not valid YAML", "quote a value"},
		{"a control character", "version: 1\n# §\x01\n", "U+0001", "remove it"},
		{"a carriage return alone", "version: 1§\rlog: {}\n", "U+000D", "remove it"},
		{"not UTF-8", "version: 1\n# §\xff\n", "not UTF-8", "save it as UTF-8"},
		{"a list", "§- version: 1\n", "holds a list, not a map", "version: 1"},
		{"text", "§hello\n", "holds text, not a map", "version: 1"},
		{"brackets without end", strings.Repeat("[", 16) + "§" + strings.Repeat("[", 50000), "nested too deeply", "6 levels"},
		{"dashes without end", strings.Repeat("- ", 200) + "§" + strings.Repeat("- ", 50000), "nested too deeply", "6 levels"},
		{"maps in maps", deepMap(), "nested too deeply", "6 levels"},
	} {
		t.Run(row.name, func(t *testing.T) {
			text, line, column := unmark(t, row.text)
			_, err := parse(text)
			ps := problems(t, err)
			if p := ps[0]; len(ps) != 1 || p.Line != line || p.Column != column || !strings.Contains(p.Message, row.message) || !strings.Contains(p.Hint, row.hint) {
				t.Errorf("want %d:%d %q, hint %q; got\n%v", line, column, row.message, row.hint, err)
			}
		})
	}
}

// deepMap nests maps by indentation, with the mark at the first key that is too deep.
func deepMap() string {
	var b strings.Builder
	for i := range 30 {
		m := ""
		if i == 16 {
			m = mark
		}
		b.WriteString(strings.Repeat(" ", i) + m + "a:\n")
	}
	return b.String()
}

func TestYAMLThatIsAccepted(t *testing.T) {
	for _, row := range []struct{ name, text string }{
		{"a byte order mark", "\ufeffversion: 1\n"},
		{"lines of Windows", strings.ReplaceAll(base, "\n", "\r\n")},
		{"one document that says so", "---\nversion: 1\n...\n"},
		{"comments", "# 📛 <x> &a *b\nversion: 1 # !x\n"},
		{"quoted characters of YAML", "version: 1\naudit: {file: '&a *b !c'}\n"},
		{"no line end", "version: 1"},
		{"JSON", `{"version": 1, "log": {"level": "info"}}`},
	} {
		t.Run(row.name, func(t *testing.T) {
			if _, err := parse(row.text); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestPositionsAfterOtherText(t *testing.T) {
	for _, row := range []struct{ name, text string }{
		{"after letters of several bytes", "version: 1\naudit: {file: 'é漢字', §fill: x}\n"},
		{"after lines of Windows", "version: 1\r\nlog:\r\n  level: info\r\n  §lefel: info\r\n"},
		{"after a byte order mark", "\ufeffversion: 1\nlog: {§lefel: info}\n"},
		{"after a folded text", "version: 1\naudit:\n  file: a\n    b\nlog: {§lefel: info}\n"},
		{"after a literal text", "version: 1\negress:\n  ca_file: |-\n    b\nlog:\n  §lefel: info\n"},
		{"after a quoted text of two lines", "version: 1\negress:\n  ca_file: \"a\n    b\"\nlog:\n  §lefel: info\n"},
		{"after comments and blanks", "# a\n\n\nversion: 1   # b\nlog:   { §lefel:   info }\n"},
	} {
		t.Run(row.name, func(t *testing.T) {
			text, line, column := unmark(t, row.text)
			ps := problems(t, second(parse(text)))
			if p := ps[0]; len(ps) != 1 || p.Line != line || p.Column != column {
				t.Errorf("want one at %d:%d, got\n%v", line, column, ps)
			}
		})
	}
}

func TestTooLarge(t *testing.T) {
	for _, row := range []struct{ name, text, message string }{
		{"in bytes", "version: 1\n#" + strings.Repeat("x", 1<<20), "larger than 1 MiB"},
		{"in values", "version: 1\n" + strings.Repeat("a: b\n", 40000), "too many values"},
	} {
		t.Run(row.name, func(t *testing.T) {
			ps := problems(t, second(parse(row.text)))
			if len(ps) != 1 || !strings.Contains(ps[0].Message, row.message) || ps[0].Hint == "" {
				t.Errorf("got %v", ps)
			}
		})
	}
	if _, err := parse("version: 1\n#" + strings.Repeat("x", 1<<20-12)); err != nil {
		t.Errorf("exactly 1 MiB: %v", err)
	}
}
