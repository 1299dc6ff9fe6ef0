// Package assembly builds the daemon from a configuration: it translates each section into the Config of the package that
// does the work, and reports what those packages refuse at the line and column where it was written. One file a room.
package assembly

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"sfbroker/broker/caller"
	"sfbroker/broker/policy"
	"sfbroker/config"
	"sfbroker/oauthclient"
	"sfbroker/trust"
	"sfbroker/workload"
)

// Options is what a configuration file does not say. All fields are required.
type Options struct {
	// Env resolves references to secrets.
	Env config.Env
	Now func() time.Time
	// Audit receives the audit records when the configuration names no file.
	Audit io.Writer
	// Log receives the daemon's log.
	Log io.Writer
	// Version is shown by status and in the build_info metric.
	Version string
}

// House is a compiled configuration: everything checked, nothing started that an outsider would notice.
type House struct {
	cfg      *config.Config
	opts     Options
	logger   *slog.Logger
	registry *prometheus.Registry
	roots    *x509.CertPool // nil: the system's
	metrics  metrics
	sources  map[string]workload.Source
	rules    map[string]*trust.Rules
	policies map[string]*policy.Policy
	callers  *caller.Set
}

type metrics struct {
	trust *trust.Metrics
	oauth *oauthclient.Metrics
}

// Compile builds a House. The error is config.Problems where the configuration is to blame.
func Compile(cfg *config.Config, o Options) (*House, error) {
	h := &House{cfg: cfg, opts: o, logger: newLogger(cfg.Log, o.Log), registry: prometheus.NewRegistry()}
	h.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), buildInfo(o.Version))
	h.metrics = metrics{trust: trust.NewMetrics(h.registry), oauth: oauthclient.NewMetrics(h.registry)}
	var problems config.Problems
	for _, compile := range []func() config.Problems{h.compileEgress, h.compileSources, h.compileRules, h.compileCallers} {
		problems = append(problems, compile()...)
	}
	if len(problems) > 0 {
		h.Close()
		return nil, problems
	}
	return h, nil
}

// Close ends the background work of the compiled parts.
func (h *House) Close() {
	for _, r := range h.rules {
		r.Close()
	}
}

// Logger is the daemon's logger.
func (h *House) Logger() *slog.Logger { return h.logger }

func newLogger(c config.Log, w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		level = slog.LevelInfo // the configuration accepts only levels that slog knows
	}
	opts := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

func buildInfo(version string) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sfbroker_build_info", Help: "Always 1; the label is the version of the program.", ConstLabels: prometheus.Labels{"version": version},
	}, func() float64 { return 1 })
}

// revision is a short hash of settings.
func revision(settings ...any) string {
	b, err := json.Marshal(settings)
	if err != nil {
		return "unknown" // settings are plain structs of strings
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:6])
}

// problem turns an error of a package into a problem at path.
func (h *House) problem(path string, err error) config.Problem {
	var hint string
	var hinted interface{ Advice() string }
	if errors.As(err, &hinted) {
		hint = hinted.Advice()
	}
	return h.cfg.Problem(path, err.Error(), hint)
}

func path(parts ...string) string {
	out := parts[0]
	for _, p := range parts[1:] {
		if p != "" {
			out += "." + p
		}
	}
	return out
}

// StateDir is where state lasts: state.dir, else $STATE_DIRECTORY of systemd, else the user's state directory.
func StateDir(cfg *config.Config, env config.Env) (string, error) {
	if cfg.State.Dir != "" {
		return cfg.State.Dir, nil
	}
	if dirs, ok := env.LookupEnv("STATE_DIRECTORY"); ok && dirs != "" {
		dir, _, _ := strings.Cut(dirs, ":") // systemd lists all of a unit's, ours first
		return dir, nil
	}
	if dir, ok := env.LookupEnv("XDG_STATE_HOME"); ok && dir != "" {
		return dir + "/sfbroker", nil
	}
	if home, ok := env.LookupEnv("HOME"); ok && home != "" {
		return home + "/.local/state/sfbroker", nil
	}
	return "", fmt.Errorf("no place for state: set state.dir in the configuration")
}
