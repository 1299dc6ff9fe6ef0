package config

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// patterns says how a text of each format must look. The JSON Schema shows them. Never written to.
var patterns = map[string]*regexp.Regexp{
	"name":       regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`),
	"envname":    regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`),
	"word":       regexp.MustCompile(`^\S{1,256}$`),
	"scope":      regexp.MustCompile(`^\S{1,512}/\.default$`),
	"tenant":     regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]{0,252}$`),
	"text":       regexp.MustCompile(`^.{1,1000}$`),
	"url":        regexp.MustCompile(`^https?://.{1,1000}$`),
	"path":       regexp.MustCompile(`^.{1,1000}$`),
	"listen":     regexp.MustCompile(`^[^ ]*:[0-9]{1,5}$`),
	"host":       regexp.MustCompile(`^[A-Za-z0-9.:\[\]-]{1,260}$`),
	"jwttype":    regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9!#$&^_.+/-]{0,126}$`),
	"dependency": regexp.MustCompile(`^[A-Za-z0-9._~:@!$&'()*+,;=-]{1,50}$`),
	"company":    regexp.MustCompile(`^[^\s:@/]{1,100}$`),
	"username":   regexp.MustCompile(`^[^\s:@]{1,100}$`),
	"sha256":     regexp.MustCompile(`^[0-9A-Fa-f]{64}$`),
	"entity":     regexp.MustCompile(`^(\*|[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*)$`),
}

// plainKey is a key that a path shows as it is. A placeholder is what an example leaves to fill in.
var (
	plainKey    = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	placeholder = regexp.MustCompile(`^(\.{3}|\x{2026})$|<[A-Za-z][A-Za-z0-9 _-]*>`)
)

// format is what to say about a text that does not match its pattern.
// explain may be nil and may return "" for nothing special.
type format struct {
	message, hint string
	explain       func(value string) (message, hint string)
}

// formatNamed is the table of formats that the tags name. What depends on the rest of the configuration, such as the hosts of
// URLs, is checked in validate.go.
func formatNamed(name string) format {
	switch name {
	case "name":
		return format{"is not a name", "use at most 63 lower-case letters, digits and hyphens, beginning with a letter or digit", explainName}
	case "envname":
		return format{"is not the name of an environment variable", "use letters, digits and underscores", nil}
	case "word":
		return format{"holds a blank or is longer than 256 characters", "copy it again without blanks", nil}
	case "scope":
		return format{"does not end in /.default, which client credentials need", "write the application ID URI of the resource, then /.default, such as api://<client ID>/.default", nil}
	case "tenant":
		return format{"is not a tenant ID", "write the Directory (tenant) ID or a domain of the tenant", explainTenant}
	case "url":
		return format{"is not an absolute http or https URL", "write it with https:// in front", nil}
	case "text":
		return format{"is longer than 1000 characters", "shorten it", nil}
	case "path":
		return format{"is longer than 1000 characters", "shorten it", explainPath}
	case "listen":
		return format{"is not an address and a port", listenHint, explainListen}
	case "host":
		return format{"is not a host", "write a host such as sso.example.com, or host:port; no scheme, no path, no wildcard", explainHost}
	case "jwttype":
		return format{"is not a token type", "write the value of typ, such as at+jwt", nil}
	case "dependency":
		return format{"is not a dependency name: at most 50 letters, digits and characters of a URN", "copy the name of the dependency from the IAS application", explainDependency}
	case "company":
		return format{"is not a company ID: it holds a blank or one of : @ /", "copy the company ID from SuccessFactors", nil}
	case "username":
		return format{"holds a blank, : or @", "write only what the job sends before @company", nil}
	case "sha256":
		return format{"is not a SHA-256 hash: 64 hexadecimal digits", "copy the hash that sfbroker caller add prints", nil}
	case "entity":
		return format{"is not an entity set or a navigation path", "write PerPerson or PerPerson/employmentNav, without a leading slash, keys or options; * alone is everything", nil}
	}
	return format{}
}

const listenHint = "write address:port, such as 127.0.0.1:8020, [::1]:8020 or 0.0.0.0:8020"

// checkFormat says what is wrong with a text in a format. It repeats the value only where it cannot be a secret.
func checkFormat(name, value string) (message, hint string) {
	f := formatNamed(name)
	if f.explain != nil {
		if message, hint = f.explain(value); message != "" {
			return message, hint
		}
	}
	if p := patterns[name]; p != nil && !p.MatchString(value) {
		return f.message, f.hint
	}
	return "", ""
}

// normalise gives the form in which a checked text is used.
func normalise(name, value string, file *source) string {
	switch name {
	case "path":
		return file.join(value)
	case "sha256", "host":
		return strings.ToLower(value)
	}
	return value
}

func explainName(value string) (message, hint string) {
	f := formatNamed("name")
	if fixed := strings.NewReplacer("_", "-", " ", "-", ".", "-").Replace(strings.ToLower(value)); fixed != value && patterns["name"].MatchString(fixed) {
		return f.message, "write " + quoted(fixed) + "; " + f.hint
	}
	return "", ""
}

func explainTenant(value string) (message, hint string) {
	switch strings.ToLower(value) {
	case "common", "organizations", "consumers":
		return show(value) + " stands for many tenants; client credentials need one", "write the Directory (tenant) ID"
	}
	return "", ""
}

func explainPath(value string) (message, hint string) {
	switch {
	case strings.Contains(value, "://"):
		return "is a URL, not a file name", "write the path of a file on this machine"
	case value == "-":
		return "- is not a file name", "write the path of a file"
	}
	return "", ""
}

func explainListen(value string) (message, hint string) {
	host, port, err := net.SplitHostPort(value)
	if err != nil {
		return formatNamed("listen").message, listenHint
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return "the port is not a number from 0 to 65535", listenHint
	}
	if host == "" || host == "localhost" {
		return "", ""
	}
	if _, err := netip.ParseAddr(host); err != nil {
		return "the host is not an IP address or localhost", listenHint
	}
	return "", ""
}

func explainHost(value string) (message, hint string) {
	f := formatNamed("host")
	if _, err := netip.ParseAddr(strings.Trim(value, "[]")); err == nil {
		return "", ""
	}
	if strings.Contains(value, "/") {
		return "is not a host: it has a scheme or a path", f.hint
	}
	host, port, hasPort := strings.Cut(value, ":")
	if strings.HasPrefix(value, "[") {
		h, p, err := net.SplitHostPort(value)
		if _, addrErr := netip.ParseAddr(h); err != nil || addrErr != nil {
			return f.message, f.hint
		}
		port = p
	} else if bad := badHost(host); bad != "" {
		return bad, f.hint
	}
	if n, err := strconv.ParseUint(port, 10, 16); hasPort && (err != nil || n == 0) {
		return "the port is not a number from 1 to 65535", f.hint
	}
	return "", ""
}

// Dependency names as they are pasted: the whole resource, parts of it, or with :name: eaten by an emoji shortcode.
const resourcePrefix = "urn:sap:identity:application:provider:name:"

func explainDependency(value string) (message, hint string) {
	literal := unbadge(value)
	short := literal
	if i := strings.LastIndex(literal, ":name:"); i >= 0 {
		short = literal[i+len(":name:"):]
	}
	good := patterns["dependency"].MatchString(short)
	write := "write the short name of the dependency"
	if good {
		write = "write dependency: " + short
	}
	switch {
	case literal != value:
		return "holds an emoji badge: it is :name: turned into an emoji", write + "; the resource that is asked for is " + resourcePrefix + short
	case strings.Contains(literal, "provider:clientid:"):
		return "is a resource by client ID, not the name of a dependency", "write the short name of the dependency"
	case strings.HasPrefix(strings.ToLower(literal), "urn:") || short != literal && strings.Contains(literal, "provider:"):
		return "is a resource, not the name of a dependency", write
	}
	return "", ""
}

// badges are the emoji that documents and chats make of shortcodes such as :name: and :name_badge:.
const badges = "\U0001F4DB\U0001F3F7\U0001FAAA\U0001F194\U0001F516"

const nameBadge = "\U0001F4DB"

// unbadge writes :name: where an emoji badge stands, without the variation selector that may follow it.
func unbadge(value string) string {
	var b strings.Builder
	for _, c := range value {
		switch {
		case strings.ContainsRune(badges, c):
			b.WriteString(":name:")
		case c == 0xfe0f:
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}

// checkText refuses what no text of this file holds: secrets, references to secrets, blanks around it, characters that cannot
// be seen, badges, placeholders. The message never repeats a value that may be a secret.
func checkText(value, format string) (message, hint string) {
	if message, hint = pastedSecret(value); message != "" {
		return message, hint
	}
	switch {
	case value == "":
		return "is empty", "give it a value or remove the line"
	case strings.Contains(value, envPrefix), strings.HasPrefix(value, filePrefix):
		hint = "write the value itself; ${VARIABLE} and file: are read only where a secret belongs"
		if path, ok := strings.CutPrefix(value, filePrefix); ok && format == "path" {
			hint = "write the path alone: " + quoted(strings.TrimPrefix(path, "//"))
		}
		return "is a reference, but this value is not a secret: what decides is written in this file, where it can be reviewed", hint
	case strings.TrimSpace(value) != value:
		return "begins or ends with a blank, and values are compared exactly", "remove the blank"
	}
	for _, c := range value {
		if unicode.IsControl(c) || c != ' ' && c != 0xfe0f && (unicode.Is(unicode.Cf, c) || unicode.IsSpace(c)) {
			return fmt.Sprintf("holds the character U+%04X, which cannot be seen", c), "type the value again instead of pasting it, on one line"
		}
	}
	if format != "dependency" && strings.ContainsAny(value, badges) {
		hint = "copy the text from the console of the peer, where it is no emoji"
		if strings.Contains(value, nameBadge) {
			hint = "write " + quoted(unbadge(value))
		}
		return "holds an emoji badge: a text such as :name: that was turned into an emoji", hint
	}
	if placeholder.MatchString(value) {
		return "is still a placeholder", "replace it with the value of your own landscape"
	}
	return "", ""
}

func pastedSecret(value string) (message, hint string) {
	switch {
	case strings.Contains(value, "-----BEGIN"):
		return "holds a key or a certificate itself", "put it into a file and name the file"
	case strings.HasPrefix(value, "eyJ") && strings.Count(value, ".") >= 2:
		return "is a token itself, and this file holds no tokens", "name the file or variable that holds it; have the token revoked if this file was shared"
	case strings.HasPrefix(value, "sfb_"):
		return "is a caller's key itself, and this file holds only its hash", "write key: {sha256: ...} as sfbroker caller add prints it; rotate the key if this file was shared"
	}
	return "", ""
}

func hasControl(value string) bool { return strings.IndexFunc(value, unicode.IsControl) >= 0 }

// quoted puts a text into double quotes for a message, with everything that cannot be seen escaped.
func quoted(value string) string { return strconv.Quote(value) }
