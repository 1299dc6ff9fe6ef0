package assembly

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"sfbroker/audit"
	"sfbroker/broker"
	"sfbroker/config"
	"sfbroker/oauthclient"
)

// gatewayPatience is a little more than the seven minutes after which SuccessFactors' own gateway gives up (SAP KBA 3308167).
const gatewayPatience = 7*time.Minute + 30*time.Second

// openGuard opens the count of failed logons in the state directory.
func (h *House) openGuard() (*oauthclient.Guard, error) {
	dir, err := StateDir(h.cfg, h.opts.Env)
	if err != nil {
		return nil, err
	}
	guard, err := oauthclient.OpenGuard(oauthclient.GuardConfig{Dir: dir, Now: h.opts.Now, Metrics: h.metrics.oauth, Logger: h.logger})
	if err != nil {
		return nil, fmt.Errorf("opening the count of failed logons: %w", err)
	}
	return guard, nil
}

// connections starts all connections. One that cannot be started is a mistake of the configuration, not of its peers.
func (h *House) connections(guard *oauthclient.Guard) ([]*broker.Connection, error) {
	var out []*broker.Connection
	for _, name := range config.Names(h.cfg.Connections) {
		cfg, err := h.connection(name, guard)
		if err == nil {
			var c *broker.Connection
			if c, err = broker.NewConnection(cfg); err == nil {
				out = append(out, c)
				continue
			}
		}
		for _, c := range out {
			c.Close()
		}
		return nil, config.Problems{h.problem(path("connections", name), err)}
	}
	return out, nil
}

func (h *House) connection(name string, guard *oauthclient.Guard) (broker.ConnectionConfig, error) {
	c := h.cfg.Connections[name]
	api, err := url.Parse(c.SuccessFactors.APIURL)
	if err != nil {
		return broker.ConnectionConfig{}, fmt.Errorf("api_url: %w", err)
	}
	dependency, err := oauthclient.ParseDependency(c.IAS.Dependency)
	if err != nil {
		return broker.ConnectionConfig{}, fmt.Errorf("ias.dependency: %w", err)
	}
	tokenURL := c.IAS.TokenURL
	if tokenURL == "" {
		tokenURL = c.IAS.URL + "/oauth2/token"
	}
	app := oauthclient.Application{TokenURL: tokenURL, ClientID: c.IAS.ClientID, Resource: oauthclient.Resource(dependency)}
	if c.IAS.Issuer != "" {
		app.Issuers = []string{c.IAS.Issuer}
	}
	identity := h.cfg.WorkloadIdentities[c.WorkloadIdentity]
	return broker.ConnectionConfig{
		Name: name, Revision: revision(c, identity, secretPlace(identity)), WorkloadIdentity: c.WorkloadIdentity,
		Source: h.sources[c.WorkloadIdentity], Rules: h.rules[c.WorkloadIdentity],
		Application: app, Dependency: dependency, TokenClient: oauthclient.NewHTTPClient(h.roots), Guard: guard,
		API: api, APITransport: h.transport(gatewayPatience),
		CompanyID: c.SuccessFactors.CompanyID, TechnicalUser: c.SuccessFactors.TechnicalUser, ApplicationType: c.SuccessFactors.ApplicationType,
		Probes: h.probes(name), Now: h.opts.Now, Logger: h.logger.With("connection", name), TokenMetrics: h.metrics.oauth,
	}, nil
}

// revision names the whole configuration.
func (h *House) revision() string {
	settings := []any{h.cfg}
	for _, name := range config.Names(h.cfg.WorkloadIdentities) {
		settings = append(settings, secretPlace(h.cfg.WorkloadIdentities[name]))
	}
	return revision(settings...)
}

// secretPlace says where an identity's secret stands, which its redacted form does not.
func secretPlace(identity config.WorkloadIdentity) string {
	if identity.Source.Entra == nil {
		return ""
	}
	return identity.Source.Entra.ClientSecret.Place()
}

func (h *House) broker(guard *oauthclient.Guard, log *audit.Log, publicURLs []string) (*broker.Broker, error) {
	conns, err := h.connections(guard)
	if err != nil {
		return nil, err
	}
	b, err := broker.New(broker.Config{
		Revision: h.revision(), PublicURLs: publicURLs, TerminatedBy: h.cfg.Proxy.TLSTerminatedBy, Connections: conns,
		Callers: h.callers, Policies: h.policies, Audit: log, Metrics: broker.NewMetrics(h.registry), Logger: h.logger, Now: h.opts.Now,
	})
	if err != nil {
		for _, c := range conns {
			c.Close()
		}
		return nil, err
	}
	h.registry.MustRegister(broker.NewCollector(b))
	return b, nil
}

// OpenConnection starts one connection without any listener, for a test from the command line.
func (h *House) OpenConnection(name string) (*broker.Connection, error) {
	if _, ok := h.cfg.Connections[name]; !ok {
		return nil, fmt.Errorf("no connection %q; there are: %s", name, strings.Join(config.Names(h.cfg.Connections), ", "))
	}
	guard, err := h.openGuard()
	if err != nil {
		return nil, err
	}
	cfg, err := h.connection(name, guard)
	if err != nil {
		return nil, err
	}
	return broker.NewConnection(cfg)
}
