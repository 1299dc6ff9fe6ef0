package assembly

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"sfbroker/config"
)

// certificate is a listener's certificate, read again when its file changes, so that a renewal needs no restart.
type certificate struct {
	files   config.TLS
	logger  *slog.Logger
	now     func() time.Time
	mu      sync.Mutex
	current *tls.Certificate
	changed time.Time
	looked  time.Time
}

func loadCertificate(files config.TLS, logger *slog.Logger, now func() time.Time) (*certificate, error) {
	c := &certificate{files: files, logger: logger, now: now}
	if err := c.read(); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *certificate) read() error {
	info, err := os.Stat(c.files.CertFile)
	if err != nil {
		return fmt.Errorf("certificate of the listener: %w", err)
	}
	pair, err := tls.LoadX509KeyPair(c.files.CertFile, c.files.KeyFile)
	if err != nil {
		return fmt.Errorf("certificate of the listener: %w", err)
	}
	c.current, c.changed, c.looked = &pair, info.ModTime(), c.now()
	return nil
}

// get looks at the file at most every 10 seconds. A broken new file leaves the old certificate in use.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); now.Sub(c.looked) >= 10*time.Second {
		c.looked = now
		if info, err := os.Stat(c.files.CertFile); err == nil && !info.ModTime().Equal(c.changed) {
			if err := c.read(); err != nil {
				c.logger.Error("renewed certificate not usable, the old one stays", "error", err)
			}
		}
	}
	return c.current, nil
}

func (c *certificate) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get, NextProtos: []string{"http/1.1"}}
}
