package assembly

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
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

// Open binds the listeners, reads what they need, and only then starts the connections, so that a daemon which cannot start
// asks IAS for nothing. Nothing is served before Serve. On an error nothing stays open.
func (h *House) Open() (d *Daemon, err error) {
	d = &Daemon{house: h}
	defer func() {
		if err != nil {
			d.Close()
			d = nil
		}
	}()
	if err := NoCoreDumps(); err != nil {
		h.logger.Warn("core dumps could not be switched off", "error", err)
	}
	records, err := d.openAudit()
	if err != nil {
		return d, err
	}
	doors, err := d.openDoors()
	if err != nil {
		return d, err
	}
	token, err := d.operatorToken()
	if err != nil {
		return d, err
	}
	guard, err := h.openGuard()
	if err != nil {
		return d, config.Problems{h.problem("state.dir", err)}
	}
	public := h.cfg.Proxy.PublicURLs
	if len(public) == 0 {
		public = []string{"http://" + d.proxy.String()}
	}
	auditLog := audit.New(records, h.opts.Now)
	if d.broker, err = h.broker(guard, auditLog, public); err != nil {
		return d, err
	}
	api := admin.New(admin.Config{
		Broker: d.broker, Audit: auditLog, Token: token, Hosts: adminHosts(h.cfg.Admin.Listen, d.admin, leaf(h.cfg.Admin.TLS)),
		Loopback: isLoopback(d.admin),
		Gatherer: h.registry, Logger: h.logger, Now: h.opts.Now, Version: h.opts.Version,
	})
	doors.proxy.server = d.server(d.broker, doors.proxy.name, 0)
	doors.admin.server = d.server(api.Handler(), doors.admin.name, operatorPatience)
	if doors.socket != nil {
		doors.socket.server = d.server(api.SocketHandler(ownPeer), doors.socket.name, operatorPatience)
		doors.socket.server.ConnContext = withPeer
	}
	if doors.probes != nil {
		doors.probes.server = d.server(api.ProbeHandler(), doors.probes.name, probePatience)
	}
	return d, nil
}

// How long an operator and a probe may take to accept an answer, from the request on. A test of a connection takes minutes.
const (
	operatorPatience = 5 * time.Minute
	probePatience    = 30 * time.Second
)

// opened are the doors of a daemon; socket and probes may be missing.
type opened struct{ proxy, admin, socket, probes *door }

func (d *Daemon) openDoors() (o opened, err error) {
	cfg := d.house.cfg
	if o.proxy, err = d.listen("proxy", "proxy.listen", cfg.Proxy.Listen); err != nil {
		return o, err
	}
	d.proxy = o.proxy.Addr()
	if err := o.proxy.secure(cfg.Proxy.TLS, d.house); err != nil {
		return o, err
	}
	if o.admin, err = d.listen("admin", "admin.listen", cfg.Admin.Listen); err != nil {
		return o, err
	}
	d.admin = o.admin.Addr()
	if err := o.admin.secure(cfg.Admin.TLS, d.house); err != nil {
		return o, err
	}
	if cfg.Admin.Socket != "" {
		if o.socket, err = d.listenSocket(cfg.Admin.Socket); err != nil {
			return o, err
		}
	}
	if cfg.Admin.Metrics.Listen != "" {
		o.probes, err = d.listen("metrics", "admin.metrics.listen", cfg.Admin.Metrics.Listen)
	}
	return o, err
}

func (d *Daemon) operatorToken() (func(string) bool, error) {
	file, err := TokenFile(d.house.cfg, d.house.opts.Env)
	if err != nil {
		return nil, config.Problems{d.house.problem("state.dir", err)}
	}
	token, err := adminToken(file)
	if err != nil {
		return nil, config.Problems{d.house.problem("admin.token_file", err)}
	}
	return func(presented string) bool { return token.Equal(oauthclient.NewSecret(presented)) }, nil
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
	if err := wholeLines(file, f); err != nil {
		return nil, config.Problems{d.house.problem("audit.file", err)}
	}
	return f, nil
}

// wholeLines ends a line that an earlier process could not finish, so that the next record is not glued to it.
func wholeLines(file string, to io.Writer) error {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrPermission) {
		return nil // a file for appending alone: its end cannot be seen
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was read
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return err
	}
	last := make([]byte, 1)
	if _, err := f.ReadAt(last, info.Size()-1); err != nil || last[0] == '\n' {
		return err
	}
	_, err = to.Write([]byte{'\n'})
	return err
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

// server speaks HTTP/1.1 only. answerWithin bounds an answer as a whole; 0 means no bound, since a page may stream for
// minutes: the proxy renews a deadline with each write.
func (d *Daemon) server(h http.Handler, name string, answerWithin time.Duration) *http.Server {
	return &http.Server{
		Handler:                      guarded{h, d.house.logger, name},
		ReadHeaderTimeout:            10 * time.Second,
		WriteTimeout:                 answerWithin,
		IdleTimeout:                  2 * time.Minute,
		MaxHeaderBytes:               64 << 10,
		DisableGeneralOptionsHandler: true,
		TLSNextProto:                 map[string]func(*http.Server, *tls.Conn, http.Handler){},
		ConnState:                    clearDeadline,
		ErrorLog:                     log.New(quiet{d.house.logger, name}, "", 0),
	}
}

// bodyPatience is how long a peer may take to send a body: no request here needs a large one.
const bodyPatience = 10 * time.Second

// guarded gives a body that is held back an end, since net/http waits for it even after the answer, and makes a panic loud.
type guarded struct {
	http.Handler

	logger *slog.Logger
	name   string
}

func (g guarded) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 || len(r.TransferEncoding) > 0 {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyPatience)) // a closed connection needs none
	}
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		if v != http.ErrAbortHandler { //nolint:errorlint // net/http compares it like this
			// its value may hold what a peer sent, so only its type is logged
			g.logger.Error("panic", "listener", g.name, "type", fmt.Sprintf("%T", v), "stack", string(debug.Stack()))
		}
		panic(http.ErrAbortHandler)
	}()
	g.Handler.ServeHTTP(w, r)
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

func (d *Daemon) listenSocket(path string) (*door, error) {
	if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
		if c, err := net.Dial("unix", path); err == nil {
			_ = c.Close() // somebody answers: it is in use
			return nil, config.Problems{d.house.cfg.Problem("admin.socket", "another process serves this socket", "is another sfbroker running?")}
		}
		if err := os.Remove(path); err != nil {
			return nil, config.Problems{d.house.problem("admin.socket", err)}
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, config.Problems{d.house.problem("admin.socket", err)}
	}
	o := &door{name: "admin socket", listener: l}
	d.doors = append(d.doors, o)
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, config.Problems{d.house.problem("admin.socket", err)}
	}
	return o, nil
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

// ProbesAddr is the address of the listener for probes and metrics, empty when there is none.
func (d *Daemon) ProbesAddr() string {
	for _, o := range d.doors {
		if o.name == "metrics" {
			return o.Addr().String()
		}
	}
	return ""
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
