package trust

import (
	"net/url"
	"strings"
)

// textHints names what makes two values nearly equal.
func textHints(what, expected, received string) []string {
	switch {
	case strings.TrimSpace(expected) == strings.TrimSpace(received):
		return []string{"the " + what + " differs in white space alone"}
	case strings.EqualFold(expected, received):
		return []string{"the " + what + " differs in letter case alone"}
	case strings.TrimSuffix(expected, "/") == strings.TrimSuffix(received, "/"):
		if strings.HasSuffix(expected, "/") {
			return []string{"the " + what + " of the assertion lacks the trailing slash of the rule"}
		}
		return []string{"the " + what + " of the assertion has a trailing slash that the rule lacks"}
	}
	return nil
}

func issuerHints(expected, received string) []string {
	if hints := textHints("issuer", expected, received); hints != nil {
		return hints
	}
	wantTenant, wantVersion := entraIssuer(expected)
	haveTenant, haveVersion := entraIssuer(received)
	switch {
	case wantVersion == "" || haveVersion == "":
		return nil
	case wantTenant != haveTenant:
		return []string{"the assertion comes from another Entra tenant: " + safe(haveTenant)}
	case wantVersion == "v2":
		return []string{"this is the tenant's v1 issuer and the rule has the v2 one: set requestedAccessTokenVersion (accessTokenAcceptedVersion) of the resource application to 2"}
	case haveVersion == "v2":
		return []string{"this is the tenant's v2 issuer and the rule has the v1 one: write the v2 issuer into the rule, here and in IAS"}
	}
	return nil
}

// entraIssuer recognises https://sts.windows.net/<tid>/ (v1) and
// https://login.microsoftonline.com/<tid>/v2.0 (v2, also in other clouds).
func entraIssuer(issuer string) (tenant, version string) {
	u, err := url.Parse(issuer)
	if err != nil {
		return "", ""
	}
	parts := strings.Split(strings.Trim(u.Path, "/"), "/")
	host := strings.ToLower(u.Hostname())
	switch {
	case len(parts) == 1 && strings.HasPrefix(host, "sts.") && isGUID(parts[0]):
		return strings.ToLower(parts[0]), "v1"
	case len(parts) == 2 && parts[1] == "v2.0" && isGUID(parts[0]):
		return strings.ToLower(parts[0]), "v2"
	}
	return "", ""
}

func audienceHints(expected, received string) []string {
	if hints := textHints("audience", expected, received); hints != nil {
		return hints
	}
	want, have := audienceGUID(expected), audienceGUID(received)
	if want == "" || !strings.EqualFold(want, have) {
		return nil
	}
	switch {
	case isGUID(received):
		return []string{"the assertion has the bare application ID, as v2 tokens of Entra always do, the rule has " + safe(expected)}
	case isGUID(expected):
		return []string{"the assertion has the application ID URI (a v1 token of Entra), the rule has the bare application ID"}
	default:
		return []string{"both name the same application, in different forms: Entra may append a host to the application ID URI"}
	}
}

// audienceGUID returns the application ID in GUID, api://GUID or
// api://GUID/anything.
func audienceGUID(audience string) string {
	if len(audience) >= 6 && strings.EqualFold(audience[:6], "api://") {
		audience, _, _ = strings.Cut(audience[6:], "/")
	}
	if isGUID(audience) {
		return audience
	}
	return ""
}

func subjectHints(expected string, a *assertion) []string {
	if hints := textHints("subject", expected, a.subject); hints != nil {
		return hints
	}
	for _, name := range [...]string{"azp", "appid", "client_id"} {
		if value, _ := a.claims[name].(string); value != "" && value == expected {
			return []string{"the rule has the application (client) ID as subject, the assertion's subject is the object ID of its service principal: take the latter, from Enterprise applications"}
		}
	}
	if value, _ := a.claims["oid"].(string); value != "" && value == expected {
		return []string{"the rule has the object ID (oid), this issuer's subject is another value"}
	}
	if isGUID(expected) && isGUID(a.subject) {
		return []string{"both are GUIDs: the object ID of an app registration and that of its service principal (Enterprise applications) differ, the subject is the latter"}
	}
	return nil
}

func isGUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		c := s[i] | 0x20
		switch {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if s[i] != '-' {
				return false
			}
		case !isDigit(s[i]) && (c < 'a' || c > 'f'):
			return false
		}
	}
	return true
}
