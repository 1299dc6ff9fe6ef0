package integration_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// result is what a command left behind.
type result struct {
	code           int
	stdout, stderr string
}

// outcome runs a command of sfbroker to its end, whatever its exit code. It may be called from any goroutine.
func outcome(t testing.TB, args ...string) result {
	t.Helper()
	return outcomeOf(t, exec.Command(binary(t), args...))
}

func outcomeOf(t testing.TB, cmd *exec.Cmd) result {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Errorf("running %s: %v", cmd.Args[0], err)
		return result{code: -1}
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// operator returns the flags by which a command reaches the daemon.
func (d *daemon) operator(command ...string) []string {
	return append(command, "--admin", d.admin, "--token-file", filepath.Join(d.state, "admin-token"))
}

// user is what a job of the first connection sends as its user name.
func (w *world) user(name string) string { return name + "@" + w.info.CompanyID }

// freePort returns a loopback address that nobody listens at.
func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// wire is a connection to the proxy on which a test says exactly what it wants, byte for byte.
type wire struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
}

func (d *daemon) wire() *wire { return dialWire(d.w.t, d.proxy) }

func dialWire(t testing.TB, base string) *wire {
	t.Helper()
	w, err := tryWire(base)
	if err != nil {
		t.Fatal(err)
	}
	w.t = t
	t.Cleanup(func() { _ = w.conn.Close() })
	return w
}

// tryWire is dialWire for a place where nobody may listen any more.
func tryWire(base string) (*wire, error) {
	conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		return nil, err
	}
	return &wire{conn: conn, in: bufio.NewReader(conn)}, conn.SetDeadline(time.Now().Add(patience))
}

func (w *wire) send(text string) {
	w.t.Helper()
	if _, err := io.WriteString(w.conn, text); err != nil {
		w.t.Fatal(err)
	}
}

// receive reads one whole answer. io.EOF means that the peer closed the connection instead of answering.
func (w *wire) receive() (response, error) {
	resp, err := http.ReadResponse(w.in, nil)
	if err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = io.EOF // closed, where an answer would have begun
		}
		return response{}, err
	}
	body, err := io.ReadAll(resp.Body)
	if resp.Close {
		resp.Header.Set("Connection", "close")
	}
	return response{resp.StatusCode, resp.Header, body}, err
}

// request writes a GET of the proxy with the caller's key, byte for byte as the target stands. extra are header lines.
func (d *daemon) request(name, target string, extra ...string) string {
	host := strings.TrimPrefix(d.proxy, "http://")
	lines := append([]string{"GET " + target + " HTTP/1.1", "Host: " + host, "Authorization: Bearer " + d.w.keys[name]}, extra...)
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// exactly asks for a target that no client library would leave as it is.
func (d *daemon) exactly(name, target string) response {
	d.w.t.Helper()
	c := d.wire()
	c.send(d.request(name, target, "Connection: close"))
	r, err := c.receive()
	if err != nil {
		d.w.t.Fatalf("GET %s: %v", target, err)
	}
	return r
}

// odataError returns the code of an OData error of version 2 in JSON, or what is wrong with it.
func (r response) odataError() (string, error) {
	m := regexp.MustCompile(`^\{\s*"error"\s*:\s*\{\s*"code"\s*:\s*"([^"]+)"\s*,\s*"message"\s*:\s*\{\s*"lang"\s*:\s*"en[^"]*"\s*,\s*"value"\s*:\s*"[^"]+`).FindSubmatch(r.body)
	if m == nil {
		return "", fmt.Errorf("no OData error: %.300s", r.body)
	}
	if header := r.header.Get("Sfbroker-Error-Code"); header != string(m[1]) {
		return "", fmt.Errorf("body says %s, header says %q", m[1], header)
	}
	return string(m[1]), nil
}

// peakMemory is VmHWM of a process, in bytes.
func peakMemory(t testing.TB, p *process) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Skipf("no /proc: %v", err)
	}
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(b)
	if m == nil {
		t.Fatalf("no VmHWM in %s", b)
	}
	kb, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kb << 10
}

// errNotYet is why poll goes on.
var errNotYet = errors.New("not yet")
