package assembly_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// coreDumpProbe makes the child process report its own settings.
const coreDumpProbe = "SFBROKER_TEST_CORE_DUMPS"

// TestNoCoreDumps asks a process of its own, since the setting cannot be taken back without privileges.
func TestNoCoreDumps(t *testing.T) {
	if os.Getenv(coreDumpProbe) != "" {
		before := dumpable(t)
		newHouse(t, alone())
		var limit unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_CORE, &limit); err != nil {
			t.Fatal(err)
		}
		if limit.Cur != 0 || limit.Max != 0 || dumpable(t) != 0 {
			t.Fatalf("RLIMIT_CORE %d/%d, dumpable %d", limit.Cur, limit.Max, dumpable(t))
		}
		t.Logf("dumpable was %d and is 0", before)
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestNoCoreDumps$", "-test.v")
	cmd.Env = append(os.Environ(), coreDumpProbe+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "dumpable was 1 and is 0") {
		t.Errorf("%v\n%s", err, out)
	}
}

func dumpable(t *testing.T) int {
	t.Helper()
	n, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
