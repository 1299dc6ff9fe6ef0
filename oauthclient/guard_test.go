package oauthclient_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"sfbroker/oauthclient"
)

const tokenURL = "https://acme.accounts.ondemand.com/oauth2/token"

func openGuard(t *testing.T, dir string, c *clock) *oauthclient.Guard {
	t.Helper()
	g, err := oauthclient.OpenGuard(oauthclient.GuardConfig{Dir: dir, Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func like(n int) oauthclient.AssertionLike {
	return oauthclient.AssertionLike{Issuer: "i", KeyID: fmt.Sprint(n), Subject: "s", Audience: "a"}
}

// try reserves and settles, and fails the test if it may not.
func try(t *testing.T, g *oauthclient.Guard, l oauthclient.AssertionLike, o oauthclient.Outcome) {
	t.Helper()
	r, err := g.Reserve(tokenURL, clientID, l)
	if err != nil {
		t.Fatalf("not let through: %v", err)
	}
	if err := r.Settle(o); err != nil {
		t.Fatal(err)
	}
}

func wantRefused(t *testing.T, g *oauthclient.Guard, l oauthclient.AssertionLike, reason oauthclient.GuardReason) *oauthclient.GuardError {
	t.Helper()
	_, err := g.Reserve(tokenURL, clientID, l)
	var e *oauthclient.GuardError
	if !errors.As(err, &e) || e.Reason != reason {
		t.Fatalf("= %v, want reason %s", err, reason)
	}
	return e
}

// stores runs a test on a guard in memory and on guards over one directory, each
// use through a new one, as after a restart.
func stores(t *testing.T, test func(t *testing.T, c *clock, g func() *oauthclient.Guard)) {
	t.Run("memory", func(t *testing.T) {
		c := newClock()
		g := openGuard(t, "", c)
		test(t, c, func() *oauthclient.Guard { return g })
	})
	t.Run("directory, restarted at each step", func(t *testing.T) {
		c, dir := newClock(), t.TempDir()
		test(t, c, func() *oauthclient.Guard { return openGuard(t, dir, c) })
	})
}

func TestGuardBudget(t *testing.T) {
	stores(t, func(t *testing.T, c *clock, g func() *oauthclient.Guard) {
		for n := range 3 {
			try(t, g(), like(n), oauthclient.OutcomeFailedLogon)
			c.Add(time.Minute)
		}
		last := start.Add(2 * time.Minute)
		e := wantRefused(t, g(), like(3), oauthclient.GuardLocked)
		if e.FailedLogons != 3 || !e.Since.Equal(last) || !e.RetryAt.Equal(last.Add(time.Hour)) || e.Hint == "" {
			t.Errorf("%+v", e)
		}
		if s := g().State(tokenURL, clientID); s.FailedLogons != 3 || s.NeedsOperator || !s.ProbeAt.Equal(last.Add(time.Hour)) || !s.LastFailure.Equal(last) {
			t.Errorf("%+v", s)
		}
		c.Add(59*time.Minute - time.Nanosecond)
		wantRefused(t, g(), like(3), oauthclient.GuardLocked)
		c.Add(time.Nanosecond)
		probe, err := g().Reserve(tokenURL, clientID, like(0))
		if err != nil {
			t.Fatalf("the probe is not let through: %v", err)
		}
		wantRefused(t, g(), like(4), oauthclient.GuardBusy)
		if err := probe.Settle(oauthclient.OutcomeFailedLogon); err != nil {
			t.Fatal(err)
		}
		c.Add(1000 * time.Hour)
		if e := wantRefused(t, g(), like(5), oauthclient.GuardLocked); !e.RetryAt.IsZero() || e.FailedLogons != 4 {
			t.Errorf("after the probe: %+v", e)
		}
		if s := g().State(tokenURL, clientID); !s.NeedsOperator || s.FailedLogons != 4 {
			t.Errorf("%+v", s)
		}
		if err := g().Unlock(tokenURL, clientID); err != nil {
			t.Fatal(err)
		}
		if s := g().State(tokenURL, clientID); s != (oauthclient.GuardState{}) {
			t.Errorf("after unlock: %+v", s)
		}
		try(t, g(), like(0), oauthclient.OutcomeSuccess)
	})
}

func TestGuardProbeThatSucceedsResets(t *testing.T) {
	stores(t, func(t *testing.T, c *clock, g func() *oauthclient.Guard) {
		for n := range 3 {
			try(t, g(), like(n), oauthclient.OutcomeFailedLogon)
		}
		c.Add(time.Hour)
		try(t, g(), like(0), oauthclient.OutcomeSuccess)
		if s := g().State(tokenURL, clientID); s != (oauthclient.GuardState{}) {
			t.Errorf("%+v", s)
		}
	})
}

func TestGuardProbeThatIsNotJudgedMayBeRepeated(t *testing.T) {
	stores(t, func(t *testing.T, c *clock, g func() *oauthclient.Guard) {
		for n := range 3 {
			try(t, g(), like(n), oauthclient.OutcomeFailedLogon)
		}
		c.Add(time.Hour)
		for range 10 {
			try(t, g(), like(7), oauthclient.OutcomeNotCounted)
		}
		try(t, g(), like(7), oauthclient.OutcomeFailedLogon)
		wantRefused(t, g(), like(8), oauthclient.GuardLocked)
	})
}

func TestGuardRefusedAssertionIsNotPresentedAgain(t *testing.T) {
	stores(t, func(t *testing.T, c *clock, g func() *oauthclient.Guard) {
		try(t, g(), like(1), oauthclient.OutcomeFailedLogon)
		e := wantRefused(t, g(), like(1), oauthclient.GuardAssertionRefused)
		if !e.RetryAt.Equal(start.Add(time.Hour)) || e.FailedLogons != 1 {
			t.Errorf("%+v", e)
		}
		// A neighbour that differs in one thing is let through, and its success resets
		// the count, but does not make the refused one good.
		try(t, g(), like(2), oauthclient.OutcomeSuccess)
		wantRefused(t, g(), like(1), oauthclient.GuardAssertionRefused)
		c.Add(time.Hour - time.Nanosecond)
		wantRefused(t, g(), like(1), oauthclient.GuardAssertionRefused)
		c.Add(time.Nanosecond)
		try(t, g(), like(1), oauthclient.OutcomeFailedLogon)
		wantRefused(t, g(), like(1), oauthclient.GuardAssertionRefused)
		if err := g().Unlock(tokenURL, clientID); err != nil {
			t.Fatal(err)
		}
		try(t, g(), like(1), oauthclient.OutcomeSuccess)
		try(t, g(), like(1), oauthclient.OutcomeSuccess)
	})
}

func TestGuardLikesDifferInEachPart(t *testing.T) {
	g := openGuard(t, "", newClock())
	base := oauthclient.AssertionLike{Issuer: "a", KeyID: "b", Subject: "c", Audience: "d"}
	try(t, g, base, oauthclient.OutcomeFailedLogon)
	for _, other := range []oauthclient.AssertionLike{
		{Issuer: "x", KeyID: "b", Subject: "c", Audience: "d"},
		{Issuer: "a", KeyID: "x", Subject: "c", Audience: "d"},
		{Issuer: "a", KeyID: "b", Subject: "x", Audience: "d"},
		{Issuer: "a", KeyID: "b", Subject: "c", Audience: "x"},
		{Issuer: "ab", KeyID: "", Subject: "c", Audience: "d"},
	} {
		try(t, g, other, oauthclient.OutcomeNotCounted)
	}
	wantRefused(t, g, base, oauthclient.GuardAssertionRefused)
}

func TestGuardOneAskAtATimeUnlessTheLastSucceeded(t *testing.T) {
	stores(t, func(t *testing.T, _ *clock, g func() *oauthclient.Guard) {
		for name, before := range map[string]oauthclient.Outcome{
			"never asked": -1, "not counted": oauthclient.OutcomeNotCounted, "failed": oauthclient.OutcomeFailedLogon, "unknown": oauthclient.OutcomeUnknown,
		} {
			if err := g().Unlock(tokenURL, clientID); err != nil {
				t.Fatal(err)
			}
			if before >= 0 {
				try(t, g(), like(9), before)
			}
			one, err := g().Reserve(tokenURL, clientID, like(1))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			wantRefused(t, g(), like(2), oauthclient.GuardBusy)
			if err := one.Settle(oauthclient.OutcomeSuccess); err != nil {
				t.Fatal(err)
			}
		}
		var tries []*oauthclient.Try
		for n := range 3 {
			r, err := g().Reserve(tokenURL, clientID, like(n))
			if err != nil {
				t.Fatalf("after a success: %v", err)
			}
			tries = append(tries, r)
		}
		wantRefused(t, g(), like(4), oauthclient.GuardBusy)
		if s := g().State(tokenURL, clientID); s.InFlight != 3 || s.FailedLogons != 0 {
			t.Errorf("%+v", s)
		}
		for _, r := range tries {
			if err := r.Settle(oauthclient.OutcomeFailedLogon); err != nil {
				t.Fatal(err)
			}
		}
		wantRefused(t, g(), like(4), oauthclient.GuardLocked)
	})
}

func TestGuardSuccessDoesNotHideFailuresBesideIt(t *testing.T) {
	stores(t, func(t *testing.T, _ *clock, g func() *oauthclient.Guard) {
		try(t, g(), like(0), oauthclient.OutcomeSuccess)
		good, err := g().Reserve(tokenURL, clientID, like(1))
		if err != nil {
			t.Fatal(err)
		}
		try(t, g(), like(2), oauthclient.OutcomeFailedLogon) // perhaps after the success, at IAS
		if err := good.Settle(oauthclient.OutcomeSuccess); err != nil {
			t.Fatal(err)
		}
		if s := g().State(tokenURL, clientID); s.FailedLogons != 1 {
			t.Errorf("%+v", s)
		}
		try(t, g(), like(1), oauthclient.OutcomeSuccess)
		if s := g().State(tokenURL, clientID); s.FailedLogons != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestGuardBudgetIsSpellingProof(t *testing.T) {
	g := openGuard(t, "", newClock())
	try(t, g, like(1), oauthclient.OutcomeFailedLogon)
	for name, row := range map[string]struct {
		url, id string
		same    bool
	}{
		"as configured":         {tokenURL, clientID, true},
		"another client":        {tokenURL, clientID + "0", false},
		"client in capitals":    {tokenURL, strings.ToUpper(clientID), true},
		"client with spaces":    {tokenURL, " " + clientID[:4] + "\t" + clientID[4:] + "\n", true},
		"zero-width space":      {tokenURL, clientID + "\u200b", true},
		"another host":          {"https://acme2.accounts.ondemand.com/oauth2/token", clientID, false},
		"host in capitals":      {"HTTPS://ACME.Accounts.Ondemand.Com/oauth2/token", clientID, true},
		"host with a dot":       {"https://acme.accounts.ondemand.com./oauth2/token", clientID, true},
		"default port":          {"https://acme.accounts.ondemand.com:443/oauth2/token", clientID, true},
		"another port":          {"https://acme.accounts.ondemand.com:444/oauth2/token", clientID, false},
		"another path, one IAS": {"https://u@acme.accounts.ondemand.com//oauth2//token?x=1", clientID, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := g.State(row.url, row.id).FailedLogons == 1; got != row.same {
				t.Errorf("same budget: %v, want %v", got, row.same)
			}
		})
	}
}

func TestGuardDeadHolderCountsAsAFailure(t *testing.T) {
	dead := exec.Command(os.Args[0], "-test.run=^$")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		edit  func(holder map[string]any)
		after time.Duration
		lost  bool
	}{
		"this process lives":               {edit: func(map[string]any) {}},
		"process is gone":                  {edit: func(h map[string]any) { h["pid"] = dead.Process.Pid }, lost: true},
		"process ID was given anew":        {edit: func(h map[string]any) { h["start"] = "1" }, lost: true},
		"gone, but on another machine":     {edit: func(h map[string]any) { h["pid"] = dead.Process.Pid; h["machine"] = "other" }},
		"another machine, before 2 min":    {edit: func(h map[string]any) { h["machine"] = "other" }, after: 2*time.Minute - 1},
		"another machine, after 2 min":     {edit: func(h map[string]any) { h["machine"] = "other" }, after: 2 * time.Minute, lost: true},
		"this process hangs, before 2 min": {edit: func(map[string]any) {}, after: 2*time.Minute - 1},
		"this process hangs, after 2 min":  {edit: func(map[string]any) {}, after: 2 * time.Minute, lost: true},
	} {
		t.Run(name, func(t *testing.T) {
			c, dir := newClock(), t.TempDir()
			if _, err := openGuard(t, dir, c).Reserve(tokenURL, clientID, like(1)); err != nil {
				t.Fatal(err)
			}
			editState(t, dir, func(state map[string]any) {
				row.edit(state["reservations"].([]any)[0].(map[string]any)["holder"].(map[string]any))
			})
			c.Add(row.after)
			s := openGuard(t, dir, c).State(tokenURL, clientID)
			if s.Err != nil || (s.FailedLogons == 1) != row.lost || (s.InFlight == 0) != row.lost {
				t.Errorf("%+v, want lost %v", s, row.lost)
			}
		})
	}
}

func TestGuardLateSuccessMakesGoodOfATryTakenForDead(t *testing.T) {
	stores(t, func(t *testing.T, c *clock, g func() *oauthclient.Guard) {
		for name, row := range map[string]struct {
			outcome  oauthclient.Outcome
			failures int
		}{"success": {oauthclient.OutcomeSuccess, 0}, "failure, counted once": {oauthclient.OutcomeFailedLogon, 1}} {
			if err := g().Unlock(tokenURL, clientID); err != nil {
				t.Fatal(err)
			}
			late, err := g().Reserve(tokenURL, clientID, like(1))
			if err != nil {
				t.Fatal(err)
			}
			c.Add(3 * time.Minute)
			try(t, g(), like(2), oauthclient.OutcomeNotCounted)
			if err := errors.Join(late.Settle(row.outcome), late.Settle(row.outcome)); err != nil {
				t.Fatal(err)
			}
			if s := g().State(tokenURL, clientID); s.FailedLogons != row.failures {
				t.Errorf("%s: %+v", name, s)
			}
		}
	})
}

func TestGuardClockSetBack(t *testing.T) {
	stores(t, func(t *testing.T, c *clock, g func() *oauthclient.Guard) {
		for n := range 3 {
			try(t, g(), like(n), oauthclient.OutcomeFailedLogon)
		}
		c.Add(-1000 * time.Hour)
		if e := wantRefused(t, g(), like(4), oauthclient.GuardLocked); !e.RetryAt.Equal(c.Now().Add(time.Hour)) {
			t.Errorf("%+v", e)
		}
		c.Add(time.Hour - 1)
		wantRefused(t, g(), like(4), oauthclient.GuardLocked)
		c.Add(1)
		try(t, g(), like(4), oauthclient.OutcomeSuccess)
	})
}

func statePath(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "lockout", "*.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("state files %v, %v", files, err)
	}
	return files[0]
}

func editState(t *testing.T, dir string, edit func(map[string]any)) {
	t.Helper()
	path := statePath(t, dir)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var state map[string]any
	if err := json.Unmarshal(data, &state); err != nil {
		t.Fatal(err)
	}
	edit(state)
	if data, err = json.Marshal(state); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestGuardUnsafeStateLetsNothingThrough(t *testing.T) {
	write := func(data string) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	edit := func(name string, v any) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			editState(t, filepath.Dir(filepath.Dir(path)), func(s map[string]any) { s[name] = v })
		}
	}
	for name, spoil := range map[string]func(*testing.T, string){
		"empty file":         write(""),
		"cut file":           write(`{"version":1,"token_end`),
		"not an object":      write(`[]`),
		"HTML":               write(`<html>`),
		"two objects":        write(`{} {}`),
		"later version":      edit("version", 2),
		"unknown member":     edit("x", 2),
		"negative count":     edit("failed_logons", -1),
		"another client":     edit("client_id", "x"),
		"unknown result":     edit("last_result", "x"),
		"failures, no time":  edit("last_failure", "0001-01-01T00:00:00Z"),
		"huge file":          write(strings.Repeat(" ", 65<<10) + `{}`),
		"directory in place": func(t *testing.T, path string) { must(t, os.Remove(path)); must(t, os.Mkdir(path, 0o700)) },
		"symbolic link": func(t *testing.T, path string) {
			must(t, os.Rename(path, path+".x"))
			must(t, os.Symlink(path+".x", path))
		},
		"directory is gone": func(t *testing.T, path string) { must(t, os.RemoveAll(filepath.Dir(path))) },
	} {
		t.Run(name, func(t *testing.T) {
			c, dir := newClock(), t.TempDir()
			g := openGuard(t, dir, c)
			try(t, g, like(1), oauthclient.OutcomeFailedLogon)
			path := statePath(t, dir)
			spoil(t, path)
			e := wantRefused(t, g, like(2), oauthclient.GuardUnsafeState)
			if !strings.Contains(e.Hint, path) || !strings.Contains(e.Hint, clientID) || e.Err == nil {
				t.Errorf("%+v", e)
			}
			if s := g.State(tokenURL, clientID); s.Err == nil || !s.NeedsOperator {
				t.Errorf("state %+v", s)
			}
			if name == "directory is gone" {
				g = openGuard(t, dir, c) // makes it
			}
			if err := g.Unlock(tokenURL, clientID); err != nil {
				t.Fatalf("no repair in place: %v", err)
			}
			try(t, g, like(2), oauthclient.OutcomeSuccess)
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestGuardFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	c := newClock()
	try(t, openGuard(t, dir, c), oauthclient.Assertion{Raw: oauthclient.NewSecret(rawAT1), Issuer: "issuer-x", Subject: "subject-x"}.Like(), oauthclient.OutcomeFailedLogon)
	entries, err := os.ReadDir(filepath.Join(dir, "lockout"))
	must(t, err)
	for _, e := range entries {
		info, err := e.Info()
		must(t, err)
		if info.Mode().Perm() != 0o600 || strings.Contains(e.Name(), clientID) || strings.Contains(e.Name(), "tmp") {
			t.Errorf("%s %v", e.Name(), info.Mode())
		}
	}
	for _, d := range []string{dir, filepath.Join(dir, "lockout")} {
		info, err := os.Stat(d)
		must(t, err)
		if info.Mode().Perm() != 0o700 {
			t.Errorf("%s has mode %v", d, info.Mode())
		}
	}
	data, err := os.ReadFile(statePath(t, dir))
	must(t, err)
	for _, secret := range []string{rawAT1, "issuer-x", "subject-x"} {
		if strings.Contains(string(data), secret) {
			t.Errorf("state holds %q: %s", secret, data)
		}
	}
	if !strings.Contains(string(data), clientID) {
		t.Errorf("state names no client: %s", data)
	}
	must(t, os.Chmod(filepath.Join(dir, "lockout"), 0o755)) //nolint:gosec // loosened on purpose
	openGuard(t, dir, c)
	if info, err := os.Stat(filepath.Join(dir, "lockout")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("a loose directory stays: %v, %v", info.Mode(), err)
	}
	elsewhere := t.TempDir()
	must(t, os.Symlink(dir, filepath.Join(elsewhere, "lockout")))
	if _, err := oauthclient.OpenGuard(oauthclient.GuardConfig{Dir: elsewhere}); err == nil {
		t.Error("a link in place of the directory is accepted")
	}
}

func TestGuardMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	g, err := oauthclient.OpenGuard(oauthclient.GuardConfig{Metrics: oauthclient.NewMetrics(reg), Now: newClock().Now})
	must(t, err)
	try(t, g, like(1), oauthclient.OutcomeFailedLogon)
	wantRefused(t, g, like(1), oauthclient.GuardAssertionRefused)
	const want = `# HELP sfbroker_lockout_guard_refusals_total Logons that the lockout guard did not let through, by reason.
# TYPE sfbroker_lockout_guard_refusals_total counter
sfbroker_lockout_guard_refusals_total{reason="assertion_refused"} 1
`
	must(t, testutil.GatherAndCompare(reg, strings.NewReader(want), "sfbroker_lockout_guard_refusals_total"))
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

// lockingIAS counts as IAS does: a success resets, the 5th failure in a row locks.
type lockingIAS struct {
	mu                sync.Mutex
	inFlight, inARow  int
	worst, worstAsked int
}

func (s *lockingIAS) ask(good bool, meanwhile func()) {
	s.mu.Lock()
	s.inFlight++
	s.worstAsked = max(s.worstAsked, s.inARow+s.inFlight)
	s.mu.Unlock()
	meanwhile()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight--
	if good {
		s.inARow = 0
		return
	}
	s.inARow++
	s.worst = max(s.worst, s.inARow)
}

// TestGuardNeverSpendsMoreThanTheBudget runs many tries at once through several
// guards over one directory and checks on IAS's side what arrives, in the order
// in which it arrives there.
func TestGuardNeverSpendsMoreThanTheBudget(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			c, dir := newClock(), t.TempDir()
			var s lockingIAS
			var wg sync.WaitGroup
			for worker := range 8 {
				g := openGuard(t, dir, c)
				wg.Go(func() {
					r := rand.New(rand.NewPCG(seed, uint64(worker)))
					for range 12 {
						if r.IntN(4) == 0 {
							g = openGuard(t, dir, c)
						}
						oneTry(t, g, &s, c, r, 0.1+0.1*float64(seed))
					}
				})
			}
			wg.Wait()
			if s.worst > 3 || s.worstAsked > 3 {
				t.Errorf("IAS saw %d failed logons in a row and %d with those in flight, want at most 3", s.worst, s.worstAsked)
			}
		})
	}
}

func oneTry(t *testing.T, g *oauthclient.Guard, s *lockingIAS, c *clock, r *rand.Rand, failing float64) {
	try, err := g.Reserve(tokenURL, clientID, like(r.IntN(1000)))
	if err != nil {
		return
	}
	c.Add(time.Duration(r.IntN(20)) * time.Millisecond)
	outcome := oauthclient.OutcomeSuccess
	if p := r.Float64(); p < failing {
		outcome = oauthclient.OutcomeFailedLogon
	} else if p > 0.95 {
		outcome = oauthclient.OutcomeNotCounted
	}
	if outcome != oauthclient.OutcomeNotCounted {
		s.ask(outcome == oauthclient.OutcomeSuccess, func() { g.State(tokenURL, clientID) })
	}
	g.State(tokenURL, clientID) // lets others settle first
	if err := try.Settle(outcome); err != nil {
		t.Error(err)
	}
}
