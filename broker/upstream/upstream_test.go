package upstream_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sfbroker/broker/upstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func client(t *testing.T, addr string, tlsConfig *tls.Config, now func() time.Time, stall time.Duration) *upstream.Client {
	t.Helper()
	u, err := url.Parse(addr)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableCompression: true, TLSClientConfig: tlsConfig}
	t.Cleanup(transport.CloseIdleConnections)
	c, err := upstream.New(upstream.Config{API: u, Transport: transport, Now: now, Stall: stall})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// raw serves each connection with one fixed answer, as bytes, and records the request line.
func raw(t *testing.T, answer []byte, lines chan<- string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return "http://" + serve(t, l, answer, lines)
}

func serve(t *testing.T, l net.Listener, answer []byte, lines chan<- string) string {
	t.Helper()
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer func() { _ = c.Close() }()
				r := bufio.NewReader(c)
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				for {
					if h, err := r.ReadString('\n'); err != nil || h == "\r\n" {
						break
					}
				}
				if lines != nil {
					lines <- strings.TrimRight(line, "\r\n")
				}
				_, _ = c.Write(answer)
				if tc, ok := c.(*tls.Conn); ok {
					_ = tc.NetConn().Close() // no close_notify
				}
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return l.Addr().String()
}

func fetch(c *upstream.Client, target string) ([]byte, error) {
	resp, err := c.Do(context.Background(), upstream.Request{Method: "GET", Target: target, Authorization: "Bearer x"})
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(resp.Body)
	return b, errors.Join(err, resp.Body.Close())
}

func TestTargetIsSentByteForByte(t *testing.T) {
	lines := make(chan string, 1)
	c := client(t, raw(t, []byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"), lines), nil, time.Now, 0)
	for _, target := range []string{
		"/odata/v2/User?$filter=a eq 'x;y'&$top=1",
		"/odata/v2/User?$filter=a%20eq%20'50%'",
		`/odata/v2/User?$filter=a+eq+'|["'`,
		"/odata/v2/User('a%2Fb')?",
		"/odata/v2/User?a=1;b=2&&c",
		"/odata/v2/../v2/User",
		"/odata/v2/User?" + strings.Repeat("x", 8<<10),
	} {
		if _, err := fetch(c, target); err != nil {
			t.Errorf("%q: %v", target, err)
			continue
		}
		if got := <-lines; got != "GET "+target+" HTTP/1.1" {
			t.Errorf("sent %q, want target %q", got, target)
		}
	}
	for _, target := range []string{"", "//host/x", "odata", "http://host/x"} {
		if _, err := fetch(c, target); err == nil {
			t.Errorf("%q was sent", target)
		}
	}
}

func TestOnlyOurHeadersArePresent(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Values("Authorization"); len(got) != 1 || got[0] != "Bearer AT2" {
			t.Errorf("Authorization = %q", got)
		}
		for name := range r.Header {
			if name != "Authorization" && name != "Accept-Encoding" && name != "Accept" && name != "User-Agent" {
				t.Errorf("unexpected header %s", name)
			}
		}
		w.Header().Set("Www-Authenticate", "Bearer")
		w.Header().Set("Set-Cookie", "JSESSIONID=1")
	}))
	defer srv.Close()
	c := client(t, srv.URL, nil, time.Now, 0)
	resp, err := c.Do(context.Background(), upstream.Request{Method: "GET", Target: "/x", Authorization: "Bearer AT2", Header: http.Header{"Accept": {"application/json"}, "Authorization": {"Bearer smuggled"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if len(resp.Header["Set-Cookie"])+len(resp.Header["Www-Authenticate"]) > 0 {
		t.Errorf("headers meant for us reach the caller: %v", resp.Header)
	}
}

// TestCutAnswersAreErrors is the invariant that a short page never looks complete: every framing, cut at every byte.
func TestCutAnswersAreErrors(t *testing.T) {
	page := []byte(`{"d" : {"results" : [{"__metadata" : {"uri" : "x"}, "a" : "b"}]}}`)
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write(page)
	_ = z.Close()
	chunked := func(b []byte) string {
		half := len(b) / 2
		return fmt.Sprintf("%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n", half, b[:half], len(b)-half, b[half:])
	}
	framings := map[string]string{
		"length":       fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(page), page),
		"chunked":      "Transfer-Encoding: chunked\r\n\r\n" + chunked(page),
		"gzip length":  fmt.Sprintf("Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", zipped.Len(), zipped.Bytes()),
		"gzip chunked": "Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(zipped.Bytes()),
	}
	cert := httptest.NewUnstartedServer(nil)
	cert.StartTLS()
	defer cert.Close()
	for name, rest := range framings {
		t.Run(name, func(t *testing.T) {
			whole := []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" + rest)
			head := bytes.Index(whole, []byte("\r\n\r\n")) + 4
			if got, err := fetch(client(t, raw(t, whole, nil), nil, time.Now, 0), "/x"); err != nil || !bytes.Equal(got, page) {
				t.Fatalf("whole: %q, %v", got, err)
			}
			for cut := head; cut < len(whole); cut++ {
				if got, err := fetch(client(t, raw(t, whole[:cut], nil), nil, time.Now, 0), "/x"); err == nil {
					t.Fatalf("cut after %d of %d bytes ends well with %q", cut, len(whole), got)
				}
			}
			l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: cert.TLS.Certificates, MinVersion: tls.VersionTLS12})
			if err != nil {
				t.Fatal(err)
			}
			cut := whole[:len(whole)-3]
			c := client(t, "https://"+serve(t, l, cut, nil), &tls.Config{RootCAs: pool(cert), MinVersion: tls.VersionTLS12}, time.Now, 0)
			if got, err := fetch(c, "/x"); err == nil {
				t.Fatalf("TLS closed without close_notify ends well with %q", got)
			}
		})
	}
}

func TestAnswerEndingWithTheConnectionIsRefused(t *testing.T) {
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{\"d\" : {}}")
	_, err := fetch(client(t, raw(t, answer, nil), nil, time.Now, 0), "/x")
	var unproven *upstream.Unproven
	if !errors.As(err, &unproven) {
		t.Errorf("err = %v, want Unproven", err)
	}
}

func TestUnaskedEncodingIsRefused(t *testing.T) {
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\nxx")
	if _, err := fetch(client(t, raw(t, answer, nil), nil, time.Now, 0), "/x"); err == nil {
		t.Error("an encoding that was not asked for was passed on")
	}
}

func TestStalledAnswerIsGivenUp(t *testing.T) {
	release := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("half"))
		_ = http.NewResponseController(w).Flush()
		<-release
	}))
	defer srv.Close()
	defer close(release)
	if got, err := fetch(client(t, srv.URL, nil, time.Now, 20*time.Millisecond), "/x"); err == nil {
		t.Errorf("a stalled answer ends well with %q", got)
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/x" {
			t.Errorf("followed to %s", r.URL.Path)
		}
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
	}))
	defer srv.Close()
	resp, err := client(t, srv.URL, nil, time.Now, 0).Do(context.Background(), upstream.Request{Method: "GET", Target: "/x"})
	if err != nil || resp.Status != http.StatusFound {
		t.Fatalf("%v, %v", resp, err)
	}
	_ = resp.Body.Close()
}

func TestSessions(t *testing.T) {
	var mu sync.Mutex
	opened := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if _, err := r.Cookie("JSESSIONID"); err != nil {
			opened++
			http.SetCookie(w, &http.Cookie{Name: "JSESSIONID", Value: fmt.Sprint("s", opened)})
			http.SetCookie(w, &http.Cookie{Name: "BIGipServerX", Value: "node"})
		}
		_, _ = io.WriteString(w, r.Header.Get("Cookie"))
	}))
	defer srv.Close()
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	c := client(t, srv.URL, nil, func() time.Time { return now }, 0)
	call := func(session string) string {
		t.Helper()
		resp, err := c.Do(context.Background(), upstream.Request{Method: "GET", Target: "/x", Session: session})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	steps := []struct {
		rule, session, want string
		before              func()
	}{
		{"the first request opens a session", "a", "", nil},
		{"the second goes on in it, with the node's cookie", "a", "JSESSIONID=s1; BIGipServerX=node", nil},
		{"another caller has its own", "b", "", nil},
		{"9 minutes idle keep it", "a", "JSESSIONID=s1; BIGipServerX=node", func() { now = now.Add(9 * time.Minute) }},
		{"10 minutes idle end it", "a", "", func() { now = now.Add(10 * time.Minute) }},
		{"it is new then", "a", "JSESSIONID=s3; BIGipServerX=node", nil},
		{"dropped sessions are gone", "a", "", func() { c.DropSessions() }},
		{"no name keeps none", "", "", nil},
		{"no name, still none", "", "", nil},
	}
	for _, s := range steps {
		if s.before != nil {
			s.before()
		}
		if got := call(s.session); got != s.want {
			t.Errorf("%s: cookies %q, want %q", s.rule, got, s.want)
		}
	}
	if got := c.Sessions(); got != 1 {
		t.Errorf("%d sessions held, want 1", got)
	}
}

// TestDroppedSessionStaysGone: an answer that was under way while the sessions were dropped brings none back.
func TestDroppedSessionStaysGone(t *testing.T) {
	arrived, answer := make(chan struct{}), make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		arrived <- struct{}{}
		<-answer
		http.SetCookie(w, &http.Cookie{Name: "JSESSIONID", Value: "old"})
	}))
	defer srv.Close()
	c := client(t, srv.URL, nil, time.Now, 0)
	for _, drop := range []bool{true, false} {
		var wg sync.WaitGroup
		wg.Go(func() {
			resp, err := c.Do(context.Background(), upstream.Request{Method: "GET", Target: "/x", Session: "a"})
			if err != nil {
				t.Error(err)
				return
			}
			_ = resp.Body.Close()
		})
		<-arrived
		want := 1
		if drop {
			c.DropSessions()
			want = 0
		}
		answer <- struct{}{}
		wg.Wait()
		if got := c.Sessions(); got != want {
			t.Errorf("dropped in between: %v: %d sessions held, want %d", drop, got, want)
		}
	}
}

func TestNewRefusesAnAddressWithMoreThanAHost(t *testing.T) {
	for _, bad := range []string{"", "https:", "https://host/path", "https://user@host", "https://host?x=1"} {
		u, err := url.Parse(bad)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := upstream.New(upstream.Config{API: u, Now: time.Now}); err == nil {
			t.Errorf("%q accepted", bad)
		}
	}
}
