package sandbox

import (
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"sfbroker/sandbox/ias"
	"sfbroker/sandbox/signing"
	"sfbroker/sandbox/successfactors"
)

// company is one SuccessFactors company: its listener, its OAuth clients and the
// stand-in that keeps it.
type company struct {
	endpoint *endpoint
	provider string // client ID of the provider application: `aud` of AT2
	clientID string // of the consumer application: `azp` of AT2
	user     string
	system   *successfactors.Server
}

// register makes the provider and the consumer application in IAS, with the
// dependency between them.
func (s *Sandbox) register(c *company, dependency string) error {
	c.provider, c.clientID = signing.NewGUID(), signing.NewGUID()
	return s.ias.AddApplication(ias.Application{
		ClientID: c.clientID,
		Rules:    []ias.Rule{s.trustRule()},
		Dependencies: map[string]ias.Dependency{
			dependency: {Provider: c.provider, APIs: []string{apiGroup}},
		},
	})
}

func (s *Sandbox) startCompanies(cfg Config) error {
	first, second := s.companies[0], s.companies[1]
	one := Company{Dependency: "SF-EC-TA", CompanyID: "ACMEDEMO", TechnicalUser: "sfapi.broker", ApplicationType: applicationType}
	two := Company{Dependency: "SF-EC-TB", CompanyID: "GLOBEXDEMO", TechnicalUser: "sfapi.second", ApplicationType: applicationType}
	for _, c := range []struct {
		*company
		*Company
		workers int
		seed    int64
	}{
		{first, &one, cfg.Workers, cfg.Seed},
		{second, &two, min(cfg.Workers, secondWorkers), cfg.Seed + 1},
	} {
		if err := s.register(c.company, c.Dependency); err != nil {
			return err
		}
		c.IASClientID, c.APIURL = c.clientID, c.endpoint.url()
		if err := s.startSystem(c.company, *c.Company, cfg, c.workers, c.seed); err != nil {
			return err
		}
	}
	s.Info.IASClientID, s.Info.Dependency, s.Info.APIURL = one.IASClientID, one.Dependency, one.APIURL
	s.Info.CompanyID, s.Info.TechnicalUser, s.Info.ApplicationType = one.CompanyID, one.TechnicalUser, one.ApplicationType
	s.Info.Workers = cfg.Workers
	s.Info.Second = &two
	return nil
}

// startSystem makes the stand-in as a SuccessFactors administrator would set it
// up: application type, and the client bound to the technical user.
func (s *Sandbox) startSystem(c *company, facts Company, cfg Config, workers int, seed int64) error {
	system, err := successfactors.New(successfactors.Config{
		CompanyID:   facts.CompanyID,
		BaseURL:     facts.APIURL,
		Workers:     workers,
		Seed:        seed,
		Now:         s.clock.Now,
		Latency:     cfg.Latency,
		Verify:      s.verify,
		Audience:    c.provider,
		EscapeLinks: cfg.EscapeLinks,
	})
	if err != nil {
		return err
	}
	c.system, c.user = system, facts.TechnicalUser
	system.RegisterApplication(facts.ApplicationType)
	system.MapClient(c.clientID, c.user, true)
	c.endpoint.serve(system)
	return nil
}

// beforeAllTokens is when revoked tokens count as issued.
func beforeAllTokens() time.Time { return time.Unix(0, 0) }

// verify is what SuccessFactors does with a token that it gets. The issue time
// in a token has whole seconds, too coarse to tell which side of a revocation it
// is on: IAS knows which tokens were revoked, and those count as issued before
// there were any.
func (s *Sandbox) verify(raw string) (successfactors.Claims, error) {
	claims, err := s.ias.Verify(raw)
	switch {
	case errors.Is(err, ias.ErrRevoked):
		claims.IssuedAt = beforeAllTokens()
	case errors.Is(err, jwt.ErrTokenExpired):
		return successfactors.Claims{}, fmt.Errorf("%w: %w", successfactors.ErrExpired, err)
	case err != nil:
		return successfactors.Claims{}, err
	}
	return successfactors.Claims(claims), nil
}

// revoke refuses all tokens that the company's application got so far.
func (s *Sandbox) revoke(c *company) {
	s.ias.Revoke(c.provider)
	c.system.RevokeIssuedBefore(beforeAllTokens().Add(time.Second))
}

// setPermitted gives the technical user all permissions or none.
func (c *company) setPermitted(on bool) {
	var sets []string // nil: everything
	if !on {
		sets = []string{}
	}
	c.system.SetPermissions(c.user, sets)
}
