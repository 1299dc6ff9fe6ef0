package cmd

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"sfbroker/admin"
	"sfbroker/broker/diagnosis"
)

// textWidth is where long texts are broken: what fits beside the labels on a terminal of 110 columns.
const textWidth = 92

// printStep prints one hop, and for a broken one everything that helps to mend it.
func printStep(w io.Writer, s admin.Step) {
	switch {
	case s.Skipped:
		printf(w, "  -   %-22s not reached\n", s.Step)
	case s.OK:
		printf(w, "  ok  %-22s %7.1f ms", s.Step, s.DurationMS)
		printDetails(w, s.Detail)
	default:
		printf(w, "FAIL  %-22s %7.1f ms\n", s.Step, s.DurationMS)
		if s.Finding != nil {
			printFinding(w, *s.Finding)
		}
	}
}

// line prints a label and a value that may have several lines; an empty value prints nothing.
func line(w io.Writer, label string, values ...string) {
	for _, value := range values {
		if value == "" {
			continue
		}
		printf(w, "      %-10s %s\n", label, value)
		label = ""
	}
}

func printFinding(w io.Writer, f admin.Finding) {
	line(w, "what", f.Sentence+" ("+f.Code+")")
	line(w, "expected", fields(f.Expected)...)
	line(w, "received", f.Received)
	line(w, "detail", f.Detail)
	for _, h := range f.Hints {
		line(w, "note", wrap(h)...)
	}
	causes := make([]string, len(f.Causes))
	for i, c := range f.Causes {
		causes[i] = fmt.Sprintf("%d. %s", i+1, c)
	}
	line(w, "causes", causes...)
	line(w, "fix", f.Owner)
	line(w, "role", f.Role)
	line(w, "where", f.Where)
	line(w, "retry", retry(f))
	line(w, "more", f.Documentation)
	if someoneElse(f.Owner) {
		printf(w, "      to send to the %s:\n", f.Owner)
		for _, l := range wrap(f.Words) {
			printf(w, "        | %s\n", l)
		}
	}
}

// someoneElse reports whether the owner is a team that has to be written to.
func someoneElse(owner string) bool {
	return owner != string(diagnosis.Operator) && owner != string(diagnosis.Nobody)
}

func retry(f admin.Finding) string {
	after := time.Duration(f.RetryAfter * float64(time.Second)).Round(time.Second)
	switch {
	case !f.RetrySafe:
		return "of no use before it is mended"
	case after > 0:
		return "safe, in " + after.String()
	}
	return "safe at any time"
}

// fields breaks a list such as the identity that was presented, one item a line, when it is too long for one.
func fields(s string) []string {
	if len(s) <= textWidth {
		return []string{s}
	}
	return strings.Split(s, ", ")
}

// wrap breaks a text between words. A word longer than a line stays whole: identifiers are for copying.
func wrap(s string) []string {
	var lines []string
	current := ""
	for _, word := range strings.Fields(s) {
		switch {
		case current == "":
			current = word
		case len(current)+1+len(word) > textWidth:
			lines = append(lines, current)
			current = word
		default:
			current += " " + word
		}
	}
	return append(lines, current)
}

// detailOrder is the order in which an administrator compares settings; what is not listed comes after.
func detailOrder() []string {
	return []string{
		"source", "workload_identity", "issuer", "subject", "audience", "key_id", "token_url", "client_id", "resource", "authorized_party",
		"ias_apis", "api_url", "company_id", "entity_set", "status", "technical_user", "readable", "expires_at", "warnings", "note",
	}
}

// printDetails ends the line of a hop with what was found there, or puts one item on each of the following lines when they
// are too long for it.
func printDetails(w io.Writer, d map[string]any) {
	names := slices.Sorted(maps.Keys(d))
	order := detailOrder()
	place := func(name string) int {
		if i := slices.Index(order, name); i >= 0 {
			return i
		}
		return len(order)
	}
	slices.SortStableFunc(names, func(a, b string) int { return place(a) - place(b) })
	short := make([]string, len(names))
	for i, name := range names {
		short[i] = strings.ReplaceAll(name, "_", " ") + " " + shown(d[name])
	}
	if joined := strings.Join(short, ", "); len(joined) <= 70 {
		printf(w, "  %s\n", joined)
		return
	}
	printf(w, "\n")
	for _, name := range names {
		printf(w, "      %-17s %s\n", strings.ReplaceAll(name, "_", " "), shown(d[name]))
	}
}

// shown is a value of a hop's detail; lists come as []string from the walk itself and as []any from JSON.
func shown(v any) string {
	var items []string
	switch v := v.(type) {
	case []string:
		items = v
	case []any:
		for _, item := range v {
			items = append(items, fmt.Sprint(item))
		}
	default:
		return fmt.Sprint(v)
	}
	return strings.Join(items, ", ")
}
