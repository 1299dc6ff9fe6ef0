package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Domains of SAP Cloud Identity Services tenants and of SuccessFactors API servers, as SAP documents them. A host is accepted
// when it ends in one of them on a label boundary.
func iasDomains() []string { return []string{"accounts.ondemand.com", "accounts.cloud.sap"} }

func successFactorsDomains() []string {
	return []string{"successfactors.com", "successfactors.eu", "sapsf.com", "sapsf.eu", "sapsf.cn"}
}

// parseURL reads an absolute http or https URL strictly: what cannot be read in one way only is refused. The message repeats
// nothing of the URL, which may hold a password.
func parseURL(raw string) (u *url.URL, message, hint string) {
	const form = "write https://host, with a path where one belongs"
	u, err := url.Parse(raw)
	switch {
	case strings.IndexFunc(raw, func(c rune) bool { return c <= ' ' || c > '~' || c == '\\' }) >= 0:
		return nil, "holds a blank, a backslash or a character beyond ASCII", "write the host in its ASCII form (xn--...) and type the URL again"
	case err != nil:
		return nil, "is not a URL", form
	case u.User != nil || strings.Contains(u.Host, "@"):
		return nil, "holds a user before the @", "remove everything between // and @"
	case u.Scheme != "https" && u.Scheme != "http", !strings.HasPrefix(raw, u.Scheme+"://"), u.Host == "":
		return nil, "is not an absolute http or https URL", form
	case u.RawQuery != "" || u.ForceQuery:
		return nil, "has a query", "remove ? and what follows"
	case strings.Contains(raw, "#"):
		return nil, "has a fragment", "remove # and what follows"
	case strings.HasSuffix(u.Hostname(), "."):
		return nil, "the host ends in a dot", "remove the dot"
	}
	if port := u.Port(); port != "" || strings.HasSuffix(u.Host, ":") {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
			return nil, "the port is not a number from 0 to 65535", "write it as in https://host:8443, or leave it out"
		}
	}
	if strings.HasPrefix(u.Host, "[") {
		if _, err := netip.ParseAddr(u.Hostname()); err != nil {
			return nil, "the host is not an IPv6 address", form
		}
		return u, "", ""
	}
	if message := badHost(u.Hostname()); message != "" {
		return nil, message, form
	}
	return u, "", ""
}

// badHost says what is wrong with a host name or IPv4 address, or "".
func badHost(host string) string {
	if host == "" || len(host) > 253 {
		return "the host is empty or too long"
	}
	for _, label := range strings.Split(host, ".") {
		if label == "" {
			return "the host has an empty label: two dots, or one at its end"
		}
		if strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-") {
			return "a label of the host begins or ends with a hyphen"
		}
		if strings.IndexFunc(label, func(c rune) bool {
			return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-'
		}) >= 0 {
			return "the host holds something else than letters, digits, hyphens and dots"
		}
	}
	return ""
}

// isLoopback says that a host can only be this machine.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// loopbackListen says that a listen address is reachable from this machine alone.
func loopbackListen(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	return err == nil && isLoopback(host)
}

// hostAndPort is the host as allow_hosts has it: lower case, with the port where one was written.
func hostAndPort(u *url.URL) string { return strings.ToLower(u.Host) }

// secured says what is wrong with the scheme of an outgoing URL: https, or http toward loopback where that is allowed.
func (c *Config) secured(u *url.URL) (message, hint string) {
	switch {
	case u.Scheme == "https":
		return "", ""
	case isLoopback(u.Hostname()) && c.AllowInsecureLoopback:
		return "", ""
	case isLoopback(u.Hostname()):
		return "is plain http", "write https, or set allow_insecure_loopback: true for a sandbox or a test"
	}
	return "is plain http: tokens and keys would be readable on the way", "write https"
}

// peerHost says what is wrong with the host of an IAS tenant or an API server: tokens are sent there.
func (c *Config) peerHost(u *url.URL, domains []string, example string) (message, hint string) {
	host := strings.ToLower(u.Hostname())
	allow := "when this is a domain of your own, list it: allow_hosts: [" + hostAndPort(u) + "]"
	switch {
	case isLoopback(host) && c.AllowInsecureLoopback, slices.Contains(c.AllowHosts, hostAndPort(u)):
		return "", ""
	case isLoopback(host):
		return "is on this machine", "write " + example + ", or set allow_insecure_loopback: true for a sandbox or a test"
	}
	for _, domain := range domains {
		tenant, ok := strings.CutSuffix(host, "."+domain)
		switch {
		case ok && tenant != "" && u.Port() == "":
			return "", ""
		case ok && tenant != "":
			return "names a port, and " + domain + " serves on none but the usual", "remove :" + u.Port()
		case host == domain:
			return "names the domain, not a host in it", "write " + example
		}
	}
	for _, domain := range domains {
		if strings.Contains(host, domain) {
			return fmt.Sprintf("the host only looks like one of %s: it is in %s", domain, quoted(lastLabels(host))), "write " + example + "; tokens would have gone to somebody else"
		}
	}
	return "the host is in none of SAP's domains: " + list(domains), "write " + example + "; " + allow
}

// lastLabels is the part of a host that somebody registered, roughly.
func lastLabels(host string) string {
	labels := strings.Split(host, ".")
	return strings.Join(labels[max(0, len(labels)-2):], ".")
}
