package successfactors

import (
	"strconv"
	"strings"
)

const serviceRoot = "/odata/v2"

// segment is one step of a path: a name, and a key predicate if it has one.
type segment struct {
	name   string
	key    string // decoded, without the parentheses
	hasKey bool
}

// option is one member of the query, as it was sent and as it reads.
type option struct{ raw, name, value string }

// target is a request's address under the service root.
type target struct {
	path     string // as it was sent, with the service root
	segments []segment
	options  []option
}

// parseTarget takes an address apart. The query is cut at & only, so that a semicolon in a literal stays where it is.
// inside is false when the path does not lead under the service root.
func parseTarget(uri string) (t target, inside bool, f *fault) {
	rawPath, rawQuery, _ := strings.Cut(uri, "?")
	t.path = strings.TrimRight(rawPath, "/")
	rest, found := strings.CutPrefix(t.path, serviceRoot)
	if !found || rest != "" && rest[0] != '/' {
		return t, false, nil
	}
	for _, raw := range splitOutsideQuotes(strings.TrimPrefix(rest, "/")) {
		decoded, ok := decode(raw, false)
		if !ok || decoded == "" {
			return t, true, badRequest("The path of the request is malformed.")
		}
		s, ok := parseSegment(decoded)
		if !ok {
			return t, true, badRequest("The key predicate of %s is malformed.", s.name)
		}
		t.segments = append(t.segments, s)
	}
	seen := make(map[string]bool)
	for _, raw := range strings.Split(rawQuery, "&") {
		if raw == "" {
			continue
		}
		name, val, _ := strings.Cut(raw, "=")
		o := option{raw: raw}
		var okName, okValue bool
		o.name, okName = decode(name, true)
		o.value, okValue = decode(val, true)
		if !okName || !okValue {
			return t, true, badRequest("The query of the request is not percent-encoded correctly.")
		}
		if seen[o.name] {
			return t, true, badRequest("The query option %s is given twice.", o.name)
		}
		seen[o.name] = true
		t.options = append(t.options, o)
	}
	return t, true, nil
}

// get is the value of an option; missing and empty are told apart by ok.
func (t target) get(name string) (string, bool) {
	for _, o := range t.options {
		if o.name == name {
			return o.value, true
		}
	}
	return "", false
}

// splitOutsideQuotes cuts a path at its slashes, but not within the quotes of a key.
func splitOutsideQuotes(path string) []string {
	if path == "" {
		return nil
	}
	var out []string
	inQuotes, start := false, 0
	for i := 0; i < len(path); i++ {
		switch {
		case path[i] == '\'':
			inQuotes = !inQuotes
		case strings.HasPrefix(path[i:], "%27"):
			inQuotes = !inQuotes
		case path[i] == '/' && !inQuotes:
			out = append(out, path[start:i])
			start = i + 1
		}
	}
	return append(out, path[start:])
}

// decode resolves percent-encoding, and plus as a space where that is the custom.
func decode(s string, plus bool) (string, bool) {
	if !strings.ContainsAny(s, "%+") {
		return s, true
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '+' && plus:
			b.WriteByte(' ')
		case s[i] != '%':
			b.WriteByte(s[i])
		default:
			if i+2 >= len(s) {
				return "", false
			}
			n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil {
				return "", false
			}
			b.WriteByte(byte(n))
			i += 2
		}
	}
	return b.String(), true
}

func parseSegment(s string) (segment, bool) {
	name, rest, found := strings.Cut(s, "(")
	if !found {
		return segment{name: s}, true
	}
	key, ok := strings.CutSuffix(rest, ")")
	return segment{name: name, key: key, hasKey: true}, ok && name != ""
}

// keyValues reads a key predicate: one bare literal, or name=literal for each key member. It may name a part of the key
// only where partial is true.
func keyValues(t *entityType, s string) ([]value, *fault) {
	tokens, f := scanKey(s)
	if f != nil {
		return nil, f
	}
	out := make([]value, len(t.keys))
	set := make([]bool, len(t.keys))
	for _, part := range tokens {
		k := -1
		for i, p := range t.keys {
			if p.name == part.name || part.name == "" && len(t.keys) == 1 {
				k = i
			}
		}
		if k < 0 || set[k] {
			return nil, badRequest("The key predicate does not fit the keys of %s.", t.name)
		}
		v, ok := keyLiteral(part.text)
		if !ok || v.kind != t.keys[k].typ.kind() {
			return nil, badRequest("The key %s of %s has a value of the wrong type.", t.keys[k].name, t.name)
		}
		out[k], set[k] = v, true
	}
	for k, there := range set {
		if !there {
			return nil, badRequest("The key %s of %s is missing.", t.keys[k].name, t.name)
		}
	}
	return out, nil
}

type keyPart struct{ name, text string }

// scanKey cuts a key predicate at the commas outside of quotes.
func scanKey(s string) ([]keyPart, *fault) {
	var out []keyPart
	inQuotes, start := false, 0
	flush := func(end int) bool {
		part := strings.TrimSpace(s[start:end])
		name := ""
		if eq := strings.IndexByte(part, '='); eq > 0 && !strings.ContainsRune(part[:eq], '\'') {
			name, part = strings.TrimSpace(part[:eq]), strings.TrimSpace(part[eq+1:])
		}
		out = append(out, keyPart{name, part})
		start = end + 1
		return part != ""
	}
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\'':
			inQuotes = !inQuotes
		case s[i] == ',' && !inQuotes:
			if !flush(i) {
				return nil, badRequest("The key predicate is malformed.")
			}
		}
	}
	if inQuotes || !flush(len(s)) {
		return nil, badRequest("The key predicate is malformed.")
	}
	return out, nil
}

func keyLiteral(s string) (value, bool) {
	tokens, f := scanFilter(s)
	if f != nil || len(tokens) != 2 {
		return value{}, false
	}
	switch t := tokens[0]; t.kind {
	case tokenString:
		return text(t.text), true
	case tokenNumber:
		return parseNumber(t.text)
	case tokenDate:
		ms, ok := parseInstant(t.text)
		return instant(ms), ok
	default:
		return value{}, false
	}
}
