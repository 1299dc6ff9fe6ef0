package assembly_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// dial opens a connection to the host of an address and says so when a test waits too long on it.
func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestHeldBackBodyEnds: a peer without any key that announces a body and never sends it gets its answer, and then loses its
// connection; otherwise it would hold a socket for ever and every drain would fail.
func TestHeldBackBodyEnds(t *testing.T) {
	t.Parallel()
	h := newHouse(t, alone())
	var wg sync.WaitGroup
	for _, row := range []struct{ rule, address, line string }{
		{"proxy", h.daemon.ProxyURL(), "POST /odata/v2/User"},
		{"proxy, a read", h.daemon.ProxyURL(), "GET /odata/v2/User"},
		{"admin", h.daemon.AdminURL(), "POST /v1/connections/x/test"},
		{"probe", h.daemon.AdminURL(), "GET /livez"},
	} {
		wg.Go(func() {
			c := dial(t, row.address)
			host := strings.TrimPrefix(row.address, "http://")
			if _, err := io.WriteString(c, row.line+" HTTP/1.1\r\nHost: "+host+"\r\nContent-Length: 1000\r\n\r\n"); err != nil {
				t.Error(err)
				return
			}
			r := bufio.NewReader(c)
			resp, err := http.ReadResponse(r, nil)
			if err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
			if err != nil {
				t.Errorf("%s: no answer: %v", row.rule, err)
				return
			}
			if _, err := r.ReadByte(); err == nil || isTimeout(err) {
				t.Errorf("%s: the connection was not closed: %v", row.rule, err)
			}
		})
	}
	wg.Wait()
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error) //nolint:errorlint // a connection's own error
	return ok && e.Timeout()
}

// TestNoRouteBesideTheTable: net/http's own answer to OPTIONS * would pass every gate.
func TestNoRouteBesideTheTable(t *testing.T) {
	t.Parallel()
	h := newHouse(t, alone())
	for rule, address := range map[string]string{"proxy": h.daemon.ProxyURL(), "admin": h.daemon.AdminURL()} {
		c := dial(t, address)
		if _, err := io.WriteString(c, "OPTIONS * HTTP/1.1\r\nHost: "+strings.TrimPrefix(address, "http://")+"\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode < 400 {
			t.Errorf("%s: OPTIONS * is answered with %d", rule, resp.StatusCode)
		}
	}
}
