package oauthclient

import (
	"net/url"
	"regexp"
	"strings"
	"unicode"
)

const (
	maxDescription = 200  // runes shown
	maxScrubbed    = 4096 // bytes looked at
	echoWindow     = 16   // bytes of a secret that count as an echo of it
	removed        = "[removed]"
)

// tokenLike matches a JWT (two dots, base64url, see also minTokenLike) and any
// run of base64 that is too long to be a word, a GUID or a host.
var tokenLike = regexp.MustCompile(`[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*|[A-Za-z0-9_+/=-]{48,}`)

const minTokenLike = 40

// secretsOf returns the form values that must not come back in an error.
func secretsOf(form url.Values) []string {
	var out []string
	for _, name := range []string{
		"client_assertion", "assertion", "client_secret", "subject_token", "actor_token",
		"refresh_token", "password", "code",
	} {
		for _, v := range form[name] {
			if v != "" {
				out = append(out, v)
			}
		}
	}
	return out
}

// scrub makes text from a peer safe to show: echoes of secrets and whatever
// looks like a token are taken out before it is cut to limit characters, and
// only printable characters stay.
func scrub(s string, limit int, secrets []string) string {
	if len(s) > maxScrubbed {
		s = s[:maxScrubbed]
	}
	s = strings.ToValidUTF8(s, "")
	for _, secret := range secrets {
		s = strings.ReplaceAll(s, secret, removed)
		s = removeEchoes(s, secret)
	}
	// Invisible characters vanish first, or one inside a token would hide it.
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, s)
	s = tokenLike.ReplaceAllStringFunc(s, func(m string) string {
		if len(m) < minTokenLike {
			return m
		}
		return removed
	})
	for strings.Contains(s, removed+removed) {
		s = strings.ReplaceAll(s, removed+removed, removed)
	}
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > limit {
		s = string(r[:limit-1]) + "\u2026"
	}
	return s
}

// removeEchoes takes out every part of s that is also a part of secret.
func removeEchoes(s, secret string) string {
	if len(secret) < echoWindow {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		n := 0
		for i+n+echoWindow <= len(s) && strings.Contains(secret, s[i+n:i+n+echoWindow]) {
			n++
		}
		if n == 0 {
			b.WriteByte(s[i])
			i++
			continue
		}
		b.WriteString(removed)
		i += n + echoWindow - 1
	}
	return strings.ToValidUTF8(b.String(), "")
}
