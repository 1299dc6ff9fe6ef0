package assembly

import (
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
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

// adminToken reads the token file, or makes one with 0600. A file that others may read is refused: it opens the daemon.
func adminToken(file string) (oauthclient.Secret, error) {
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return newAdminToken(file)
	}
	if err != nil {
		return oauthclient.Secret{}, fmt.Errorf("admin token file: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return oauthclient.Secret{}, fmt.Errorf("admin token file %s may be read by others (mode %04o): chmod 600 it, or remove it and a new one is made", file, info.Mode().Perm())
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return oauthclient.Secret{}, fmt.Errorf("admin token file: %w", err)
	}
	token := strings.TrimSpace(string(b))
	if len(token) < 26 {
		return oauthclient.Secret{}, fmt.Errorf("admin token file %s holds no token of at least 26 characters: remove it and a new one is made", file)
	}
	return oauthclient.NewSecret(token), nil
}

func newAdminToken(file string) (oauthclient.Secret, error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return oauthclient.Secret{}, fmt.Errorf("admin token file: %w", err)
	}
	token := rand.Text() + rand.Text()
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return oauthclient.Secret{}, fmt.Errorf("admin token file: %w", err)
	}
	_, err = f.WriteString(token + "\n")
	if err = errors.Join(err, f.Close()); err != nil {
		return oauthclient.Secret{}, fmt.Errorf("admin token file: %w", err)
	}
	return oauthclient.NewSecret(token), nil
}

// adminHosts says which Host headers name the admin listener: its own address, the loopback names when it is loopback, and
// the names of its certificate.
func adminHosts(listen string, addr net.Addr, leaf *x509.Certificate) func(string) bool {
	_, port, _ := net.SplitHostPort(addr.String()) //nolint:errcheck // a listener's own address
	configured, _, _ := net.SplitHostPort(listen)  //nolint:errcheck // validated by the configuration
	known := map[string]bool{addr.String(): true, net.JoinHostPort(strings.ToLower(configured), port): true}
	if tcp, ok := addr.(*net.TCPAddr); ok && tcp.IP.IsLoopback() {
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
