package successfactors

import (
	"strings"
	"unicode/utf8"
)

// token is one word of a filter. text is what it says: for strings without quotes, for typed literals the inside.
type token struct {
	kind tokenKind
	text string
	at   int
}

type tokenKind uint8

const (
	tokenEnd tokenKind = iota
	tokenName
	tokenString
	tokenNumber
	tokenDate
	tokenGUID
	tokenBinary
	tokenSign // ( ) ,
)

// scanFilter cuts a filter into tokens.
func scanFilter(s string) ([]token, *fault) {
	var out []token
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
		case c == '(' || c == ')' || c == ',':
			out = append(out, token{tokenSign, s[i : i+1], i})
			i++
		case c == '\'':
			inside, next, ok := quoted(s, i)
			if !ok {
				return nil, badRequest("Syntax error in $filter at position %d: a string does not end.", i)
			}
			out = append(out, token{tokenString, inside, i})
			i = next
		case c >= '0' && c <= '9' || c == '-' || c == '.':
			end := i + 1
			for end < len(s) && (wordByte(s[end]) || s[end] == '.' || (s[end] == '-' || s[end] == '+') && (s[end-1] == 'e' || s[end-1] == 'E')) {
				end++
			}
			out = append(out, token{tokenNumber, s[i:end], i})
			i = end
		case wordByte(c):
			t, next, f := scanWord(s, i)
			if f != nil {
				return nil, f
			}
			out = append(out, t)
			i = next
		default:
			letter, _ := utf8.DecodeRuneInString(s[i:])
			return nil, badRequest("Syntax error in $filter at position %d: unexpected character %q.", i, letter)
		}
	}
	return append(out, token{tokenEnd, "", len(s)}), nil
}

// scanWord reads a name or path, or a literal whose type stands before its quotes.
func scanWord(s string, i int) (token, int, *fault) {
	end := i
	for end < len(s) && (wordByte(s[end]) || s[end] == '/') {
		end++
	}
	word := s[i:end]
	if end == len(s) || s[end] != '\'' {
		return token{tokenName, word, i}, end, nil
	}
	kinds := map[string]tokenKind{"datetime": tokenDate, "datetimeoffset": tokenDate, "guid": tokenGUID, "binary": tokenBinary, "X": tokenBinary}
	kind, known := kinds[word]
	inside, next, ok := quoted(s, end)
	if !known || !ok {
		return token{}, 0, badRequest("Syntax error in $filter at position %d: unknown literal %s'..'.", i, word)
	}
	return token{kind, inside, i}, next, nil
}

func wordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
}

// quoted reads the string that starts at s[i]; a doubled quote stands for one.
func quoted(s string, i int) (inside string, next int, ok bool) {
	for end := i + 1; end < len(s); end++ {
		if s[end] != '\'' {
			continue
		}
		if end+1 < len(s) && s[end+1] == '\'' {
			end++
			continue
		}
		return strings.ReplaceAll(s[i+1:end], "''", "'"), end + 1, true
	}
	return "", 0, false
}
