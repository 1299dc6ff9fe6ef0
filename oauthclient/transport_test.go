package oauthclient_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sfbroker/oauthclient"
)

const canary = "canary-7f3"

// rawServer reads a request and answers each with exactly these bytes.
func rawServer(t *testing.T, answer string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	var running sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); running.Wait() })
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer func() { _ = c.Close() }()
				_ = c.SetDeadline(time.Now().Add(10 * time.Second))
				if _, err := c.Read(make([]byte, 16<<10)); err != nil {
					return
				}
				_, _ = io.WriteString(c, answer)
				if tcp, ok := c.(*net.TCPConn); ok {
					_ = tcp.CloseWrite()
				}
				_, _ = io.Copy(io.Discard, c)
			})
		}
	})
	return "http://" + l.Addr().String()
}

// everyText is what any way of printing err, or any error in it, shows.
func everyText(err error) string {
	if err == nil {
		return ""
	}
	texts := []string{err.Error(), fmt.Sprintf("%+v %#v %q", err, err, err)}
	switch u := err.(type) { //nolint:errorlint // walks the whole tree
	case interface{ Unwrap() error }:
		texts = append(texts, everyText(u.Unwrap()))
	case interface{ Unwrap() []error }:
		for _, e := range u.Unwrap() {
			texts = append(texts, everyText(e))
		}
	}
	return strings.Join(texts, "\n")
}

func TestNoErrorQuotesAnAnswerThatIsNotHTTP(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	for name, row := range map[string]struct{ answer, text string }{
		"no status line":          {canary + "\r\n\r\n", "malformed answer"},
		"no version":              {"HTTP/" + canary + " 200 OK\r\n\r\n", "malformed answer"},
		"no status code":          {"HTTP/1.1 " + canary + "\r\n\r\n", "malformed answer"},
		"header without a colon":  {ok + canary + "\r\n\r\n", "malformed answer"},
		"length is no number":     {ok + "Content-Length: " + canary + "\r\n\r\n", "malformed answer"},
		"two lengths":             {ok + "Content-Length: 1\r\nContent-Length: " + canary + "\r\n\r\n", "malformed answer"},
		"unknown coding":          {ok + "Transfer-Encoding: " + canary + "\r\n\r\n", "malformed answer"},
		"location is no URL":      {"HTTP/1.1 302 Found\r\nLocation: http://[" + canary + "\r\nContent-Length: 0\r\n\r\n", "malformed answer"},
		"chunk is no number":      {ok + "Transfer-Encoding: chunked\r\n\r\n" + canary + "\r\n", "malformed answer"},
		"trailer without a colon": {ok + "Trailer: X\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + canary + "\r\n\r\n", "malformed answer"},
		"refusal in bad chunks":   {"HTTP/1.1 401 No\r\nTransfer-Encoding: chunked\r\n\r\n" + canary + "\r\n", "malformed answer"},
		"status text":             {"HTTP/1.1 500 " + canary + "\r\nContent-Length: 0\r\n\r\n", "answered 500"},
		"cut in the header":       {ok + "X: " + canary, "the connection broke off"},
		"cut in the body":         {ok + "Content-Length: 500\r\n\r\n" + canary, "the connection broke off"},
		"nothing":                 {"", "the connection broke off"},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var lines bytes.Buffer
			c := newClock()
			k := oauthclient.NewKeeper(oauthclient.KeeperConfig{
				Name: "hr-prod", Application: application(rawServer(t, row.answer)), Assert: assertFixed, HTTPClient: client(t), Now: c.Now,
				Logger: slog.New(slog.NewTextHandler(lockedWriter{&mu, &lines}, &slog.HandlerOptions{Level: slog.LevelDebug})),
			})
			_, err := k.Token(t.Context())
			k.Close()
			text := everyText(err)
			if strings.Contains(text, canary) || !strings.Contains(err.Error(), row.text) {
				t.Errorf("= %v\nwant %q and no answer\n%s", err, row.text, text)
			}
			mu.Lock()
			defer mu.Unlock()
			if !strings.Contains(lines.String(), "no new access token") || strings.Contains(lines.String(), canary) {
				t.Errorf("log: %s", lines.String())
			}
		})
	}
}

func TestTransportErrorsKeepTheirCauses(t *testing.T) {
	tlsServer := httptest.NewUnstartedServer(http.NotFoundHandler())
	tlsServer.Config.ErrorLog = log.New(io.Discard, "", 0)
	tlsServer.StartTLS()
	t.Cleanup(tlsServer.Close)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	plain := rawServer(t, canary)
	cause := errors.New("the job was withdrawn")
	for name, row := range map[string]struct {
		url, text string
		ctx       func(context.Context) (context.Context, func())
		change    func(*http.Client)
		is        func(error) bool
	}{
		"refused": {url: gone.URL, text: "connection refused", is: func(err error) bool {
			var op *net.OpError
			return errors.As(err, &op) && op.Op == "dial" && errors.Is(err, syscall.ECONNREFUSED)
		}},
		"name not found": {url: "http://sfbroker.invalid", text: "host name not found", change: func(c *http.Client) {
			c.Transport.(*http.Transport).DialContext = func(context.Context, string, string) (net.Conn, error) {
				return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "sfbroker.invalid", IsNotFound: true}}
			}
		}, is: func(err error) bool {
			var dns *net.DNSError
			return errors.As(err, &dns) && dns.IsNotFound
		}},
		"unknown authority": {url: tlsServer.URL, text: "TLS failed: the certificate comes from an authority that is not trusted here", is: func(err error) bool {
			var unknown x509.UnknownAuthorityError
			return errors.As(err, &unknown)
		}},
		"another host": {url: strings.Replace(tlsServer.URL, "127.0.0.1", "localhost", 1), text: "TLS failed: the certificate is for another host", change: func(c *http.Client) {
			c.Transport.(*http.Transport).TLSClientConfig.RootCAs = x509.NewCertPool()
			c.Transport.(*http.Transport).TLSClientConfig.RootCAs.AddCert(tlsServer.Certificate())
		}, is: func(err error) bool {
			var host x509.HostnameError
			return errors.As(err, &host)
		}},
		"no TLS": {url: strings.Replace(plain, "http:", "https:", 1), text: "TLS failed: the server does not speak TLS", is: func(error) bool { return true }},
		"timed out": {url: newIAS(t, silent).tokenURL(), text: "timed out", change: func(c *http.Client) { c.Timeout = 20 * time.Millisecond }, is: func(err error) bool {
			var timeout net.Error
			return errors.Is(err, context.DeadlineExceeded) && errors.As(err, &timeout) && timeout.Timeout()
		}},
		"canceled with a cause": {url: gone.URL, text: "no", ctx: func(ctx context.Context) (context.Context, func()) {
			ctx, cancel := context.WithCancelCause(ctx)
			cancel(cause)
			return ctx, func() { cancel(nil) }
		}, is: func(err error) bool { return errors.Is(err, cause) || errors.Is(err, context.Canceled) }},
		"cut": {url: newIAS(t, cut).tokenURL(), text: "the connection broke off", is: func(err error) bool { return errors.Is(err, io.EOF) }},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := t.Context(), func() {}
			if row.ctx != nil {
				ctx, cancel = row.ctx(ctx)
			}
			defer cancel()
			c := client(t)
			if row.change != nil {
				row.change(c)
			}
			_, err := oauthclient.Exchange(ctx, c, application(row.url), assertion(), time.Now)
			e := wantKind(t, err, oauthclient.KindUnavailable, false)
			if e.Err == nil || !row.is(err) || strings.Contains(everyText(err), canary) {
				t.Errorf("the cause is lost or too much is said: %s", everyText(err))
			}
			if name != "canceled with a cause" && e.Err.Error() != row.text {
				t.Errorf("= %q, want %q", e.Err.Error(), row.text)
			}
		})
	}
}
