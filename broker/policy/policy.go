// Package policy decides whether a caller may do what a request touches. Deny by default: only what is listed is granted.
package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"sfbroker/odata"
)

// Any is the grant that covers every entity set and every navigation. It must be spelled out, and is shown as a risk.
const Any = "*"

// Grants is what an operator wrote under "allow".
type Grants struct {
	// Read lists entity sets ("PerPerson") and navigation paths from one ("PerPerson/employmentNav/jobInfoNav").
	// Each path grants itself and nothing on the way to it.
	Read []string
}

// Policy is a compiled set of grants. It is immutable.
type Policy struct {
	read map[string]struct{}
	any  bool
	sets []string
}

// Compile checks g and makes a Policy of it. An empty g is refused, since a caller that may do nothing is a mistake.
func Compile(g Grants) (*Policy, error) {
	if len(g.Read) == 0 {
		return nil, errors.New("nothing is allowed: list at least one entity set under read")
	}
	p := &Policy{read: make(map[string]struct{}, len(g.Read))}
	for _, path := range g.Read {
		switch {
		case path == Any:
			p.any = true
		case path == "" || strings.HasPrefix(path, "/") || strings.HasSuffix(path, "/"):
			return nil, fmt.Errorf("%q is not an entity set or a navigation path such as PerPerson/employmentNav", path)
		default:
			p.read[path] = struct{}{}
			set, _, _ := strings.Cut(path, "/")
			if !slices.Contains(p.sets, set) {
				p.sets = append(p.sets, set)
			}
		}
	}
	slices.Sort(p.sets)
	return p, nil
}

// Reason says why a decision fell as it did, stable for metrics and audit.
type Reason string

// The reasons of a decision.
const (
	Granted      Reason = "granted"
	Structure    Reason = "structure_only"  // $metadata and the service document: names, no data
	NotGranted   Reason = "not_granted"     // an entity set or navigation path is not listed
	VerbNotKnown Reason = "verb_not_policy" // a verb that this policy language does not have
	Nothing      Reason = "nothing_touched" // a request that touches nothing we can name
)

// Decision is the answer to one request.
type Decision struct {
	Allowed bool
	Reason  Reason
	// Missing lists what is not granted, in the order of the request.
	Missing []odata.Touch
}

// Grant returns the configuration line that would allow the request, for the operator's log and the admin surfaces.
// It is empty when the decision is an allowance or no line would help.
func (d Decision) Grant() string {
	if d.Allowed || d.Reason != NotGranted {
		return ""
	}
	paths := make([]string, 0, len(d.Missing))
	for _, t := range d.Missing {
		if !slices.Contains(paths, t.Path) {
			paths = append(paths, t.Path)
		}
	}
	return "allow: { read: [" + strings.Join(paths, ", ") + "] }"
}

// Decide says whether everything that r touches is granted.
func (p *Policy) Decide(r *odata.Request) Decision {
	if len(r.Touches) == 0 {
		if r.Metadata || r.Service {
			return Decision{Allowed: true, Reason: Structure}
		}
		return Decision{Reason: Nothing}
	}
	d := Decision{Allowed: true, Reason: Granted}
	for _, t := range r.Touches {
		if t.Verb != odata.Read {
			d.Allowed, d.Reason = false, VerbNotKnown
			d.Missing = append(d.Missing, t)
			continue
		}
		if _, ok := p.read[t.Path]; ok || p.any {
			continue
		}
		d.Allowed = false
		if d.Reason == Granted {
			d.Reason = NotGranted
		}
		d.Missing = append(d.Missing, t)
	}
	return d
}

// EntitySets lists the sets that the grants name, sorted; it is empty for a policy that only says "*".
func (p *Policy) EntitySets() []string { return slices.Clone(p.sets) }

// Unlimited reports whether the policy grants everything.
func (p *Policy) Unlimited() bool { return p.any }
