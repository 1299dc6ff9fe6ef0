package integration_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"sfbroker/sandbox"
)

// TestUnaskedBytesAreNotShown: an upstream that sends a body where none belongs makes net/http quote it on the standard
// logger; what it quotes may be anybody's data or a token.
func TestUnaskedBytesAreNotShown(t *testing.T) {
	t.Parallel()
	const canary = "Mueller-1971-salary"
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer func() { _ = c.Close() }()
				for r := bufio.NewReader(c); ; {
					if _, err := http.ReadRequest(r); err != nil {
						return
					}
					body := `{"d" : {"results" : [{"lastName" : "` + canary + `"}]}}`
					if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n"+body); err != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	w := startSandbox(t, "--workers", "5")
	d := w.startBroker(w.config(sandbox.ConfigOptions{}, func(text string) string {
		return strings.ReplaceAll(noLameDuck(text), w.info.APIURL, "http://"+l.Addr().String())
	})).ready()
	poll(t, "the remark of the library", func() error {
		if _, err := d.get("nightly", "/odata/v2/User?$format=json"); err != nil {
			return err
		}
		if !strings.Contains(d.stderr.String(), "a library had a remark") {
			return errors.New("none yet")
		}
		return nil
	})
	if strings.Contains(d.stderr.String(), canary) {
		t.Errorf("the log quotes the peer:\n%s", d.stderr)
	}
	d.kill() // its connections to the listener end with it
}
