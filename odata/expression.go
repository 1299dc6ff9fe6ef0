package odata

import "strings"

// expression walks the tokens of a $filter or $orderby. It checks no grammar, since upstream does: it only has to know
// for sure where literals end and which names are paths, and it refuses every byte outside literals that OData
// version 2 does not use there.
func (a *analysis) expression(s, where string) *Refusal {
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '(' || c == ')' || c == ',' || c == '-' || c == '+':
			i++
		case c == '\'':
			if i = quotedEnd(s, i); i < 0 {
				return malformed(ReasonExpressionSyntax, "a literal in "+where+" does not end")
			}
		case isDigit(c):
			for i < len(s) && (isDigit(s[i]) || isLetter(s[i]) || s[i] == '.') {
				i++
			}
			if i < len(s) && (s[i] == '/' || s[i] == '\'' || s[i] == '_') {
				return malformed(ReasonExpressionSyntax, "a number in "+where+" is not understood")
			}
		case isNameStart(c):
			end, refusal := a.operand(s, i, where)
			if refusal != nil {
				return refusal
			}
			i = end
		default:
			return malformed(ReasonExpressionSyntax, where+" holds a character that OData version 2 does not use outside of quotes")
		}
	}
	return nil
}

// operand reads what begins with a name: a path, a typed literal, an operator or the name of a function.
func (a *analysis) operand(s string, i int, where string) (int, *Refusal) {
	end := nameEnd(s, i)
	for end < len(s) && s[end] == '/' {
		next := nameEnd(s, end+1)
		if next == end+1 {
			return 0, malformed(ReasonExpressionSyntax, "a path in "+where+" is not understood")
		}
		end = next
	}
	path := s[i:end]
	if end < len(s) && s[end] == '\'' {
		if !isLiteralPrefix(path) {
			return 0, malformed(ReasonExpressionSyntax, "a literal in "+where+" has an unknown type")
		}
		if end = quotedEnd(s, end); end < 0 {
			return 0, malformed(ReasonExpressionSyntax, "a literal in "+where+" does not end")
		}
		return end, nil
	}
	if next := skipBlank(s, end); next < len(s) && s[next] == '(' {
		return end, checkCall(path, where)
	}
	return end, a.touch(path, where, false)
}

// checkCall: what stands before a parenthesis is an operator or a function of OData version 2 (Protocol 2.2.3.6.1).
// isof and cast name types and are left out.
func checkCall(name, where string) *Refusal {
	if strings.IndexByte(name, '/') >= 0 || name == "any" || name == "all" {
		return notAnalysed(ReasonLambdaNotAnalysed, "a lambda in "+where+" is not analysed by this version")
	}
	switch name {
	case "and", "or", "not", "eq", "ne", "gt", "ge", "lt", "le", "in", "like", "add", "sub", "mul", "div", "mod",
		"substringof", "endswith", "startswith", "length", "indexof", "replace", "substring", "tolower", "toupper",
		"trim", "concat", "day", "hour", "minute", "month", "second", "year", "round", "floor", "ceiling":
		return nil
	}
	return notAnalysed(ReasonFunctionUnknown, "the function "+printableName(name)+" in "+where+" is not known")
}
