package assembly_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sfbroker/cmd/internal/assembly"
	"sfbroker/config"
	"sfbroker/sandbox"
)

// TestCloseBesideServe: what ends a daemon from outside races with Serve, which ends it from inside.
func TestCloseBesideServe(t *testing.T) {
	h := newHouse(t)
	for range 5 {
		d := h.open(t, h.configure(t, options{extra: ""}), time.Now)
		ended := make(chan error, 1)
		go func() { ended <- d.Serve(context.Background()) }()
		until(t, "it serves", func() bool {
			c, err := net.Dial("tcp", strings.TrimPrefix(d.AdminURL(), "http://"))
			if err == nil {
				_ = c.Close()
			}
			return err == nil
		})
		var both sync.WaitGroup
		for range 2 {
			both.Go(d.Close)
		}
		both.Wait()
		if err := <-ended; err != nil {
			t.Fatalf("Serve after Close: %v", err)
		}
	}
}

// problems are the problems of an error that blames the configuration.
func problems(t *testing.T, err error) config.Problems {
	t.Helper()
	var ps config.Problems
	if !errors.As(err, &ps) {
		t.Fatalf("error %v blames no line of the configuration", err)
	}
	return ps
}

// TestSecondDaemonIsRefused: on whatever two daemons would share.
func TestSecondDaemonIsRefused(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "admin.sock")
	h := newHouse(t, alone())
	base := h.configure(t, options{alone: true})
	withSocket := strings.Replace(base, "admin:\n", "admin:\n  socket: "+socket+"\n", 1)
	running := h.open(t, withSocket, time.Now)
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { ended <- running.Serve(ctx) }()
	proxy, admin := strings.TrimPrefix(h.daemon.ProxyURL(), "http://"), strings.TrimPrefix(h.daemon.AdminURL(), "http://")
	for _, row := range []struct{ rule, yaml, path string }{
		{"the proxy's port", strings.Replace(base, "proxy:\n  listen: \"127.0.0.1:0\"", "proxy:\n  listen: "+proxy, 1), "proxy.listen"},
		{"the admin port", strings.Replace(base, "admin:\n  listen: \"127.0.0.1:0\"", "admin:\n  listen: "+admin, 1), "admin.listen"},
		{"the socket", withSocket, "admin.socket"},
	} {
		d, err := h.tryOpen(t, row.yaml, time.Now)
		if err == nil {
			d.Close()
			t.Errorf("%s: a second daemon started", row.rule)
			continue
		}
		p := problems(t, err)[0]
		if p.Path != row.path || p.Line == 0 || !strings.Contains(p.Hint, "another sfbroker") {
			t.Errorf("%s: %+v", row.rule, p)
		}
	}
	if _, err := os.Stat(socket); err != nil {
		t.Errorf("the refused daemon took the socket of the running one away: %v", err)
	}
	running.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	// A socket that nobody serves any more is no obstacle.
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	_ = stale.Close()
	h.open(t, withSocket, time.Now).Close()
}

// TestSocketServesItsOwnUser over a real socket, with the kernel's word on the peer.
func TestSocketServesItsOwnUser(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "admin.sock")
	h := newHouse(t, alone())
	d := h.open(t, strings.Replace(h.configure(t, options{alone: true}), "admin:\n", "admin:\n  socket: "+socket+"\n", 1), time.Now)
	go func() { _ = d.Serve(context.Background()) }()
	defer d.Close()
	info, err := os.Stat(socket)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket has mode %v: %v", info.Mode(), err)
	}
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, "unix", socket)
	}}}
	if w := doWith(t, c, request(t, http.MethodGet, "http://sfbroker/v1/status", "")); w.Code != http.StatusOK {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	r := request(t, http.MethodGet, "http://sfbroker/v1/status", "")
	r.Header.Set("Origin", "http://sfbroker")
	if w := doWith(t, c, r); w.Code != http.StatusForbidden {
		t.Errorf("a web page: %d %s", w.Code, w.Body)
	}
}

// TestAdminHosts: the names that the listener answers to, against a page whose name was rebound to our address.
func TestAdminHosts(t *testing.T) {
	h := newHouse(t, alone())
	_, port, err := net.SplitHostPort(strings.TrimPrefix(h.daemon.AdminURL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]int{
		"127.0.0.1:" + port: 200, "localhost:" + port: 200, "LOCALHOST:" + port: 200, "[::1]:" + port: 200,
		"localhost": 421, "127.0.0.1:1": 421, "evil.example:" + port: 421, "localhost.evil.example:" + port: 421, "127.0.0.2:" + port: 421,
	} {
		r := request(t, http.MethodGet, h.daemon.AdminURL()+"/v1/status", "")
		r.Header.Set("Authorization", "Bearer "+h.token)
		r.Host = host
		if w := do(t, r); w.Code != want {
			t.Errorf("Host %q: %d, want %d", host, w.Code, want)
		}
	}
}

func TestTokenFile(t *testing.T) {
	h := newHouse(t, alone())
	base := h.configure(t, options{alone: true})
	for _, row := range []struct {
		rule, text string
		mode       os.FileMode
		refused    string
	}{
		{"a missing file is made", "", 0, ""},
		{"a file of one's own", strings.Repeat("k", 26) + "\n", 0o600, ""},
		{"a read-only file", strings.Repeat("k", 26), 0o400, ""},
		{"a token too short", strings.Repeat("k", 25), 0o600, "no token of at least 26"},
		{"an empty file", "", 0o600, "no token of at least 26"},
		{"others may read", strings.Repeat("k", 26), 0o604, "may be read by others"},
		{"the group may read", strings.Repeat("k", 26), 0o640, "may be read by others"},
		{"others may write", strings.Repeat("k", 26), 0o602, "may be read by others"},
	} {
		t.Run(row.rule, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "private", "token")
			if row.mode != 0 {
				if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(row.text), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.Chmod(file, row.mode); err != nil {
					t.Fatal(err)
				}
			}
			d, err := h.tryOpen(t, strings.Replace(base, "admin:\n", "admin:\n  token_file: "+file+"\n", 1), time.Now)
			if err == nil {
				d.Close()
			}
			if row.refused != "" {
				if err == nil {
					t.Fatal("the daemon started")
				}
				p := problems(t, err)[0]
				if p.Path != "admin.token_file" || p.Line == 0 || !strings.Contains(p.Message, row.refused) {
					t.Errorf("%+v", p)
				}
				if strings.Contains(err.Error(), "kkkk") {
					t.Error("the error holds the token")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(file)
			if err != nil || info.Mode().Perm()&0o077 != 0 {
				t.Errorf("mode %v: %v", info.Mode(), err)
			}
			token, err := os.ReadFile(file)
			if err != nil || row.mode != 0 && string(token) != row.text || len(bytes.TrimSpace(token)) < 26 {
				t.Errorf("a token of %d characters: %v", len(token), err)
			}
		})
	}
}

// TestStateDir: each place is found where all nearer ones are missing.
func TestStateDir(t *testing.T) {
	configured, bare := &config.Config{State: config.State{Dir: "/srv/state"}}, &config.Config{}
	for _, row := range []struct {
		rule string
		cfg  *config.Config
		vars map[string]string
		want string
	}{
		{"state.dir before STATE_DIRECTORY", configured, map[string]string{"STATE_DIRECTORY": "/var/lib/sfbroker"}, "/srv/state"},
		{"state.dir before XDG_STATE_HOME", configured, map[string]string{"XDG_STATE_HOME": "/home/op/state"}, "/srv/state"},
		{"state.dir before HOME", configured, map[string]string{"HOME": "/home/op"}, "/srv/state"},
		{"STATE_DIRECTORY before XDG_STATE_HOME", bare, map[string]string{"STATE_DIRECTORY": "/var/lib/sfbroker", "XDG_STATE_HOME": "/home/op/state"}, "/var/lib/sfbroker"},
		{"STATE_DIRECTORY before HOME", bare, map[string]string{"STATE_DIRECTORY": "/var/lib/sfbroker", "HOME": "/home/op"}, "/var/lib/sfbroker"},
		{"the first of several STATE_DIRECTORY", bare, map[string]string{"STATE_DIRECTORY": "/var/lib/sfbroker:/var/lib/other"}, "/var/lib/sfbroker"},
		{"XDG_STATE_HOME before HOME", bare, map[string]string{"XDG_STATE_HOME": "/home/op/state", "HOME": "/home/op"}, "/home/op/state/sfbroker"},
		{"HOME", bare, map[string]string{"HOME": "/home/op"}, "/home/op/.local/state/sfbroker"},
		{"an empty variable is none", bare, map[string]string{"STATE_DIRECTORY": "", "XDG_STATE_HOME": "", "HOME": "/home/op"}, "/home/op/.local/state/sfbroker"},
		{"nowhere", bare, nil, ""},
	} {
		got, err := assembly.StateDir(row.cfg, environment(row.vars))
		if got != row.want || (err != nil) != (row.want == "") {
			t.Errorf("%s: %q, %v, want %q", row.rule, got, err, row.want)
		}
	}
}

// pair writes a self-signed certificate of that name and returns its DER form.
func pair(t *testing.T, certFile, keyFile, name string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return der
}

// clock is a time that only the test moves.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// TestListenerCertificateIsRenewed: a new file is served without a restart, a broken one leaves the old in use.
func TestListenerCertificateIsRenewed(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	old := pair(t, cert, key, "broker.example")
	time0 := &clock{at: time.Now()}
	h := newHouse(t, alone(), clocked(time0.now))
	yaml := strings.Replace(h.configure(t, options{alone: true}), "proxy:\n", "proxy:\n  tls: { cert_file: "+cert+", key_file: "+key+" }\n", 1)
	d := h.open(t, strings.Replace(yaml, "proxy:\n", "proxy:\n  public_urls: [\"https://broker.example\"]\n", 1), time0.now)
	address := d.ProxyAddr()
	go func() { _ = d.Serve(context.Background()) }()
	defer d.Close()
	served := func() []byte {
		t.Helper()
		c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, ServerName: "broker.example"}) //nolint:gosec // what is served is compared below
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].Raw
	}
	if !bytes.Equal(served(), old) {
		t.Fatal("another certificate than that of the file is served")
	}
	later := func(n int) { // files get a time of their own, as they would in another second
		t.Helper()
		if err := os.Chtimes(cert, time.Now(), time.Now().Add(time.Duration(n)*time.Minute)); err != nil {
			t.Fatal(err)
		}
		time0.add(11 * time.Second)
	}
	renewed := pair(t, cert, key, "broker.example")
	later(1)
	if !bytes.Equal(served(), renewed) {
		t.Error("the renewed certificate is not served")
	}
	if err := os.WriteFile(cert, []byte("half a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	later(2)
	if !bytes.Equal(served(), renewed) {
		t.Error("a broken file took the certificate away")
	}
	if !strings.Contains(h.log.text(), "renewed certificate not usable") {
		t.Error("the log says nothing of the broken file")
	}
	again := pair(t, cert, key, "broker.example")
	later(3)
	if !bytes.Equal(served(), again) {
		t.Error("after a broken file the next good one is not served")
	}
}

// TestDrain: readiness says no first, answers ask for the connection's end, and no request is lost: neither the one in flight
// nor those that come on connections that were kept alive.
func TestDrain(t *testing.T) {
	h := newHouse(t, alone(), extra("proxy:\n  listen: \"127.0.0.1:0\"\n  drain: { lame_duck: 1s, timeout: 20s }\n"), slow(300*time.Millisecond))
	h.tried(t, first)
	kept := &http.Client{Transport: &http.Transport{}}
	if w := doWith(t, kept, h.job(t, "/odata/v2/PerPerson?$top=1&$format=json")); w.Code != http.StatusOK || w.Header().Get("Connection") != "" {
		t.Fatalf("before: %d %v", w.Code, w.Header())
	}
	// One request is at SuccessFactors when the drain begins.
	before := h.sandbox.Stats().SuccessFactors.Requests
	inFlight := make(chan int, 1)
	pending := h.job(t, "/odata/v2/PerPerson?$format=json")
	go func() {
		resp, err := client().Do(pending)
		if err != nil {
			inFlight <- 0
			return
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			inFlight <- 0
			return
		}
		inFlight <- resp.StatusCode
	}()
	until(t, "the request is at SuccessFactors", func() bool { return h.sandbox.Stats().SuccessFactors.Requests > before })
	h.stop()
	until(t, "readiness says no", func() bool {
		w := h.ask(t, http.MethodGet, "/readyz", "")
		return w.Code == http.StatusServiceUnavailable && strings.Contains(w.Body.String(), "draining")
	})
	asked := 0
	for {
		resp, err := kept.Do(h.job(t, "/odata/v2/PerPerson?$top=1&$format=json"))
		if err != nil {
			var op *net.OpError
			if asked == 0 || !errors.As(err, &op) || op.Op != "dial" {
				t.Fatalf("request %d during the drain was lost: %v", asked+1, err)
			}
			break // the listener is closed: the lame-duck time is over
		}
		asked++
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK || !resp.Close {
			t.Fatalf("request %d: %d, close %t, %v", asked, resp.StatusCode, resp.Close, err)
		}
		_ = resp.Body.Close()
	}
	if status := <-inFlight; status != http.StatusOK {
		t.Errorf("the request in flight ended with %d", status)
	}
	if err := <-h.ended; err != nil {
		t.Errorf("the drain was not clean: %v", err)
	}
	if strings.Count(h.audit.text(), `"event":"request"`) != asked+2 {
		t.Errorf("%d requests were served, the audit log has %d", asked+2, strings.Count(h.audit.text(), `"event":"request"`))
	}
}

// TestCompileErrorsStandInTheFile: what a package refuses comes back at the line and column where it was written.
func TestCompileErrorsStandInTheFile(t *testing.T) {
	h := newHouse(t, alone())
	base := h.configure(t, options{alone: true})
	quote := func(s string) string { return `"` + s + `"` }
	for _, row := range []struct{ rule, old, new, path string }{
		{"a policy that names a path wrongly", `["PerPerson"]`, `["PerPerson", "PerPerson//emailNav"]`, "callers.nightly.allow"},
		{"a certificate file that is missing", "state:\n", "egress: { ca_file: " + filepath.Join(h.dir, "nowhere.pem") + " }\nstate:\n", "egress.ca_file"},
		{"a certificate file without certificates", "state:\n", "egress: { ca_file: " + filepath.Join(h.dir, sandbox.SecretFile) + " }\nstate:\n", "egress.ca_file"},
		{"an issuer in plain http", quote(h.sandbox.Info.JWKSURI), quote("http://issuer.example/keys"), "workload_identities.sandbox-vm.trust_by_issuer.jwks_uri"},
	} {
		yaml := strings.Replace(base, row.old, row.new, 1)
		if yaml == base {
			t.Fatalf("%s: %q is not in\n%s", row.rule, row.old, base)
		}
		d, err := h.tryOpen(t, yaml, time.Now)
		if err == nil {
			d.Close()
			t.Errorf("%s: accepted", row.rule)
			continue
		}
		p := problems(t, err)[0]
		if !strings.HasPrefix(p.Path, row.path) || p.Line < 2 || p.Column < 1 || p.File != "sfbroker.yaml" || p.Message == "" {
			t.Errorf("%s: %+v", row.rule, p)
			continue
		}
		lines := strings.Split(yaml, "\n")
		if p.Line > len(lines) || p.Column > len(lines[p.Line-1])+1 {
			t.Errorf("%s: line %d column %d is outside the file", row.rule, p.Line, p.Column)
		}
	}
}
