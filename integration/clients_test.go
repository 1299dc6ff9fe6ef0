package integration_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sfbroker/sandbox"
)

// twoPages is what every foreign client reads: the first page of the people, and the one that its __next names.
const twoPages = "/odata/v2/User?$format=json&$select=userId&customPageSize=20"

// startForClients is a small company whose first two pages are full.
func startForClients(t *testing.T) *daemon {
	t.Helper()
	w := startSandbox(t, "--workers", "60")
	return w.startBroker(w.config(sandbox.ConfigOptions{Allow: []string{"User"}}, noLameDuck)).ready()
}

// walk reads two pages with get, which is a client that is not ours.
func (d *daemon) walk(t *testing.T, get func(address string) []byte) {
	t.Helper()
	seen := map[string]bool{}
	address := d.proxy + twoPages
	for page := range 2 {
		body := get(address)
		var doc struct {
			D struct {
				Results []struct{ UserID string }
			}
		}
		if err := json.Unmarshal(body, &doc); err != nil {
			t.Fatalf("page %d: %v: %.300s", page, err, body)
		}
		for _, user := range doc.D.Results {
			seen[user.UserID] = true
		}
		next, err := nextLink(body)
		if err != nil || !strings.HasPrefix(next, d.proxy+"/odata/v2/") {
			t.Fatalf("page %d leads to %q, %v", page, next, err)
		}
		address = next
	}
	if len(seen) != 40 {
		t.Errorf("read %d people in two pages of 20", len(seen))
	}
}

func TestCurl(t *testing.T) {
	t.Parallel()
	needPeer(t, "curl")
	d := startForClients(t)
	netrc := filepath.Join(t.TempDir(), "netrc")
	if err := os.WriteFile(netrc, fmt.Appendf(nil, "machine 127.0.0.1\nlogin %s\npassword %s\n", d.w.user("nightly"), d.w.keys["nightly"]), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		rule string
		args []string
	}{
		{"curl -u sends Basic at once", []string{"-u", d.w.user("nightly") + ":" + d.w.keys["nightly"]}},
		{"curl --netrc-file does the same", []string{"--netrc-file", netrc}},
		{"curl --anyauth waits for the challenge", []string{"--anyauth", "-u", d.w.user("nightly") + ":" + d.w.keys["nightly"]}},
		{"curl sends the key as Bearer", []string{"-H", "Authorization: Bearer " + d.w.keys["nightly"]}},
		{"curl asks for compression, as with --compressed", []string{"--compressed", "--netrc-file", netrc}},
	} {
		t.Run(row.rule, func(t *testing.T) {
			d.walk(t, func(address string) []byte {
				r := outcomeOf(t, exec.Command("curl", append(row.args, "-gsS", "-q", "--fail-with-body", "--noproxy", "*", address)...))
				if r.code != 0 {
					t.Fatalf("curl: exit code %d: %s%s", r.code, r.stdout, r.stderr)
				}
				return []byte(r.stdout)
			})
		})
	}
	r := outcomeOf(t, exec.Command("curl", "-gsS", "-q", "--noproxy", "*", "-o", os.DevNull, "-w", "%{http_code}", "-u", d.w.user("nightly")+":wrong", d.proxy+twoPages))
	if r.stdout != "401" {
		t.Errorf("a wrong password: curl says %q %s", r.stdout, r.stderr)
	}
}

// urllibJob sends nothing before it is challenged, as HTTPBasicAuthHandler does.
const urllibJob = `
import json, os, sys, urllib.error, urllib.request
passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
passwords.add_password(None, os.environ["URL"], os.environ["JOB"], os.environ["KEY"])
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPBasicAuthHandler(passwords))
try:
    sys.stdout.write(opener.open(sys.argv[1]).read().decode())
except urllib.error.HTTPError as e:
    print(e.code, file=sys.stderr)
    sys.exit(3)
`

func TestUrllib(t *testing.T) {
	t.Parallel()
	needPeer(t, "python3")
	d := startForClients(t)
	job := func(key, address string) result {
		cmd := exec.Command("python3", "-c", urllibJob, address)
		cmd.Env = append(os.Environ(), "URL="+d.proxy, "JOB="+d.w.user("nightly"), "KEY="+key)
		return outcomeOf(t, cmd)
	}
	d.walk(t, func(address string) []byte {
		r := job(d.w.keys["nightly"], address)
		if r.code != 0 {
			t.Fatalf("urllib: exit code %d: %s", r.code, r.stderr)
		}
		return []byte(r.stdout)
	})
	if r := job(d.w.keys["nightly"][:40], d.proxy+twoPages); r.code != 3 || strings.TrimSpace(r.stderr) != "401" {
		t.Errorf("a wrong key: %+v", r)
	}
	if n := strings.Count(auditLog(t, d.w), `"credentials_missing"`); n < 2 {
		t.Errorf("urllib was challenged %d times, so it did not wait for the challenge", n)
	}
}

func auditLog(t *testing.T, w *world) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(w.dir, "audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestChallengeOnOneConnection does what .NET's HttpClient, and so PowerShell, does: it asks without credentials, reads the
// challenge to its end, and asks again with Basic on the same connection.
func TestChallengeOnOneConnection(t *testing.T) {
	t.Parallel()
	d := startForClients(t)
	tr := &http.Transport{MaxConnsPerHost: 1}
	defer tr.CloseIdleConnections()
	client := &http.Client{Transport: tr, Timeout: patience}
	connections := 0
	get := func(address string, credentials bool) response {
		t.Helper()
		req, err := http.NewRequest(http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
			if !i.Reused {
				connections++
			}
		}}))
		if credentials {
			req.SetBasicAuth(d.w.user("nightly"), d.w.keys["nightly"])
		}
		r, err := do(client, req)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	challenge := regexp.MustCompile(`^Basic realm="[^"]+"(, charset="UTF-8")?$`)
	d.walk(t, func(address string) []byte {
		first := get(address, false)
		offered := first.header.Values("WWW-Authenticate")
		if first.status != http.StatusUnauthorized || len(offered) != 1 || !challenge.MatchString(offered[0]) {
			t.Fatalf("without credentials: %d %q", first.status, offered)
		}
		if code, err := first.odataError(); code != "caller_credentials_missing" {
			t.Errorf("the challenge's body: %s %v", code, err)
		}
		second := get(address, true)
		if second.status != http.StatusOK {
			t.Fatalf("after the challenge: %d %.300s", second.status, second.body)
		}
		return second.body
	})
	if connections != 1 {
		t.Errorf("%d connections, want one: the challenge must not close it", connections)
	}
}

// blocks returns the fenced blocks of a language in a Markdown text.
func blocks(text, language string) []string {
	var found []string
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```").FindAllStringSubmatch(text, -1) {
		found = append(found, m[1])
	}
	return found
}

// TestReadmeClients runs README's blocks as they stand; only the address of the broker and the job's user are this test's.
func TestReadmeClients(t *testing.T) {
	t.Parallel()
	needPeer(t, "python3", "curl", "sh")
	d := startForClients(t)
	readme := document(t, "README.md")
	env := append(os.Environ(), "SFBROKER_URL="+d.proxy, "SFBROKER_USER="+d.w.user("nightly"), "SFBROKER_KEY="+d.w.keys["nightly"], "no_proxy=*")
	ran := map[string]int{}
	execute := func(name string, script string, args ...string) result {
		script = strings.NewReplacer("http://127.0.0.1:8020", d.proxy, "nightly@ACME", d.w.user("nightly")).Replace(script)
		cmd := exec.Command(name, args...)
		cmd.Dir, cmd.Env, cmd.Stdin = t.TempDir(), env, strings.NewReader(script)
		ran[name]++
		return outcomeOf(t, cmd)
	}
	for _, block := range blocks(readme, "python") {
		r := execute("python3", block, "-")
		if lines := strings.Count(r.stdout, "\n"); r.code != 0 || lines < 60 {
			t.Errorf("exit code %d, %d lines\n%s\n%s", r.code, lines, r.stderr, block)
		}
	}
	for _, block := range blocks(readme, "sh") {
		if !strings.Contains(block, "curl ") {
			continue
		}
		r := execute("sh", block, "-eu")
		if r.code != 0 || strings.Count(r.stdout, `"SFOData.User"`) != 2 {
			t.Errorf("exit code %d\n%s%s\n%s", r.code, r.stdout, r.stderr, block)
		}
	}
	if ran["python3"] == 0 || ran["sh"] == 0 {
		t.Errorf("README has no block to run: %v", ran)
	}
}

// TestDemoClients pastes what the demo prints to try next.
func TestDemoClients(t *testing.T) {
	t.Parallel()
	needPeer(t, "python3", "curl", "sh")
	d := startDemo(t)
	paste := func(text string) result {
		t.Helper()
		cmd := exec.Command("sh")
		cmd.Stdin, cmd.Env = strings.NewReader(text), append(os.Environ(), "no_proxy=*")
		return outcomeOf(t, cmd)
	}
	curl := d.find(t, `(?m)^\s*curl --netrc-file .*\n`)
	if r := paste(curl); r.code != 0 || strings.Count(r.stdout, `"SFOData.PerPerson"`) != 2 {
		t.Errorf("%s gives %d\n%s%s", curl, r.code, r.stdout, r.stderr)
	}
	python := d.find(t, `(?ms)^ *python3 - .*?^ *EOF\n`)
	if r := paste(python); r.code != 0 || r.stderr != "" || !regexp.MustCompile(`^\['[^']+', '[^']+'\]\n$`).MatchString(r.stdout) {
		t.Errorf("%s gives %d\n%s%s", python, r.code, r.stdout, r.stderr)
	}
	metrics := d.find(t, `(?m)^\s*curl http\S+/metrics\n`)
	if r := paste(metrics); r.code != 0 || !strings.Contains(r.stdout, "sfbroker_requests_total{") {
		t.Errorf("%s gives %d\n%s%s", metrics, r.code, r.stdout, r.stderr)
	}
	for _, command := range []string{"status", "connection test"} {
		line := strings.TrimSpace(d.find(t, `(?m)^\s*go run \./cmd/sfbroker `+command+` .*\n`))
		if r := paste(strings.Replace(line, "go run ./cmd/sfbroker", binary(t), 1)); r.code != 0 {
			t.Errorf("%s gives %d\n%s%s", line, r.code, r.stdout, r.stderr)
		}
	}
}

// runningDemo is a demo that stays up.
type runningDemo struct {
	*process
	out *buffer
}

func startDemo(t *testing.T, args ...string) *runningDemo {
	t.Helper()
	d := &runningDemo{out: &buffer{}}
	d.process = start(t, func(line string) bool { _, _ = io.WriteString(d.out, line+"\n"); return true }, nil, append([]string{"demo"}, args...)...)
	poll(t, "the demo to stay up", func() error {
		select {
		case <-d.done:
			t.Fatalf("the demo ended\n%s%s", d.out, d.stderr)
		default:
		}
		if !strings.Contains(d.out.String(), "  tail -f ") {
			return errNotYet
		}
		return nil
	})
	return d
}

// find returns what the demo printed.
func (d *runningDemo) find(t *testing.T, pattern string) string {
	t.Helper()
	found := regexp.MustCompile(pattern).FindString(d.out.String())
	if found == "" {
		t.Fatalf("the demo did not print %s:\n%s", pattern, d.out)
	}
	return found
}
