package cmd

import (
	"fmt"

	"sfbroker/cmd/internal/assembly"
	"sfbroker/config"
)

type configFlag struct {
	Config string `short:"c" env:"SFBROKER_CONFIG" default:"sfbroker.yaml" placeholder:"FILE" help:"Configuration file; sfbroker.yaml where none is named."`
}

func (f configFlag) load(w *world) (*config.Config, error) {
	cfg, err := config.Load(f.Config, w.configEnv())
	if err != nil {
		return nil, fmt.Errorf("loading %s: %w", f.Config, err)
	}
	return cfg, nil
}

type serveCmd struct {
	configFlag
}

// Help is shown by --help.
func (serveCmd) Help() string {
	return "Audit records go to standard output unless audit.file names a file; the log goes to standard error. SIGTERM drains."
}

// Run serves until a signal.
func (c serveCmd) Run(w *world) error {
	cfg, err := c.load(w)
	if err != nil {
		return err
	}
	house, err := assembly.Compile(cfg, w.assemblyOptions())
	if err != nil {
		return err
	}
	for _, risk := range cfg.Risks() {
		house.Logger().Warn("risk in the configuration", "path", risk.Path, "risk", risk.Message, "hint", risk.Hint)
	}
	daemon, err := house.Open()
	if err != nil {
		return err
	}
	house.Logger().Info("serving", "proxy", daemon.ProxyURL(), "admin", daemon.AdminURL(), "probes", daemon.ProbesAddr(), "version", version())
	return daemon.Serve(w.ctx)
}

func (w *world) assemblyOptions() assembly.Options {
	return assembly.Options{Env: w.configEnv(), Now: w.Now, Audit: w.Stdout, Log: w.Stderr, Version: version()}
}
