package integration_test

import (
	"encoding/json"
	"strings"
	"testing"

	"sfbroker/admin"
	"sfbroker/sandbox"
)

// TestBreakIsDiagnosed starts the demo with each fault, under both wordings of IAS: exit code 1, the one hop that does not
// work, what was expected and received, and who fixes it.
func TestBreakIsDiagnosed(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ fault, step, owner, expected string }{
		{sandbox.FaultWrongSubject, "exchange_at2", "IAS admin", "Subject "},
		{sandbox.FaultWrongAudience, "exchange_at2", "IAS admin", "Audience "},
		{sandbox.FaultLockedClient, "exchange_at2", "IAS admin", "client ID "},
		{sandbox.FaultIASDown, "exchange_at2", "broker operator", "a token from http"},
		{sandbox.FaultWithdrawnKey, "check_trust", "Entra admin", ""},
		{sandbox.FaultUnmappedClient, "call_odata", "SuccessFactors admin", "mapped to user "},
		{sandbox.FaultNoPermission, "check_technical_user", "SuccessFactors admin", "may read "},
	} {
		for _, profile := range []string{"microsoft", "terse"} {
			t.Run(row.fault+" with errors as in "+profile, func(t *testing.T) {
				t.Parallel()
				r := outcome(t, "demo", "--once", "--json", "--workers", "20", "--break", row.fault, "--error-profile", profile)
				var doc struct {
					OK    bool
					Steps []admin.Step
					Error string
				}
				if err := json.Unmarshal([]byte(r.stdout), &doc); err != nil || r.code != 1 || doc.OK {
					t.Fatalf("exit code %d, %v\n%s%s", r.code, err, r.stdout, r.stderr)
				}
				broken := false
				for _, s := range doc.Steps {
					switch {
					case s.Step == row.step:
						broken = true
						f := s.Finding
						if f == nil || f.Owner != row.owner || !strings.Contains(f.Expected, row.expected) || f.Expected == "" || f.Received == "" || f.Where == "" || f.Words == "" || len(f.Causes) == 0 {
							t.Errorf("the finding is %+v", f)
						}
					case s.OK == broken || s.Skipped != broken || s.Finding != nil:
						t.Errorf("beside %s stands %+v", row.step, s)
					}
				}
				if !broken || doc.Error == "" {
					t.Errorf("the job's error is %q, the hop %v", doc.Error, broken)
				}
			})
		}
	}
}
