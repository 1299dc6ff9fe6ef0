package config_test

import (
	"strings"
	"testing"
)

const (
	oldKey     = `key: {sha256: "7f83b1657ff1fc53b92dc18148a1d65dfc2d4b1fa3d677284addd200126d9069"}`
	oldSource  = "{file: {path: /run/at1.jwt}}"
	oldTrust   = `trust_by_issuer: {issuer: "https://issuer.example.com", subject: sub-1, audience: aud-1}`
	oldIssuer  = `issuer: "https://issuer.example.com"`
	oldURL     = `url: "https://acme.accounts.ondemand.com", c`
	oldAPI     = `api_url: "https://api012.successfactors.eu"`
	oldCompany = "company_id: ACME"
	oldUser    = "technical_user: sfapi"
	oldDep     = "dependency: SF-EC-TA"
	oldRead    = "read: [PerPerson]"
	oldCaller  = "    connection: hr\n"
	entraStart = "{entra: {tenant_id: t1, client_id: c, scope: api://x/.default, "
	secondUser = `  weekly:
    connection: hr
    key: {sha256: "` + otherHash + `"}
    allow: {read: [PerPerson]}
`
)

// rule is one thing that is refused: bad differs from good in that thing alone. Both replace old in the base document.
type rule struct {
	name           string
	old, bad, good string
	path           string
	message, hint  string
}

func rules() []rule {
	var all []rule
	for _, group := range [][]rule{topRules(), proxyRules(), adminRules(), sourceRules(), trustRules(), iasRules(), successFactorsRules(), callerRules(), textRules()} {
		all = append(all, group...)
	}
	return all
}

func TestRules(t *testing.T) {
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) {
			text, line, column := unmark(t, change(t, r.old, r.bad))
			_, err := parse(text)
			ps := problems(t, err)
			if len(ps) != 1 {
				t.Fatalf("%d problems, want 1:\n%v", len(ps), err)
			}
			p := ps[0]
			if p.File != "sfbroker.yaml" || p.Line != line || p.Column != column {
				t.Errorf("at %s:%d:%d, want %d:%d", p.File, p.Line, p.Column, line, column)
			}
			if p.Path != r.path {
				t.Errorf("path %q, want %q", p.Path, r.path)
			}
			if !strings.Contains(p.Message, r.message) || r.message == "" {
				t.Errorf("message %q, want something with %q", p.Message, r.message)
			}
			if !strings.Contains(p.Hint, r.hint) || r.hint == "" {
				t.Errorf("hint %q, want something with %q", p.Hint, r.hint)
			}
		})
		t.Run(r.name+"/neighbour", func(t *testing.T) {
			if _, err := parse(change(t, r.old, r.good)); err != nil {
				t.Errorf("the neighbour is refused:\n%v", err)
			}
		})
	}
}

func topRules() []rule {
	return []rule{
		{"a version is required", "version: 1", "§# none", "version: 1", "version", "is required", "add version"},
		{"a version of the future", "version: 1", "version: §2", "version: 1", "version", "this program reads version 1", "write version: 1"},
		{"a version is a number", "version: 1", "version: §'1'", "version: 1", "version", "text where a whole number belongs", "without quotes"},
		{"an unknown key", "", "§konnections: {}", "log: {}", "konnections", "unknown key", `did you mean "connections"?`},
		{"a key in another style", "version: 1", "version: 1\n§allowHosts: [x]", "version: 1\nallow_hosts: [x]", "allowHosts", "unknown key", `did you mean "allow_hosts"?`},
		{"a key one level too high", "", "§listen: ''", "proxy: {listen: 'localhost:1'}", "listen", "unknown key", `"listen" belongs under "proxy"`},
		{"a key of a later version", "", "§landscape: {}", "log: {}", "landscape", `this version does not enforce "landscape"`, "remove it; known keys here: admin,"},
		{"a key twice", "", "§version: 1", "log: {}", "version", "stands twice: first at sfbroker.yaml:1:1", "keep one"},
		{"a key without a value", "", "§log:", "log: {}", "log", "has no value", "give it a value or remove the line"},
		{"a map where a list belongs", "version: 1", "version: 1\n§allow_hosts: {}", "version: 1\nallow_hosts: []", "allow_hosts", "holds a map where a list belongs", "brackets"},
		{"a list where a map belongs", "", "log: §[]", "log: {}", "log", "holds a list where a map belongs", "level, format"},
		{"text where true or false belongs", "", "allow_insecure_loopback: §'yes'", "allow_insecure_loopback: true", "allow_insecure_loopback", "text where true or false belongs", "without quotes"},
		{"an unknown choice", "", "log: {level: §inof}", "log: {level: info}", "log.level", `"inof" is not accepted`, `did you mean "info"?`},
		{"choices are case sensitive", "", "log: {format: §JSON}", "log: {format: json}", "log.format", `"JSON" is not accepted`, `did you mean "json"?`},
		{"a host with a scheme", "", "allow_hosts: [§'https://sso.example.com']", "allow_hosts: [sso.example.com]", "allow_hosts[0]", "a scheme or a path", "no scheme, no path, no wildcard"},
		{"a host with a wildcard", "", "allow_hosts: [§'*.example.com']", "allow_hosts: ['a.example.com']", "allow_hosts[0]", "letters, digits, hyphens and dots", "no wildcard"},
		{"a host with port 0", "", "allow_hosts: [§'a.example.com:0']", "allow_hosts: ['a.example.com:1']", "allow_hosts[0]", "the port is not a number", "host:port"},
		{"a host in brackets that is no address", "", "allow_hosts: [§'[::g]:1']", "allow_hosts: ['[::1]:1']", "allow_hosts[0]", "is not a host", "host:port"},
		{"a host twice", "", "allow_hosts: [a, §a]", "allow_hosts: [a, b]", "allow_hosts[1]", "stands twice: first at sfbroker.yaml:16:15", "keep one"},
		{"a name with capitals", "", strings.Replace(secondUser, "weekly", "§Weekly_1", 1), strings.Replace(secondUser, "weekly", "weekly-1", 1), "callers.Weekly_1", "is not a name", `write "weekly-1"`},
		{"a name twice", "", secondUser + "  §weekly: {connection: hr, key: {sha256: \"" + strings.Replace(otherHash, "1", "2", 1) + "\"}, allow: {read: [A]}}", secondUser, "callers.weekly", "the name is defined twice: first at sfbroker.yaml:16:3", "rename or remove"},
	}
}

func proxyRules() []rule {
	const p = "proxy: "
	return []rule{
		{"listen without a port", "", p + "{listen: §127.0.0.1}", p + "{listen: 127.0.0.1:1}", "proxy.listen", "is not an address and a port", "127.0.0.1:8020"},
		{"listen on a name", "", p + "{listen: §'broker:8020'}", p + "{listen: 'localhost:8020'}", "proxy.listen", "not an IP address or localhost", "address:port"},
		{"listen on a port too high", "", p + "{listen: §'127.0.0.1:65536'}", p + "{listen: '127.0.0.1:65535'}", "proxy.listen", "from 0 to 65535", "address:port"},
		{"not loopback needs TLS", "", p + "{listen: §'0.0.0.0:8020', public_urls: ['http://127.0.0.1:8020']}", p + "{listen: '127.0.0.2:8020', public_urls: ['http://127.0.0.1:8020']}", "proxy.listen", "without TLS", "proxy.tls_terminated_by"},
		{"all addresses are not loopback", "", p + "{listen: §':8020', public_urls: ['http://127.0.0.1:8020']}", p + "{listen: ':8020', public_urls: ['https://x'], tls: {cert_file: a, key_file: b}}", "proxy.listen", "without TLS", "listen on 127.0.0.1"},
		{"not loopback needs public URLs", "", "§" + p + "{listen: '0.0.0.0:8020', tls: {cert_file: a, key_file: b}}", p + "{listen: '127.0.0.1:8020', tls: {cert_file: a, key_file: b}}", "proxy.public_urls", "is required where", "list how jobs reach it"},
		{"a load balancer needs public URLs", "", "§" + p + "{tls_terminated_by: [10.0.0.0/8]}", p + "{tls_terminated_by: [10.0.0.0/8], public_urls: ['https://x']}", "proxy.public_urls", "is required where", "list how jobs reach it"},
		{"a public URL is absolute", "", p + "{public_urls: [§'127.0.0.1:8020']}", p + "{public_urls: ['http://127.0.0.1:8020']}", "proxy.public_urls[0]", "not an absolute http or https URL", "https://"},
		{"a public URL has no path", "", p + "{public_urls: [§'http://127.0.0.1:8020/x']}", p + "{public_urls: ['http://127.0.0.1:8020/']}", "proxy.public_urls[0]", "has a path", "remove the path"},
		{"a public URL has no query", "", p + "{public_urls: [§'http://127.0.0.1:8020/?']}", p + "{public_urls: ['http://127.0.0.1:8020/']}", "proxy.public_urls[0]", "has a query", "remove ?"},
		{"a public URL has no fragment", "", p + "{public_urls: [§'http://127.0.0.1:8020/#']}", p + "{public_urls: ['http://127.0.0.1:8020']}", "proxy.public_urls[0]", "has a fragment", "remove #"},
		{"a public URL has no user", "", p + "{public_urls: [§'http://u:hunter2@127.0.0.1:8020']}", p + "{public_urls: ['http://127.0.0.1:8020']}", "proxy.public_urls[0]", "holds a user", "between // and @"},
		{"a public URL in plain http", "", p + "{public_urls: [§'http://sfbroker']}", p + "{public_urls: ['http://localhost']}", "proxy.public_urls[0]", "plain http on a host that is not loopback", "write https"},
		{"https without TLS", "", p + "{public_urls: [§'https://sfbroker']}", p + "{public_urls: ['https://sfbroker'], tls_terminated_by: [127.0.0.1/32]}", "proxy.public_urls[0]", "nothing here speaks TLS", "set proxy.tls"},
		{"http with TLS", "", p + "{tls: {cert_file: a, key_file: b}, public_urls: [§'http://localhost']}", p + "{tls: {cert_file: a, key_file: b}, public_urls: ['https://localhost']}", "proxy.public_urls[0]", "but the proxy speaks TLS", "write https"},
		{"a public URL twice but for its slash", "", p + "{public_urls: ['http://localhost', §'http://localhost/']}", p + "{public_urls: ['http://localhost', 'http://localhost:1']}", "proxy.public_urls[1]", "stands twice", "keep one"},
		{"no public URL", "", p + "{public_urls: §[]}", p + "{public_urls: ['http://localhost']}", "proxy.public_urls", "is empty", "list how jobs reach"},
		{"TLS needs both files", "", p + "{§tls: {cert_file: a}}", p + "{tls: {cert_file: a, key_file: b}}", "proxy.tls.key_file", "is required", "Private key"},
		{"TLS here or there", "", p + "{public_urls: ['https://x'], tls: {cert_file: a, key_file: b}, §tls_terminated_by: [10.0.0.0/8]}", p + "{public_urls: ['https://x'], tls_terminated_by: [10.0.0.0/8]}", "proxy.tls_terminated_by", "tls, tls_terminated_by exclude each other", "keep one"},
		{"a network, not an address", "", p + "{public_urls: ['https://x'], tls_terminated_by: [§10.0.0.1]}", p + "{public_urls: ['https://x'], tls_terminated_by: [10.0.0.1/32]}", "proxy.tls_terminated_by[0]", "is an address", "write 10.0.0.1/32"},
		{"a network with host bits", "", p + "{public_urls: ['https://x'], tls_terminated_by: [§10.0.0.1/8]}", p + "{public_urls: ['https://x'], tls_terminated_by: [10.0.0.0/8]}", "proxy.tls_terminated_by[0]", "bits set beyond", `write "10.0.0.0/8"`},
		{"a network of everyone", "", p + "{public_urls: ['https://x'], tls_terminated_by: [§0.0.0.0/0]}", p + "{public_urls: ['https://x'], tls_terminated_by: [0.0.0.0/1]}", "proxy.tls_terminated_by[0]", "whole internet", "write a network"},
		{"no network", "", p + "{public_urls: ['https://x'], tls_terminated_by: [§lb]}", p + "{public_urls: ['https://x'], tls_terminated_by: ['fd00::/8']}", "proxy.tls_terminated_by[0]", "is not a network", "write a network"},
		{"a duration without a unit", "", p + "{drain: {timeout: §30}}", p + "{drain: {timeout: 30s}}", "proxy.drain.timeout", "is not a duration", "a number with a unit, from 1s to 1h, such as 30s"},
		{"a duration out of bounds", "", p + "{drain: {lame_duck: §11m}}", p + "{drain: {lame_duck: 10m}}", "proxy.drain.lame_duck", "is outside 0s to 10m", "from 0s to 10m"},
		{"a negative duration", "", p + "{drain: {lame_duck: §-1s}}", p + "{drain: {lame_duck: 0s}}", "proxy.drain.lame_duck", "is outside", "from 0s to 10m"},
	}
}

func adminRules() []rule {
	return []rule{
		{"admin beyond loopback needs TLS", "", "admin: {listen: §'0.0.0.0:8021'}", "admin: {listen: '0.0.0.0:8021', tls: {cert_file: a, key_file: b}}", "admin.listen", "without TLS", "set admin.tls"},
		{"metrics alone may be open", "", "admin: {listen: §'0.0.0.0:9090'}", "admin: {metrics: {listen: '0.0.0.0:9090'}}", "admin.listen", "without TLS", "for probes and metrics alone set admin.metrics.listen"},
		{"admin on the address of the proxy", "", "admin: {listen: §127.0.0.1:8020}", "admin: {listen: 127.0.0.1:8022}", "admin.listen", "is the address of proxy.listen", "another port"},
		{"metrics on the address of admin", "", "admin: {metrics: {listen: §':8021'}}", "admin: {metrics: {listen: ':8022'}}", "admin.metrics.listen", "is the address of admin.listen", "another port"},
		{"roles come later", "", "admin: {§roles: []}", "admin: {}", "admin.roles", "does not enforce", "remove it"},
		{"a path is no URL", "", "audit: {file: §'https://x/audit'}", "audit: {file: audit}", "audit.file", "is a URL", "on this machine"},
		{"a path is not a dash", "", "audit: {file: §'-'}", "audit: {file: './-'}", "audit.file", "not a file name", "write the path"},
		{"a proxy for egress comes later", "", "egress: {§proxy: 'http://proxy:3128'}", "egress: {ca_file: ca.pem}", "egress.proxy", "does not enforce", "known keys here: ca_file"},
	}
}

func sourceRules() []rule {
	entra := func(rest string) string { return entraStart + rest + "}}" }
	return []rule{
		{"a source is needed", "source: " + oldSource, "§source: {}", "source: " + oldSource, "workload_identities.vm.source", "needs one of: file, env, entra", "exactly one"},
		{"one source only", oldSource, "{file: {path: a}, §env: {name: A}}", "{env: {name: A}}", "workload_identities.vm.source.env", "file, env exclude each other", "keep one"},
		{"a source of a later version", oldSource, "{§spiffe: {}}", oldSource, "workload_identities.vm.source.spiffe", `does not enforce "spiffe"`, "known keys here: entra, env, file"},
		{"a variable by its name", oldSource, "{env: {name: §'$AT1'}}", "{env: {name: AT1}}", "workload_identities.vm.source.env.name", "not the name of an environment variable", "letters, digits"},
		{"a file without file:", oldSource, "{file: {path: §'file:/run/at1'}}", "{file: {path: '/run/at1'}}", "workload_identities.vm.source.file.path", "is a reference", `write the path alone: "/run/at1"`},
		{"a token where its file belongs", oldSource, "{file: {path: §eyJhbGciOiJSUzI1NiJ9.e30.c2ln}}", "{file: {path: eyJ.jwt}}", "workload_identities.vm.source.file.path", "is a token itself", "revoked"},
		{"Entra needs a credential", oldSource, "{§entra: {tenant_id: t, client_id: c, scope: api://x/.default}}", entra("client_secret: file:/s"), "workload_identities.vm.source.entra", "needs one of: client_secret, certificate", "exactly one"},
		{"Entra takes one credential", oldSource, entra("client_secret: file:/s, §certificate: {cert_file: a, key_file: b}"), entra("certificate: {cert_file: a, key_file: b}"), "workload_identities.vm.source.entra.certificate", "exclude each other", "keep one"},
		{"a secret in the clear", oldSource, entra("client_secret: §hunter2"), entra("client_secret: '${HUNTER2}'"), "workload_identities.vm.source.entra.client_secret", "a secret in the clear", "file:/path/to/secret"},
		{"a secret of digits", oldSource, entra("client_secret: §12345678"), entra("client_secret: 'file:12345678'"), "workload_identities.vm.source.entra.client_secret", "a secret in the clear", "file:/path/to/secret"},
		{"a secret as a map", oldSource, entra("§client_secret: {file: s}"), entra("client_secret: 'file:s'"), "workload_identities.vm.source.entra.client_secret", "a map where a reference to a secret belongs", "write file:/path/to/secret"},
		{"a variable without braces", oldSource, entra("client_secret: §$HUNTER2"), entra("client_secret: '${HUNTER2}'"), "workload_identities.vm.source.entra.client_secret", "a secret in the clear", "${VARIABLE}"},
		{"a variable with a default", oldSource, entra("client_secret: §'${A:-hunter2}'"), entra("client_secret: '${A}'"), "workload_identities.vm.source.entra.client_secret", "not of the form ${VARIABLE}", "no default"},
		{"a secret's file as a URL", oldSource, entra("client_secret: §'file:///s'"), entra("client_secret: 'file:/s'"), "workload_identities.vm.source.entra.client_secret", "not a URL", "one slash"},
		{"a secret's file without a name", oldSource, entra("client_secret: §'file:'"), entra("client_secret: 'file:s'"), "workload_identities.vm.source.entra.client_secret", "names no file", "file:/path"},
		{"a key file is needed", oldSource, entra("§certificate: {cert_file: a}"), entra("certificate: {cert_file: a, key_file: b}"), "workload_identities.vm.source.entra.certificate.key_file", "is required", "Private key"},
		{"a scope for client credentials", oldSource, "{entra: {tenant_id: t, client_id: c, scope: §'api://x', client_secret: 'file:s'}}", entra("client_secret: 'file:s'"), "workload_identities.vm.source.entra.scope", "does not end in /.default", "api://<client ID>/.default"},
		{"one tenant", oldSource, "{entra: {tenant_id: §common, client_id: c, scope: api://x/.default, client_secret: 'file:s'}}", entra("client_secret: 'file:s'"), "workload_identities.vm.source.entra.tenant_id", "stands for many tenants", "Directory (tenant) ID"},
		{"a tenant is no path", oldSource, "{entra: {tenant_id: §a/b, client_id: c, scope: api://x/.default, client_secret: 'file:s'}}", entra("client_secret: 'file:s'"), "workload_identities.vm.source.entra.tenant_id", "is not a tenant ID", "a domain of the tenant"},
		{"an authority in plain http", oldSource, entra("client_secret: 'file:s', authority: §'http://login.example.com'"), entra("client_secret: 'file:s', authority: 'https://login.example.com'"), "workload_identities.vm.source.entra.authority", "is plain http", "write https"},
		{"an authority with a tenant", oldSource, entra("client_secret: 'file:s', authority: §'https://login.example.com/t'"), entra("client_secret: 'file:s', authority: 'https://login.example.com/'"), "workload_identities.vm.source.entra.authority", "has a path", "only https://host"},
		{"loopback http is switched on", oldSource, entra("client_secret: 'file:s', token_url: §'http://127.0.0.1/t'"), entra("client_secret: 'file:s', token_url: 'https://127.0.0.1/t'"), "workload_identities.vm.source.entra.token_url", "is plain http", "allow_insecure_loopback: true"},
		{"an authority or a token URL", oldSource, entra("client_secret: 'file:s', authority: 'https://a', §token_url: 'https://a/t'"), entra("client_secret: 'file:s', token_url: 'https://a/t'"), "workload_identities.vm.source.entra.token_url", "authority, token_url exclude each other", "keep one"},
	}
}

func trustRules() []rule {
	const p = "workload_identities.vm.trust_by_issuer."
	return []rule{
		{"an issuer in plain http", oldIssuer, "issuer: §'http://issuer.example.com'", "issuer: 'https://issuer.example.com'", p + "issuer", "is plain http", "write https"},
		{"an issuer with a blank after it", oldIssuer, "issuer: §'https://issuer.example.com '", "issuer: 'https://issuer.example.com/'", p + "issuer", "ends with a blank", "remove the blank"},
		{"an issuer that is no URL needs keys", oldIssuer, "issuer: §issuer.example.com", "issuer: issuer.example.com, jwks_file: k.json", p + "issuer", "cannot be discovered", "jwks_uri or jwks_file"},
		{"an issuer with a query", oldIssuer, "issuer: §'https://issuer.example.com?x'", "issuer: 'https://issuer.example.com/x'", p + "issuer", "has a query", "remove ?"},
		{"keys from one place", oldIssuer, oldIssuer + ", jwks_file: k, §jwks_uri: 'https://k'", oldIssuer + ", jwks_uri: 'https://k'", p + "jwks_uri", "jwks_uri, jwks_file exclude each other", "keep one"},
		{"keys in plain http", oldIssuer, oldIssuer + ", jwks_uri: §'http://k.example.com'", oldIssuer + ", jwks_uri: 'https://k.example.com?a=b'", p + "jwks_uri", "is plain http", "write https"},
		{"keys with a user", oldIssuer, oldIssuer + ", jwks_uri: §'https://u@k.example.com'", oldIssuer + ", jwks_uri: 'https://k.example.com/u@k'", p + "jwks_uri", "holds a user", "between // and @"},
		{"a subject is required", oldTrust, "§trust_by_issuer: {issuer: 'https://x', audience: a}", "trust_by_issuer: {issuer: 'https://x', audience: a, subject: s}", p + "subject", "is required", "Subject (sub)"},
		{"an audience is required", oldTrust, "§trust_by_issuer: {issuer: 'https://x', subject: s}", "trust_by_issuer: {issuer: 'https://x', audience: a, subject: s}", p + "audience", "IAS leaves the audience optional, this broker does not", "Audience (aud)"},
		{"an empty subject", "subject: sub-1", "subject: §''", "subject: '-'", p + "subject", "is empty", "give it a value"},
		{"an unsigned token", "audience: aud-1", "audience: aud-1, algorithms: [§none]", "audience: aud-1, algorithms: [RS256]", p + "algorithms[0]", `"none" is not accepted`, "prove nothing"},
		{"a shared secret", "audience: aud-1", "audience: aud-1, algorithms: [§HS256]", "audience: aud-1, algorithms: [ES256]", p + "algorithms[0]", `"HS256" is not accepted`, "RS256, PS256, ES256, ES384, EdDSA"},
		{"a token type with a blank", "audience: aud-1", "audience: aud-1, types: [§'at jwt']", "audience: aud-1, types: [at+jwt]", p + "types[0]", "is not a token type", "at+jwt"},
		{"a type alone is a list", "audience: aud-1", "audience: aud-1, types: §at+jwt", "audience: aud-1, types: [at+jwt]", p + "types", "holds text where a list belongs", "brackets"},
		{"a candidate rule comes later", "audience: aud-1", "audience: aud-1, §mode: candidate", "audience: aud-1", p + "mode", `does not enforce "mode"`, "remove it"},
	}
}
