package cmd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sfbroker/broker/caller"
	"sfbroker/sandbox"
)

type sandboxCmd struct {
	Host          string        `default:"127.0.0.1" help:"Loopback address to listen at."`
	HTTPS         bool          `name:"https" help:"Serve HTTPS, with a certificate made at start."`
	Workers       int           `default:"1000" help:"People in the company."`
	Seed          int64         `default:"1" help:"Decides who they are."`
	TokenLifetime time.Duration `default:"60m" help:"Life of AT2."`
	ErrorProfile  string        `default:"microsoft" enum:"microsoft,terse" help:"Wording of IAS errors: microsoft or terse."`
	Latency       time.Duration `help:"Delay of each OData answer."`
	Break         []string      `placeholder:"FAULT" help:"Faults to start with; they can be switched over the control address: ${faults}."`
	Dir           string        `placeholder:"DIR" help:"Write a broker configuration for this sandbox, with its secret, certificate and a caller's key, into this folder."`
	Public        []string      `name:"allow" default:"*" placeholder:"PATH" help:"What the caller of the written configuration may read; everything where none is named."`
}

// Run serves until a signal. What must be known to use the sandbox is printed as one JSON document.
func (c sandboxCmd) Run(w *world) error {
	s, err := sandbox.Start(w.ctx, sandbox.Config{
		Host: c.Host, TLS: c.HTTPS, Workers: c.Workers, Seed: c.Seed, Now: w.Now, TokenLifetime: c.TokenLifetime, ErrorProfile: c.ErrorProfile,
		Latency: c.Latency, Faults: c.Break,
	})
	if err != nil {
		return &usageError{err, "known faults: " + strings.Join(sandbox.KnownFaults(), ", ")}
	}
	if c.Dir != "" {
		if _, err := writeSandboxFiles(s, c.Dir, sandbox.ConfigOptions{Allow: c.Public}); err != nil {
			return errors.Join(err, s.Close())
		}
	}
	if err := w.printJSON(s.Info); err != nil {
		return errors.Join(err, s.Close())
	}
	<-w.ctx.Done()
	return s.Close()
}

// demoCaller is the caller of a configuration that is written for a sandbox.
const demoCaller = "provisioning"

// sandboxFiles are the files that a broker in front of a sandbox needs.
type sandboxFiles struct{ config, netrc, key string }

// writeSandboxFiles writes the configuration, the secrets that it refers to, and a netrc with the caller's key, all 0600.
func writeSandboxFiles(s *sandbox.Sandbox, dir string, o sandbox.ConfigOptions) (sandboxFiles, error) {
	f := sandboxFiles{config: filepath.Join(dir, "sfbroker.yaml"), netrc: filepath.Join(dir, "netrc")}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return f, err
	}
	key, digest, err := caller.NewKey(demoCaller)
	if err != nil {
		return f, err
	}
	f.key = key
	o.Dir = dir
	o.Callers = map[string]string{demoCaller: digest.String()}
	o.SecondCallers = nil
	if o.StateDir == "" {
		o.StateDir = filepath.Join(dir, "state")
	}
	netrc := fmt.Sprintf("machine %s\nlogin %s@%s\npassword %s\n", "127.0.0.1", demoCaller, s.Info.CompanyID, key)
	return f, errors.Join(s.WriteFiles(dir), os.WriteFile(f.config, s.Info.BrokerConfig(o), 0o600), os.WriteFile(f.netrc, []byte(netrc), 0o600))
}
