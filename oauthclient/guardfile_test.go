//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package oauthclient_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sfbroker/oauthclient"
)

// holdLock takes the only key's lock, as a stopped process does.
func holdLock(t *testing.T, dir string) (release func()) {
	t.Helper()
	f, err := os.OpenFile(strings.TrimSuffix(statePath(t, dir), ".json")+".lock", os.O_RDWR, 0)
	must(t, err)
	must(t, unix.Flock(int(f.Fd()), unix.LOCK_EX)) //nolint:gosec // a descriptor fits
	release = func() { _ = f.Close() }
	t.Cleanup(release)
	return release
}

func TestGuardStateOfAKeyThatAnotherProcessHolds(t *testing.T) {
	const otherID = "another-client"
	c, dir := newClock(), t.TempDir()
	g := openGuard(t, dir, c)
	try(t, g, like(1), oauthclient.OutcomeFailedLogon)
	release := holdLock(t, dir)
	type result struct {
		try *oauthclient.Try
		err error
	}
	stalled := make(chan result, 1)
	go func() {
		r, err := g.Reserve(tokenURL, clientID, like(2))
		stalled <- result{r, err}
	}()
	for range 1000 {
		if s := g.State(tokenURL, clientID); s.Err != nil || s.FailedLogons != 1 || s.NeedsOperator {
			t.Fatalf("not answered from memory: %+v", s)
		}
	}
	// Another key's budget is not concerned.
	r, err := g.Reserve(tokenURL, otherID, like(1))
	must(t, err)
	must(t, r.Settle(oauthclient.OutcomeSuccess))
	if s := g.State(tokenURL, otherID); s != (oauthclient.GuardState{}) {
		t.Errorf("%+v", s)
	}
	select {
	case r := <-stalled:
		t.Fatalf("all keys waited for one, or a try was taken without the lock: %v", r.err)
	default:
	}
	release()
	if r := <-stalled; r.err != nil {
		t.Errorf("not let through after the holder went: %v", r.err)
	} else {
		must(t, r.try.Settle(oauthclient.OutcomeNotCounted))
	}
}

func TestGuardStateNeverSeenAndHeld(t *testing.T) {
	c, dir := newClock(), t.TempDir()
	try(t, openGuard(t, dir, c), like(1), oauthclient.OutcomeFailedLogon)
	release := holdLock(t, dir)
	g := openGuard(t, dir, c)
	s := g.State(tokenURL, clientID)
	if s.NeedsOperator || s.FailedLogons != 0 {
		t.Errorf("something is claimed that nobody knows: %+v", s)
	}
	wantUnsafe(t, s.Err)
	release()
	try(t, g, like(2), oauthclient.OutcomeNotCounted)
	if s := g.State(tokenURL, clientID); s.Err != nil || s.FailedLogons != 1 {
		t.Errorf("%+v", s)
	}
}

func TestGuardStateSeesOtherProcessesSoon(t *testing.T) {
	t.Parallel()
	c, dir := newClock(), t.TempDir()
	here, there := openGuard(t, dir, c), openGuard(t, dir, c)
	try(t, here, like(1), oauthclient.OutcomeNotCounted)
	try(t, there, like(1), oauthclient.OutcomeFailedLogon)
	eventually(t, "the other's failed logon", func() bool { return here.State(tokenURL, clientID).FailedLogons == 1 })
	must(t, os.WriteFile(statePath(t, dir), []byte("spoiled"), 0o600))
	eventually(t, "the other's damage", func() bool { return here.State(tokenURL, clientID).NeedsOperator })
	wantUnsafe(t, here.State(tokenURL, clientID).Err)
	must(t, os.RemoveAll(filepath.Join(dir, "lockout")))
	must(t, os.Mkdir(filepath.Join(dir, "lockout"), 0o700))
	eventually(t, "the repair", func() bool { return here.State(tokenURL, clientID).Err == nil })
}

// TestGuardBudgetIsReadAnewForEachTry: what State remembers decides nothing.
func TestGuardBudgetIsReadAnewForEachTry(t *testing.T) {
	c, dir := newClock(), t.TempDir()
	here, there := openGuard(t, dir, c), openGuard(t, dir, c)
	try(t, here, like(0), oauthclient.OutcomeNotCounted)
	for n := range 3 {
		try(t, there, like(n), oauthclient.OutcomeFailedLogon)
	}
	wantRefused(t, here, like(9), oauthclient.GuardLocked)
	if s := here.State(tokenURL, clientID); s.FailedLogons != 3 {
		t.Errorf("%+v", s)
	}
	must(t, there.Unlock(tokenURL, clientID))
	try(t, here, like(9), oauthclient.OutcomeNotCounted)
}

func wantUnsafe(t *testing.T, err error) {
	t.Helper()
	var e *oauthclient.GuardError
	if !errors.As(err, &e) || e.Reason != oauthclient.GuardUnsafeState {
		t.Errorf("= %v, want unsafe state", err)
	}
}
