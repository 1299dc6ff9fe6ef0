package oauthclient

import (
	"fmt"
	"strings"
)

const (
	resourcePrefix      = "urn:sap:identity:application:provider:name:"
	maxDependencyLength = 50
)

// Dependency is the name of an IAS application dependency, such as SF-EC-TA.
// Make it with ParseDependency.
type Dependency string

// DependencyError says why a text is not a dependency name.
type DependencyError struct {
	// Input is what was given.
	Input string
	// Problem is one sentence, Hint what to write instead; Hint may be empty.
	Problem, Hint string
}

// Error implements error.
func (e *DependencyError) Error() string {
	return fmt.Sprintf("dependency name %q: %s", e.Input, e.Problem)
}

// ParseDependency accepts a name that IAS accepts: URN-compliant (RFC 8141) and
// at most 50 characters. A refusal is a *DependencyError.
func ParseDependency(s string) (Dependency, error) {
	switch {
	case s == "":
		return "", &DependencyError{Input: s, Problem: "is empty"}
	case strings.Contains(s, "\U0001F4DB"):
		return "", &DependencyError{
			Input:   s,
			Problem: "contains a name-badge emoji, which is what a chat program or web page makes of \":name:\"",
			Hint:    fmt.Sprintf("write the dependency name alone: %q", s[strings.LastIndex(s, "\U0001F4DB")+len("\U0001F4DB"):]),
		}
	case strings.HasPrefix(strings.ToLower(s), "urn:sap:identity:"):
		return "", &DependencyError{
			Input:   s,
			Problem: "is a whole resource URN",
			Hint:    fmt.Sprintf("write the dependency name alone: %q", s[strings.LastIndexByte(s, ':')+1:]),
		}
	case len(s) > maxDependencyLength:
		return "", &DependencyError{Input: s, Problem: fmt.Sprintf("has %d characters, IAS allows %d", len(s), maxDependencyLength)}
	}
	if i := invalidURNByte(s); i >= 0 {
		return "", &DependencyError{
			Input:   s,
			Problem: fmt.Sprintf("has a character at position %d that a URN cannot hold", i+1),
			Hint:    "copy the name as it stands in IAS under Application APIs, Dependencies",
		}
	}
	return Dependency(s), nil
}

// invalidURNByte returns the index of the first byte that RFC 8141's NSS does
// not allow, or -1.
func invalidURNByte(s string) int {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case isAlphanumeric(c), i > 0 && c == '/', strings.IndexByte("-._~!$&'()*+,;=:@", c) >= 0:
		case c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
		default:
			return i
		}
	}
	return -1
}

func isAlphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// Resource is the RFC 8707 resource of a dependency:
// urn:sap:identity:application:provider:name:<dependency>.
func Resource(d Dependency) string { return resourcePrefix + string(d) }
