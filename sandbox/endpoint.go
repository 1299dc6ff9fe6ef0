package sandbox

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

const (
	readHeaderTimeout = 10 * time.Second
	readTimeout       = time.Minute
	writeTimeout      = 5 * time.Minute
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 64 << 10
	reopenPatience    = 3 * time.Second
	reopenEvery       = 20 * time.Millisecond
)

// endpoint is one listener with a fixed address that can be closed, so that
// connections are refused, and opened again on the same port.
type endpoint struct {
	name    string
	scheme  string
	address string // host:port
	tls     *tls.Config
	logger  *slog.Logger

	mu       sync.Mutex
	listener net.Listener // bound, not yet served
	handler  http.Handler
	server   *http.Server
	gate     *gate
	done     chan struct{}
}

// bind takes the port; connections wait until serve.
func bind(name, host string, port int, config *tls.Config, logger *slog.Logger) (*endpoint, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort(host, fmt.Sprint(port)))
	if err != nil {
		return nil, fmt.Errorf("listening for %s: %w", name, err)
	}
	_, bound, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		_ = listener.Close()
		return nil, fmt.Errorf("listening for %s: %w", name, err)
	}
	scheme := "http"
	if config != nil {
		scheme = "https"
	}
	return &endpoint{
		name: name, scheme: scheme, address: net.JoinHostPort(host, bound),
		tls: config, logger: logger, listener: listener,
	}, nil
}

// url is the origin.
func (e *endpoint) url() string { return e.scheme + "://" + e.address }

// serve sets the handler and starts answering.
func (e *endpoint) serve(handler http.Handler) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.handler = handler
	e.start(e.listener)
	e.listener = nil
}

func (e *endpoint) start(listener net.Listener) {
	e.gate = &gate{next: e.handler}
	e.done = make(chan struct{})
	e.server = &http.Server{
		Handler:           loopbackHost(e.gate),
		TLSConfig:         e.tls.Clone(),
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(e.logger.Handler(), slog.LevelDebug),
	}
	go func(server *http.Server, done chan<- struct{}) {
		defer close(done)
		serve := server.Serve
		if server.TLSConfig != nil {
			serve = func(l net.Listener) error { return server.ServeTLS(l, "", "") }
		}
		if err := serve(listener); !errors.Is(err, http.ErrServerClosed) {
			e.logger.Error("stand-in stopped serving", "step", e.name, "error", err)
		}
	}(e.server, e.done)
}

// open listens again on the same port; nothing when it is open.
func (e *endpoint) open() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.server != nil {
		return nil
	}
	deadline := time.Now().Add(reopenPatience)
	for {
		listener, err := net.Listen("tcp", e.address)
		if err == nil {
			e.start(listener)
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("listening for %s again: %w", e.name, err)
		}
		time.Sleep(reopenEvery) // somebody's outgoing connection holds the port for a moment
	}
}

// close refuses connections from now on, cuts those that are open and waits for
// the handlers.
func (e *endpoint) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.listener != nil {
		_ = e.listener.Close()
		e.listener = nil
	}
	if e.server == nil {
		return
	}
	_ = e.server.Close() // the listener's own close error changes nothing
	<-e.done
	e.gate.shut()
	e.server = nil
}

// gate lets close wait for the requests that are being handled.
type gate struct {
	next http.Handler

	mu     sync.Mutex
	closed bool
	inside sync.WaitGroup
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		panic(http.ErrAbortHandler)
	}
	g.inside.Add(1)
	g.mu.Unlock()
	defer g.inside.Done()
	g.next.ServeHTTP(w, r)
}

func (g *gate) shut() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.inside.Wait()
}

// loopbackHost answers only to loopback names, so that a browser page cannot
// reach a stand-in through a name that was made to resolve to loopback.
func loopbackHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		if !isLoopback(host) {
			http.Error(w, "Misdirected Request", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}

// set opens or closes.
func (e *endpoint) set(up bool) error {
	if up {
		return e.open()
	}
	e.close()
	return nil
}
