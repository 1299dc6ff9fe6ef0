package integration_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sfbroker/sandbox"
)

// demoDocument is the document of demo --json, as its readers have it.
type demoDocument struct {
	OK    *bool `json:"ok"`
	Steps []struct {
		Step       string         `json:"step"`
		OK         bool           `json:"ok"`
		DurationMS *float64       `json:"duration_ms"`
		Detail     map[string]any `json:"detail"`
	} `json:"steps"`
	Job struct {
		EntitySet string `json:"entity_set"`
		Pages     int    `json:"pages"`
		Records   int    `json:"records"`
		Exchanges int    `json:"exchanges"`
	} `json:"job"`
	ProxyURL string `json:"proxy_url"`
	AdminURL string `json:"admin_url"`
}

func demoOnce(t *testing.T, code int, args ...string) demoDocument {
	t.Helper()
	r := outcome(t, append([]string{"demo", "--once", "--json"}, args...)...)
	if r.code != code || r.stderr != "" {
		t.Fatalf("exit code %d, want %d\n%s%s", r.code, code, r.stdout, r.stderr)
	}
	var doc demoDocument
	if err := json.Unmarshal([]byte(r.stdout), &doc); err != nil { // one document and nothing else
		t.Fatalf("%v\n%s", err, r.stdout)
	}
	var names []string
	for _, s := range doc.Steps {
		names = append(names, s.Step)
		if s.DurationMS == nil || s.Detail == nil {
			t.Errorf("%s has no duration or detail", s.Step)
		}
	}
	if want := []string{"acquire_at1", "check_trust", "exchange_at2", "check_at2", "call_odata", "check_technical_user"}; !slices.Equal(names, want) {
		t.Errorf("steps are %v", names)
	}
	local := regexp.MustCompile(`^http://127\.0\.0\.1:\d+$`)
	if doc.OK == nil || !local.MatchString(doc.ProxyURL) || !local.MatchString(doc.AdminURL) || doc.Job.EntitySet != "PerPerson" {
		t.Errorf("the document lacks a member:\n%s", r.stdout)
	}
	return doc
}

func TestDemoOnce(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule           string
		args           []string
		records, pages int
	}{
		{"a thousand people by default", nil, 1000, 10},
		{"50,000 people", []string{"--workers", "50000", "--page-size", "1000"}, 50000, 50},
		{"one person", []string{"--workers", "1"}, 1, 1},
	} {
		t.Run(row.rule, func(t *testing.T) {
			t.Parallel()
			doc := demoOnce(t, 0, row.args...)
			if !*doc.OK || doc.Job.Exchanges != 1 || doc.Job.Records != row.records || doc.Job.Pages != row.pages {
				t.Errorf("ok %v, %+v", *doc.OK, doc.Job)
			}
			for _, s := range doc.Steps {
				if !s.OK {
					t.Errorf("%s is not ok", s.Step)
				}
			}
		})
	}
	t.Run("a broken peer ends with exit code 1", func(t *testing.T) {
		t.Parallel()
		if doc := demoOnce(t, 1, "--workers", "20", "--break", sandbox.FaultUnmappedClient); *doc.OK || doc.Job.Records != 0 {
			t.Errorf("ok %v, %+v", *doc.OK, doc.Job)
		}
	})
	t.Run("an unknown fault ends with exit code 2", func(t *testing.T) {
		t.Parallel()
		if r := outcome(t, "demo", "--once", "--break", "no-such-fault"); r.code != 2 || !strings.Contains(r.stderr, "hint: known faults: ") {
			t.Errorf("%+v", r)
		}
	})
}

// TestDemoStaysUntilInterrupted: the key of the demo is readable by its user alone, and gone with the demo.
func TestDemoStaysUntilInterrupted(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule   string
		signal syscall.Signal
	}{
		{"Ctrl-C", syscall.SIGINT},
		{"SIGTERM", syscall.SIGTERM},
	} {
		t.Run(row.rule, func(t *testing.T) {
			t.Parallel()
			d := startDemo(t, "--workers", "20")
			netrc := regexp.MustCompile(`--netrc-file (\S+)`).FindStringSubmatch(d.out.String())
			if netrc == nil {
				t.Fatalf("no netrc:\n%s", d.out)
			}
			dir := filepath.Dir(netrc[1])
			for file, mode := range map[string]fs.FileMode{netrc[1]: 0o600, dir: 0o700 | fs.ModeDir, filepath.Join(dir, sandbox.SecretFile): 0o600, filepath.Join(dir, "state", "admin-token"): 0o600} {
				if info, err := os.Stat(file); err != nil || info.Mode() != mode {
					t.Errorf("%s: %v %v, want mode %v", file, info, err, mode)
				}
			}
			if err := d.cmd.Process.Signal(row.signal); err != nil {
				t.Fatal(err)
			}
			select {
			case <-d.done:
			case <-time.After(patience):
				t.Fatal("the demo does not end")
			}
			// To be interrupted is how this command ends when all is well.
			if code := d.cmd.ProcessState.ExitCode(); code != 0 {
				t.Errorf("exit code %d\n%s", code, d.stderr)
			}
			if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s is still there: %v", dir, err)
			}
		})
	}
}
