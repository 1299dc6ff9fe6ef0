// Package upstream sends one decided request to SuccessFactors and returns the answer with a body that ends well only if
// all of it arrived. It keeps the login sessions.
package upstream

import (
	"compress/flate"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Config is what New needs.
type Config struct {
	// API is the origin of the API server, scheme and host, without a path.
	API *url.URL
	// Transport sends requests. It must not follow a proxy that the request could choose, and never sees a redirect followed.
	Transport http.RoundTripper
	// Now is the clock of the sessions.
	Now func() time.Time
	// Stall is how long an answer may stand still before it is given up; 0 means 8 minutes, one more than the gateway
	// of SuccessFactors allows (SAP KBA 3308167).
	Stall time.Duration
}

// Client sends requests to one API server.
type Client struct {
	api       url.URL
	transport http.RoundTripper
	sessions  *sessions
	stall     time.Duration
	inflaters sync.Pool // of *gzip.Reader: its tables cost more than a small page
}

// New returns a Client.
func New(cfg Config) (*Client, error) {
	if cfg.API == nil || cfg.API.Host == "" || (cfg.API.Path != "" && cfg.API.Path != "/") || cfg.API.RawQuery != "" || cfg.API.User != nil {
		return nil, errors.New("the API address must be a scheme and a host")
	}
	stall := cfg.Stall
	if stall == 0 {
		stall = 8 * time.Minute
	}
	return &Client{api: url.URL{Scheme: cfg.API.Scheme, Host: cfg.API.Host}, transport: cfg.Transport, sessions: newSessions(cfg.Now), stall: stall}, nil
}

// Request is a decided request.
type Request struct {
	Method string
	// Target is the raw request target. It starts with exactly one slash, and is sent byte for byte.
	Target string
	// Header holds what the caller may say. It is not changed.
	Header http.Header
	// Authorization is the whole value of the Authorization header.
	Authorization string
	// Session names the login session: requests of one name share cookies. An empty name keeps none.
	Session string
	// Once keeps the transport from sending the request again by itself when a kept connection dies under it.
	Once bool
}

// Response is an answer. Body is already inflated and must be closed; its Read returns io.EOF only at the true end.
type Response struct {
	Status int
	Header http.Header
	Body   io.ReadCloser
}

// Unproven is returned for an answer whose framing cannot show whether it arrived whole.
type Unproven struct{ Status int }

func (e *Unproven) Error() string {
	return fmt.Sprintf("the answer with status %d has neither a length nor chunks, so its end cannot be told from a broken connection", e.Status)
}

// Do sends r once. The error is *Unproven, or what the transport said; it never holds the token. Redirects are returned
// as they are, not followed (the token is bound to this origin).
func (c *Client) Do(ctx context.Context, r Request) (*Response, error) {
	if !strings.HasPrefix(r.Target, "/") || strings.HasPrefix(r.Target, "//") {
		return nil, errors.New("the request target must start with one slash")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	watch := newWatchdog(c.stall, func() { cancel(errStalled) })
	header := r.Header.Clone()
	if header == nil {
		header = http.Header{}
	}
	header.Set("Authorization", r.Authorization)
	header.Set("Accept-Encoding", "gzip")
	header.Set("User-Agent", "sfbroker")
	cookie, era := c.sessions.cookies(r.Session)
	if cookie != "" {
		header.Set("Cookie", cookie)
	}
	req := (&http.Request{
		Method: r.Method,
		// Opaque is what net/http puts on the request line unchanged; the host to dial comes from the configuration alone.
		URL:    &url.URL{Scheme: c.api.Scheme, Host: c.api.Host, Opaque: r.Target},
		Host:   c.api.Host,
		Header: header,
		Proto:  "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(ctx)
	if r.Once {
		req.Body = io.NopCloser(strings.NewReader("")) // net/http repeats a GET on a new connection unless it has a body
	}
	resp, err := c.transport.RoundTrip(req) //nolint:bodyclose // the Body of the Response closes it
	if err != nil {
		watch.stop()
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		cancel(nil)
		return nil, fmt.Errorf("calling %s: %w", c.api.Host, err)
	}
	switch resp.StatusCode {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusRequestHeaderFieldsTooLarge:
		c.sessions.forget(r.Session) // it may be the session that is refused
	default:
		c.sessions.keep(r.Session, era, resp.Cookies())
	}
	body := &body{raw: resp.Body, watch: watch, ctx: ctx, cancel: cancel, inflaters: &c.inflaters}
	if err := body.open(r.Method, resp); err != nil {
		_ = body.Close() // the answer is given up; err says why
		return nil, err
	}
	out := resp.Header.Clone()
	for _, name := range []string{"Set-Cookie", "Content-Encoding", "Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "Authorization", "Www-Authenticate"} {
		out.Del(name)
	}
	return &Response{Status: resp.StatusCode, Header: out, Body: body}, nil
}

// DropSessions forgets all login sessions: after a refused token, a revocation or a change of mapping.
func (c *Client) DropSessions() { c.sessions.drop() }

// Sessions returns how many login sessions are held.
func (c *Client) Sessions() int { return c.sessions.len() }

// CloseIdle closes idle connections to the API server.
func (c *Client) CloseIdle() {
	if t, ok := c.transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// ErrEncoding is an answer in an encoding that was not asked for, or in gzip that cannot be read.
var ErrEncoding = errors.New("the encoding of the answer cannot be read")

var errStalled = errors.New("the answer stands still")

// body reads an answer, inflates it and insists on its end.
type body struct {
	raw    io.ReadCloser
	in     io.Reader
	watch  *watchdog
	ctx    context.Context //nolint:containedctx // the life of the answer, which the watchdog ends
	cancel context.CancelCauseFunc

	inflaters *sync.Pool
	inflate   *gzip.Reader
}

func (b *body) open(method string, resp *http.Response) error {
	bodyless := method == http.MethodHead || resp.StatusCode == http.StatusNoContent || resp.StatusCode == http.StatusNotModified
	if !bodyless && resp.ContentLength < 0 && len(resp.TransferEncoding) == 0 && !resp.Uncompressed {
		return &Unproven{Status: resp.StatusCode}
	}
	b.in = b.raw
	if bodyless {
		return nil
	}
	switch encoding := strings.ToLower(strings.TrimSpace(resp.Header.Get("Content-Encoding"))); encoding {
	case "", "identity":
		return nil
	case "gzip":
		if pooled, ok := b.inflaters.Get().(*gzip.Reader); ok {
			b.inflate = pooled
		} else {
			b.inflate = new(gzip.Reader)
		}
		if err := b.inflate.Reset(b.raw); err != nil {
			return fmt.Errorf("reading a gzip answer of %s: %w", resp.Request.URL.Host, inflating(err))
		}
		b.in = b.inflate
		return nil
	default:
		return fmt.Errorf("reading an answer of %s: %w", resp.Request.URL.Host, ErrEncoding)
	}
}

// inflating tells gzip that cannot be read from a connection that broke off.
func inflating(err error) error {
	var corrupt flate.CorruptInputError
	switch {
	case errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum), errors.As(err, &corrupt):
		return fmt.Errorf("%w: %w", ErrEncoding, err)
	}
	return err
}

// Read implements io.Reader. gzip.Reader in multistream mode reads on after its trailer until the framing below ends, so a
// lost last chunk is an error here too.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.in.Read(p)
	b.watch.progress()
	if err != nil && !errors.Is(err, io.EOF) {
		if cause := context.Cause(b.ctx); cause != nil {
			err = cause
		}
		if b.inflate != nil {
			err = inflating(err)
		}
	}
	return n, err
}

// Close ends the answer; what was not read is not waited for. Nothing may be read afterwards.
func (b *body) Close() error {
	b.watch.stop()
	b.cancel(nil)
	if b.inflate != nil {
		b.inflaters.Put(b.inflate)
		b.inflate, b.in = nil, closed{}
	}
	return b.raw.Close()
}

type closed struct{}

func (closed) Read([]byte) (int, error) { return 0, http.ErrBodyReadAfterClose }

// watchdog calls expire when progress was not called for a while.
type watchdog struct {
	timer *time.Timer
	limit time.Duration
}

func newWatchdog(limit time.Duration, expire func()) *watchdog {
	return &watchdog{timer: time.AfterFunc(limit, expire), limit: limit}
}

func (w *watchdog) progress() { w.timer.Reset(w.limit) }
func (w *watchdog) stop()     { w.timer.Stop() }
