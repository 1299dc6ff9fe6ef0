package cmd

import (
	"fmt"

	"sfbroker/cmd/internal/assembly"
	"sfbroker/config"
)

type configCmd struct {
	Check  configCheckCmd  `cmd:"" help:"Load and compile a configuration; nothing is started or asked."`
	Schema configSchemaCmd `cmd:"" help:"Print the JSON Schema of the configuration, for editors."`
}

type configCheckCmd struct {
	configFlag
	File string `arg:"" optional:"" help:"Configuration file, instead of --config."`
}

// Run checks and lists risks.
func (c configCheckCmd) Run(w *world) error {
	if c.File != "" {
		c.Config = c.File
	}
	cfg, err := c.load(w)
	if err != nil {
		return err
	}
	house, err := assembly.Compile(cfg, w.assemblyOptions())
	if err != nil {
		return err
	}
	house.Close()
	for _, risk := range cfg.Risks() {
		printf(w.Stdout, "risk: %s:%d:%d: %s: %s\n", risk.File, risk.Line, risk.Column, risk.Path, risk.Message)
		if risk.Hint != "" {
			printf(w.Stdout, "hint: %s\n", risk.Hint)
		}
	}
	printf(w.Stdout, "%s: ok: %s, %s, %s\n", c.Config, count(len(cfg.WorkloadIdentities), "workload identity", "workload identities"),
		count(len(cfg.Connections), "connection", "connections"), count(len(cfg.Callers), "caller", "callers"))
	return nil
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

type configSchemaCmd struct{}

// Run prints the schema.
func (configSchemaCmd) Run(w *world) error {
	schema, err := config.Schema()
	if err != nil {
		return err
	}
	printf(w.Stdout, "%s\n", schema)
	return nil
}
