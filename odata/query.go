package odata

import (
	"net/http"
	"strings"
)

// option is a query option that this version knows, in the order of Shape.
type option int

const (
	optionUnknown option = iota
	optionExpand
	optionSelect
	optionFilter
	optionOrderBy
	optionTop
	optionSkip
	optionCountQuery
	optionInlineCount
	optionSkipToken
	optionFormat
	optionCustomPageSize
	optionPaging
	optionAsOfDate
	optionFromDate
	optionToDate
	optionRecordStatus
	optionIncludeAllRecords
	optionEffectiveLatestChange
	optionStrictTransactionIsolate
	optionCount
)

// optionNames is never written to.
var optionNames = [optionCount]string{
	"", "$expand", "$select", "$filter", "$orderby", "$top", "$skip", "$count", "$inlinecount", "$skiptoken",
	"$format", "customPageSize", "paging", "asOfDate", "fromDate", "toDate", "recordStatus", "includeAllRecords",
	"effectiveLatestChange", "strictTransactionIsolate",
}

func (o option) String() string { return optionNames[o] }

// knownOption finds an option by its name; exact is false when only the case differs.
func knownOption(name string) (o option, exact bool) {
	for o = optionExpand; o < optionCount; o++ {
		if known := o.String(); len(known) == len(name) && strings.EqualFold(known, name) {
			return o, known == name
		}
	}
	return optionUnknown, false
}

func (a *analysis) query(query string) *Refusal {
	var misspelled *Refusal
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		rawName, value, _ := strings.Cut(pair, "=")
		name, bad, ok := decode(rawName, true)
		if bad || !ok {
			return malformed(ReasonQueryEscape, "the name of a query option holds an escape that is none or is not UTF-8")
		}
		if strings.IndexByte(rawName, ';') >= 0 {
			return malformed(ReasonQuerySemicolon, "the query holds ';' outside of a quoted literal of $filter")
		}
		o, exact := knownOption(name)
		if o == optionUnknown {
			return unknownOption(name)
		}
		if a.seen[o] {
			return malformed(ReasonOptionDuplicate, "the query option "+o.String()+" is given twice")
		}
		a.seen[o] = true
		if !exact {
			misspelled = notAnalysed(ReasonQueryOptionUnknown, "the query option "+o.String()+" is spelled in another case")
			continue
		}
		if refusal := a.option(o, value); refusal != nil {
			return refusal
		}
	}
	return misspelled
}

func unknownOption(name string) *Refusal {
	switch strings.ToLower(strings.TrimLeft(name, "$_-")) {
	case "method", "http-method", "http_method", "x-http-method", "x-http-method-override", "x-method-override", "httpmethod", "methodoverride":
		return notAnalysed(ReasonMethodOverride, "a method override is not analysed by this version")
	}
	if name == "$search" {
		return notAnalysed(ReasonSearchNotAnalysed, "$search is not analysed by this version")
	}
	return &Refusal{
		Reason: ReasonQueryOptionUnknown, Status: http.StatusForbidden,
		Detail: "the query option " + printableName(name) + " is not known",
	}
}

func (a *analysis) option(o option, raw string) *Refusal {
	text, refusal := optionText(o, raw)
	if refusal != nil {
		return refusal
	}
	switch o {
	case optionExpand, optionSelect, optionFilter, optionOrderBy:
		if a.base == "" || a.request.Metadata {
			return malformed(ReasonOptionNotApplicable, o.String()+" does not apply to the service document or $metadata")
		}
	}
	switch o {
	case optionExpand:
		return a.expand(text)
	case optionSelect:
		return a.selects(text)
	case optionFilter, optionOrderBy:
		return a.expression(text, o.String())
	case optionFormat:
		return a.format(text)
	case optionSkipToken:
		a.request.FirstPage = text == ""
	case optionPaging:
		a.request.Snapshot = strings.EqualFold(strings.TrimSpace(text), "snapshot")
	case optionTop, optionSkip:
		return checkDigits(o, text)
	}
	return nil
}

// optionText decodes a value. A ';' or an escape that is none may stand in a quoted literal of $filter and nowhere
// else: a server that splits on ';' is left with an open quote, and one that leaves the whole value encoded because of
// the bad escape sees the same literals as long as their quotes are not encoded.
func optionText(o option, raw string) (string, *Refusal) {
	text, bad, ok := decode(raw, true)
	if !ok {
		return "", malformed(ReasonQueryEscape, "the value of "+o.String()+" is not UTF-8")
	}
	if strings.IndexByte(raw, ';') >= 0 && (o != optionFilter || !onlyQuoted(raw, true, isSemicolon)) {
		return "", malformed(ReasonQuerySemicolon, "the query holds ';' outside of a quoted literal of $filter")
	}
	if bad && (o != optionFilter || strings.Contains(raw, "%27") || !onlyQuoted(raw, false, isBadEscape)) {
		return "", malformed(ReasonQueryEscape, "the value of "+o.String()+" holds an escape that is none")
	}
	if (o == optionFilter || o == optionOrderBy) && (strings.Contains(text, "%27") || strings.Contains(text, "%25")) && holdsEscape(text) {
		return "", malformed(ReasonQueryDoubleEscape, "a quote or '%' in "+o.String()+" is encoded twice")
	}
	return text, nil
}

func isSemicolon(s string, i int) bool { return s[i] == ';' }

func isBadEscape(s string, i int) bool {
	if s[i] != '%' {
		return false
	}
	_, ok := escapeAt(s, i)
	return !ok
}

// onlyQuoted tells whether what found points at stands inside quotes of raw only; encoded says that %27 is a quote.
func onlyQuoted(raw string, encoded bool, found func(string, int) bool) bool {
	open := false
	for i := 0; i < len(raw); i++ {
		if raw[i] == '\'' || (encoded && strings.HasPrefix(raw[i:], "%27")) {
			open = !open
		}
		if !open && found(raw, i) {
			return false
		}
	}
	return true
}

func (a *analysis) expand(text string) *Refusal {
	if strings.Trim(text, " ") == "" {
		return nil
	}
	for item := range strings.SplitSeq(text, ",") {
		item = strings.Trim(item, " ")
		if item == "*" || strings.HasSuffix(item, "/*") {
			return notAnalysed(ReasonExpandWildcard, "a wildcard in $expand reaches what cannot be listed")
		}
		if !isNavigation(item) {
			return malformed(ReasonOptionValue, "$expand holds something other than navigation paths")
		}
		if refusal := a.touch(item, "$expand", true); refusal != nil {
			return refusal
		}
		a.expanded = append(a.expanded, item)
	}
	return nil
}

func (a *analysis) selects(text string) *Refusal {
	if strings.Trim(text, " ") == "" {
		return nil
	}
	for item := range strings.SplitSeq(text, ",") {
		item = strings.Trim(item, " ")
		if item == "*" {
			continue
		}
		navigation, wildcard := strings.CutSuffix(item, "/*")
		if !isNavigation(navigation) {
			return malformed(ReasonOptionValue, "$select holds something other than paths of properties")
		}
		if refusal := a.touch(navigation, "$select", wildcard); refusal != nil {
			return refusal
		}
	}
	return nil
}

// isNavigation: names joined by single slashes.
func isNavigation(s string) bool {
	for i := 0; ; i++ {
		end := nameEnd(s, i)
		if end == i {
			return false
		}
		if i = end; i == len(s) {
			return true
		}
		if s[i] != '/' {
			return false
		}
	}
}

func (a *analysis) format(text string) *Refusal {
	mediaType, _, _ := strings.Cut(strings.ToLower(text), ";")
	switch strings.TrimSpace(mediaType) {
	case "json", "application/json":
		a.request.Format = "json"
	case "xml", "atom", "application/xml", "application/atom+xml":
		a.request.Format = "xml"
	default:
		return malformed(ReasonOptionValue, "$format is neither json nor xml nor atom")
	}
	return nil
}

func checkDigits(o option, text string) *Refusal {
	for i := 0; i < len(text); i++ {
		if !isDigit(text[i]) {
			return malformed(ReasonOptionValue, o.String()+" is not a number")
		}
	}
	return nil
}
