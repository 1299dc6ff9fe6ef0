package trust

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// reader reads one JSON value and gives nothing away: names are exact and
// unique, strings are Unicode, numbers keep their text, depth is bounded.
// encoding/json folds the case of names, takes the last of two equal ones and
// replaces lone surrogates, so that two readers of one text may disagree.
type reader struct {
	text  string
	pos   int
	depth int
}

// readObject reads text as exactly one object. The names in registered are
// refused in any other letter case, and so are two names that differ in case
// alone; both hold for the outermost object, deeper ones need only be unique.
func readObject(text string, registered map[string]bool) (map[string]any, *Refusal) {
	if !utf8.ValidString(text) {
		return nil, refuse(ReasonUTF8, errors.New("bytes that are not UTF-8"))
	}
	r := &reader{text: text}
	r.space()
	if r.peek() != '{' {
		if _, refusal := r.value(); refusal != nil {
			return nil, refusal
		}
		return nil, refuse(ReasonNotObject, nil)
	}
	object, refusal := r.object()
	if refusal != nil {
		return nil, refusal
	}
	if refusal := r.end(); refusal != nil {
		return nil, refusal
	}
	return object, checkNames(object, registered)
}

func (r *reader) end() *Refusal {
	r.space()
	if r.pos != len(r.text) {
		return refuse(ReasonTrailingData, fmt.Errorf("data after the value at byte %d", r.pos))
	}
	return nil
}

// checkNames refuses what a reader that folds case would take for something
// else than a reader that does not.
func checkNames(object map[string]any, registered map[string]bool) *Refusal {
	var folded map[string]string
	for name := range object {
		f := fold(name)
		if f == name {
			continue
		}
		if registered[f] {
			return refuse(ReasonMisspeltName, fmt.Errorf("name %q in place of %q", safe(name), f))
		}
		if folded == nil {
			folded = make(map[string]string, len(object))
		}
		_, same := object[f]
		_, other := folded[f]
		if same || other {
			return refuse(ReasonDuplicateName, fmt.Errorf("name %q occurs in several letter cases", safe(name)))
		}
		folded[f] = name
	}
	return nil
}

// fold maps names that encoding/json holds equal (Unicode simple folding, so
// "ſ" and "s" too) to one form. Lower-case ASCII is its own fold.
func fold(name string) string {
	return strings.Map(func(r rune) rune {
		lowest := r
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			lowest = min(lowest, next)
		}
		if 'A' <= lowest && lowest <= 'Z' {
			return lowest + 'a' - 'A'
		}
		return lowest
	}, name)
}

func (r *reader) fail(what string) *Refusal {
	return refuse(ReasonJSON, fmt.Errorf("%s at byte %d", what, r.pos))
}

// peek returns the next byte, or 0 at the end (0 is no byte of JSON).
func (r *reader) peek() byte {
	if r.pos < len(r.text) {
		return r.text[r.pos]
	}
	return 0
}

func (r *reader) space() {
	for r.pos < len(r.text) {
		switch r.text[r.pos] {
		case ' ', '\t', '\n', '\r':
			r.pos++
		default:
			return
		}
	}
}

func (r *reader) take(c byte) bool {
	if r.peek() != c {
		return false
	}
	r.pos++
	return true
}

func (r *reader) value() (any, *Refusal) {
	r.space()
	switch c := r.peek(); {
	case c == '{':
		return orNil(r.object())
	case c == '[':
		return orNil(r.array())
	case c == '"':
		return orNil(r.string())
	case c == '-' || isDigit(c):
		return orNil(r.number())
	case c == 't':
		return true, r.literal("true")
	case c == 'f':
		return false, r.literal("false")
	case c == 'n':
		return nil, r.literal("null")
	default:
		return nil, r.fail("no value")
	}
}

func orNil[T any](v T, refusal *Refusal) (any, *Refusal) { return v, refusal }

func (r *reader) literal(word string) *Refusal {
	if !strings.HasPrefix(r.text[r.pos:], word) {
		return r.fail("no value")
	}
	r.pos += len(word)
	return nil
}

func (r *reader) enter() *Refusal {
	r.pos++
	r.depth++
	if r.depth > maxJSONDepth {
		return refuse(ReasonTooDeep, fmt.Errorf("nested deeper than %d", maxJSONDepth))
	}
	return nil
}

func (r *reader) object() (map[string]any, *Refusal) {
	object := make(map[string]any, 8)
	refusal := r.members(func(name string) *Refusal {
		if _, twice := object[name]; twice {
			return refuse(ReasonDuplicateName, fmt.Errorf("name %q occurs twice", safe(name)))
		}
		value, refusal := r.value()
		object[name] = value
		return refusal
	})
	return object, refusal
}

// members reads an object and calls member at the value of each name; member
// must consume the value.
func (r *reader) members(member func(name string) *Refusal) *Refusal {
	if refusal := r.enter(); refusal != nil {
		return refusal
	}
	defer func() { r.depth-- }()
	r.space()
	if r.take('}') {
		return nil
	}
	for {
		r.space()
		if r.peek() != '"' {
			return r.fail("no name")
		}
		name, refusal := r.string()
		if refusal != nil {
			return refusal
		}
		r.space()
		if !r.take(':') {
			return r.fail("no colon")
		}
		if refusal := member(name); refusal != nil {
			return refusal
		}
		r.space()
		if r.take('}') {
			return nil
		}
		if !r.take(',') {
			return r.fail("no comma in an object")
		}
	}
}

func (r *reader) array() ([]any, *Refusal) {
	array := []any{}
	refusal := r.elements(func() *Refusal {
		value, refusal := r.value()
		array = append(array, value)
		return refusal
	})
	return array, refusal
}

// elements reads an array and calls element at each element; element must
// consume it.
func (r *reader) elements(element func() *Refusal) *Refusal {
	if refusal := r.enter(); refusal != nil {
		return refusal
	}
	defer func() { r.depth-- }()
	r.space()
	if r.take(']') {
		return nil
	}
	for {
		if refusal := element(); refusal != nil {
			return refusal
		}
		r.space()
		if r.take(']') {
			return nil
		}
		if !r.take(',') {
			return r.fail("no comma in an array")
		}
	}
}

// string reads a string; the common one without escapes is a piece of text.
func (r *reader) string() (string, *Refusal) {
	r.pos++
	start := r.pos
	for r.pos < len(r.text) {
		switch c := r.text[r.pos]; {
		case c == '"':
			s := r.text[start:r.pos]
			r.pos++
			return s, nil
		case c == '\\':
			return r.escaped(start)
		case c < 0x20:
			return "", r.fail("control character in a string")
		default:
			r.pos++
		}
	}
	return "", r.fail("string without end")
}

func (r *reader) escaped(start int) (string, *Refusal) {
	var b strings.Builder
	b.WriteString(r.text[start:r.pos])
	for r.pos < len(r.text) {
		switch c := r.text[r.pos]; {
		case c == '"':
			r.pos++
			return b.String(), nil
		case c < 0x20:
			return "", r.fail("control character in a string")
		case c == '\\':
			decoded, refusal := r.escape()
			if refusal != nil {
				return "", refusal
			}
			b.WriteRune(decoded)
		default:
			b.WriteByte(c)
			r.pos++
		}
	}
	return "", r.fail("string without end")
}

func (r *reader) escape() (rune, *Refusal) {
	r.pos++
	c := r.peek()
	if c == 'u' {
		return r.unicodeEscape()
	}
	plain := strings.IndexByte(`"\/bfnrt`, c)
	if c == 0 || plain < 0 {
		return 0, r.fail("unknown escape")
	}
	r.pos++
	return rune("\"\\/\b\f\n\r\t"[plain]), nil
}

func (r *reader) unicodeEscape() (rune, *Refusal) {
	first, refusal := r.hex4()
	if refusal != nil || !utf16.IsSurrogate(first) {
		return first, refusal
	}
	if !strings.HasPrefix(r.text[r.pos:], `\u`) {
		return 0, refuse(ReasonUTF8, fmt.Errorf("lone surrogate at byte %d", r.pos))
	}
	r.pos++
	second, refusal := r.hex4()
	if refusal != nil {
		return 0, refusal
	}
	decoded := utf16.DecodeRune(first, second)
	if decoded == unicode.ReplacementChar {
		return 0, refuse(ReasonUTF8, fmt.Errorf("lone surrogate at byte %d", r.pos))
	}
	return decoded, nil
}

// hex4 reads uXXXX, standing on the u.
func (r *reader) hex4() (rune, *Refusal) {
	r.pos++
	if r.pos+4 > len(r.text) {
		return 0, r.fail("short escape")
	}
	var v rune
	for range 4 {
		c := r.text[r.pos]
		switch {
		case isDigit(c):
			v = v<<4 | rune(c-'0')
		case 'a' <= c && c <= 'f':
			v = v<<4 | rune(c-'a'+10)
		case 'A' <= c && c <= 'F':
			v = v<<4 | rune(c-'A'+10)
		default:
			return 0, r.fail("no hexadecimal digit")
		}
		r.pos++
	}
	return v, nil
}

func (r *reader) number() (json.Number, *Refusal) {
	start := r.pos
	r.take('-')
	if !r.take('0') && !r.digits() {
		return "", r.fail("no digit")
	}
	if r.take('.') && !r.digits() {
		return "", r.fail("no digit after the point")
	}
	if r.take('e') || r.take('E') {
		if !r.take('+') {
			r.take('-')
		}
		if !r.digits() {
			return "", r.fail("no digit in the exponent")
		}
	}
	return json.Number(r.text[start:r.pos]), nil
}

func (r *reader) digits() bool {
	start := r.pos
	for isDigit(r.peek()) {
		r.pos++
	}
	return r.pos > start
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
