// Package diagnosis is the one catalogue of what can go wrong: a stable code, a fixed public sentence, who fixes it, where,
// and in which words to ask. Command line, admin API, data-path errors and docs/errors.md are all fed from it.
package diagnosis

import (
	"slices"
	"strings"
	"time"
)

// Code names one cause. Codes are stable: jobs and alerts may match on them.
type Code string

// Step is a hop of the walk that "connection test" takes, in this order.
type Step string

// The steps.
const (
	AcquireAT1         Step = "acquire_at1"
	CheckTrust         Step = "check_trust"
	ExchangeAT2        Step = "exchange_at2"
	CheckAT2           Step = "check_at2"
	CallOData          Step = "call_odata"
	CheckTechnicalUser Step = "check_technical_user"
)

// Steps lists all steps in order.
func Steps() []Step {
	return []Step{AcquireAT1, CheckTrust, ExchangeAT2, CheckAT2, CallOData, CheckTechnicalUser}
}

// Origin says which side an error comes from: the value of Sfbroker-Error-Origin.
type Origin string

// The origins.
const (
	FromCaller         Origin = "caller"
	FromBroker         Origin = "broker"
	FromSource         Origin = "source"
	FromIAS            Origin = "ias"
	FromSuccessFactors Origin = "successfactors"
)

// Owner is the team that can fix it.
type Owner string

// The owners.
const (
	JobOwner            Owner = "job owner"
	Operator            Owner = "broker operator"
	EntraAdmin          Owner = "Entra admin"
	IdentityAdmin       Owner = "workload identity admin" // of the issuer, where it is not Entra
	IASAdmin            Owner = "IAS admin"
	SuccessFactorsAdmin Owner = "SuccessFactors admin"
	Nobody              Owner = "nobody: wait"
)

// Entry is one line of the catalogue.
type Entry struct {
	Code   Code
	Step   Step // empty for what happens before the first hop
	Origin Origin
	// Status is the HTTP status with which the data path answers.
	Status int
	// Sentence is the fixed public text: what a caller may read.
	Sentence string
	// Short is the text of a status line, a few words.
	Short string
	Owner Owner
	// Role is the role or permission that the owner needs, in that system's own words.
	Role string
	// Where is the place in that system's console.
	Where string
	// Causes are the probable causes, the likeliest first.
	Causes []string
	// Words is the text to send to the owner. {expected} and {received} stand for the values of a finding.
	Words string
	// RetrySafe says whether the same request may be sent again without a change.
	RetrySafe bool
}

// Anchor is the entry's anchor in docs/errors.md.
func (e Entry) Anchor() string { return "docs/errors.md#" + string(e.Code) }

// Finding is an entry that was met, with what only the operator may read.
type Finding struct {
	Entry
	// Expected and Received are the values that differ; they never hold a token.
	Expected, Received string
	// Hints are remarks on this very case, such as a near miss in spelling.
	Hints []string
	// Detail is the peer's own words, bounded and scrubbed.
	Detail string
	// RetryAfter is how long to wait before asking again, 0 when unknown.
	RetryAfter time.Duration
}

// Letter is the text to send to the owner, with the finding's values filled in.
func (f Finding) Letter() string {
	orNone := func(s string) string {
		if s == "" {
			return "(not known)"
		}
		return s
	}
	return strings.NewReplacer("{expected}", orNone(f.Expected), "{received}", orNone(f.Received)).Replace(f.Words)
}

// Lookup returns the entry of code. An unknown code gives the entry of Internal, so that no answer is ever without one.
func Lookup(code Code) Entry {
	all := catalogue()
	if i := slices.IndexFunc(all, func(e Entry) bool { return e.Code == code }); i >= 0 {
		return all[i]
	}
	return all[slices.IndexFunc(all, func(e Entry) bool { return e.Code == Internal })]
}

// All returns the whole catalogue in the order of a request's way.
func All() []Entry { return catalogue() }
