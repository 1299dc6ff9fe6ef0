package integration_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sfbroker/broker/caller"
	"sfbroker/sandbox"
)

// patience bounds every wait of these tests; nothing is measured by it.
const patience = 60 * time.Second

// built is the real binary, built once.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "sfbroker-integration-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "sfbroker")
	cmd := exec.Command("go", "build", "-trimpath", "-o", path, "../cmd/sfbroker")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the binary: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := built(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

func binary(t testing.TB) string {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// buffer is a bytes.Buffer that a process may write while a test reads.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// process is a running sfbroker.
type process struct {
	cmd    *exec.Cmd
	stderr *buffer
	done   chan struct{}
	err    error
}

// start runs the binary. line is called with each line of standard output until it returns false.
func start(t testing.TB, line func(string) bool, env []string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(binary(t), args...), stderr: &buffer{}, done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stderr = p.stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		scanner := bufio.NewScanner(out)
		scanner.Buffer(nil, 1<<20)
		for wanted := true; scanner.Scan(); {
			wanted = wanted && line(scanner.Text())
		}
		p.err = p.cmd.Wait()
	}()
	t.Cleanup(func() { p.kill() })
	return p
}

func (p *process) kill() {
	select {
	case <-p.done:
	default:
		_ = p.cmd.Process.Kill() // it may have ended by itself
		<-p.done
	}
}

// terminate sends SIGTERM and returns the exit code.
func (p *process) terminate(t testing.TB) int {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.done:
	case <-time.After(patience):
		t.Fatalf("still running after SIGTERM:\n%s", p.stderr)
	}
	return p.cmd.ProcessState.ExitCode()
}

// world is a sandbox in a process of its own, and what a broker needs to use it.
type world struct {
	t       testing.TB
	info    sandbox.Info
	dir     string
	control *http.Client
	keys    map[string]string // caller to key
	states  map[string]string // configuration file to state directory
	process *process
}

func startSandbox(t testing.TB, args ...string) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), keys: map[string]string{}, states: map[string]string{}}
	ready := make(chan string, 1)
	var doc strings.Builder
	w.process = start(t, func(line string) bool {
		doc.WriteString(line + "\n")
		if line == "}" {
			ready <- doc.String()
			return false
		}
		return true
	}, nil, append([]string{"sandbox", "--dir", w.dir}, args...)...)
	select {
	case text := <-ready:
		if err := json.Unmarshal([]byte(text), &w.info); err != nil {
			t.Fatal(err)
		}
	case <-w.process.done:
		t.Fatalf("the sandbox ended:\n%s", w.process.stderr)
	case <-time.After(patience):
		t.Fatal("the sandbox does not start")
	}
	w.control = w.client()
	return w
}

// client trusts the sandbox's certificate and nothing else.
func (w *world) client() *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(w.info.CAPEM))
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, DisableCompression: true}
	w.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience}
}

func (w *world) controlCall(method, path string, in string) []byte {
	w.t.Helper()
	req, err := http.NewRequest(method, w.info.ControlURL+path, strings.NewReader(in))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.info.ControlToken)
	resp, err := w.control.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		w.t.Fatalf("%s %s: %s %s %v", method, path, resp.Status, b, err)
	}
	return b
}

func (w *world) stats() (s sandbox.Stats) {
	w.t.Helper()
	if err := json.Unmarshal(w.controlCall("GET", "/stats", ""), &s); err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) fault(name string, on bool) {
	w.t.Helper()
	method := http.MethodDelete
	if on {
		method = http.MethodPut
	}
	w.controlCall(method, "/faults/"+name, "")
}

// key makes a caller key and returns its digest for the configuration.
func (w *world) key(name string) string {
	w.t.Helper()
	key, digest, err := caller.NewKey(name)
	if err != nil {
		w.t.Fatal(err)
	}
	w.keys[name] = key
	return digest.String()
}

// config writes a broker's configuration and returns its path. edit may change the text.
func (w *world) config(o sandbox.ConfigOptions, edit func(string) string) string {
	w.t.Helper()
	o.Dir = w.dir
	if o.ProxyListen == "" {
		o.ProxyListen = "127.0.0.1:0"
	}
	if o.AdminListen == "" {
		o.AdminListen = "127.0.0.1:0"
	}
	if o.StateDir == "" {
		o.StateDir = filepath.Join(w.dir, "state")
	}
	if o.AuditFile == "" {
		o.AuditFile = filepath.Join(w.dir, "audit.jsonl")
	}
	if o.Callers == nil {
		o.Callers = map[string]string{"nightly": w.key("nightly")}
	}
	if o.Allow == nil {
		o.Allow = []string{"*"}
	}
	text := string(w.info.BrokerConfig(o))
	if edit != nil {
		text = edit(text)
	}
	path := filepath.Join(w.t.TempDir(), "sfbroker.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	w.states[path] = o.StateDir
	return path
}

// noLameDuck makes a broker stop at once on SIGTERM.
func noLameDuck(text string) string {
	return strings.Replace(text, "proxy:\n", "proxy:\n  drain: { lame_duck: 0s }\n", 1)
}

// daemon is a broker in a process of its own.
type daemon struct {
	*process
	w            *world
	proxy, admin string
	stdout       *buffer
	token        string
	state        string
}

var addressPattern = regexp.MustCompile(`msg=serving.* proxy=(\S+) admin=(\S+)`)

func (w *world) startBroker(configFile string, env ...string) *daemon {
	w.t.Helper()
	d := &daemon{w: w, stdout: &buffer{}, state: w.states[configFile]}
	d.process = start(w.t, func(line string) bool { _, _ = d.stdout.Write([]byte(line + "\n")); return true }, env, "serve", "--config", configFile)
	poll(w.t, "the broker to serve", func() error {
		select {
		case <-d.done:
			w.t.Fatalf("the broker ended: %v\n%s", d.err, d.stderr)
		default:
		}
		m := addressPattern.FindStringSubmatch(d.stderr.String())
		if m == nil {
			return errors.New("no address in the log")
		}
		d.proxy, d.admin = m[1], m[2]
		return nil
	})
	b, err := os.ReadFile(filepath.Join(d.state, "admin-token"))
	if err != nil {
		w.t.Fatal(err)
	}
	d.token = strings.TrimSpace(string(b))
	return d
}

// poll repeats check until it is content.
func poll(t testing.TB, what string, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waiting for %s: %v", what, err)
		case <-tick.C:
		}
	}
}

type response struct {
	status int
	header http.Header
	body   []byte
}

func do(client *http.Client, req *http.Request) (response, error) {
	resp, err := client.Do(req)
	if err != nil {
		return response{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	return response{resp.StatusCode, resp.Header, b}, err
}

// get asks the proxy as a caller does, with Basic.
func (d *daemon) get(name, target string) (response, error) {
	req, err := http.NewRequest(http.MethodGet, d.proxy+target, nil)
	if err != nil {
		return response{}, err
	}
	req.SetBasicAuth(name, d.w.keys[name])
	return do(http.DefaultClient, req)
}

func (d *daemon) mustGet(name, target string) response {
	d.w.t.Helper()
	r, err := d.get(name, target)
	if err != nil || r.status != http.StatusOK {
		d.w.t.Fatalf("GET %s: %d %v %s", target, r.status, err, r.body)
	}
	return r
}

// operate calls the admin API.
func (d *daemon) operate(method, path string) response {
	d.w.t.Helper()
	req, err := http.NewRequest(method, d.admin+path, nil)
	if err != nil {
		d.w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+d.token)
	r, err := do(http.DefaultClient, req)
	if err != nil {
		d.w.t.Fatal(err)
	}
	return r
}

// ready waits until the daemon says that it can deliver.
func (d *daemon) ready() *daemon {
	d.w.t.Helper()
	poll(d.w.t, "readiness", func() error {
		if r := d.operate("GET", "/readyz"); r.status != http.StatusOK {
			return fmt.Errorf("readyz answers %d %s", r.status, r.body)
		}
		return nil
	})
	return d
}
