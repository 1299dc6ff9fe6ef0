package integration_test

import (
	"bytes"
	"errors"
	"os/exec"
	"testing"
)

// run runs a command to its end and returns what it printed; the exit code must be code.
func run(t testing.TB, code int, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.Command(binary(t), args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Fatalf("sfbroker %v: exit code %d, want %d\n%s", args, got, code, out.String())
	}
	return out.String()
}
