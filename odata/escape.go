package odata

import (
	"strings"
	"unicode/utf8"
)

// decode undoes percent encoding once; plus says that '+' stands for a space. Escapes that are none stay as they are
// and bad is true. ok is false when the result is not UTF-8 (overlong spellings of separators are not) or holds NUL.
func decode(raw string, plus bool) (text string, bad, ok bool) {
	if strings.IndexByte(raw, '%') < 0 && (!plus || strings.IndexByte(raw, '+') < 0) {
		return raw, false, isASCII(raw) || utf8.ValidString(raw)
	}
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '+' && plus:
			out = append(out, ' ')
		case c == '%':
			v, valid := escapeAt(raw, i)
			if !valid {
				bad = true
				out = append(out, c)
				continue
			}
			if v == 0 {
				return "", bad, false
			}
			out = append(out, v)
			i += 2
		default:
			out = append(out, c)
		}
	}
	text = string(out)
	return text, bad, utf8.ValidString(text)
}

// escapeAt reads the escape that begins with the '%' at s[i].
func escapeAt(s string, i int) (byte, bool) {
	if i+2 >= len(s) {
		return 0, false
	}
	high, ok1 := unhex(s[i+1])
	low, ok2 := unhex(s[i+2])
	return high<<4 | low, ok1 && ok2
}

func unhex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// holdsEscape tells whether text, decoded once, would decode again.
func holdsEscape(text string) bool {
	for i := 0; i < len(text); i++ {
		if text[i] == '%' {
			if _, ok := escapeAt(text, i); ok {
				return true
			}
		}
	}
	return false
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isNameStart(c byte) bool { return isLetter(c) || c == '_' }

func isNameByte(c byte) bool { return isNameStart(c) || isDigit(c) }

// nameEnd gives the end of the name that begins at s[i], or i when none does.
func nameEnd(s string, i int) int {
	if i >= len(s) || !isNameStart(s[i]) {
		return i
	}
	for i < len(s) && isNameByte(s[i]) {
		i++
	}
	return i
}

func skipBlank(s string, i int) int {
	for i < len(s) && (s[i] == ' ' || s[i] == '\t' || s[i] == '\r' || s[i] == '\n') {
		i++
	}
	return i
}
