package assembly

import (
	"errors"

	"sfbroker/config"
	"sfbroker/trust"
)

// compileRules makes one rule set for each workload identity: rules of one never grant another.
func (h *House) compileRules() config.Problems {
	h.rules = map[string]*trust.Rules{}
	var problems config.Problems
	for _, name := range config.Names(h.cfg.WorkloadIdentities) {
		t := h.cfg.WorkloadIdentities[name].TrustByIssuer
		rules, err := trust.Compile(trust.Config{
			Rules: []trust.Rule{{
				Name: name, Issuer: t.Issuer, JWKSURI: t.JWKSURI, KeysFile: t.JWKSFile, Subject: t.Subject, Audience: t.Audience, Types: t.Types, Algorithms: t.Algorithms,
			}},
			HTTPClient: h.client(), AllowInsecureLoopback: h.cfg.AllowInsecureLoopback, Now: h.opts.Now, Metrics: h.metrics.trust, Logger: h.logger,
		})
		if err != nil {
			problems = append(problems, h.ruleProblems(path("workload_identities", name, "trust_by_issuer"), err)...)
			continue
		}
		h.rules[name] = rules
	}
	return problems
}

func (h *House) ruleProblems(at string, err error) config.Problems {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		var problems config.Problems
		for _, e := range joined.Unwrap() {
			problems = append(problems, h.ruleProblems(at, e)...)
		}
		return problems
	}
	var rule *trust.RuleError
	if errors.As(err, &rule) {
		return config.Problems{h.cfg.Problem(path(at, rule.Field), rule.Message, rule.Hint)}
	}
	return config.Problems{h.problem(at, err)}
}
