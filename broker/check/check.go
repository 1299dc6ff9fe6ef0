// Package check walks the hops of a connection, as "test connection" does, and says for each whether it works and, where it
// does not, what was expected, what was received and who fixes it.
package check

import (
	"context"
	"fmt"
	"maps"
	"time"

	"sfbroker/broker"
	"sfbroker/broker/diagnosis"
)

// Step is the result of one hop.
type Step struct {
	Step diagnosis.Step
	// OK says that the hop works; a skipped hop was not reached and is not OK.
	OK, Skipped bool
	Duration    time.Duration
	// Detail holds names and values that were found, never a token.
	Detail map[string]any
	// Finding is set where the hop does not work.
	Finding *diagnosis.Finding
}

// Report is the result of a walk. Steps are always all of diagnosis.Steps, in order.
type Report struct {
	Connection string
	OK         bool
	Steps      []Step
}

// Failed returns the step that failed, nil when none did.
func (r Report) Failed() *Step {
	for i := range r.Steps {
		if r.Steps[i].Finding != nil {
			return &r.Steps[i]
		}
	}
	return nil
}

// maxProbes bounds how many entity sets one walk reads.
const maxProbes = 20

// Walk tests a connection, one walk at a time. It goes through the keeper and the lockout guard, so however often it is
// called it makes at most one exchange a minute, and none that could lock the client ID. observe, which may be nil, is told
// of each step as it ends. The error is only ever that of ctx.
func Walk(ctx context.Context, c *broker.Connection, observe func(Step)) (Report, error) {
	release, err := c.Exclusive(ctx)
	if err != nil {
		return Report{}, fmt.Errorf("testing %q: %w", c.Name(), err)
	}
	defer release()
	w := &walk{ctx: ctx, c: c, observe: observe, report: Report{Connection: c.Name(), OK: true}}
	w.token()
	w.odata()
	return w.report, ctx.Err()
}

type walk struct {
	ctx     context.Context //nolint:containedctx // one walk, one context
	c       *broker.Connection
	observe func(Step)
	report  Report
}

// step runs f unless an earlier step failed.
func (w *walk) step(name diagnosis.Step, f func(detail map[string]any) *diagnosis.Finding) {
	s := Step{Step: name, Detail: map[string]any{}}
	if !w.report.OK {
		s.Skipped = true
	} else {
		start := time.Now()
		s.Finding = f(s.Detail)
		s.Duration = time.Since(start)
		s.OK = s.Finding == nil
		w.report.OK = s.OK
	}
	w.report.Steps = append(w.report.Steps, s)
	if w.observe != nil {
		w.observe(s)
	}
}

func (w *walk) found(err error) *diagnosis.Finding {
	if err == nil {
		return nil
	}
	f := w.c.Diagnose(err)
	return &f
}

func (w *walk) token() {
	cfg := w.c.Config()
	var verify func(detail map[string]any) error
	w.step(diagnosis.AcquireAT1, func(d map[string]any) *diagnosis.Finding {
		d["source"], d["workload_identity"] = cfg.Source.Kind(), cfg.WorkloadIdentity
		raw, err := w.c.Acquire(w.ctx)
		verify = func(d map[string]any) error {
			id, err := w.c.Verify(w.ctx, raw)
			if err != nil {
				return err
			}
			d["issuer"], d["subject"], d["audience"], d["key_id"] = id.Issuer, id.Subject, id.Audience, id.KeyID
			d["expires_at"] = id.Expiry.UTC().Format(time.RFC3339)
			return nil
		}
		return w.found(err)
	})
	w.step(diagnosis.CheckTrust, func(d map[string]any) *diagnosis.Finding { return w.found(verify(d)) })
	var facts map[string]any
	var unusable *diagnosis.Finding
	w.step(diagnosis.ExchangeAT2, func(d map[string]any) (f *diagnosis.Finding) {
		d["token_url"], d["client_id"], d["resource"] = cfg.Application.TokenURL, cfg.Application.ClientID, cfg.Application.Resource
		facts, f = w.exchange()
		switch {
		case f == nil:
		case f.Step == diagnosis.CheckAT2:
			unusable = f // a token was issued; that it does not pass its checks is the next step's finding
			return nil
		case f.Step == diagnosis.CallOData:
			d["note"] = "not repeated: SuccessFactors refused the tokens issued last"
			return nil // and so will the step that calls it find
		}
		return f
	})
	w.step(diagnosis.CheckAT2, func(d map[string]any) *diagnosis.Finding {
		maps.Copy(d, facts)
		return unusable
	})
}

// exchange obtains AT2 and says what it holds.
func (w *walk) exchange() (map[string]any, *diagnosis.Finding) {
	token, err := w.c.ForceToken(w.ctx)
	if err != nil {
		return nil, w.found(err)
	}
	facts := map[string]any{
		"issuer": token.Issuer, "ias_apis": token.APIs, "authorized_party": token.AuthorizedParty,
		"expires_at": token.Expiry.UTC().Format(time.RFC3339),
	}
	if len(token.Warnings) > 0 {
		facts["warnings"] = token.Warnings
	}
	return facts, nil
}

func (w *walk) odata() {
	cfg := w.c.Config()
	probes := w.c.Probes()
	w.step(diagnosis.CallOData, func(d map[string]any) *diagnosis.Finding {
		d["api_url"], d["company_id"], d["entity_set"] = cfg.API.String(), cfg.CompanyID, probes[0]
		status, f := w.c.Probe(w.ctx, probes[0])
		d["status"] = status
		if f != nil && f.Step == diagnosis.CheckTechnicalUser {
			return nil // SuccessFactors let us in; what the user may not read is the next step's finding
		}
		return f
	})
	w.step(diagnosis.CheckTechnicalUser, func(d map[string]any) *diagnosis.Finding {
		d["technical_user"] = cfg.TechnicalUser
		d["note"] = "as configured; SuccessFactors offers no way to prove it"
		readable := []string{}
		defer func() { d["readable"] = readable }()
		for _, set := range probes[:min(len(probes), maxProbes)] {
			if _, f := w.c.Probe(w.ctx, set); f != nil {
				return f
			}
			readable = append(readable, set)
		}
		return nil
	})
}
