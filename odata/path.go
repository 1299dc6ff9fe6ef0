package odata

import "strings"

// path analyses the target's path: /odata/v2, an entity set, keys and navigation, a closing $ segment.
func (a *analysis) path(path string) *Refusal {
	if refusal := checkPathBytes(path); refusal != nil {
		return refusal
	}
	rest, ok := strings.CutPrefix(path, root)
	if strings.HasPrefix(rest, ";") || strings.HasPrefix(strings.ToLower(rest), "%3b") {
		return matrixParameter()
	}
	if !ok || (rest != "" && rest[0] != '/') {
		return notAnalysed(ReasonRootNotAnalysed, "only the service root "+root+" is analysed by this version")
	}
	// One trailing slash is what SAP's own SDK sends; it adds no segment.
	rest = strings.TrimSuffix(strings.TrimPrefix(rest, "/"), "/")
	if rest == "" {
		a.request.Service = true
		return nil
	}
	segments := strings.Split(rest, "/")
	if len(segments) > maxDepth {
		return malformed(ReasonPathTooDeep, "the path is longer than 16 segments")
	}
	for i, raw := range segments {
		if refusal := a.segment(raw, i, len(segments)); refusal != nil {
			return refusal
		}
	}
	if a.lists && !a.request.Metadata {
		return malformed(ReasonSegmentName, "a list of entity sets is only understood before $metadata")
	}
	return nil
}

// checkPathBytes refuses what two parties could split into segments in two ways.
func checkPathBytes(path string) *Refusal {
	if strings.Contains(path, "//") {
		return malformed(ReasonPathEmptySegment, "the path holds an empty segment")
	}
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c >= 0x80 || c == '\\':
			return malformed(ReasonTargetBytes, "the path holds a backslash or a byte outside ASCII")
		case c == '%':
			v, ok := escapeAt(path, i)
			if !ok {
				return malformed(ReasonPathEscape, "the path holds an escape that is none")
			}
			if v == '/' || v == '\\' || v == '?' || v == '#' || v < ' ' || v == 0x7f {
				return malformed(ReasonPathEscape, "the path holds an encoded separator or control character")
			}
		}
	}
	if strings.IndexByte(path, '.') < 0 && !strings.Contains(path, "%2e") && !strings.Contains(path, "%2E") {
		return nil
	}
	for segment := range strings.SplitSeq(path, "/") {
		text, _, _ := decode(segment, false)
		// A server that takes parameters off a segment first sees a dot segment in "..;x" as well.
		text, _, _ = strings.Cut(text, ";")
		if text == "." || text == ".." {
			return malformed(ReasonPathDotSegment, "the path holds a dot segment")
		}
	}
	return nil
}

func (a *analysis) segment(raw string, index, count int) *Refusal {
	text, _, ok := decode(raw, false)
	if !ok {
		return malformed(ReasonPathEscape, "a path segment is not UTF-8")
	}
	if holdsEscape(text) {
		return malformed(ReasonPathDoubleEscape, "a path segment is encoded twice")
	}
	if text[0] == '$' {
		return a.systemSegment(raw, text, index, count)
	}
	end := nameEnd(text, 0)
	name, after := text[:end], text[end:]
	if refusal := checkName(raw, text, name); refusal != nil {
		return refusal
	}
	if index == 0 {
		return a.entitySet(raw, name, after)
	}
	if after == "()" {
		return notAnalysed(ReasonFunctionImport, "a call in the path is not analysed by this version")
	}
	if refusal := checkKey(after); refusal != nil {
		return refusal
	}
	if a.lists {
		return malformed(ReasonSegmentName, "a list of entity sets is only understood before $metadata")
	}
	a.keyed, a.request.HasKey = a.keyed || after != "", after != ""
	if refusal := a.touch(name, "path", true); refusal != nil {
		return refusal
	}
	a.base += "/" + name
	return nil
}

// checkName: names are plain ASCII, and nobody needs to encode them; an encoded letter is a disguise.
func checkName(raw, text, name string) *Refusal {
	if name == "" {
		if strings.IndexByte(text, ';') >= 0 {
			return matrixParameter()
		}
		return malformed(ReasonSegmentName, "a path segment does not begin with a name")
	}
	if !strings.HasPrefix(raw, name) {
		return malformed(ReasonPathEscape, "a name in the path is percent-encoded")
	}
	return nil
}

func matrixParameter() *Refusal {
	return malformed(ReasonPathMatrixParameter, "a path segment holds ';' outside of a key's quotes")
}

func checkKey(after string) *Refusal {
	switch {
	case after == "":
		return nil
	case after[0] == '(':
		if validKey(after) {
			return nil
		}
		return malformed(ReasonKeySyntax, "a key in the path is not understood, or something follows its parenthesis")
	case after[0] == ';':
		return matrixParameter()
	}
	return malformed(ReasonSegmentName, "a path segment holds something other than a name and a key")
}

func (a *analysis) entitySet(raw, name, after string) *Refusal {
	if after == "()" {
		return notAnalysed(ReasonFunctionImport, "function imports are not analysed by this version")
	}
	if after != "" && after[0] == ',' {
		return a.list(raw, name+after)
	}
	if !isEntitySet(name) {
		return notAnalysed(ReasonFunctionImport, "the first path segment does not look like an entity set; function imports are not analysed by this version")
	}
	if refusal := checkKey(after); refusal != nil {
		return refusal
	}
	a.keyed, a.request.HasKey = after != "", after != ""
	a.request.EntitySet, a.base = name, name
	a.add(name, "path")
	return nil
}

// isEntitySet: SuccessFactors' entity sets begin with an upper-case letter, a company's own with cust_; what begins
// with a lower-case letter are its function imports.
func isEntitySet(name string) bool {
	return ('A' <= name[0] && name[0] <= 'Z') || strings.HasPrefix(name, "cust_")
}

// list reads "User,PerPerson", which SuccessFactors knows before /$metadata.
func (a *analysis) list(raw, text string) *Refusal {
	if strings.ReplaceAll(strings.ReplaceAll(raw, "%2C", ","), "%2c", ",") != text {
		return malformed(ReasonPathEscape, "a name in the path is percent-encoded")
	}
	a.lists = true
	for name := range strings.SplitSeq(text, ",") {
		if name == "" || nameEnd(name, 0) != len(name) || !isEntitySet(name) {
			return malformed(ReasonSegmentName, "a list of entity sets in the path is not understood")
		}
		a.add(name, "$metadata")
	}
	if len(a.request.Touches) > maxTouches {
		return malformed(ReasonTooManyTouches, "the request reaches more than 256 entity sets and navigations")
	}
	return nil
}

func (a *analysis) systemSegment(raw, text string, index, count int) *Refusal {
	if strings.IndexByte(text, ';') >= 0 {
		return matrixParameter()
	}
	if strings.Replace(raw, "%24", "$", 1) != text {
		return malformed(ReasonPathEscape, "a name in the path is percent-encoded")
	}
	switch text {
	case "$batch":
		return notAnalysed(ReasonBatchNotAnalysed, "$batch is not analysed by this version")
	case "$links":
		return notAnalysed(ReasonLinksNotAnalysed, "$links is not analysed by this version")
	case "$metadata":
		return a.metadata(index, count)
	case "$count", "$value":
		if index == 0 || index != count-1 || a.lists {
			return malformed(ReasonSegmentName, text+" stands in the wrong place")
		}
		a.request.Count, a.request.Value = text == "$count", text == "$value"
		return nil
	}
	return notAnalysed(ReasonSegmentNotAnalysed, "a system segment of the path is not analysed by this version")
}

// metadata: "$metadata" alone, or after one entity set or a list of them.
func (a *analysis) metadata(index, count int) *Refusal {
	if index > 1 || index != count-1 || a.keyed {
		return malformed(ReasonSegmentName, "$metadata stands in the wrong place")
	}
	a.request.Metadata, a.request.EntitySet = true, ""
	for i := range a.request.Touches {
		a.request.Touches[i].Where = "$metadata"
	}
	return nil
}
