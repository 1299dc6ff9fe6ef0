package integration_test

import (
	"os/exec"
	"strings"
	"testing"
)

// TestDemoDrawsABarOnATerminal runs the demo on a terminal of its own; elsewhere it prints a line a page, as the goldens of
// the command line have it.
func TestDemoDrawsABarOnATerminal(t *testing.T) {
	t.Parallel()
	needPeer(t, "script")
	out, err := exec.Command("script", "-qec", binary(t)+" demo --once --workers 300", "/dev/null").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text := string(out)
	for _, want := range []string{"\r  page 1 ", "[##########....................] 100 of 300 records", "[##############################] 300 of 300 records"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%q", want, text)
		}
	}
}
