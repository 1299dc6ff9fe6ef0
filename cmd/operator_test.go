package cmd_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sfbroker/cmd"
)

// TestTokenStaysOnLoopbackOrInTLS: the operators' token is not sent in the clear over a network.
func TestTokenStaysOnLoopbackOrInTLS(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(strings.Repeat("x", 30)), 0o600); err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]int{
		"http://192.0.2.1:8021": 2, "http://localhost.evil.example:1": 2, "ftp://127.0.0.1:1": 2, "127.0.0.1:1": 2,
		"http://127.0.0.1:1": 1, "http://localhost:1": 1, "http://[::1]:1": 1, // nobody answers there
	} {
		var out bytes.Buffer
		code := cmd.Run(t.Context(), cmd.Env{Args: []string{"status", "--admin", address, "--token-file", token}, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out})
		if code != want || (want == 2) != strings.Contains(out.String(), "neither https nor http on loopback") {
			t.Errorf("%s: exit code %d, %s", address, code, out.String())
		}
	}
}
