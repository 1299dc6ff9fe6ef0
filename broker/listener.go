package broker

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"sfbroker/broker/diagnosis"
)

// listener checks how the request came, before anybody is recognised: X-Forwarded-* headers are never read.
func (x *exchange) listener() bool {
	r := x.r
	switch {
	case !r.ProtoAtLeast(1, 1):
		// An HTTP/1.0 answer may end with its connection, so a cut one would look whole.
		return x.deny(with(diagnosis.RequestMalformed, "HTTP/1.0"), "http_version")
	case len(x.b.cfg.TerminatedBy) > 0 && !slices.ContainsFunc(x.b.cfg.TerminatedBy, func(p netip.Prefix) bool { return p.Contains(x.remote) }):
		return x.deny(find(diagnosis.PeerNotAllowed), "not_a_terminator")
	case r.Method == http.MethodConnect:
		return x.noTunnel("CONNECT", "connect")
	case len(r.Header["Upgrade"]) > 0:
		return x.noTunnel("Upgrade", "upgrade")
	}
	public, ok := x.b.public[strings.ToLower(r.Host)]
	if !ok {
		return x.deny(find(diagnosis.HostUnknown), "host")
	}
	x.public = public
	for _, name := range []string{"Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode"} {
		if len(r.Header[name]) > 0 {
			return x.deny(with(diagnosis.BrowserRefused, "header "+name), "browser")
		}
	}
	target, ok := originForm(r.RequestURI, public)
	if !ok {
		return x.deny(with(diagnosis.RequestMalformed, "the request target is not a path"), "target_form")
	}
	x.target = target
	return true
}

// noTunnel refuses and closes the connection. Whoever asks for another protocol may already speak it: what follows on the
// connection must not be taken for requests.
func (x *exchange) noTunnel(detail, reason string) bool {
	x.w.Header().Set("Connection", "close")
	return x.deny(with(diagnosis.RequestMalformed, detail), reason)
}

// originForm returns the target in origin-form (RFC 9112 section 3.2). An absolute-form is taken only when it names the
// very public URL by which the request came.
func originForm(target, public string) (string, bool) {
	if !strings.HasPrefix(target, "/") {
		rest, ok := strings.CutPrefix(target, public)
		if !ok {
			return "", false
		}
		target = rest
	}
	return target, strings.HasPrefix(target, "/") && !strings.HasPrefix(target, "//")
}

// deadline renews the time that the caller has to accept the next piece. Connections without deadlines, as in tests with a
// recorder, have none to renew.
func (x *exchange) deadline() {
	_ = http.NewResponseController(x.w).SetWriteDeadline(time.Now().Add(x.b.cfg.WriteStall))
}
