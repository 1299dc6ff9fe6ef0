package trust

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Rule trusts one subject of one issuer, for one audience. Issuer, Subject and
// Audience are compared byte for byte: no folding of case, no trimming of
// slashes, no patterns.
type Rule struct {
	// Name appears in identities, refusals and logs. Required, unique in a set.
	Name string
	// Issuer is the exact iss. Required.
	Issuer string
	// JWKSURI is where the issuer publishes its keys. Empty, with no KeysFile,
	// means OpenID Connect discovery at the issuer, done at first use.
	JWKSURI string
	// KeysFile is a JWK set on disk in place of JWKSURI, read again whenever it
	// changes.
	KeysFile string
	// Subject is the exact sub. Required.
	Subject string
	// Audience is the one exact aud. Required.
	Audience string
	// Types are values of typ accepted beside JWT and none, such as "at+jwt".
	Types []string
	// Algorithms are accepted values of alg; none means RS256 alone.
	Algorithms []string
	// MaxLifetime bounds exp - iat; zero means 24 h.
	MaxLifetime time.Duration
	// Skew is tolerated between the issuer's clock and ours; zero means 60 s,
	// 300 s is the most.
	Skew time.Duration
}

// Defaults and bounds of a rule.
const (
	defaultLifetime = 24 * time.Hour
	defaultSkew     = 60 * time.Second
	maxSkew         = 300 * time.Second
)

// RuleError is one thing wrong with one rule. Compile joins all it finds.
type RuleError struct {
	Rule string
	// Field is the rule's field in the words of the configuration: issuer,
	// jwks_uri, jwks_file, subject, audience, types, algorithms, max_lifetime,
	// skew, name; or rules for the whole set.
	Field   string
	Message string
	Hint    string
}

// Error gives rule, field and message.
func (e *RuleError) Error() string {
	if e.Rule == "" {
		return e.Field + ": " + e.Message
	}
	return fmt.Sprintf("rule %q: %s: %s", e.Rule, e.Field, e.Message)
}

// rule is a Rule with defaults filled in.
type rule struct {
	Rule
}

// Compile checks the rules and makes them ready to verify. It reads and
// fetches nothing: key sets are loaded at first use. The error joins a
// [*RuleError] for each thing that is wrong.
func Compile(config Config) (*Rules, error) {
	c := compiler{config: config, names: map[string]bool{}, triples: map[[3]string]string{}}
	if len(config.Rules) == 0 {
		c.report("", "rules", "no rule given", "a set without rules would refuse every assertion")
	}
	for _, r := range config.Rules {
		c.check(r)
	}
	if err := errors.Join(c.problems...); err != nil {
		return nil, err
	}
	return build(config), nil
}

func build(config Config) *Rules {
	r := &Rules{
		byIssuer: make(map[string]*issuerRules),
		now:      config.Now, metrics: config.Metrics, logger: config.Logger,
		jobs: newBackground(),
	}
	if r.now == nil {
		r.now = time.Now
	}
	if r.logger == nil {
		r.logger = slog.New(slog.DiscardHandler)
	}
	fetch := newFetcher(config.HTTPClient, config.AllowInsecureLoopback)
	for _, source := range config.Rules {
		issuer := r.byIssuer[source.Issuer]
		if issuer == nil {
			issuer = &issuerRules{issuer: source.Issuer, keys: newKeySet(source, r, fetch)}
			r.byIssuer[source.Issuer] = issuer
			r.order = append(r.order, issuer)
		}
		issuer.rules = append(issuer.rules, compileRule(source))
	}
	return r
}

func compileRule(source Rule) *rule {
	r := &rule{Rule: source}
	if len(r.Algorithms) == 0 {
		r.Algorithms = []string{"RS256"}
	} else {
		r.Algorithms = slices.Clone(r.Algorithms)
	}
	types := []string{"jwt"}
	for _, t := range r.Types {
		types = append(types, normalType(t))
	}
	r.Types = types
	if r.MaxLifetime == 0 {
		r.MaxLifetime = defaultLifetime
	}
	if r.Skew == 0 {
		r.Skew = defaultSkew
	}
	return r
}

// normalType writes a typ in one way: media types ignore case and may leave
// out "application/" (RFC 7515 section 4.1.9).
func normalType(typ string) string {
	return strings.TrimPrefix(lowerASCII(typ), "application/")
}

// lowerASCII leaves letters beyond ASCII alone, so that "ſ" never becomes "s".
func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// compiler collects what is wrong with a list of rules.
type compiler struct {
	config   Config
	names    map[string]bool
	triples  map[[3]string]string
	problems []error
}

func (c *compiler) report(rule, field, message, hint string) {
	c.problems = append(c.problems, &RuleError{Rule: rule, Field: field, Message: message, Hint: hint})
}

func (c *compiler) check(r Rule) {
	switch {
	case r.Name == "":
		c.report("", "name", "missing", "")
	case c.names[r.Name]:
		c.report(r.Name, "name", "used by two rules", "")
	}
	c.names[r.Name] = true
	c.checkText(r.Name, "issuer", r.Issuer)
	c.checkText(r.Name, "subject", r.Subject)
	c.checkText(r.Name, "audience", r.Audience)
	c.checkKeys(r)
	c.checkHeader(r)
	if r.MaxLifetime < 0 {
		c.report(r.Name, "max_lifetime", "is negative", "")
	}
	if r.Skew < 0 || r.Skew > maxSkew {
		c.report(r.Name, "skew", fmt.Sprintf("%s is outside 0 to %s", r.Skew, maxSkew), "set the clocks instead (NTP)")
	}
	c.checkUnique(r)
}

func (c *compiler) checkText(rule, field, value string) {
	switch {
	case value == "":
		c.report(rule, field, "missing", "")
	case value != strings.TrimSpace(value):
		c.report(rule, field, "has white space around it", "it is compared byte for byte, take the white space away")
	case strings.ContainsFunc(value, unprintable):
		c.report(rule, field, "holds a character that cannot be printed", "")
	case len(value) > 1000:
		c.report(rule, field, "is longer than 1000 bytes", "")
	}
}

func (c *compiler) checkKeys(r Rule) {
	switch {
	case r.JWKSURI != "" && r.KeysFile != "":
		c.report(r.Name, "jwks_file", "given beside jwks_uri", "keep one of the two")
	case r.KeysFile != "":
	case r.JWKSURI != "":
		if err := checkURL(r.JWKSURI, c.config.AllowInsecureLoopback); err != nil {
			c.report(r.Name, "jwks_uri", err.Error(), urlHint(r.JWKSURI))
		}
	case r.Issuer != "":
		if err := checkIssuerURL(r.Issuer, c.config.AllowInsecureLoopback); err != nil {
			c.report(r.Name, "issuer", "keys cannot be discovered: "+err.Error(), "give jwks_uri or jwks_file: "+urlHint(r.Issuer))
		}
	}
	for _, other := range c.config.Rules {
		if other.Issuer == r.Issuer && (other.JWKSURI != r.JWKSURI || other.KeysFile != r.KeysFile) {
			c.report(r.Name, "jwks_uri", fmt.Sprintf("rule %q gives the same issuer other keys", other.Name), "one issuer has one key set")
			return
		}
	}
}

func (c *compiler) checkHeader(r Rule) {
	for _, algorithm := range r.Algorithms {
		if !supportedAlgorithm(algorithm) {
			c.report(r.Name, "algorithms", fmt.Sprintf("%q is not supported", algorithm), "supported: "+strings.Join(Algorithms(), ", "))
		}
	}
	for _, typ := range r.Types {
		if normal := normalType(typ); normal == "" || strings.ContainsAny(normal, " \t*") || strings.ContainsFunc(normal, unprintable) {
			c.report(r.Name, "types", fmt.Sprintf("%q is no media type", safe(typ)), "such as at+jwt")
		}
	}
}

// checkUnique refuses ambiguous sets: an assertion may match one rule only.
func (c *compiler) checkUnique(r Rule) {
	triple := [3]string{r.Issuer, r.Subject, r.Audience}
	if first, twice := c.triples[triple]; twice {
		c.report(r.Name, "subject", fmt.Sprintf("rule %q has the same issuer, subject and audience", first), "exactly one rule may match")
		return
	}
	c.triples[triple] = r.Name
}

// checkURL refuses an address that keys must not be fetched from.
func checkURL(address string, insecureLoopback bool) error {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return errors.New("is no URL")
	case u.Host == "" || u.Hostname() == "" || u.Opaque != "":
		return errors.New("is no absolute URL")
	case u.User != nil:
		return errors.New("holds a user name or password")
	case u.Fragment != "":
		return errors.New("holds a fragment")
	case u.Scheme == "https":
		return nil
	case u.Scheme != "http":
		return errors.New("is not https")
	case insecureLoopback && isLoopback(u.Hostname()):
		return nil
	default:
		return errors.New("is plain http")
	}
}

// checkIssuerURL is checkURL for an issuer, which has no query either
// (OpenID Connect Discovery 1.0 section 3).
func checkIssuerURL(issuer string, insecureLoopback bool) error {
	if strings.ContainsAny(issuer, "?#") {
		return errors.New("holds a query or fragment")
	}
	return checkURL(issuer, insecureLoopback)
}

func urlHint(address string) string {
	u, err := url.Parse(address)
	if err == nil && u.Scheme == "http" && isLoopback(u.Hostname()) {
		return "plain http toward loopback needs allow_insecure_loopback"
	}
	return "keys come over https only"
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
