package assembly

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"sfbroker/admin"
	"sfbroker/audit"
	"sfbroker/broker"
	"sfbroker/config"
	"sfbroker/oauthclient"
)

// Daemon is a running house.
type Daemon struct {
	house  *House
	broker *broker.Broker
	doors  []*door
	audit  io.Closer
	proxy  net.Addr
	admin  net.Addr
	once   sync.Once
}

// door is a listener and what is served on it.
type door struct {
	name     string
	listener net.Listener
	server   *http.Server
}

// Open binds the listeners and starts the connections. Nothing is served before Serve. On an error nothing stays open.
func (h *House) Open() (d *Daemon, err error) {
	d = &Daemon{house: h}
	defer func() {
		if err != nil {
			d.Close()
			d = nil
		}
	}()
	if err := noCoreDumps(); err != nil {
		h.logger.Warn("core dumps could not be switched off", "error", err)
	}
	records, err := d.openAudit()
	if err != nil {
		return d, err
	}
	guard, err := h.openGuard()
	if err != nil {
		return d, config.Problems{h.problem("state.dir", err)}
	}
	proxy, err := d.listen("proxy", "proxy.listen", h.cfg.Proxy.Listen)
	if err != nil {
		return d, err
	}
	d.proxy = proxy.Addr()
	public := h.cfg.Proxy.PublicURLs
	if len(public) == 0 {
		public = []string{"http://" + proxy.Addr().String()}
	}
	auditLog := audit.New(records, h.opts.Now)
	if d.broker, err = h.broker(guard, auditLog, public); err != nil {
		return d, err
	}
	proxy.server = d.server(d.broker, proxy.name)
	if err := proxy.secure(h.cfg.Proxy.TLS, h); err != nil {
		return d, err
	}
	api, err := d.api(admin.Config{
		Broker: d.broker, Audit: auditLog, Gatherer: h.registry, Logger: h.logger, Now: h.opts.Now, Version: h.opts.Version,
	})
	if err != nil {
		return d, err
	}
	return d, d.openProbes(api)
}

func (d *Daemon) openAudit() (io.Writer, error) {
	file := d.house.cfg.Audit.File
	if file == "" {
		return d.house.opts.Audit, nil
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, config.Problems{d.house.problem("audit.file", err)}
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, config.Problems{d.house.problem("audit.file", err)}
	}
	d.audit = f
	return f, nil
}

func (d *Daemon) listen(name, at, address string) (*door, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, config.Problems{d.house.cfg.Problem(at, err.Error(), "is another sfbroker running, or does another program hold the port?")}
	}
	o := &door{name: name, listener: l}
	d.doors = append(d.doors, o)
	return o, nil
}

// Addr is the address of the door's listener.
func (o *door) Addr() net.Addr { return o.listener.Addr() }

func (o *door) secure(files *config.TLS, h *House) error {
	if files == nil {
		return nil
	}
	c, err := loadCertificate(*files, h.logger, h.opts.Now)
	if err != nil {
		return config.Problems{h.problem(o.name+".tls", err)}
	}
	o.listener = tls.NewListener(o.listener, c.config())
	return nil
}

// server has no WriteTimeout, since a page may stream for minutes: the proxy renews a deadline with each write. It speaks
// HTTP/1.1 only.
func (d *Daemon) server(h http.Handler, name string) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		TLSNextProto:      map[string]func(*http.Server, *tls.Conn, http.Handler){},
		ConnState:         clearDeadline,
		ErrorLog:          log.New(quiet{d.house.logger, name}, "", 0),
	}
}

// clearDeadline keeps the write deadline of one answer from reaching into the next request of a kept-alive connection.
func clearDeadline(c net.Conn, state http.ConnState) {
	if state == http.StateIdle {
		_ = c.SetWriteDeadline(time.Time{}) // a closed connection has none to clear
	}
}

// quiet turns net/http's own remarks, such as a failed TLS handshake, into debug lines without their text's line breaks.
type quiet struct {
	logger *slog.Logger
	name   string
}

func (q quiet) Write(p []byte) (int, error) {
	q.logger.Debug("http server", "listener", q.name, "remark", string(p[:max(0, len(p)-1)]))
	return len(p), nil
}

// api opens the operators' listener and, when one is configured, their socket.
func (d *Daemon) api(c admin.Config) (*admin.API, error) {
	h := d.house
	file, err := TokenFile(h.cfg, h.opts.Env)
	if err != nil {
		return nil, config.Problems{h.problem("state.dir", err)}
	}
	token, err := adminToken(file)
	if err != nil {
		return nil, config.Problems{h.problem("admin.token_file", err)}
	}
	c.Token = func(presented string) bool { return token.Equal(oauthclient.NewSecret(presented)) }
	o, err := d.listen("admin", "admin.listen", h.cfg.Admin.Listen)
	if err != nil {
		return nil, err
	}
	d.admin = o.Addr()
	c.Hosts = adminHosts(h.cfg.Admin.Listen, d.admin, leaf(h.cfg.Admin.TLS))
	api := admin.New(c)
	o.server = d.server(api.Handler(), o.name)
	if err := o.secure(h.cfg.Admin.TLS, h); err != nil {
		return nil, err
	}
	return api, d.openSocket(api)
}

func leaf(files *config.TLS) *x509.Certificate {
	if files == nil {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(files.CertFile, files.KeyFile)
	if err != nil {
		return nil // secure reports it
	}
	return pair.Leaf
}

func (d *Daemon) openSocket(api *admin.API) error {
	path := d.house.cfg.Admin.Socket
	if path == "" {
		return nil
	}
	if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
		if c, err := net.Dial("unix", path); err == nil {
			_ = c.Close() // somebody answers: it is in use
			return config.Problems{d.house.cfg.Problem("admin.socket", "another process serves this socket", "is another sfbroker running?")}
		}
		if err := os.Remove(path); err != nil {
			return config.Problems{d.house.problem("admin.socket", err)}
		}
	}
	l, err := net.Listen("unix", path)
	if err == nil {
		err = os.Chmod(path, 0o600)
	}
	if err != nil {
		return config.Problems{d.house.problem("admin.socket", err)}
	}
	server := d.server(api.SocketHandler(ownPeer), "admin socket")
	server.ConnContext = withPeer
	d.doors = append(d.doors, &door{name: "admin socket", listener: l, server: server})
	return nil
}

func (d *Daemon) openProbes(api *admin.API) error {
	address := d.house.cfg.Admin.Metrics.Listen
	if address == "" {
		return nil
	}
	o, err := d.listen("metrics", "admin.metrics.listen", address)
	if err != nil {
		return err
	}
	o.server = d.server(api.ProbeHandler(), o.name)
	return nil
}

// ProxyURL is the first public URL, AdminURL the admin listener's own.
func (d *Daemon) ProxyURL() string {
	if urls := d.house.cfg.Proxy.PublicURLs; len(urls) > 0 {
		return urls[0]
	}
	return "http://" + d.proxy.String()
}

// ProxyAddr is the address that the proxy listens at, which is not always the one under which jobs reach it.
func (d *Daemon) ProxyAddr() string { return d.proxy.String() }

// AdminURL is the address of the admin listener.
func (d *Daemon) AdminURL() string {
	scheme := "http"
	if d.house.cfg.Admin.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + d.admin.String()
}

// Broker is the daemon's broker.
func (d *Daemon) Broker() *broker.Broker { return d.broker }

// Serve serves until ctx ends, then drains: not ready and Connection: close for the lame-duck time, then no new
// connections, then it waits for requests in flight. The error is nil after a clean drain, and after Close.
func (d *Daemon) Serve(ctx context.Context) error {
	g, serving := errgroup.WithContext(context.WithoutCancel(ctx))
	for _, o := range d.doors {
		g.Go(func() error {
			if err := o.server.Serve(o.listener); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serving %s: %w", o.name, err)
			}
			return nil
		})
	}
	done := make(chan error, 1)
	go func() { done <- g.Wait() }()
	select {
	case err := <-done: // closed from outside
		return err
	case <-serving.Done(): // one door failed: close the others
		d.Close()
		return <-done
	case <-ctx.Done():
	}
	return errors.Join(d.drain(), <-done)
}

func (d *Daemon) drain() error {
	h := d.house
	h.logger.Info("draining", "lame_duck", h.cfg.Proxy.Drain.LameDuck)
	d.broker.Drain()
	time.Sleep(h.cfg.Proxy.Drain.LameDuck)
	ctx, cancel := context.WithTimeout(context.Background(), h.cfg.Proxy.Drain.Timeout)
	defer cancel()
	var errs []error
	// The proxy first: probes and status answer as long as requests are in flight.
	for _, o := range d.doors {
		if err := o.server.Shutdown(ctx); err != nil {
			errs = append(errs, fmt.Errorf("requests on %s were still in flight after %s: %w", o.name, h.cfg.Proxy.Drain.Timeout, err), o.server.Close())
		}
	}
	d.Close()
	h.logger.Info("drained", "clean", len(errs) == 0)
	return errors.Join(errs...)
}

// Close ends everything at once and returns when all of it has ended. It may be called twice, also at the same time.
func (d *Daemon) Close() { d.once.Do(d.close) }

func (d *Daemon) close() {
	for _, o := range d.doors {
		if o.server != nil {
			_ = o.server.Close() // nothing is left to do about a listener that does not close
		}
		_ = o.listener.Close()
	}
	if d.broker != nil {
		d.broker.Close()
	}
	d.house.Close()
	if d.audit != nil {
		_ = d.audit.Close() // each record was written whole
	}
}
