package cmd

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"sfbroker/cmd/internal/assembly"
	"sfbroker/config"
	"sfbroker/oauthclient"
)

// operatorFlags say how to reach the running daemon: by the configuration that it runs with, or by address and token file.
type operatorFlags struct {
	configFlag
	Admin     string `placeholder:"URL" help:"Admin address of the daemon, instead of the configuration's."`
	TokenFile string `placeholder:"FILE" help:"File with the admin token, instead of the configuration's."`
	CAFile    string `name:"ca-file" placeholder:"FILE" help:"Certificates in PEM to trust for an https admin address."`
}

// operator talks to a running daemon.
type operator struct {
	base   string
	socket string // Unix socket, empty for an address
	token  oauthclient.Secret
	client *http.Client
}

// connect returns an operator that is recognised: by the socket, or by the token.
func (f operatorFlags) connect(w *world) (*operator, error) {
	o, err := f.reach(w)
	if err != nil || o.socket != "" {
		return o, err
	}
	file := f.TokenFile
	if file == "" {
		cfg, err := f.load(w)
		if err != nil {
			return nil, err
		}
		if file, err = assembly.TokenFile(cfg, w.configEnv()); err != nil {
			return nil, err
		}
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, &hinted{fmt.Errorf("reading the admin token: %w", err), "the daemon makes this file at its start: is it running? Run as its user, or name the file with --token-file"}
	}
	o.token = oauthclient.NewSecret(strings.TrimSpace(string(b)))
	return o, nil
}

// reach returns an operator without a token, for what is open to all.
func (f operatorFlags) reach(w *world) (*operator, error) {
	o := &operator{base: f.Admin}
	if o.base == "" {
		cfg, err := f.load(w)
		if err != nil {
			return nil, err
		}
		o.base, o.socket = adminBase(cfg)
	}
	o.base = strings.TrimSuffix(o.base, "/")
	if u, err := url.Parse(o.base); err != nil || u.Host == "" || (u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname()) && o.socket == "")) {
		return nil, &usageError{fmt.Errorf("the admin address %q is neither https nor http on loopback", o.base), "the operators' token is not sent in the clear over a network; use https, or a tunnel"}
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	if f.CAFile != "" {
		pem, err := os.ReadFile(f.CAFile)
		if err != nil {
			return nil, &usageError{err, ""}
		}
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, &usageError{fmt.Errorf("%s holds no certificate in PEM", f.CAFile), "it must have a block that begins with -----BEGIN CERTIFICATE-----"}
		}
	}
	if o.socket != "" {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", o.socket)
		}
	}
	o.client = &http.Client{Transport: transport, Timeout: 3 * time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return o, nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// adminBase prefers the socket, which needs no token.
func adminBase(cfg *config.Config) (base, socket string) {
	if cfg.Admin.Socket != "" {
		if _, err := os.Stat(cfg.Admin.Socket); err == nil {
			return "http://sfbroker", cfg.Admin.Socket
		}
	}
	scheme := "http"
	if cfg.Admin.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + cfg.Admin.Listen, ""
}

// call sends one request and decodes the answer into out.
func (o *operator) call(ctx context.Context, method, path string, in, out any) error {
	status, raw, err := o.ask(ctx, method, path, in)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		var failure struct {
			Error struct{ Code, Message string }
		}
		if json.Unmarshal(raw, &failure) == nil && failure.Error.Message != "" {
			return fmt.Errorf("the daemon refuses (%s): %s", failure.Error.Code, failure.Error.Message)
		}
		return fmt.Errorf("the daemon at %s answers %s", o.place(), statusText(status))
	}
	return json.Unmarshal(raw, out)
}

func statusText(status int) string { return fmt.Sprintf("%d %s", status, http.StatusText(status)) }

// ask sends one request and returns the answer's status, whatever it is, and its whole body.
func (o *operator) ask(ctx context.Context, method, path string, in any) (int, []byte, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return 0, nil, err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, o.base+path, body)
	if err != nil {
		return 0, nil, &usageError{err, "--admin takes an address such as http://127.0.0.1:8021"}
	}
	if !o.token.IsZero() {
		req.Header.Set("Authorization", "Bearer "+o.token.Reveal())
	}
	resp, err := o.client.Do(req)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) && op.Op == "dial" {
			return 0, nil, &hinted{fmt.Errorf("no daemon answers at %s", o.place()), "start one with sfbroker serve, or name another with --admin"}
		}
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }() // it is read to its end
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	return resp.StatusCode, raw, err
}

// place is where the daemon was looked for.
func (o *operator) place() string {
	if o.socket != "" {
		return o.socket
	}
	return o.base
}

func (w *world) printJSON(v any) error {
	enc := json.NewEncoder(w.Stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
