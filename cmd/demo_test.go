package cmd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sfbroker/cmd"
	"sfbroker/config"
)

// run runs a command in this process and returns its exit code and what it printed.
func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	var out, errs bytes.Buffer
	code = cmd.Run(ctx, cmd.Env{
		Args: args, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, LookupEnv: func(string) (string, bool) { return "", false },
	})
	return code, out.String(), errs.String()
}

func steps() []string {
	return []string{"acquire_at1", "check_trust", "exchange_at2", "check_at2", "call_odata", "check_technical_user"}
}

// exactKeys reports the keys of an object that are missing or too many.
func exactKeys(t *testing.T, what string, raw json.RawMessage, want ...string) map[string]json.RawMessage {
	t.Helper()
	var object map[string]json.RawMessage
	if err := json.Unmarshal(raw, &object); err != nil {
		t.Fatalf("%s: %v in %s", what, err, raw)
	}
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(object)); !slices.Equal(got, want) {
		t.Errorf("%s has the keys %q, want %q", what, got, want)
	}
	return object
}

// TestDemoJSON: one document, of exactly this shape: scripts read it.
func TestDemoJSON(t *testing.T) {
	t.Parallel()
	code, stdout, stderr := run(t, "demo", "--once", "--json", "--workers", "250")
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d, stderr %q", code, stderr)
	}
	document := exactKeys(t, "the document", json.RawMessage(stdout), "ok", "steps", "job", "proxy_url", "admin_url")
	if string(document["ok"]) != "true" {
		t.Errorf("ok is %s", document["ok"])
	}
	var list []json.RawMessage
	if err := json.Unmarshal(document["steps"], &list); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, raw := range list {
		exactKeys(t, "a step", raw, "step", "ok", "duration_ms", "detail")
		var step struct {
			Step       string
			OK         bool
			DurationMS *float64 `json:"duration_ms"`
			Detail     map[string]any
		}
		if err := json.Unmarshal(raw, &step); err != nil {
			t.Fatal(err)
		}
		if !step.OK || step.DurationMS == nil || *step.DurationMS < 0 || len(step.Detail) == 0 && step.Step != "check_at2" {
			t.Errorf("step %s", raw)
		}
		names = append(names, step.Step)
	}
	if !slices.Equal(names, steps()) {
		t.Errorf("steps are %q", names)
	}
	job := exactKeys(t, "job", document["job"], "entity_set", "pages", "records", "exchanges")
	for key, want := range map[string]string{"entity_set": `"PerPerson"`, "pages": "3", "records": "250", "exchanges": "1"} {
		if string(job[key]) != want {
			t.Errorf("job.%s is %s, want %s", key, job[key], want)
		}
	}
	for _, key := range []string{"proxy_url", "admin_url"} {
		if !regexp.MustCompile(`^"http://127\.0\.0\.1:\d+"$`).Match(document[key]) {
			t.Errorf("%s is %s", key, document[key])
		}
	}
	if strings.Contains(stdout, ".eyJ") || strings.Contains(stdout, "sfb_") {
		t.Error("the document holds a token or a key")
	}
}

// TestDemoText: for a reader without a terminal there is no colour and no line that is drawn over.
func TestDemoText(t *testing.T) {
	t.Parallel()
	code, stdout, stderr := run(t, "demo", "--once", "--workers", "120", "--page-size", "50")
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d, stderr %q", code, stderr)
	}
	if strings.ContainsAny(stdout, "\r\x1b") {
		t.Error("control characters without a terminal")
	}
	general := regexp.MustCompile(`127\.0\.0\.1:\d+|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?:key id +)\S+|\d{4}-\d\d-\d\dT\S+|\d+\.\d ms|\d+(?:\.\d+)?m?s\b`)
	got := regexp.MustCompile(` +~`).ReplaceAllString(general.ReplaceAllString(stdout, "~"), " ~")
	golden := filepath.Join("testdata", "demo.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("differs from %s (accept with -update):\n%s", golden, got)
	}
	if strings.Contains(stdout, ".eyJ") || strings.Contains(stdout, "sfb_") {
		t.Error("a token or a key is shown")
	}
}

// fault is what one --break must be diagnosed as.
type fault struct{ step, code, owner string }

// TestEveryFaultIsDiagnosed under both wordings of IAS. Where a terse IAS does not say what it refuses, the answer is the
// broker's own verdict on the assertion, and the likeliest cause stands among the probable ones.
func TestEveryFaultIsDiagnosed(t *testing.T) {
	rejected := fault{"exchange_at2", "ias_assertion_rejected", "IAS admin"}
	unmapped := fault{"call_odata", "successfactors_application_map", "SuccessFactors admin"}
	withdrawn := fault{"check_trust", "trust_key_unknown", "Entra admin"}
	down := fault{"exchange_at2", "ias_unavailable", "broker operator"}
	permission := fault{"check_technical_user", "successfactors_permission_missing", "SuccessFactors admin"}
	for _, row := range []struct {
		what             string
		microsoft, terse fault
		cause            string // that must be among the probable causes
	}{
		{"wrong-subject", rejected, rejected, "Subject of the rule in IAS differs"},
		{"wrong-audience", rejected, rejected, "Audience of the rule in IAS differs"},
		{"unmapped-client", unmapped, unmapped, "the client ID is not in the application map"},
		{"withdrawn-key", withdrawn, withdrawn, "the key was withdrawn"},
		{"ias-down", down, down, "network"},
		{"locked-client", fault{"exchange_at2", "ias_locked", "IAS admin"}, rejected, "lock"},
		{"no-permission", permission, permission, "role-based permissions"},
	} {
		for profile, want := range map[string]fault{"microsoft": row.microsoft, "terse": row.terse} {
			t.Run(row.what+"/"+profile, func(t *testing.T) {
				t.Parallel()
				diagnosed(t, row.what, profile, want, row.cause)
			})
		}
	}
}

func diagnosed(t *testing.T, what, profile string, want fault, cause string) {
	t.Helper()
	code, stdout, stderr := run(t, "demo", "--once", "--json", "--workers", "20", "--break", what, "--error-profile", profile)
	if code != 1 || stderr != "" {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
	var document struct {
		OK    bool
		Error string
		Job   struct{ Pages, Records int }
		Steps []struct {
			Step        string
			OK, Skipped bool
			Finding     *struct {
				Code, Expected, Received, Where, Documentation string
				Owner                                          string   `json:"who_fixes_it"`
				Words                                          string   `json:"words_to_send"`
				Causes                                         []string `json:"probable_causes"`
			}
		}
	}
	if err := json.Unmarshal([]byte(stdout), &document); err != nil {
		t.Fatalf("%v in %s", err, stdout)
	}
	if document.OK || document.Job.Pages != 0 || document.Job.Records != 0 || document.Error == "" || len(document.Steps) != len(steps()) {
		t.Fatalf("document %+v", document)
	}
	at := slices.Index(steps(), want.step)
	for i, s := range document.Steps {
		if s.Step != steps()[i] || s.OK != (i < at) || s.Skipped != (i > at) || (s.Finding != nil) != (i == at) {
			t.Errorf("step %d: %+v, but %s has to fail", i, s, want.step)
		}
	}
	f := document.Steps[at].Finding
	if f == nil {
		t.Fatal("no finding")
	}
	if f.Code != want.code || f.Owner != want.owner || f.Expected == "" || f.Received == "" || f.Where == "" || f.Words == "" ||
		f.Documentation != "docs/errors.md#"+want.code || strings.Contains(f.Words, "{") {
		t.Errorf("finding %+v, want %+v", *f, want)
	}
	if !slices.ContainsFunc(f.Causes, func(c string) bool { return strings.Contains(c, cause) }) {
		t.Errorf("%q is not among the probable causes %q", cause, f.Causes)
	}
}

// TestFailedDemoText: the last line says where, what and who; what the operator mends himself comes without a letter.
func TestFailedDemoText(t *testing.T) {
	for _, row := range []struct{ what, last, letter string }{
		{"no-permission", "Not delivered: check_technical_user does not work (SuccessFactors 403: permissions).   fix: SuccessFactors admin\n", "to send to the SuccessFactors admin:"},
		{"ias-down", "Not delivered: exchange_at2 does not work (IAS unreachable).   fix: broker operator\n", ""},
	} {
		t.Run(row.what, func(t *testing.T) {
			t.Parallel()
			code, stdout, _ := run(t, "demo", "--once", "--workers", "20", "--break", row.what)
			if code != 1 || !strings.HasSuffix(stdout, row.last) {
				t.Errorf("exit code %d, ends with %q", code, stdout[max(0, len(stdout)-150):])
			}
			if got := strings.Contains(stdout, "to send to the"); got != (row.letter != "") || !strings.Contains(stdout, row.letter) {
				t.Errorf("letter shown: %t in\n%s", got, stdout)
			}
			for _, line := range strings.Split(stdout, "\n") {
				if strings.HasPrefix(line, "        | ") && len(line) > 110 {
					t.Errorf("a line of %d characters: %s", len(line), line)
				}
			}
		})
	}
}

// TestCallerAddIsPasteable: what is printed goes into a configuration as it is, and the check takes it.
func TestCallerAddIsPasteable(t *testing.T) {
	const rest = `version: 1
workload_identities:
  prod-vm:
    source: { file: { path: /run/sfbroker/at1.jwt } }
    trust_by_issuer: { issuer: "https://issuer.example.com", jwks_uri: "https://issuer.example.com/keys", subject: s, audience: a }
connections:
  hr-prod:
    workload_identity: prod-vm
    ias: { url: https://acme.accounts.ondemand.com, client_id: c, dependency: SF-EC-TA }
    successfactors: { api_url: https://api012.successfactors.eu, company_id: ACME, technical_user: sfapi.broker }
`
	env := config.Env{LookupEnv: func(string) (string, bool) { return "", false }}
	keys := map[string]bool{}
	for _, row := range []struct {
		rule, name, read string
		want             []string
	}{
		{"a plain caller", "nightly", "PerPerson,PerPerson/emailNav", []string{"PerPerson", "PerPerson/emailNav"}},
		{"without paths", "weekly", "", []string{"User"}},
		{"everything", "audit-job", "*", []string{"*"}},
		{"a name that YAML reads as something else", "on", "User", []string{"User"}},
	} {
		args := []string{"caller", "add", row.name, "--connection", "hr-prod"}
		if row.read != "" {
			args = append(args, "--read", row.read)
		}
		code, stdout, stderr := run(t, args...)
		key, yaml, ok := strings.Cut(stdout, "\n")
		if code != 0 || !ok || !regexp.MustCompile(`^sfb_`+row.name+`_[a-z2-7]{59}$`).MatchString(key) || keys[key] {
			t.Errorf("%s: exit code %d, key %q", row.rule, code, key)
		}
		keys[key] = true
		if strings.Contains(stderr, key) || strings.Contains(yaml, key) || !strings.Contains(stderr, row.name+"@<company>") {
			t.Errorf("%s: stderr %q", row.rule, stderr)
		}
		cfg, err := config.Parse("pasted.yaml", []byte(rest+yaml), env)
		if err != nil {
			t.Errorf("%s: %v in\n%s", row.rule, err, yaml)
			continue
		}
		if c := cfg.Callers[row.name]; c.Connection != "hr-prod" || c.Key == nil || !slices.Equal(c.Allow.Read, row.want) {
			t.Errorf("%s: caller %+v", row.rule, c)
		}
	}
}

// TestCallerAddJSON holds the same, for scripts.
func TestCallerAddJSON(t *testing.T) {
	code, stdout, stderr := run(t, "caller", "add", "nightly", "--connection", "hr-prod", "--json")
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d, stderr %q", code, stderr)
	}
	exactKeys(t, "the document", json.RawMessage(stdout), "name", "key", "sha256", "yaml")
}
