package config

import (
	"fmt"
	"net"
	"net/url"
	"strings"
)

// checker checks what the decoder cannot: values that depend on each other. It skips what already holds a problem.
type checker struct {
	*decoder
	c *Config
	// incomplete says that a file is missing, so that a name may well be defined in it.
	incomplete bool
}

// ok says that path was written and holds no problem yet.
func (k *checker) ok(path string) bool {
	_, there := k.at.paths[path]
	return there && !k.bad[path]
}

func (k *checker) problem(path, message, hint string) {
	k.fault(k.at.find(path), path, message, hint)
}

func (k *checker) check() {
	if k.ok("version") && k.c.Version != 1 {
		k.problem("version", fmt.Sprintf("is %d, and this program reads version 1", k.c.Version), "write version: 1, or use a program that reads this version")
	}
	k.proxy()
	k.publicURLs()
	k.admin()
	for _, name := range Names(k.c.WorkloadIdentities) {
		k.source(name)
		k.trust(name)
	}
	for _, name := range Names(k.c.Connections) {
		k.connection(name)
	}
	k.callers()
}

func (k *checker) proxy() {
	p := k.c.Proxy
	if !k.ok("proxy.listen") || loopbackListen(p.Listen) || p.TLS != nil || len(p.TLSTerminatedBy) > 0 {
		return
	}
	if k.bad["proxy.tls"] || k.anyBad("proxy.tls_terminated_by") {
		return
	}
	k.problem("proxy.listen", "is reachable from other machines without TLS: keys and people's data would be readable on the way",
		"set proxy.tls: {cert_file: ..., key_file: ...}, or proxy.tls_terminated_by: [network of the load balancer], or listen on 127.0.0.1")
}

// anyBad says that path or anything below it holds a problem.
func (k *checker) anyBad(path string) bool {
	for bad := range k.bad {
		if bad == path || strings.HasPrefix(bad, path+".") || strings.HasPrefix(bad, path+"[") {
			return true
		}
	}
	return false
}

func (k *checker) publicURLs() {
	p := &k.c.Proxy
	const path = "proxy.public_urls"
	if _, written := k.at.paths[path]; !written {
		k.defaultPublicURL()
		return
	}
	if k.anyBad(path) {
		return
	}
	if len(p.PublicURLs) == 0 {
		k.problem(path, "is empty: no request would have a Host that is known", "list how jobs reach the proxy, such as https://sfbroker.example.com")
	}
	first := map[string]bool{}
	for i, raw := range p.PublicURLs {
		at := fmt.Sprintf("%s[%d]", path, i)
		u, message, hint := parseURL(raw)
		if message == "" {
			message, hint = k.publicURL(u)
		}
		if message != "" {
			k.problem(at, message, hint)
			continue
		}
		p.PublicURLs[i] = strings.TrimSuffix(raw, "/")
		if first[strings.ToLower(p.PublicURLs[i])] {
			k.problem(at, "stands twice", "keep one of them")
		}
		first[strings.ToLower(p.PublicURLs[i])] = true
	}
}

func (k *checker) publicURL(u *url.URL) (message, hint string) {
	p := k.c.Proxy
	behind := len(p.TLSTerminatedBy) > 0 || k.anyBad("proxy.tls_terminated_by")
	own := p.TLS != nil || k.anyBad("proxy.tls")
	switch {
	case u.Path != "" && u.Path != "/":
		return "has a path: the proxy serves at the root of its host", "remove the path; what follows the host is SuccessFactors' own"
	case u.Scheme == "https" && !own && !behind:
		return "says https, but nothing here speaks TLS", "set proxy.tls, or proxy.tls_terminated_by when a load balancer does it"
	case u.Scheme == "http" && own:
		return "says http, but the proxy speaks TLS", "write https"
	case u.Scheme == "http" && !behind && !isLoopback(u.Hostname()):
		return "is plain http on a host that is not loopback: a job's key would be readable on the way", "write https and set proxy.tls or proxy.tls_terminated_by"
	}
	return "", ""
}

// defaultPublicURL is http://<listen> on loopback; nobody can guess the name of any other address.
func (k *checker) defaultPublicURL() {
	p := &k.c.Proxy
	if k.bad["proxy.listen"] {
		return
	}
	if !loopbackListen(p.Listen) || len(p.TLSTerminatedBy) > 0 {
		k.problem("proxy.public_urls", "is required where jobs do not reach the proxy on a loopback address", "list how jobs reach it, such as https://sfbroker.example.com")
		return
	}
	if strings.HasSuffix(p.Listen, ":0") {
		return
	}
	scheme := "http://"
	if p.TLS != nil {
		scheme = "https://"
	}
	p.PublicURLs = []string{scheme + p.Listen}
}

func (k *checker) admin() {
	a := k.c.Admin
	if k.ok("admin.listen") && !loopbackListen(a.Listen) && a.TLS == nil && !k.anyBad("admin.tls") {
		k.problem("admin.listen", "is reachable from other machines without TLS", "set admin.tls: {cert_file: ..., key_file: ...}, or listen on 127.0.0.1; for probes and metrics alone set admin.metrics.listen")
	}
	listeners := []struct{ path, address string }{
		{"proxy.listen", k.c.Proxy.Listen}, {"admin.listen", a.Listen}, {"admin.metrics.listen", a.Metrics.Listen},
	}
	for i, one := range listeners {
		for _, other := range listeners[:i] {
			if !k.bad[one.path] && !k.bad[other.path] && collide(one.address, other.address) {
				k.problem(one.path, fmt.Sprintf("is the address of %s (%s)", other.path, other.address), "choose another port")
			}
		}
	}
}

// collide says that two listeners cannot be open at the same time.
func collide(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	everywhere := func(host string) bool { return host == "" || host == "0.0.0.0" || host == "::" }
	return hostA == hostB || everywhere(hostA) || everywhere(hostB)
}

func (k *checker) source(name string) {
	w := k.c.WorkloadIdentities[name]
	e := w.Source.Entra
	path := join("workload_identities", name) + ".source.entra"
	if e == nil || k.bad[path] {
		return
	}
	if k.ok(path + ".authority") {
		e.Authority = k.outgoing(path+".authority", e.Authority, false)
	}
	if k.ok(path + ".token_url") {
		e.TokenURL = k.outgoing(path+".token_url", e.TokenURL, true)
	} else if e.TenantID != "" {
		e.TokenURL = e.Authority + "/" + e.TenantID + "/oauth2/v2.0/token"
	}
}

// outgoing checks a URL that the broker asks, whose host the operator alone decides on, and returns it without a slash at its end.
func (k *checker) outgoing(path, raw string, withPath bool) string {
	u, message, hint := parseURL(raw)
	if message == "" {
		message, hint = k.c.secured(u)
	}
	if message == "" && !withPath && u.Path != "" && u.Path != "/" {
		message, hint = "has a path", "write only https://host"
	}
	if message != "" {
		k.problem(path, message, hint)
		return raw
	}
	if withPath {
		return raw
	}
	return strings.TrimSuffix(raw, "/")
}

func (k *checker) trust(name string) {
	rule := k.c.WorkloadIdentities[name].TrustByIssuer
	path := join("workload_identities", name) + ".trust_by_issuer"
	if k.ok(path + ".jwks_uri") {
		k.keyAddress(path+".jwks_uri", rule.JWKSURI)
	}
	if !k.ok(path + ".issuer") {
		return
	}
	if !strings.Contains(rule.Issuer, "://") {
		if rule.JWKSURI == "" && rule.JWKSFile == "" {
			k.problem(path+".issuer", "is not a URL, so its keys cannot be discovered", "add jwks_uri or jwks_file, or write the issuer as the JWT has it")
		}
		return
	}
	u, message, hint := parseURL(rule.Issuer)
	if message == "" {
		message, hint = k.c.secured(u)
	}
	if message != "" {
		k.problem(path+".issuer", message, hint)
	}
}

// keyAddress checks jwks_uri, which, unlike the others, may have a query.
func (k *checker) keyAddress(path, raw string) {
	base, _, _ := strings.Cut(raw, "?")
	u, message, hint := parseURL(base)
	if message == "" && strings.Contains(raw, "#") {
		message, hint = "has a fragment", "remove # and what follows"
	}
	if message == "" {
		message, hint = k.c.secured(u)
	}
	if message != "" {
		k.problem(path, message, hint)
	}
}

func (k *checker) connection(name string) {
	connection := k.c.Connections[name]
	path := join("connections", name)
	k.reference(path+".workload_identity", connection.WorkloadIdentity, "workload_identities", Names(k.c.WorkloadIdentities))
	k.ias(path+".ias", &connection.IAS)
	sf := &connection.SuccessFactors
	if at := path + ".successfactors.api_url"; k.ok(at) {
		sf.APIURL = k.peer(at, sf.APIURL, successFactorsDomains(), "https://api012.successfactors.eu or the API server of your data centre")
	}
	user, atCompany := strings.CutSuffix(sf.TechnicalUser, "@"+sf.CompanyID)
	if at := path + ".successfactors.technical_user"; k.ok(at) && sf.CompanyID != "" && atCompany {
		k.problem(at, "ends in the company ID", "write only the user: "+quoted(user))
	}
	k.c.Connections[name] = connection
}

// peer checks the URL of an IAS tenant or an API server and returns it without a slash at its end.
func (k *checker) peer(path, raw string, domains []string, example string) string {
	u, message, hint := parseURL(raw)
	if message == "" {
		message, hint = k.c.peerHost(u, domains, example)
	}
	if message == "" {
		message, hint = k.c.secured(u)
	}
	if message == "" && u.Path != "" && u.Path != "/" {
		message, hint = "has a path", "write only "+u.Scheme+"://"+u.Host
	}
	if message != "" {
		k.problem(path, message, hint)
		return raw
	}
	return strings.TrimSuffix(raw, "/")
}

func (k *checker) ias(path string, ias *IAS) {
	if k.ok(path + ".url") {
		ias.URL = k.peer(path+".url", ias.URL, iasDomains(), "https://<tenant>.accounts.ondemand.com or https://<tenant>.accounts.cloud.sap")
	}
	if k.ok(path + ".issuer") {
		k.iasIssuer(path+".issuer", ias.Issuer)
	}
	if _, written := k.at.paths[path+".token_url"]; !written {
		ias.TokenURL = ias.URL + "/oauth2/token"
		return
	}
	if !k.ok(path+".token_url") || !k.ok(path+".url") {
		return
	}
	tenant, _, _ := parseURL(ias.URL)
	u, message, hint := parseURL(ias.TokenURL)
	if message == "" && tenant != nil && (u.Scheme != tenant.Scheme || hostAndPort(u) != hostAndPort(tenant)) {
		message, hint = "is on another host than ias.url: the workload's JWT is for this tenant alone", "write "+quoted(ias.URL+"/oauth2/token")+", or the path that differs"
	}
	if message == "" && (u.Path == "" || u.Path == "/") {
		message, hint = "has no path", "write "+quoted(ias.URL+"/oauth2/token")+", or remove the line: that is the default"
	}
	if message != "" {
		k.problem(path+".token_url", message, hint)
	}
}

// iasIssuer accepts a URL, or the bare host that tenants issued before compliant issuers.
func (k *checker) iasIssuer(path, issuer string) {
	full := issuer
	if !strings.Contains(issuer, "://") {
		full = "https://" + issuer
	}
	u, message, hint := parseURL(full)
	if message == "" {
		message, hint = k.c.secured(u)
	}
	if message != "" {
		k.problem(path, message, hint)
	}
}

// reference checks that a name is defined.
func (k *checker) reference(path, name, section string, names []string) {
	if !k.ok(path) || k.incomplete {
		return
	}
	for _, n := range names {
		if n == name {
			return
		}
	}
	hint := "define it under " + section
	if len(names) > 0 {
		hint += "; known are: " + list(names)
	}
	if meant := nearest(name, names); meant != "" {
		hint = "did you mean " + quoted(meant) + "? " + hint
	}
	k.problem(path, show(name)+" is not defined in "+section, hint)
}
