package assembly

import (
	"fmt"

	"sfbroker/config"
	"sfbroker/oauthclient"
	"sfbroker/workload"
)

func (h *House) compileSources() config.Problems {
	h.sources = map[string]workload.Source{}
	var problems config.Problems
	for _, name := range config.Names(h.cfg.WorkloadIdentities) {
		source, err := h.source(h.cfg.WorkloadIdentities[name].Source)
		if err != nil {
			problems = append(problems, h.problem(path("workload_identities", name, "source"), err))
			continue
		}
		h.sources[name] = source
	}
	return problems
}

func (h *House) source(s config.Source) (workload.Source, error) {
	switch {
	case s.File != nil:
		return workload.NewFile(s.File.Path), nil
	case s.Env != nil:
		return workload.NewEnv(s.Env.Name, h.opts.Env.LookupEnv), nil
	}
	return h.entra(s.Entra)
}

func (h *House) entra(s *config.EntraSource) (workload.Source, error) {
	c := workload.EntraConfig{TokenURL: s.TokenURL, ClientID: s.ClientID, Scope: s.Scope, HTTPClient: h.client(), Now: h.opts.Now}
	if c.TokenURL == "" {
		c.TokenURL = s.Authority + "/" + s.TenantID + "/oauth2/v2.0/token"
	}
	if s.Certificate != nil {
		c.Certificate = func() (workload.Certificate, error) { return h.certificate(*s.Certificate) }
	} else {
		c.ClientSecret = func() (oauthclient.Secret, error) {
			secret, err := s.ClientSecret.Resolve(h.opts.Env)
			if err != nil {
				return oauthclient.Secret{}, fmt.Errorf("resolving the client secret: %w", err)
			}
			return oauthclient.NewSecret(secret), nil
		}
	}
	return workload.NewEntra(c)
}

// certificate reads both files at each use, so that a renewed certificate needs no restart.
func (h *House) certificate(c config.Certificate) (workload.Certificate, error) {
	chain, err := h.opts.Env.ReadFile(c.CertFile)
	if err != nil {
		return workload.Certificate{}, fmt.Errorf("reading the certificate: %w", err)
	}
	key, err := h.opts.Env.ReadFile(c.KeyFile)
	if err != nil {
		return workload.Certificate{}, fmt.Errorf("reading the certificate's key: %w", err)
	}
	return workload.ParseCertificate(chain, key)
}
