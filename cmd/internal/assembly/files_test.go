package assembly_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestTokenFileThatLeadsNowhere: a mount that is not populated yet is an error, not an endless attempt.
func TestTokenFileThatLeadsNowhere(t *testing.T) {
	h := newHouse(t, alone())
	link := filepath.Join(t.TempDir(), "token")
	if err := os.Symlink(filepath.Join(t.TempDir(), "missing", "token"), link); err != nil {
		t.Fatal(err)
	}
	yaml := strings.Replace(h.configure(t, options{now: time.Now, alone: true}), "admin:\n", "admin:\n  token_file: "+link+"\n", 1)
	if _, err := h.tryOpen(t, yaml, time.Now); err == nil || !strings.Contains(err.Error(), "admin.token_file") {
		t.Errorf("err = %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(link), ".admin-token-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// TestTornAuditFileIsEnded: what a killed process left stays alone on its line.
func TestTornAuditFileIsEnded(t *testing.T) {
	h := newHouse(t, alone())
	file := filepath.Join(t.TempDir(), "audit.jsonl")
	if err := os.WriteFile(file, []byte(`{"time":`), 0o600); err != nil {
		t.Fatal(err)
	}
	yaml := h.configure(t, options{now: time.Now, alone: true}) + "audit: { file: " + file + " }\n"
	for range 2 { // the second start finds nothing to mend
		d, err := h.tryOpen(t, yaml, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		d.Close()
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "{\"time\":\n" {
		t.Errorf("the file holds %q, %v", b, err)
	}
}
