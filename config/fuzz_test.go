package config_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"sfbroker/config"
)

// FuzzParse: whatever is read, nothing panics; it is either accepted, and then loads the same way again, or refused with
// problems that each say what and where; and a literal secret is never repeated.
func FuzzParse(f *testing.F) {
	for _, name := range []string{"example.yaml", "full.yaml", "ten.yaml"} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data), "hunter2")
	}
	for _, r := range rules() {
		f.Add(strings.Replace(base, r.old, strings.Replace(r.bad, mark, "", 1), 1), strings.TrimSpace(r.bad))
	}
	f.Fuzz(func(t *testing.T, text, secret string) {
		if len(text) > 4<<10 {
			t.Skip("larger than what shows anything new")
		}
		c, err := parse(text)
		if (c == nil) == (err == nil) {
			t.Fatalf("config %v and error %v", c, err)
		}
		if err != nil {
			checkProblems(t, problems(t, err))
		}
		checkSecret(t, secret)
	})
}

func checkProblems(t *testing.T, ps config.Problems) {
	t.Helper()
	for _, p := range ps {
		if p.File == "" || p.Message == "" || p.Line < 0 || p.Line > 0 && p.Column < 1 {
			t.Errorf("an incomplete problem: %+v", p)
		}
		if strings.ContainsAny(p.String()+p.Hint, "\n\r\x00\x1b") {
			t.Errorf("a control character in a problem: %q", p.String()+p.Hint)
		}
	}
}

// checkSecret puts a literal secret with a marker into the file, in quotes and plain.
func checkSecret(t *testing.T, secret string) {
	t.Helper()
	const canary = "kEt7Qz-canary"
	value := canary + secret + canary
	for i, written := range []string{strconv.Quote(value), value, "'" + value + "'"} {
		text := strings.Replace(base, oldSource, entraStart+"client_secret: "+written+"}}", 1)
		_, err := parse(text)
		if err != nil && strings.Contains(err.Error(), canary) && (i == 0 || !escapes(secret)) {
			t.Errorf("the secret is repeated:\n%v", err)
		}
	}
}

// escapes says that the text can end the value that it stands in, so that the marker after it becomes a key or another value.
func escapes(secret string) bool { return strings.ContainsAny(secret, "\"'{}[],:#\n\r&*?!|>%@`\\") }
