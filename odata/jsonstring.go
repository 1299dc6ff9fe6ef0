package odata

import "unicode/utf8"

// unescape appends what the inside of a JSON string means. Escapes that are none stay; a surrogate is one replacement
// character, for nothing here depends on characters outside of ASCII.
func unescape(dst, raw []byte) []byte {
	for i := 0; i < len(raw); {
		n := unitLength(raw, i)
		switch n {
		case 1:
			dst = append(dst, raw[i])
		case 2:
			dst = append(dst, simpleEscape(raw[i+1]))
		default:
			dst = utf8.AppendRune(dst, hexRune(raw[i+2:i+6]))
		}
		i += n
	}
	return dst
}

// rawLength gives how many bytes of raw the first n unescaped ones take; those must be ASCII.
func rawLength(raw []byte, n int) int {
	i := 0
	for ; n > 0 && i < len(raw); n-- {
		i += unitLength(raw, i)
	}
	return i
}

// unitLength is that of the plain byte or the escape at raw[i].
func unitLength(raw []byte, i int) int {
	if raw[i] != '\\' || i+1 >= len(raw) {
		return 1
	}
	if raw[i+1] != 'u' {
		return 2
	}
	if i+6 > len(raw) || hexRune(raw[i+2:i+6]) < 0 {
		return 1
	}
	return 6
}

func simpleEscape(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c
}

func hexRune(b []byte) rune {
	var r rune
	for _, c := range b {
		v, ok := unhex(c)
		if !ok {
			return -1
		}
		r = r<<4 | rune(v)
	}
	return r
}
