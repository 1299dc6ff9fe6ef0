package odata

// quotedEnd gives the index after the string literal that opens at s[i]; a doubled quote is one quote of its text.
// It is -1 when the literal does not end.
func quotedEnd(s string, i int) int {
	for i++; i < len(s); i++ {
		if s[i] != '\'' {
			continue
		}
		if i+1 < len(s) && s[i+1] == '\'' {
			i++
			continue
		}
		return i + 1
	}
	return -1
}

// isLiteralPrefix tells the types that OData version 2 writes before a quoted literal (Protocol 2.2.2).
func isLiteralPrefix(name string) bool {
	switch name {
	case "datetime", "datetimeoffset", "time", "guid", "binary", "X":
		return true
	}
	return false
}

// validKey reads a key predicate, "('a')" or "(a='x',b=datetime'...')", to the end of s. The literals' own formats do
// not matter here: what matters is that the parenthesis closes where upstream closes it, and that nothing follows.
func validKey(s string) bool {
	i := 1
	for {
		i = skipBlank(s, i)
		if end := nameEnd(s, i); end > i {
			if next := skipBlank(s, end); next < len(s) && s[next] == '=' {
				i = skipBlank(s, next+1)
			}
		}
		i = keyLiteralEnd(s, i)
		if i < 0 {
			return false
		}
		i = skipBlank(s, i)
		if i >= len(s) {
			return false
		}
		switch s[i] {
		case ',':
			i++
		case ')':
			return i == len(s)-1
		default:
			return false
		}
	}
}

func keyLiteralEnd(s string, i int) int {
	start := i
	if i < len(s) && (s[i] == '-' || s[i] == '+') {
		i++
	}
	for i < len(s) && (isNameByte(s[i]) || s[i] == '.') {
		i++
	}
	if i < len(s) && s[i] == '\'' {
		if i > start && !isLiteralPrefix(s[start:i]) {
			return -1
		}
		return quotedEnd(s, i)
	}
	if i == start {
		return -1
	}
	return i
}
