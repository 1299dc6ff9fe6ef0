package odata

import (
	"bytes"
	"strings"
)

// LinkMap says which addresses are the same thing: Upstream is SuccessFactors' origin, Public the broker's as callers
// know it. Both are absolute http or https URLs and may have a path ("https://host/base"), without '?' or '#'.
type LinkMap struct {
	Upstream string
	Public   string
}

// ToPublic gives the broker's address of an upstream URL, keeping everything after the origin byte for byte. A
// relative reference leads back by itself and is given unchanged. ok is false when the URL leads anywhere else.
func (m LinkMap) ToPublic(url string) (string, bool) { return translate(url, m.Upstream, m.Public) }

// ToUpstream is the inverse of ToPublic.
func (m LinkMap) ToUpstream(url string) (string, bool) { return translate(url, m.Public, m.Upstream) }

func translate(url, from, to string) (string, bool) {
	prefix, ok := parsePrefix(from)
	if !ok {
		return "", false
	}
	n, kind := prefix.match([]byte(url))
	switch kind {
	case linkRelative:
		return url, true
	case linkOurs:
		return strings.TrimSuffix(to, "/") + url[n:], true
	}
	return "", false
}

type linkKind int

const (
	linkForeign linkKind = iota
	linkRelative
	linkOurs
)

// prefix is an origin, normalised for comparison, and a base path without its trailing slash.
type prefix struct {
	scheme, host, port, base string
}

func parsePrefix(s string) (prefix, bool) {
	colon := strings.Index(s, "://")
	if colon < 0 {
		return prefix{}, false
	}
	p := prefix{scheme: strings.ToLower(s[:colon])}
	rest := s[colon+3:]
	if slash := strings.IndexByte(rest, '/'); slash >= 0 {
		rest, p.base = rest[:slash], strings.TrimSuffix(rest[slash:], "/")
	}
	p.host, p.port = splitPort(rest)
	p.host = strings.ToLower(p.host)
	if p.port == "" {
		p.port = defaultPort(p.scheme)
	}
	if p.host == "" || p.port == "" || !isASCII(s) || strings.ContainsAny(s, "?#@\\\"") {
		return prefix{}, false
	}
	return p, true
}

func defaultPort(scheme string) string {
	switch scheme {
	case "https":
		return "443"
	case "http":
		return "80"
	}
	return ""
}

func splitPort(authority string) (host, port string) {
	colon := strings.LastIndexByte(authority, ':')
	if colon < 0 || strings.IndexByte(authority[colon:], ']') >= 0 {
		return authority, ""
	}
	return authority[:colon], authority[colon+1:]
}

// match classifies a URL and, when it is ours, says how many of its bytes are origin and base path. Everything that a
// client could read as an authority and that is not this one is foreign: other schemes and ports, user information,
// "//host", a backslash or a blank in front.
func (p prefix) match(url []byte) (int, linkKind) {
	after, absolute := schemeEnd(url)
	if !absolute {
		if len(url) > 0 && (url[0] <= ' ' || url[0] == '\\') {
			return 0, linkForeign
		}
		if len(url) > 1 && url[0] == '/' && (url[1] == '/' || url[1] == '\\') {
			return 0, linkForeign
		}
		if bytes.ContainsAny(url, "\t\r\n") { // which browsers take out before they look for a scheme
			return 0, linkForeign
		}
		return 0, linkRelative
	}
	if !equalFold(url[:after-1], p.scheme) || len(url) < after+2 || url[after] != '/' || url[after+1] != '/' {
		return 0, linkForeign
	}
	start := after + 2
	end := start
	for end < len(url) && url[end] != '/' && url[end] != '?' && url[end] != '#' {
		end++
	}
	if !p.matchAuthority(url[start:end]) {
		return 0, linkForeign
	}
	if len(url)-end < len(p.base) || string(url[end:end+len(p.base)]) != p.base {
		return 0, linkForeign
	}
	end += len(p.base)
	if end < len(url) && url[end] != '/' && url[end] != '?' && url[end] != '#' {
		return 0, linkForeign
	}
	return end, linkOurs
}

func (p prefix) matchAuthority(authority []byte) bool {
	if len(authority) < len(p.host) || !equalFold(authority[:len(p.host)], p.host) {
		return false
	}
	port := authority[len(p.host):]
	switch {
	case len(port) == 0:
		return p.port == defaultPort(p.scheme)
	case port[0] != ':':
		return false
	case len(port) == 1: // "host:" is the default port (RFC 3986, 3.2.3)
		return p.port == defaultPort(p.scheme)
	}
	return string(port[1:]) == p.port
}

// schemeEnd gives the index after the ':' of a scheme (RFC 3986, 3.1).
func schemeEnd(url []byte) (int, bool) {
	for i, c := range url {
		switch {
		case isLetter(c):
		case i > 0 && (isDigit(c) || c == '+' || c == '-' || c == '.'):
		case c == ':' && i > 0:
			return i + 1, true
		default:
			return 0, false
		}
	}
	return 0, false
}

// equalFold compares with a string in lower-case ASCII.
func equalFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}
