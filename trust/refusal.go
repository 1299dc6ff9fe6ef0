package trust

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxShown bounds, in bytes, each value of an assertion that a Refusal shows.
const maxShown = 200

// Refusal says why an assertion was not believed. Error and Reason may go to
// logs; Expected, Received and Hints are for operators only. None of them
// holds a piece of the assertion other than a truncated, printable claim or
// header value.
type Refusal struct {
	Reason Reason
	// Rule is the rule that came closest; empty when none was singled out.
	Rule string
	// Expected and Received are safe to print; empty where they say nothing.
	Expected, Received string
	// Hints are near misses in plain words, most likely first.
	Hints []string
	// Err is the cause below, such as a *KeySetError; nil for plain verdicts.
	Err error
}

// Error names the reason, the rule and the cause, never expected or received.
func (r *Refusal) Error() string {
	var b strings.Builder
	b.WriteString("assertion refused: " + string(r.Reason))
	if r.Rule != "" {
		fmt.Fprintf(&b, " (rule %q)", r.Rule)
	}
	if r.Err != nil {
		b.WriteString(": " + r.Err.Error())
	}
	return b.String()
}

// Unwrap returns the cause.
func (r *Refusal) Unwrap() error { return r.Err }

func (r *Refusal) of(matched *rule) *Refusal {
	r.Rule = matched.Name
	return r
}

func refuse(reason Reason, err error) *Refusal { return &Refusal{Reason: reason, Err: err} }

func mismatch(reason Reason, expected, received string, hints ...string) *Refusal {
	return &Refusal{Reason: reason, Expected: safe(expected), Received: safe(received), Hints: hints}
}

// safe makes a foreign value fit for a line of text: printable, valid UTF-8
// and at most maxShown bytes.
func safe(value string) string {
	var b strings.Builder
	for i, r := range value {
		if i >= maxShown {
			b.WriteString("…")
			break
		}
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			fmt.Fprintf(&b, `\u%04x`, r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// show renders a claim that has the wrong type or none.
func show(value any, present bool) string {
	if !present {
		return "absent"
	}
	switch v := value.(type) {
	case nil:
		return "null"
	case string:
		return safe(v)
	case bool:
		return "a boolean"
	case []any:
		return fmt.Sprintf("an array of %d", len(v))
	case map[string]any:
		return "an object"
	default:
		return "number " + safe(fmt.Sprint(v))
	}
}
