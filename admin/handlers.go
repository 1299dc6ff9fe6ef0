package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"sfbroker/audit"
	"sfbroker/broker"
	"sfbroker/broker/check"
)

// testTimeout bounds one walk: a gateway of SuccessFactors may think for minutes, an admin does not wait that long.
const testTimeout = 2 * time.Minute

func (a *API) connection(r *http.Request) (*broker.Connection, error) {
	name := r.PathValue("name")
	c, ok := a.cfg.Broker.Connection(name)
	if !ok {
		names := []string{}
		for _, c := range a.cfg.Broker.Connections() {
			names = append(names, c.Name())
		}
		return nil, &failure{http.StatusNotFound, "connection_unknown", "no connection of that name; there are: " + strings.Join(names, ", ")}
	}
	return c, nil
}

// record adds to the decision on the route what it is done to and why.
func (a *API) record(r *http.Request, event, connection, reason string) error {
	f := a.write(audit.Record{
		Time: a.cfg.Now(), Event: event, Decision: audit.Allow, Caller: operatorName, Connection: connection, Reason: reason,
		Revision: a.cfg.Broker.Revision(), Remote: remote(r),
	})
	if f != nil {
		return f
	}
	return nil
}

func (a *API) test(w http.ResponseWriter, r *http.Request) error {
	c, err := a.connection(r)
	if err != nil {
		return err
	}
	if err := a.record(r, "test_connection", c.Name(), ""); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), testTimeout)
	defer cancel()
	report, err := check.Walk(ctx, c, nil)
	if err != nil && len(report.Steps) == 0 {
		return &failure{http.StatusConflict, "test_running", "another test of this connection is running"}
	}
	return writeJSON(w, http.StatusOK, NewReport(report))
}

func (a *API) connections(w http.ResponseWriter, _ *http.Request) error {
	out := []Settings{}
	for _, c := range a.cfg.Broker.Connections() {
		cfg := c.Config()
		out = append(out, Settings{
			Name: cfg.Name, Revision: cfg.Revision, WorkloadIdentity: cfg.WorkloadIdentity, Source: cfg.Source.Kind(), TokenURL: cfg.Application.TokenURL,
			ClientID: cfg.Application.ClientID, Resource: cfg.Application.Resource, APIURL: cfg.API.String(), CompanyID: cfg.CompanyID,
			TechnicalUser: cfg.TechnicalUser, ApplicationType: cfg.ApplicationType, EntitySets: c.Probes(),
		})
	}
	return writeJSON(w, http.StatusOK, map[string]any{"connections": out})
}

func (a *API) status(w http.ResponseWriter, _ *http.Request) error {
	s := Status{Version: a.cfg.Version, Revision: a.cfg.Broker.Revision(), Started: *when(a.started), Now: *when(a.cfg.Now()), Draining: a.cfg.Broker.Draining(), Connections: []Connection{}}
	for _, c := range a.cfg.Broker.Connections() {
		s.Connections = append(s.Connections, NewConnection(c.Status()))
	}
	return writeJSON(w, http.StatusOK, s)
}

// Claims is what "sfbroker token" shows.
type Claims struct {
	AT1 map[string]any `json:"at1"`
	AT2 map[string]any `json:"at2"`
}

func (a *API) claims(w http.ResponseWriter, r *http.Request) error {
	c, err := a.connection(r)
	if err != nil {
		return err
	}
	out := Claims{}
	if id := c.Identity(); id != nil {
		out.AT1 = id.Claims
	}
	token, err := c.Token(r.Context())
	if err != nil {
		f := c.Diagnose(err)
		return &failure{http.StatusServiceUnavailable, string(f.Code), f.Sentence}
	}
	out.AT2 = map[string]any{
		"iss": token.Issuer, "sub": token.Subject, "azp": token.AuthorizedParty, "aud": token.Audience, "ias_apis": token.APIs,
		"exp": token.Expiry.Unix(), "fingerprint": token.AccessToken.Fingerprint(),
	}
	return writeJSON(w, http.StatusOK, out)
}

// release hands AT2 out to an operator. The record stands before the token leaves.
func (a *API) release(w http.ResponseWriter, r *http.Request) error {
	c, err := a.connection(r)
	if err != nil {
		return err
	}
	token, err := c.Token(r.Context())
	if err != nil {
		f := c.Diagnose(err)
		return &failure{http.StatusServiceUnavailable, string(f.Code), f.Sentence}
	}
	if err := a.record(r, "release_token", c.Name(), "fingerprint "+token.AccessToken.Fingerprint()); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]any{"access_token": token.AccessToken.Reveal(), "token_type": "Bearer", "expires_in": int(token.Expiry.Sub(a.cfg.Now()).Seconds())})
}

func (a *API) unlock(w http.ResponseWriter, r *http.Request) error {
	c, err := a.connection(r)
	if err != nil {
		return err
	}
	var body struct {
		Reason string `json:"reason"`
	}
	dec := json.NewDecoder(io.LimitReader(r.Body, 4096))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&body); err != nil || strings.TrimSpace(body.Reason) == "" || len(body.Reason) > 500 {
		return &failure{http.StatusBadRequest, "reason_missing", `send {"reason": "..."}: what was mended, for the audit log`}
	}
	if err := a.record(r, "unlock", c.Name(), body.Reason); err != nil {
		return err
	}
	if err := c.Unlock(); err != nil {
		return fmt.Errorf("unlocking %q: %w", c.Name(), err)
	}
	return writeJSON(w, http.StatusOK, NewConnection(c.Status()))
}

func (a *API) metrics(w http.ResponseWriter, r *http.Request) error {
	promhttp.HandlerFor(a.cfg.Gatherer, promhttp.HandlerOpts{}).ServeHTTP(w, r)
	return nil
}

type probe struct {
	OK          bool              `json:"ok"`
	Reason      string            `json:"reason,omitempty"`
	Connections map[string]string `json:"connections"`
}

func (p probe) write(w http.ResponseWriter) error {
	if p.OK {
		return writeJSON(w, http.StatusOK, p)
	}
	return writeJSON(w, http.StatusServiceUnavailable, p)
}

func (a *API) states() (p probe, tried, deliver int) {
	p.Connections = map[string]string{}
	for _, c := range a.cfg.Broker.Connections() {
		s := c.Status()
		word := string(s.State)
		if s.Finding != nil {
			word += ": " + string(s.Finding.Code)
		}
		p.Connections[c.Name()] = word
		if s.Tried() {
			tried++
		}
		if s.CanDeliver() {
			deliver++
		}
	}
	return p, tried, deliver
}

func (a *API) startupz(w http.ResponseWriter, _ *http.Request) error {
	p, tried, _ := a.states()
	p.OK = tried == len(p.Connections)
	if !p.OK {
		p.Reason = "not every connection was tried yet"
	}
	return p.write(w)
}

// readyz follows DESIGN's meaning of ready: all were tried, and at least one can deliver.
func (a *API) readyz(w http.ResponseWriter, r *http.Request) error {
	p, tried, deliver := a.states()
	if name := r.FormValue("connection"); name != "" {
		c, ok := a.cfg.Broker.Connection(name)
		if !ok {
			return &failure{http.StatusNotFound, "connection_unknown", "no connection of that name"}
		}
		s := c.Status()
		p = probe{OK: s.CanDeliver(), Connections: map[string]string{name: p.Connections[name]}}
		if !p.OK {
			p.Reason = "the connection cannot deliver"
		}
	} else {
		switch {
		case len(p.Connections) == 0:
			p.Reason = "no active connection"
		case tried < len(p.Connections):
			p.Reason = "not every connection was tried yet"
		case deliver == 0:
			p.Reason = "no connection can deliver"
		}
		p.OK = p.Reason == ""
	}
	if err := a.cfg.Audit.Stuck(); err != nil {
		p.OK, p.Reason = false, "audit records cannot be written"
	}
	if a.cfg.Broker.Draining() {
		p.OK, p.Reason = false, "draining"
	}
	return p.write(w)
}

func (a *API) livez(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, map[string]bool{"ok": true})
}
