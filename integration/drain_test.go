package integration_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sfbroker/sandbox"
)

func lameDuck(d time.Duration) func(string) string {
	return func(text string) string {
		return strings.Replace(text, "proxy:\n", fmt.Sprintf("proxy:\n  drain: { lame_duck: %s }\n", d), 1)
	}
}

// stop sends SIGTERM and waits until the daemon says that it is not ready.
func (d *daemon) stop(t *testing.T) {
	t.Helper()
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	poll(t, "readiness to end", func() error {
		r := d.operate("GET", "/readyz")
		if r.status != http.StatusServiceUnavailable || !bytes.Contains(r.body, []byte(`"draining"`)) {
			return fmt.Errorf("readyz answers %d %s", r.status, r.body)
		}
		return nil
	})
}

func (d *daemon) ended(t *testing.T) {
	t.Helper()
	select {
	case <-d.done:
	case <-time.After(patience):
		t.Fatalf("still running:\n%s", d.stderr)
	}
	if code := d.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d\n%s", code, d.stderr)
	}
	if !strings.Contains(d.stderr.String(), "msg=drained clean=true") {
		t.Errorf("the drain was not clean:\n%s", d.stderr)
	}
}

// TestDrainFinishesWhatItBegan: a request that is slower than the lame-duck time arrives whole.
func TestDrainFinishesWhatItBegan(t *testing.T) {
	t.Parallel()
	w := startSandbox(t, "--workers", "200", "--latency", "1500ms")
	d := w.startBroker(w.config(sandbox.ConfigOptions{}, lameDuck(200*time.Millisecond))).ready()
	before := w.stats().SuccessFactors.Requests
	slow := d.wire()
	slow.send(d.request("nightly", "/odata/v2/User?$format=json&customPageSize=200"))
	poll(t, "the slow request to reach SuccessFactors", func() error {
		if n := w.stats().SuccessFactors.Requests; n == before {
			return errNotYet
		}
		return nil
	})
	d.stop(t)
	r, err := slow.receive()
	if err != nil || r.status != http.StatusOK || !json.Valid(r.body) || bytes.Count(r.body, []byte(`"SFOData.User"`)) != 200 {
		t.Errorf("the request in flight ends with %d, %d bytes, %v", r.status, len(r.body), err)
	}
	if _, err := slow.in.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("the connection stays open: %v", err)
	}
	d.ended(t)
	if _, err := tryWire(d.proxy); err == nil {
		t.Error("the port is still open")
	}
}

// keptAlive is a job that keeps its connection, asks without a pause, and turns to another replica when it is told to.
func (d *daemon) keptAlive() (served int, err error) {
	want := regexp.MustCompile(`(?s)^\{.*\}\s*$`)
	for told := false; !told; {
		c, err := tryWire(d.proxy)
		if err != nil {
			return served, fmt.Errorf("dialling: %w", err)
		}
		for closing := false; !closing; {
			if _, err := io.WriteString(c.conn, d.request("nightly", plainRead)); err != nil {
				return served, fmt.Errorf("asking: %w", err)
			}
			r, err := c.receive()
			if err != nil || r.status != http.StatusOK || !want.Match(r.body) {
				return served, fmt.Errorf("request %d lost: %d, %d bytes, %w", served, r.status, len(r.body), err)
			}
			served++
			closing = strings.EqualFold(r.header.Get("Connection"), "close")
			told = closing
		}
		_ = c.conn.Close()
	}
	return served, nil
}

// TestDrainLosesNoRequest: jobs on kept connections are told to leave and lose nothing; who comes new in the lame-duck time
// is served and told the same.
func TestDrainLosesNoRequest(t *testing.T) {
	t.Parallel()
	w := startSandbox(t, "--workers", "20", "--latency", "20ms")
	d := w.startBroker(w.config(sandbox.ConfigOptions{}, lameDuck(2*time.Second))).ready()
	var jobs sync.WaitGroup
	const n = 4
	served := make([]int, n)
	for i := range n {
		jobs.Go(func() {
			var err error
			if served[i], err = d.keptAlive(); err != nil {
				t.Errorf("job %d after %d answers: %v", i, served[i], err)
			}
		})
	}
	poll(t, "the jobs to be at work", func() error {
		if n := w.stats().SuccessFactors.Requests; n < 40 {
			return fmt.Errorf("%d requests", n)
		}
		return nil
	})
	d.stop(t)
	late := d.wire()
	late.send(d.request("nightly", plainRead))
	if r, err := late.receive(); err != nil || r.status != http.StatusOK || r.header.Get("Connection") != "close" {
		t.Errorf("in the lame-duck time: %d, Connection %q, %v", r.status, r.header.Get("Connection"), err)
	}
	denied := d.wire()
	denied.send(d.request("nobody", plainRead))
	if r, err := denied.receive(); err != nil || r.status != http.StatusUnauthorized || r.header.Get("Connection") != "close" {
		t.Errorf("a refusal in the lame-duck time: %d, Connection %q, %v", r.status, r.header.Get("Connection"), err)
	}
	jobs.Wait()
	d.ended(t)
	t.Logf("answers a job: %v", served)
}
