package assembly

import (
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"sfbroker/config"
	"sfbroker/oauthclient"
)

// TokenFile is where the operators' token stands: admin.token_file, else admin-token in the state directory.
func TokenFile(cfg *config.Config, env config.Env) (string, error) {
	if cfg.Admin.TokenFile != "" {
		return cfg.Admin.TokenFile, nil
	}
	dir, err := StateDir(cfg, env)
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "admin-token"), nil
}

// adminToken reads the token file, or makes one with 0600. A file that others may read or that another user put there is
// refused: it opens the daemon.
func adminToken(file string) (oauthclient.Secret, error) {
	token, err := readAdminToken(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return token, err
	}
	if err := newAdminToken(file); err != nil {
		return oauthclient.Secret{}, fmt.Errorf("admin token file: %w", err)
	}
	return readAdminToken(file) // of two daemons that start together, the second reads the first one's
}

func readAdminToken(file string) (oauthclient.Secret, error) {
	f, err := os.Open(file)
	if err != nil {
		return oauthclient.Secret{}, fmt.Errorf("admin token file: %w", err)
	}
	defer func() { _ = f.Close() }() // it was read
	info, err := f.Stat()
	switch {
	case err != nil:
		return oauthclient.Secret{}, fmt.Errorf("admin token file: %w", err)
	case !info.Mode().IsRegular():
		return oauthclient.Secret{}, fmt.Errorf("admin token file %s is no regular file", file)
	case info.Mode().Perm()&0o077 != 0:
		return oauthclient.Secret{}, fmt.Errorf("admin token file %s may be read by others (mode %04o): chmod 600 it, or remove it and a new one is made", file, info.Mode().Perm())
	case !ours(info):
		return oauthclient.Secret{}, fmt.Errorf("admin token file %s belongs to another user: remove it and a new one is made", file)
	}
	b, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return oauthclient.Secret{}, fmt.Errorf("admin token file: %w", err)
	}
	token := strings.TrimSpace(string(b))
	if len(token) < 26 {
		return oauthclient.Secret{}, fmt.Errorf("admin token file %s holds no token of at least 26 characters: remove it and a new one is made", file)
	}
	return oauthclient.NewSecret(token), nil
}

// newAdminToken makes the file whole or not at all. Where links are not to be had it is made in place.
func newAdminToken(file string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	token := []byte(rand.Text() + rand.Text() + "\n")
	f, err := os.CreateTemp(filepath.Dir(file), ".admin-token-*") // 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // its link stays
	_, err = f.Write(token)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err = os.Link(f.Name(), file); err == nil || errors.Is(err, fs.ErrExist) {
		return nil
	}
	in, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = in.Write(token)
	return errors.Join(err, in.Close())
}

// adminHosts says which Host headers name the admin listener: its own address, the loopback names when it is loopback, and
// the names of its certificate.
func adminHosts(listen string, addr net.Addr, leaf *x509.Certificate) func(string) bool {
	_, port, _ := net.SplitHostPort(addr.String()) //nolint:errcheck // a listener's own address
	configured, _, _ := net.SplitHostPort(listen)  //nolint:errcheck // validated by the configuration
	known := map[string]bool{addr.String(): true, net.JoinHostPort(strings.ToLower(configured), port): true}
	if isLoopback(addr) {
		for _, name := range []string{"localhost", "127.0.0.1", "::1"} {
			known[net.JoinHostPort(name, port)] = true
		}
	}
	return func(host string) bool {
		host = strings.ToLower(host)
		if known[host] {
			return true
		}
		if leaf == nil {
			return false
		}
		name, p, err := net.SplitHostPort(host)
		if err != nil {
			name, p = host, "443"
		}
		return p == port && leaf.VerifyHostname(strings.Trim(name, "[]")) == nil
	}
}

func isLoopback(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}
