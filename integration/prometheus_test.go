package integration_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sfbroker/sandbox"
)

// TestPrometheus lets a real Prometheus scrape the listener for metrics, and promtool judge what it serves.
func TestPrometheus(t *testing.T) {
	t.Parallel()
	needPeer(t, "prometheus", "promtool")
	w := startSandbox(t, "--workers", "20")
	metrics := freePort(t)
	d := w.startBroker(w.config(sandbox.ConfigOptions{}, func(text string) string {
		return noLameDuck(strings.Replace(text, "admin:\n", "admin:\n  metrics: { listen: \""+metrics+"\" }\n", 1))
	})).ready()
	d.mustGet("nightly", plainRead)
	if r, err := d.get("nobody", plainRead); err != nil || r.status != http.StatusUnauthorized {
		t.Errorf("a wrong key: %d %v", r.status, err)
	}
	outcome(t, d.operator("connection", "test", sandbox.FirstConnection)...)

	scraped := fetch(t, "http://"+metrics+"/metrics")
	judge := exec.Command("promtool", "check", "metrics")
	judge.Stdin = strings.NewReader(scraped)
	if r := outcomeOf(t, judge); r.code != 0 || r.stdout+r.stderr != "" {
		t.Errorf("promtool: exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	if !strings.Contains(scraped, `sfbroker_build_info{version="`) {
		t.Error("what was scraped is not ours")
	}
	for _, path := range []string{"/v1/status", "/v1/connections", "/v1/connections/" + sandbox.FirstConnection + "/token"} {
		req, err := http.NewRequest(http.MethodGet, "http://"+metrics+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+d.token)
		if r, err := do(http.DefaultClient, req); err != nil || r.status != http.StatusNotFound {
			t.Errorf("the listener for metrics answers %s with %d %v", path, r.status, err)
		}
	}

	api := startPrometheus(t, metrics)
	up := func() error { return sample(api, `up{job="sfbroker"}`, "1") }
	poll(t, "Prometheus to scrape", up)
	poll(t, "the sample of a served request", func() error {
		return sample(api, `sfbroker_requests_total{caller="nightly",connection="`+sandbox.FirstConnection+`",status="200"}`, "1")
	})
	for _, query := range []string{
		`sfbroker_denials_total{code="caller_credentials_wrong"}`,
		`sum(rate(sfbroker_request_duration_seconds_bucket[1m])) by (le)`,
	} {
		poll(t, query, func() error { return sample(api, query, "") })
	}
	if code := d.terminate(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	poll(t, "Prometheus to miss the broker", func() error { return sample(api, `up{job="sfbroker"}`, "0") })
}

func fetch(t *testing.T, address string) string {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := do(http.DefaultClient, req)
	if err != nil || r.status != http.StatusOK {
		t.Fatalf("%s: %d %v", address, r.status, err)
	}
	return string(r.body)
}

// startPrometheus starts a server of its own on loopback and returns its address.
func startPrometheus(t *testing.T, target string) string {
	t.Helper()
	dir, listen := t.TempDir(), freePort(t)
	file := filepath.Join(dir, "prometheus.yml")
	text := "global: { scrape_interval: 250ms, scrape_timeout: 250ms }\nscrape_configs:\n  - job_name: sfbroker\n    static_configs: [{ targets: [\"" + target + "\"] }]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	log := &buffer{}
	cmd := exec.Command("prometheus", "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+listen)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait() // it is ended by a signal
		close(done)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
		select {
		case <-done:
		case <-time.After(patience):
			_ = cmd.Process.Kill()
			<-done
		}
	})
	api := "http://" + listen
	poll(t, "Prometheus to be ready", func() error {
		select {
		case <-done:
			t.Fatalf("Prometheus ended:\n%s", log)
		default:
		}
		return sample(api, "vector(1)", "1")
	})
	return api
}

// sample asks for the newest value of a query's first series; an empty value means any.
func sample(api, query, value string) error {
	req, err := http.NewRequest(http.MethodGet, api+"/api/v1/query?query="+url.QueryEscape(query), nil)
	if err != nil {
		return err
	}
	r, err := do(http.DefaultClient, req)
	if err != nil {
		return err
	}
	var doc struct {
		Status string
		Data   struct {
			Result []struct{ Value []any }
		}
	}
	if err := json.Unmarshal(r.body, &doc); err != nil || doc.Status != "success" || len(doc.Data.Result) == 0 || len(doc.Data.Result[0].Value) != 2 {
		return fmt.Errorf("%s: %d %.200s", query, r.status, r.body)
	}
	if got := fmt.Sprint(doc.Data.Result[0].Value[1]); value != "" && got != value {
		return fmt.Errorf("%s is %s", query, got)
	}
	return nil
}
