package workload

import (
	"context"

	"sfbroker/oauthclient"
)

// Env reads the assertion from an environment variable. The environment of a
// process does not change, so when that assertion expires the process must be
// started anew: it is for jobs in CI, not for a daemon.
type Env struct {
	name   string
	lookup func(string) (string, bool)
}

// NewEnv names the variable and how to look it up, as os.LookupEnv does.
func NewEnv(name string, lookup func(string) (string, bool)) *Env {
	return &Env{name: name, lookup: lookup}
}

// Kind is "env".
func (e *Env) Kind() string { return "env" }

// Assertion looks the variable up: at most 16 KiB, one trailing line end is
// dropped.
func (e *Env) Assertion(ctx context.Context) (oauthclient.Secret, error) {
	if err := context.Cause(ctx); err != nil {
		return oauthclient.Secret{}, &Error{Source: e.Kind(), Cause: CauseUnavailable, Detail: "gave up before reading", FixedBy: OwnerOperator, Err: err}
	}
	text, set := e.lookup(e.name)
	if !set {
		return oauthclient.Secret{}, &Error{
			Source: e.Kind(), Cause: CauseMissing, Detail: "variable " + e.name + " is not set",
			Hint: "set it in the environment of this process", FixedBy: OwnerOperator,
		}
	}
	return fromText(e.Kind(), text, "variable "+e.name)
}
