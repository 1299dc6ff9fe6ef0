package trust_test

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
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"sfbroker/trust"
)

const canary = "canary-7f3"

// rawServer reads a request and answers each with exactly these bytes.
func rawServer(t *testing.T, answer string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
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
		"no status code":          {"HTTP/1.1 " + canary + "\r\n\r\n", "malformed answer"},
		"header without a colon":  {ok + canary + "\r\n\r\n", "malformed answer"},
		"length is no number":     {ok + "Content-Length: " + canary + "\r\n\r\n", "malformed answer"},
		"unknown coding":          {ok + "Transfer-Encoding: " + canary + "\r\n\r\n", "malformed answer"},
		"location is no URL":      {"HTTP/1.1 302 Found\r\nLocation: http://[" + canary + "\r\nContent-Length: 0\r\n\r\n", "redirect"},
		"chunk is no number":      {ok + "Transfer-Encoding: chunked\r\n\r\n" + canary + "\r\n", "malformed answer"},
		"trailer without a colon": {ok + "Trailer: X\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + canary + "\r\n\r\n", "malformed answer"},
		"status text":             {"HTTP/1.1 500 " + canary + "\r\nContent-Length: 0\r\n\r\n", "HTTP 500"},
		"cut in the body":         {ok + "Content-Length: 500\r\n\r\n" + canary, "the connection broke off"},
	} {
		for _, discovered := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, discovery %v", name, discovered), func(t *testing.T) {
				address := rawServer(t, row.answer)
				rule := trust.Rule{Name: "r", Issuer: address, Subject: subject, Audience: audience}
				if !discovered {
					rule.JWKSURI = address + "/keys"
				}
				var lines bytes.Buffer // read after Close
				rules, err := trust.Compile(trust.Config{
					Rules: []trust.Rule{rule}, AllowInsecureLoopback: true, Now: newClock().Now,
					Logger: slog.New(slog.NewTextHandler(&lines, nil)),
				})
				if err != nil {
					t.Fatal(err)
				}
				_, err = rules.Verify(context.Background(), mint(jwt.SigningMethodRS256, rsaKey(), "k1", goodClaims(address)))
				wantReason(t, err, trust.ReasonKeysUnreachable)
				text := everyText(err) + everyText(rules.Keys()[0].LastError)
				rules.Close()
				if strings.Contains(text, canary) || !strings.Contains(err.Error(), row.text) {
					t.Errorf("= %v\nwant %q and no answer\n%s", err, row.text, text)
				}
				if !strings.Contains(lines.String(), "key set not refreshed") || strings.Contains(lines.String(), canary) {
					t.Errorf("log: %s", lines.String())
				}
			})
		}
	}
}

func TestTransportErrorsKeepTheirCauses(t *testing.T) {
	tlsServer := httptest.NewUnstartedServer(http.NotFoundHandler())
	tlsServer.Config.ErrorLog = log.New(io.Discard, "", 0)
	tlsServer.StartTLS()
	t.Cleanup(tlsServer.Close)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(silent.Close)
	for name, row := range map[string]struct {
		url, text string
		client    *http.Client
		outcome   trust.Outcome
		is        func(error) bool
	}{
		"refused": {url: gone.URL, text: "connection refused", outcome: trust.OutcomeUnreachable, is: func(err error) bool {
			var op *net.OpError
			return errors.As(err, &op) && op.Op == "dial"
		}},
		"unknown authority": {
			url: tlsServer.URL, text: "TLS failed: the certificate comes from an authority that is not trusted here", outcome: trust.OutcomeUnreachable,
			is: func(err error) bool {
				var unknown x509.UnknownAuthorityError
				return errors.As(err, &unknown)
			},
		},
		"timed out": {
			url: silent.URL, text: "timed out", client: &http.Client{Timeout: 20 * time.Millisecond}, outcome: trust.OutcomeTimeout,
			is: func(err error) bool { return errors.Is(err, context.DeadlineExceeded) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			given := row.client
			if given != nil {
				given.Transport = &http.Transport{DisableKeepAlives: true}
			}
			rules, err := trust.Compile(trust.Config{
				Rules:                 []trust.Rule{{Name: "r", Issuer: row.url, JWKSURI: row.url, Subject: subject, Audience: audience}},
				AllowInsecureLoopback: true, HTTPClient: given, Now: newClock().Now,
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(rules.Close)
			_, err = rules.Verify(context.Background(), mint(jwt.SigningMethodRS256, rsaKey(), "k1", goodClaims(row.url)))
			wantReason(t, err, trust.ReasonKeysUnreachable)
			if outcome(err) != row.outcome || !row.is(err) || !strings.Contains(err.Error(), row.text) {
				t.Errorf("= %v", err)
			}
		})
	}
}
