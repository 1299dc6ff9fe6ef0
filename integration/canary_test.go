package integration_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sfbroker/sandbox"
)

// canary knows what must be nowhere: shapes of secrets, and this run's own.
type canary struct {
	shapes  map[string]*regexp.Regexp
	secrets map[string]string
	places  map[string]string
}

func newCanary() *canary {
	return &canary{
		shapes: map[string]*regexp.Regexp{
			"a JWT":                  regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}\.`),
			"an Authorization value": regexp.MustCompile(`(?i)\b(?:bearer|basic)\s+[A-Za-z0-9._~+/=-]{16,}`),
			"a caller key":           regexp.MustCompile(`sfb_[a-z0-9-]+_[a-z2-7]{20,}`),
			"a session cookie":       regexp.MustCompile(`(?i)jsessionid"?\s*[=:]\s*\S`),
			"a client assertion":     regexp.MustCompile(`(?i)client_(?:assertion|secret)\s*=\s*\S`),
		},
		secrets: map[string]string{},
		places:  map[string]string{},
	}
}

// key adds a caller's key, its 52 random characters, and what Basic makes of it.
func (c *canary) key(user, name, key string) {
	n := len(c.secrets)
	c.secrets[fmt.Sprint("key ", n, " of ", name)] = key
	c.secrets[fmt.Sprint("the random part of key ", n, " of ", name)] = strings.TrimPrefix(key, "sfb_"+name+"_")[:52]
	for _, u := range []string{user, name} {
		c.secrets[fmt.Sprint("Basic credentials ", n, " of ", u)] = base64.StdEncoding.EncodeToString([]byte(u + ":" + key))
	}
}

// token adds a JWT and each of its parts.
func (c *canary) token(name, token string) {
	for i, part := range append([]string{token}, strings.Split(token, ".")...) {
		c.secrets[fmt.Sprint(name, ", part ", i)] = part
	}
}

// hits lists what is found in text. It never shows the secret itself.
func (c *canary) hits(text string) []string {
	var found []string
	for what, shape := range c.shapes {
		if at := shape.FindStringIndex(text); at != nil {
			found = append(found, fmt.Sprintf("%s at byte %d", what, at[0]))
		}
	}
	for what, secret := range c.secrets {
		if at := strings.Index(text, secret); at >= 0 {
			found = append(found, fmt.Sprintf("%s at byte %d", what, at))
		}
	}
	return found
}

// folder adds every file below dir, with its path, but the ones that are there to hold a secret.
func (c *canary) folder(t *testing.T, dir string, but ...string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		c.places["the path "+path] = path
		if err != nil || e.IsDir() {
			return err
		}
		for _, name := range but {
			if e.Name() == name {
				return nil
			}
		}
		b, err := os.ReadFile(path)
		c.places[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestCanaryNoSecretLeavesTheBroker turns debug logging on, lets everything go wrong that can, and searches whatever the broker
// wrote or said.
func TestCanaryNoSecretLeavesTheBroker(t *testing.T) {
	t.Parallel()
	w := startSandbox(t, "--workers", "2000")
	digests := map[string]string{"nightly": w.key("nightly"), "narrow": w.key("narrow")}
	config := w.config(sandbox.ConfigOptions{Callers: digests}, func(text string) string {
		head, rest, ok := strings.Cut(text, "\n  \"narrow\":")
		if !ok {
			t.Fatal("no caller narrow in the configuration")
		}
		return noLameDuck(head+"\n  \"narrow\":"+strings.Replace(rest, `["*"]`, "[User]", 1)) + "log: { level: debug }\n"
	})
	d := w.startBroker(config).ready()
	c := newCanary()
	c.secrets["the client secret"] = w.info.WorkloadClientSecret
	c.secrets["the admin token"] = d.token
	for name, key := range w.keys {
		c.key(w.user(name), name, key)
	}
	raw := run(t, 0, d.operator("token", "--raw", sandbox.FirstConnection)...)
	released := strings.TrimSpace(raw)
	c.token("AT2", released)
	if len(c.hits(raw)) == 0 {
		t.Fatal("the search does not find the token that --raw prints")
	}
	c.places["what token prints without --raw"] = run(t, 0, d.operator("token", sandbox.FirstConnection)...)

	noCoreFile(t, d)
	c.goodAndBadRequests(t, d, released)
	c.hangUp(t, d)
	c.faults(t, w, d)
	c.surfaces(t, d)
	if code := d.terminate(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	c.places["standard output"], c.places["standard error"] = d.stdout.String(), d.stderr.String()
	if !strings.Contains(d.stderr.String(), "level=DEBUG") {
		t.Error("debug logging was not on")
	}
	c.folder(t, d.state, "admin-token")
	c.brokenBrokers(t, w)
	audit, err := os.ReadFile(filepath.Join(w.dir, "audit.jsonl"))
	if err != nil || len(audit) == 0 {
		t.Fatalf("no audit log: %v", err)
	}
	c.places["the audit log"] = string(audit)

	for place, text := range c.places {
		for _, hit := range c.hits(text) {
			t.Errorf("%s holds %s", place, hit)
		}
	}
	// Each needle is found where it is planted, so a search that finds nothing means something.
	for what, secret := range c.secrets {
		if len(c.hits(c.places["standard error"]+secret)) == 0 {
			t.Errorf("%s would not be found", what)
		}
	}
	t.Logf("%d places, %d secrets", len(c.places), len(c.secrets))
}

// noCoreFile reads what the kernel grants: a crash must not write memory to a disk.
func noCoreFile(t *testing.T, d *daemon) {
	t.Helper()
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", d.cmd.Process.Pid))
	if err != nil {
		t.Logf("no /proc: %v", err)
		return
	}
	if !regexp.MustCompile(`Max core file size\s+0\s+0\s`).Match(limits) {
		t.Errorf("core files are not switched off:\n%s", limits)
	}
}

// ask keeps head and body of an answer to search it, and wants its status.
func (c *canary) ask(t *testing.T, name string, want int, req *http.Request) response {
	t.Helper()
	r, err := do(http.DefaultClient, req)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if r.status != want {
		t.Errorf("%s: answered %d, want %d: %.300s", name, r.status, want, r.body)
	}
	var head strings.Builder
	_ = r.header.Write(&head)
	c.places["the answer to "+name] = head.String() + string(r.body)
	return r
}

func (c *canary) get(t *testing.T, d *daemon, what, caller, target string, want int) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, d.proxy+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(d.w.user(caller), d.w.keys[caller])
	c.ask(t, what, want, req)
}

func (c *canary) goodAndBadRequests(t *testing.T, d *daemon, at2 string) {
	t.Helper()
	c.get(t, d, "a good request", "nightly", plainRead, http.StatusOK)
	c.get(t, d, "a denied entity set", "narrow", "/odata/v2/PerPerson?$top=1&$format=json", http.StatusForbidden)
	c.get(t, d, "a denied expand", "narrow", "/odata/v2/User?$top=1&$format=json&$expand=manager", http.StatusForbidden)
	c.get(t, d, "an error of SuccessFactors", "nightly", "/odata/v2/NoSuchSet?$format=json", http.StatusBadRequest)
	c.get(t, d, "a request that is not analysed", "nightly", "/odata/v2/$batch", http.StatusForbidden)
	key := d.w.keys["nightly"]
	for _, row := range []struct {
		what, authorization, target string
		want                        int
	}{
		{"a key with another checksum", "Bearer " + key[:len(key)-1] + "0", plainRead, http.StatusUnauthorized},
		{"a key cut short", "Bearer " + key[:len(key)-7], plainRead, http.StatusUnauthorized},
		{"the key as user name", "Basic " + base64.StdEncoding.EncodeToString([]byte(key+":x")), plainRead, http.StatusUnauthorized},
		{"the right key of another user", "Basic " + base64.StdEncoding.EncodeToString([]byte("narrow:"+key)), plainRead, http.StatusUnauthorized},
		{"AT2 instead of a key", "Bearer " + at2, plainRead, http.StatusUnauthorized},
		{"another scheme", "Digest " + key, plainRead, http.StatusUnauthorized},
		{"no space after the scheme", "Bearer" + key, plainRead, http.StatusUnauthorized},
		{"the key in the address", "Bearer " + key, plainRead + "&password=" + key, http.StatusForbidden},
		{"the key as a name in the address", "Bearer " + key, plainRead + "&" + key + "=1", http.StatusForbidden},
		{"the key in the path", "Bearer " + key, "/odata/v2/User('" + key + "')?$format=json", http.StatusNotFound},
		{"AT2 in the path", "Bearer " + key, "/odata/v2/" + at2, http.StatusForbidden},
	} {
		req, err := http.NewRequest(http.MethodGet, d.proxy+row.target, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", row.authorization)
		c.ask(t, row.what, row.want, req)
	}
	delete(c.places, "the answer to the key in the path") // SuccessFactors repeats to the caller what the caller sent
}

// hangUp leaves in the middle of a page.
func (c *canary) hangUp(t *testing.T, d *daemon) {
	t.Helper()
	conn := d.wire()
	conn.send(d.request("nightly", strings.Replace(fullQuery(), "customPageSize=100", "customPageSize=1000", 1)))
	if _, err := conn.in.Peek(1000); err != nil {
		t.Fatal(err)
	}
	_ = conn.conn.Close()
	poll(t, "the broker to see that its caller left", func() error {
		if n := strings.Count(d.stderr.String(), "caller gone"); n == 0 {
			return fmt.Errorf("nothing in the log")
		}
		return nil
	})
}

// faults breaks the peers one after the other. What needs a fresh exchange is asked by a revocation.
func (c *canary) faults(t *testing.T, w *world, d *daemon) {
	t.Helper()
	w.fault(sandbox.FaultODataDown, true)
	c.get(t, d, "maintenance", "nightly", plainRead, http.StatusServiceUnavailable)
	w.fault(sandbox.FaultODataDown, false)
	w.fault(sandbox.FaultNoPermission, true)
	c.get(t, d, "a missing permission", "nightly", plainRead, http.StatusForbidden)
	w.fault(sandbox.FaultNoPermission, false)
	w.fault(sandbox.FaultTokenRefused, true)
	c.get(t, d, "a token that is refused", "nightly", plainRead, http.StatusServiceUnavailable)
	c.get(t, d, "a token that is refused again", "nightly", plainRead, http.StatusServiceUnavailable)
	c.places["a test with a refused token"] = outcome(t, d.operator("connection", "test", "--json", sandbox.FirstConnection)...).stdout
}

// surfaces reads everything that operators and probes may read.
func (c *canary) surfaces(t *testing.T, d *daemon) {
	t.Helper()
	for _, path := range []string{"/metrics", "/v1/status", "/v1/connections", "/readyz", "/startupz", "/livez", "/v1/connections/no-such/token", "/no-such-path"} {
		c.places[path] = string(d.operate("GET", path).body)
	}
	if !strings.Contains(c.places["/metrics"], "sfbroker_requests_total") || !json.Valid([]byte(c.places["/v1/status"])) {
		t.Error("the surfaces were not read")
	}
	wrong, err := http.NewRequest(http.MethodGet, d.admin+"/v1/status", nil)
	if err != nil {
		t.Fatal(err)
	}
	wrong.Header.Set("Authorization", "Bearer "+d.token[1:])
	c.ask(t, "a wrong admin token", http.StatusUnauthorized, wrong)
}

// broken starts another broker, with a count of failed logons of its own, to which the change of the configuration or the
// fault happens, and searches it too.
func (c *canary) broken(t *testing.T, w *world, what, code string, change func(string) string) {
	t.Helper()
	state := t.TempDir()
	d := w.startBroker(w.config(sandbox.ConfigOptions{StateDir: state}, func(text string) string {
		return noLameDuck(change(text)) + "log: { level: debug }\n"
	}))
	c.key(w.user("nightly"), "nightly", w.keys["nightly"])
	c.secrets["the admin token of the broker with "+what] = d.token
	c.get(t, d, what, "nightly", plainRead, http.StatusServiceUnavailable)
	r := outcome(t, d.operator("connection", "test", sandbox.FirstConnection)...)
	if r.code != 1 || !strings.Contains(r.stdout, code) {
		t.Errorf("%s is not diagnosed as %s: %+v", what, code, r)
	}
	c.places["a test with "+what] = r.stdout + r.stderr
	for _, path := range []string{"/metrics", "/v1/status", "/readyz"} {
		c.places[path+" with "+what] = string(d.operate("GET", path).body)
	}
	d.terminate(t)
	c.places["standard output with "+what], c.places["standard error with "+what] = d.stdout.String(), d.stderr.String()
	c.folder(t, state, "admin-token")
}

// brokenBrokers meets every fault that keeps a broker from its first token.
func (c *canary) brokenBrokers(t *testing.T, w *world) {
	t.Helper()
	for fault, code := range map[string]string{
		sandbox.FaultIASHTML: "ias_garbled", sandbox.FaultIASEndless: "ias_garbled", sandbox.FaultIASDown: "ias_unavailable",
		sandbox.FaultEntraDown: "at1_source_unavailable", sandbox.FaultWithdrawnKey: "trust_key_unknown", sandbox.FaultWrongSubject: "ias_assertion_rejected",
	} {
		w.fault(fault, true)
		c.broken(t, w, fault, code, func(text string) string { return text })
		w.fault(fault, false)
	}
	const secret = "wrong~secret.that-nobody-should-see"
	c.secrets["the wrong client secret"] = secret
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.broken(t, w, "a client secret that Entra refuses", "at1_source_refused", func(text string) string {
		return strings.Replace(text, filepath.Join(w.dir, sandbox.SecretFile), file, 1)
	})
}
