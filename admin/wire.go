package admin

import (
	"time"

	"sfbroker/broker"
	"sfbroker/broker/check"
)

// Finding is a finding on the wire: all that an operator may read of it.
type Finding struct {
	Code          string   `json:"code"`
	Sentence      string   `json:"sentence"`
	Short         string   `json:"short"`
	Origin        string   `json:"origin"`
	Expected      string   `json:"expected,omitempty"`
	Received      string   `json:"received,omitempty"`
	Detail        string   `json:"detail,omitempty"`
	Hints         []string `json:"hints,omitempty"`
	Causes        []string `json:"probable_causes"`
	Owner         string   `json:"who_fixes_it"`
	Role          string   `json:"role,omitempty"`
	Where         string   `json:"where"`
	Words         string   `json:"words_to_send"`
	RetrySafe     bool     `json:"retry_safe"`
	RetryAfter    float64  `json:"retry_after_seconds,omitempty"`
	Documentation string   `json:"documentation"`
}

// NewFinding puts f on the wire; nil stays nil.
func NewFinding(f *broker.Finding) *Finding {
	if f == nil {
		return nil
	}
	return &Finding{
		Code: string(f.Code), Sentence: f.Sentence, Short: f.Short, Origin: string(f.Origin), Expected: f.Expected, Received: f.Received,
		Detail: f.Detail, Hints: f.Hints, Causes: f.Causes, Owner: string(f.Owner), Role: f.Role, Where: f.Where, Words: f.Letter(),
		RetrySafe: f.RetrySafe, RetryAfter: f.RetryAfter.Seconds(), Documentation: f.Anchor(),
	}
}

// Step is one hop of a test on the wire.
type Step struct {
	Step       string         `json:"step"`
	OK         bool           `json:"ok"`
	Skipped    bool           `json:"skipped,omitempty"`
	DurationMS float64        `json:"duration_ms"`
	Detail     map[string]any `json:"detail"`
	Finding    *Finding       `json:"finding,omitempty"`
}

// NewStep puts s on the wire.
func NewStep(s check.Step) Step {
	return Step{
		Step: string(s.Step), OK: s.OK, Skipped: s.Skipped, DurationMS: float64(s.Duration.Microseconds()) / 1000, Detail: s.Detail,
		Finding: NewFinding(s.Finding),
	}
}

// Report is a test of a connection on the wire.
type Report struct {
	Connection string `json:"connection"`
	OK         bool   `json:"ok"`
	Steps      []Step `json:"steps"`
}

// NewReport puts r on the wire.
func NewReport(r check.Report) Report {
	out := Report{Connection: r.Connection, OK: r.OK}
	for _, s := range r.Steps {
		out.Steps = append(out.Steps, NewStep(s))
	}
	return out
}

// Lockout is the count of failed logons of a client ID.
type Lockout struct {
	FailedLogons  int        `json:"failed_logons"`
	InFlight      int        `json:"in_flight"`
	ProbeAt       *time.Time `json:"probe_at,omitempty"`
	NeedsOperator bool       `json:"needs_operator"`
}

// Connection is a connection's settings and state on the wire.
type Connection struct {
	Name             string     `json:"name"`
	WorkloadIdentity string     `json:"workload_identity"`
	CompanyID        string     `json:"company_id"`
	TechnicalUser    string     `json:"technical_user"`
	State            string     `json:"state"`
	Since            *time.Time `json:"since,omitempty"`
	Finding          *Finding   `json:"finding,omitempty"`
	CallersHit       int        `json:"callers_hit"`
	AT2Expiry        *time.Time `json:"at2_expires_at,omitempty"`
	Exchanges        int64      `json:"exchanges"`
	Sessions         int        `json:"login_sessions"`
	Lockout          Lockout    `json:"lockout"`
}

func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Second)
	return &t
}

// NewConnection puts s on the wire.
func NewConnection(s broker.Status) Connection {
	return Connection{
		Name: s.Connection, WorkloadIdentity: s.WorkloadIdentity, CompanyID: s.CompanyID, TechnicalUser: s.TechnicalUser,
		State: string(s.State), Since: when(s.Since), Finding: NewFinding(s.Finding), CallersHit: s.Callers, AT2Expiry: when(s.Expiry),
		Exchanges: s.Exchanges, Sessions: s.Sessions,
		Lockout: Lockout{FailedLogons: s.Lockout.FailedLogons, InFlight: s.Lockout.InFlight, ProbeAt: when(s.Lockout.ProbeAt), NeedsOperator: s.Lockout.NeedsOperator},
	}
}

// Status is the whole daemon's state on the wire.
type Status struct {
	Version     string       `json:"version"`
	Revision    string       `json:"revision"`
	Started     time.Time    `json:"started_at"`
	Now         time.Time    `json:"now"`
	Draining    bool         `json:"draining"`
	Connections []Connection `json:"connections"`
}

// Settings are a connection's settings on the wire, without any secret.
type Settings struct {
	Name             string   `json:"name"`
	Revision         string   `json:"revision"`
	WorkloadIdentity string   `json:"workload_identity"`
	Source           string   `json:"source"`
	TokenURL         string   `json:"token_url"`
	ClientID         string   `json:"client_id"`
	Resource         string   `json:"resource"`
	APIURL           string   `json:"api_url"`
	CompanyID        string   `json:"company_id"`
	TechnicalUser    string   `json:"technical_user"`
	ApplicationType  string   `json:"application_type,omitempty"`
	EntitySets       []string `json:"entity_sets"`
}
