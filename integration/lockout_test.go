package integration_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"sfbroker/admin"
	"sfbroker/sandbox"
)

// mostFailedLogons is what may reach IAS of one cause, however often somebody tries: the fifth locks the client ID.
const mostFailedLogons = 3

// TestBreakNeverLocksTheClient presses "connection test" again and again, restarts the broker, tests from other
// processes at the same time, and lets jobs knock.
func TestBreakNeverLocksTheClient(t *testing.T) {
	t.Parallel()
	for _, profile := range []string{"microsoft", "terse"} {
		for _, fault := range []string{sandbox.FaultWrongSubject, sandbox.FaultWrongAudience, sandbox.FaultLockedClient} {
			t.Run(fault+" with errors as in "+profile, func(t *testing.T) {
				t.Parallel()
				lockoutScenario(t, profile, fault)
			})
		}
	}
}

const plainRead = "/odata/v2/User?$top=1&$format=json"

func lockoutScenario(t *testing.T, profile, fault string) {
	w := startSandbox(t, "--workers", "20", "--error-profile", profile, "--break", fault)
	config := w.config(sandbox.ConfigOptions{}, noLameDuck)
	d := w.startBroker(config)
	press := func(d *daemon) {
		t.Helper()
		expectRefusal(t, w, outcome(t, d.operator("connection", "test", "--json", sandbox.FirstConnection)...))
	}
	for range 10 {
		press(d)
	}
	expectText(t, w, outcome(t, d.operator("connection", "test", sandbox.FirstConnection)...))
	for range 3 {
		if code := d.terminate(t); code != 0 {
			t.Errorf("SIGTERM ends the broker with %d\n%s", code, d.stderr)
		}
		d = w.startBroker(config)
		press(d)
		if r, err := d.get("nightly", plainRead); err != nil || r.status != http.StatusServiceUnavailable || r.header.Get("Sfbroker-Error-Origin") != "ias" {
			t.Errorf("after a restart a job gets %d from %q, %v", r.status, r.header.Get("Sfbroker-Error-Origin"), err)
		}
	}
	var wait sync.WaitGroup
	for range 3 {
		wait.Go(func() {
			expectRefusal(t, w, outcome(t, "connection", "test", "--json", "--local", "--config", config, sandbox.FirstConnection))
		})
	}
	wait.Wait()
	press(d)
	expectBudget(t, w, fault)

	w.fault(fault, false)
	if r := outcome(t, d.operator("connection", "unlock", sandbox.FirstConnection)...); r.code != 2 {
		t.Errorf("unlock without a reason: exit code %d, %s", r.code, r.stderr)
	}
	run(t, 0, d.operator("connection", "unlock", sandbox.FirstConnection, "--reason", "the rule was mended")...)
	poll(t, "the mended connection", func() error {
		r, err := d.get("nightly", plainRead)
		if err == nil && r.status != http.StatusOK {
			err = fmt.Errorf("%d %s", r.status, r.body)
		}
		return err
	})
	run(t, 0, d.operator("connection", "test", sandbox.FirstConnection)...)
	if s := w.stats().IAS; s.Clients[w.info.IASClientID].FailedLogons != 0 {
		t.Errorf("after the repair: %+v", s)
	}
	audit, err := os.ReadFile(filepath.Join(w.dir, "audit.jsonl"))
	if err != nil || !strings.Contains(string(audit), "the rule was mended") {
		t.Errorf("the audit log has no record of the unlock: %v", err)
	}
}

// expectBudget holds IAS's own count against the budget.
func expectBudget(t *testing.T, w *world, fault string) {
	t.Helper()
	s := w.stats().IAS
	t.Logf("IAS: %d token requests, %d failed logons, at most %d in a row", s.TokenRequests, s.FailedLogons, s.MaxFailedLogons)
	if s.FailedLogons > mostFailedLogons || s.MaxFailedLogons > mostFailedLogons || s.TokenRequests > mostFailedLogons {
		t.Errorf("%d failed logons in %d token requests reached IAS, at most %d may", s.FailedLogons, s.TokenRequests, mostFailedLogons)
	}
	// A locked client ID is refused unseen: IAS counts nothing then, but the request counts against the budget.
	if s.TokenRequests == 0 || s.FailedLogons == 0 && fault != sandbox.FaultLockedClient {
		t.Errorf("IAS was never asked, so nothing was tested: %+v", s)
	}
	if c := s.Clients[w.info.IASClientID]; c.Locked != (fault == sandbox.FaultLockedClient) {
		t.Errorf("the client ID's state is %+v", c)
	}
}

// expectRefusal wants exit code 1 and a report that names the hop, what was presented and who fixes it.
func expectRefusal(t *testing.T, w *world, r result) {
	t.Helper()
	var report admin.Report
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil || r.code != 1 {
		t.Errorf("exit code %d, %v\n%s%s", r.code, err, r.stdout, r.stderr)
		return
	}
	if err := refusalOf(report, w.info); err != nil {
		t.Errorf("%v\n%s", err, r.stdout)
	}
}

func refusalOf(report admin.Report, info sandbox.Info) error {
	var failed []admin.Step
	for _, s := range report.Steps {
		if s.Finding != nil {
			failed = append(failed, s)
		}
	}
	switch {
	case report.OK || len(report.Steps) != 6:
		return errors.New("the report is not one of a failure in six steps")
	case len(failed) != 1 || failed[0].Step != "exchange_at2":
		return fmt.Errorf("%d hops have a finding, want exchange_at2 alone", len(failed))
	}
	f := failed[0].Finding
	if f.Owner != "IAS admin" || f.Origin != "ias" || f.Role == "" || f.Where == "" || f.Received == "" {
		return fmt.Errorf("the finding %s of origin %s is for %q", f.Code, f.Origin, f.Owner)
	}
	for _, word := range []string{info.IASClientID, info.Issuer, info.Subject, info.Audience} {
		if !strings.Contains(f.Expected, word) || !strings.Contains(f.Words, word) {
			return fmt.Errorf("%q is missing in what was presented: %s; %s", word, f.Expected, f.Words)
		}
	}
	return nil
}

// expectText wants the same for people.
func expectText(t *testing.T, w *world, r result) {
	t.Helper()
	for _, part := range []string{"FAIL  exchange_at2", "fix        IAS admin", w.info.Subject, w.info.Audience} {
		if r.code != 1 || !strings.Contains(r.stdout, part) {
			t.Errorf("exit code %d, %q is missing:\n%s%s", r.code, part, r.stdout, r.stderr)
		}
	}
}
