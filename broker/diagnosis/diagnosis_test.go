package diagnosis_test

import (
	"bytes"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"sfbroker/broker/diagnosis"
)

func TestEveryEntryIsWhole(t *testing.T) {
	seen := map[diagnosis.Code]bool{}
	for _, e := range diagnosis.All() {
		if seen[e.Code] {
			t.Errorf("%s stands twice", e.Code)
		}
		seen[e.Code] = true
		if e.Origin == "" || e.Sentence == "" || e.Short == "" || e.Owner == "" || e.Where == "" || len(e.Causes) == 0 || e.Words == "" {
			t.Errorf("%s lacks a member: %+v", e.Code, e)
		}
		if e.Status < 400 || http.StatusText(e.Status) == "" {
			t.Errorf("%s answers %d", e.Code, e.Status)
		}
		if !strings.HasSuffix(e.Sentence, ".") || strings.ContainsAny(e.Sentence, "{}\n") {
			t.Errorf("%s: %q is not a fixed sentence", e.Code, e.Sentence)
		}
		if got := diagnosis.Lookup(e.Code); got.Code != e.Code {
			t.Errorf("Lookup(%s) = %s", e.Code, got.Code)
		}
	}
	if got := diagnosis.Lookup("no such code"); got.Code != diagnosis.Internal {
		t.Errorf("an unknown code gives %s", got.Code)
	}
}

func TestAuthenticationOfTheBrokerNeverLooksLikeTheCallers(t *testing.T) {
	for _, e := range diagnosis.All() {
		if e.Status == http.StatusUnauthorized && e.Origin != diagnosis.FromCaller {
			t.Errorf("%s answers 401, but the caller's own key was fine", e.Code)
		}
	}
}

func TestLetterHoldsTheValues(t *testing.T) {
	f := diagnosis.Finding{Entry: diagnosis.Lookup(diagnosis.IASAssertionRejected), Expected: "subject abc"}
	letter := f.Letter()
	if !strings.Contains(letter, "subject abc") || !strings.Contains(letter, "(not known)") || strings.Contains(letter, "{") {
		t.Errorf("letter = %q", letter)
	}
}

var update = flag.Bool("update", false, "write docs/errors.md")

// TestDocument keeps docs/errors.md equal to the catalogue: one anchor a code. Write it with -update.
func TestDocument(t *testing.T) {
	const path = "../../docs/errors.md"
	want := document()
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("docs/errors.md is not what the catalogue says: run go test ./broker/diagnosis -update")
	}
}

func document() []byte {
	var b bytes.Buffer
	b.WriteString("# Error codes\n\nMade from the catalogue in `broker/diagnosis` by `go test ./broker/diagnosis -update`; a test keeps the two equal.\n\n" +
		"Every error of the proxy carries its code in the body, the same sentence as below, a request ID (`Sfbroker-Request-Id`) and\n" +
		"`Sfbroker-Error-Origin: caller|broker|source|ias|successfactors`. What was expected and what was received stands only on the\noperator's side: `sfbroker connection test`, the admin API and the log.\n")
	for _, e := range diagnosis.All() {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n", e.Code, e.Sentence)
		if e.Step != "" {
			fmt.Fprintf(&b, "- Step: `%s`\n", e.Step)
		}
		fmt.Fprintf(&b, "- Origin: `%s`, HTTP status on the data path: %d\n- Who fixes it: %s", e.Origin, e.Status, e.Owner)
		if e.Role != "" {
			fmt.Fprintf(&b, " (%s)", e.Role)
		}
		fmt.Fprintf(&b, "\n- Where: %s\n- Same request again: %s\n- Probable causes, the likeliest first:\n", e.Where, map[bool]string{true: "safe", false: "no use before the cause is mended"}[e.RetrySafe])
		for i, c := range e.Causes {
			fmt.Fprintf(&b, "  %d. %s\n", i+1, c)
		}
	}
	return b.Bytes()
}
