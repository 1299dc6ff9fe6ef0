package assembly

import (
	"slices"

	"sfbroker/broker/caller"
	"sfbroker/broker/policy"
	"sfbroker/config"
)

func (h *House) compileCallers() config.Problems {
	h.policies = map[string]*policy.Policy{}
	var problems config.Problems
	var callers []caller.Caller
	for _, name := range config.Names(h.cfg.Callers) {
		c := h.cfg.Callers[name]
		p, err := policy.Compile(policy.Grants{Read: c.Allow.Read})
		if err != nil {
			problems = append(problems, h.problem(path("callers", name, "allow"), err))
			continue
		}
		h.policies[name] = p
		out := caller.Caller{
			Name: name, Connection: c.Connection, Company: h.cfg.Connections[c.Connection].SuccessFactors.CompanyID, Username: c.Username, Anonymous: c.Anonymous,
		}
		if c.Key != nil {
			digest, err := caller.ParseDigest(c.Key.SHA256)
			if err != nil {
				problems = append(problems, h.problem(path("callers", name, "key.sha256"), err))
				continue
			}
			out.Key = digest
		}
		callers = append(callers, out)
	}
	if len(problems) > 0 {
		return problems
	}
	set, err := caller.New(caller.Config{Callers: callers, Now: h.opts.Now})
	if err != nil {
		return config.Problems{h.problem("callers", err)}
	}
	h.callers = set
	return nil
}

// probes lists the entity sets that the policies of a connection's callers name. Where they name none, User, which every
// company has.
func (h *House) probes(connection string) []string {
	var sets []string
	for _, name := range config.Names(h.cfg.Callers) {
		if h.cfg.Callers[name].Connection == connection {
			sets = append(sets, h.policies[name].EntitySets()...)
		}
	}
	slices.Sort(sets)
	sets = slices.Compact(sets)
	if len(sets) == 0 {
		return []string{"User"}
	}
	return sets
}
