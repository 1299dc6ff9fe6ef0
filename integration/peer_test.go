package integration_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// needPeer skips the test when a program that is not ours (prometheus, promtool, curl, python3)
// is not installed, and names it. With SFBROKER_PEERS=required, as CI sets it, a missing peer
// fails the test instead. tools/peers.sh installs them.
func needPeer(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		_, err := exec.LookPath(name)
		if err == nil {
			continue
		}
		if os.Getenv("SFBROKER_PEERS") == "required" {
			t.Fatalf("peer %q is not installed and SFBROKER_PEERS=required: %v", name, err)
		}
		t.Skipf("peer %q is not installed", name)
	}
}

// peerProbe names, in the child process that TestNeedPeer starts, the peer to ask for.
const peerProbe = "SFBROKER_TEST_PEER_PROBE"

func TestNeedPeer(t *testing.T) {
	if name := os.Getenv(peerProbe); name != "" {
		needPeer(t, name)
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ rule, peer, mode, want string }{
		{"an installed peer runs the test", "go", "", "--- PASS: TestNeedPeer"},
		{"an installed peer runs the test where peers are required", "go", "required", "--- PASS: TestNeedPeer"},
		{"a missing peer skips by name", "no-such-peer", "", `peer "no-such-peer" is not installed`},
		{"a missing peer fails where peers are required", "no-such-peer", "required", "--- FAIL: TestNeedPeer"},
	} {
		t.Run(row.rule, func(t *testing.T) {
			t.Parallel() // a process under the race detector takes a second to exit
			cmd := exec.Command(self, "-test.v", "-test.run=^TestNeedPeer$")
			cmd.Env = append(os.Environ(), peerProbe+"="+row.peer, "SFBROKER_PEERS="+row.mode)
			out, _ := cmd.CombinedOutput() // exits 1 in the last row; what it printed is the verdict
			if !strings.Contains(string(out), row.want) {
				t.Errorf("output lacks %q:\n%s", row.want, out)
			}
		})
	}
}
