package odata

import (
	"net/http"
	"strings"
)

// Reason says why a request is refused. The values are stable: documentation, metrics and tests name them.
type Reason string

// The reasons of a Refusal. Those of status 403 name what this version does not analyse and therefore does not let
// through; those of status 400 (414 for ReasonTargetTooLong) name targets that two parties could read in two ways.
const (
	ReasonMethodNotAnalysed   Reason = "method_not_analysed"
	ReasonMethodOverride      Reason = "method_override"
	ReasonRootNotAnalysed     Reason = "root_not_analysed"
	ReasonBatchNotAnalysed    Reason = "batch_not_analysed"
	ReasonLinksNotAnalysed    Reason = "links_not_analysed"
	ReasonSegmentNotAnalysed  Reason = "segment_not_analysed"
	ReasonFunctionImport      Reason = "function_import"
	ReasonQueryOptionUnknown  Reason = "query_option_unknown"
	ReasonSearchNotAnalysed   Reason = "search_not_analysed"
	ReasonExpandWildcard      Reason = "expand_wildcard"
	ReasonLambdaNotAnalysed   Reason = "lambda_not_analysed"
	ReasonFunctionUnknown     Reason = "expression_function_unknown"
	ReasonTargetTooLong       Reason = "target_too_long"
	ReasonTargetForm          Reason = "target_form"
	ReasonTargetBytes         Reason = "target_bytes"
	ReasonPathEscape          Reason = "path_escape"
	ReasonPathDoubleEscape    Reason = "path_double_escape"
	ReasonPathDotSegment      Reason = "path_dot_segment"
	ReasonPathEmptySegment    Reason = "path_empty_segment"
	ReasonPathMatrixParameter Reason = "path_matrix_parameter"
	ReasonPathTooDeep         Reason = "path_too_deep"
	ReasonSegmentName         Reason = "segment_name"
	ReasonKeySyntax           Reason = "key_syntax"
	ReasonQueryEscape         Reason = "query_escape"
	ReasonQueryDoubleEscape   Reason = "query_double_escape"
	ReasonQuerySemicolon      Reason = "query_semicolon"
	ReasonOptionDuplicate     Reason = "query_option_duplicate"
	ReasonOptionNotApplicable Reason = "query_option_not_applicable"
	ReasonOptionValue         Reason = "query_option_value"
	ReasonExpressionSyntax    Reason = "expression_syntax"
	ReasonTooManyTouches      Reason = "too_many_touches"
)

// Refusal is why Parse did not accept a target. Status is the HTTP status to answer with: 400, 403 or 414. Detail is
// written for an operator; of the request it holds only names of options and functions, never a value.
type Refusal struct {
	Reason Reason
	Status int
	Detail string
}

// Error gives the reason and the detail.
func (r *Refusal) Error() string {
	return "odata: " + string(r.Reason) + ": " + r.Detail
}

func malformed(reason Reason, detail string) *Refusal {
	return &Refusal{Reason: reason, Status: http.StatusBadRequest, Detail: detail}
}

func notAnalysed(reason Reason, detail string) *Refusal {
	return &Refusal{Reason: reason, Status: http.StatusForbidden, Detail: detail}
}

// printableName quotes a name of the request when it looks like one: letters, '-', '_' and an optional '$', at most
// 40 bytes. Anything else may be a value that landed in the wrong place, a key even, and is not repeated.
func printableName(name string) string {
	plain := strings.TrimPrefix(name, "$")
	if plain == "" || len(plain) > 40 {
		return "(not a name)"
	}
	for i := 0; i < len(plain); i++ {
		if c := plain[i]; !isLetter(c) && c != '-' && c != '_' {
			return "(not a name)"
		}
	}
	return `"` + name + `"`
}
