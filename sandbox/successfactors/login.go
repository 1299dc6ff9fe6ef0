package successfactors

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Claims are what the verification of an access token (AT2) found in it.
type Claims struct {
	ClientID string
	Audience []string
	APIs     []string // ias_apis
	ID       string   // jti
	IssuedAt time.Time
	Expiry   time.Time
}

// ErrExpired is what Config.Verify wraps when a token is genuine and too old. Any other error means a token that is not genuine.
var ErrExpired = errors.New("access token is expired")

// technicalAccess is the API that the consumer's dependency must grant.
const technicalAccess = "sf_technical_access"

// sessionIdle is how long a login session lasts without a request (KBA 3308167).
const sessionIdle = 10 * time.Minute

// session is a login session. It belongs to one client and one user for all its life.
type session struct {
	clientID, user string
	used           time.Time
}

// mapping is one line of the application map.
type mapping struct {
	user string
	bind bool // Bind to User
	on   bool
}

// login codes of KBA 2524436
func refused(status int, code, message string) *fault {
	return &fault{status, code, "[" + code + "]" + message}
}

// authenticate finds out who asks, or says why nobody does.
func (s *Server) authenticate(r *http.Request) (clientID, user string, f *fault) {
	raw, f := bearer(r.Header.Values("Authorization"))
	if f != nil {
		return "", "", f
	}
	claims, err := s.cfg.Verify(raw)
	switch {
	case errors.Is(err, ErrExpired):
		return "", "", refused(http.StatusForbidden, "LGN0006", "The token is expired: INTERNAL_TOKEN_EXPIRED.")
	case err != nil:
		return "", "", refused(http.StatusForbidden, "LGN0007", "The token is invalid: TOKEN_INVALID.")
	case !claims.Expiry.After(s.now()):
		return "", "", refused(http.StatusForbidden, "LGN0006", "The token is expired: INTERNAL_TOKEN_EXPIRED.")
	case !slices.Contains(claims.Audience, s.cfg.Audience):
		return "", "", refused(http.StatusForbidden, "LGN0007", "The token is invalid: TOKEN_INVALID.")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tokenRefused || claims.IssuedAt.Before(s.revokedBefore) {
		return "", "", refused(http.StatusForbidden, "LGN0022", "The access token is either rejected or expired.")
	}
	if !slices.Contains(claims.APIs, technicalAccess) {
		return "", "", denied("The access token does not grant " + technicalAccess + ".")
	}
	entry, known := s.applications[claims.ClientID]
	switch {
	case len(s.types) == 0:
		return "", "", denied("No OIDC OAuth client application is registered.")
	case !known || !entry.on:
		return "", "", denied("The client is not mapped to a user.")
	case !entry.bind:
		return "", "", denied("The client is not bound to a user.")
	}
	if !s.ipAllowed(entry.user, r.RemoteAddr) {
		return "", "", &fault{http.StatusForbidden, "FAILED_AUTHENTICATION", fmt.Sprintf(
			"Authentication failed. Attempted login from unauthorized ip: %s (status code = 8)", remoteIP(r.RemoteAddr))}
	}
	return claims.ClientID, entry.user, nil
}

// denied is the plain 403 of a mapping that is not there: it has no login code.
func denied(message string) *fault {
	return &fault{http.StatusForbidden, "FORBIDDEN", message}
}

// bearer reads the one Authorization header.
func bearer(headers []string) (string, *fault) {
	if len(headers) == 0 || headers[0] == "" {
		return "", refused(http.StatusForbidden, "LGN0003", "Credentials are missing: CREDENTIALS_MISSING.")
	}
	scheme, raw, _ := strings.Cut(headers[0], " ")
	if strings.EqualFold(scheme, "Basic") && len(headers) == 1 {
		return "", refused(http.StatusForbidden, "LGN0010", "Basic authentication is disabled: BASIC_AUTH_OR_IP_DISABLED.")
	}
	raw = strings.TrimSpace(raw)
	if len(headers) > 1 || !strings.EqualFold(scheme, "Bearer") || !looksLikeJWT(raw) {
		return "", refused(http.StatusForbidden, "LGN0005", "The format of the token is invalid: OAUTH_TOKEN_FORMAT_INVALID.")
	}
	return raw, nil
}

func looksLikeJWT(s string) bool {
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		return false
	}
	for _, p := range parts {
		if p == "" || strings.IndexFunc(p, func(c rune) bool { return c != '-' && (c > 127 || !wordByte(byte(c))) }) >= 0 {
			return false
		}
	}
	return true
}

func remoteIP(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}

// ipRange is one entry of "Set API login exceptions": IPv4 only.
type ipRange struct{ low, high netip.Addr }

// parseRanges reads addresses and ranges with a hyphen, separated by commas. CIDR notation is refused, as the real field does.
func parseRanges(s string) ([]ipRange, error) {
	var out []ipRange
	for _, part := range strings.Split(s, ",") {
		low, high, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			high = low
		}
		a, errLow := netip.ParseAddr(strings.TrimSpace(low))
		b, errHigh := netip.ParseAddr(strings.TrimSpace(high))
		if errLow != nil || errHigh != nil || !a.Is4() || !b.Is4() || b.Less(a) {
			return nil, fmt.Errorf("reading API login exceptions: %q is not an IPv4 address or range", part)
		}
		out = append(out, ipRange{a, b})
	}
	return out, nil
}

// ipAllowed needs s.mu. A user without exceptions may come from anywhere.
func (s *Server) ipAllowed(user, address string) bool {
	ranges, restricted := s.exceptions[user]
	if !restricted {
		return true
	}
	ip, err := netip.ParseAddr(remoteIP(address))
	if err != nil {
		return false
	}
	ip = ip.Unmap()
	return slices.ContainsFunc(ranges, func(r ipRange) bool {
		return ip.Is4() && r.low.Compare(ip) <= 0 && ip.Compare(r.high) <= 0
	})
}

// sessionOf finds the session of a request's cookie, or opens one and returns its cookies.
func (s *Server) sessionOf(r *http.Request, clientID, user string) []*http.Cookie {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range r.CookiesNamed("JSESSIONID") {
		known := s.sessions[c.Value]
		switch {
		case known == nil:
		case now.Sub(known.used) >= sessionIdle:
			delete(s.sessions, c.Value)
		case known.clientID != clientID || known.user != user:
			s.stats.SessionViolations++ // a cookie is an identity: this one is somebody else's
		default:
			known.used = now
			return nil
		}
	}
	s.sweep(now)
	id := newSessionID()
	s.sessions[id] = &session{clientID: clientID, user: user, used: now}
	s.stats.SessionsOpened++
	secure := strings.HasPrefix(s.base, "https:")
	return []*http.Cookie{
		{Name: "JSESSIONID", Value: id, Path: "/", HttpOnly: true, Secure: secure},
		{Name: "BIGipServerP_SFAPI", Value: "!rV1" + hex.EncodeToString([]byte(s.cfg.CompanyID)), Path: "/", HttpOnly: true, Secure: secure},
	}
}

// sweep forgets sessions that ended, so that a client without a cookie jar does not fill the memory.
func (s *Server) sweep(now time.Time) {
	if now.Sub(s.swept) < time.Minute {
		return
	}
	s.swept = now
	for id, old := range s.sessions {
		if now.Sub(old.used) >= sessionIdle {
			delete(s.sessions, id)
		}
	}
}

func newSessionID() string {
	return strings.ToUpper(rand.Text()) + ".sfapi"
}
