package oauthclient

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	recordVersion  = 1
	maxRefused     = 64
	maxReservation = 64
)

type lastResult string

const (
	resultNone       lastResult = ""
	resultSuccess    lastResult = "success"
	resultFailed     lastResult = "failed"
	resultNotCounted lastResult = "not_counted"
)

// guardRecord is the state of one budget, as it lies on disk. It holds no
// secret: refused assertions are remembered by the hash of their like.
type guardRecord struct {
	Version       int           `json:"version"`
	TokenEndpoint string        `json:"token_endpoint"`
	ClientID      string        `json:"client_id"`
	FailedLogons  int           `json:"failed_logons"`
	EverFailed    int64         `json:"ever_failed"` // never goes down
	LastFailure   time.Time     `json:"last_failure,omitzero"`
	LastResult    lastResult    `json:"last_result"`
	Proven        bool          `json:"proven"` // the last logon that IAS judged is a success
	Reservations  []reservation `json:"reservations"`
	Refused       []refusedLike `json:"refused"`
}

type reservation struct {
	ID     string    `json:"id"`
	Holder holder    `json:"holder"`
	At     time.Time `json:"at"`
}

type refusedLike struct {
	Like string    `json:"like_sha256"`
	At   time.Time `json:"at"`
}

// holder identifies a process. Where a process ID can be judged (same Machine)
// Start tells a process from its successor with the same ID, as in a container
// where every process has ID 1.
type holder struct {
	PID     int    `json:"pid"`
	Start   string `json:"start"`
	Machine string `json:"machine"`
}

// gone reports whether h is known to have ended, as seen by self.
func (h holder) gone(self holder) bool {
	if h.Machine != self.Machine {
		return false
	}
	if h.PID == self.PID {
		return h.Start != self.Start
	}
	return !processRuns(h.PID, h.Start)
}

// clone copies r; a nil r is the record of a client ID never seen.
func (r *guardRecord) clone() *guardRecord {
	if r == nil {
		return &guardRecord{Version: recordVersion}
	}
	c := *r
	c.Reservations, c.Refused = slices.Clone(r.Reservations), slices.Clone(r.Refused)
	return &c
}

// validate refuses a record that no guard wrote.
func (r *guardRecord) validate(k guardKey) error {
	switch {
	case r.Version != recordVersion:
		return fmt.Errorf("state has version %d, this program knows %d", r.Version, recordVersion)
	case r.TokenEndpoint != k.Endpoint || r.ClientID != k.ClientID:
		return errors.New("state belongs to another client ID")
	case r.FailedLogons < 0, r.EverFailed < int64(r.FailedLogons), r.FailedLogons > 0 && r.LastFailure.IsZero():
		return errors.New("state contradicts itself")
	case len(r.Reservations) > maxReservation, len(r.Refused) > maxRefused:
		return errors.New("state is larger than any guard writes")
	}
	switch r.LastResult {
	case resultNone, resultSuccess, resultFailed, resultNotCounted:
		return nil
	}
	return errors.New("state has an unknown last result")
}

// tidy brings the record to now: nothing lies in the future (the clock may have
// been set back), tries without a living holder are failures, and likes whose
// probe is due are forgotten. It reports whether anything changed.
func (r *guardRecord) tidy(now time.Time, timeout time.Duration, self holder) bool {
	changed := clamp(&r.LastFailure, now)
	for i := range r.Reservations {
		changed = clamp(&r.Reservations[i].At, now) || changed
	}
	for i := range r.Refused {
		changed = clamp(&r.Refused[i].At, now) || changed
	}
	r.Reservations = slices.DeleteFunc(r.Reservations, func(v reservation) bool {
		ends := v.At.Add(timeout)
		if !v.Holder.gone(self) && now.Before(ends) {
			return false
		}
		// IAS may have judged the try at any time until its deadline.
		if ends.After(now) {
			ends = now
		}
		r.fail(ends)
		changed = true
		return true
	})
	kept := len(r.Refused)
	r.Refused = slices.DeleteFunc(r.Refused, func(v refusedLike) bool { return !now.Before(v.At.Add(probeInterval)) })
	return changed || len(r.Refused) != kept
}

func clamp(t *time.Time, now time.Time) bool {
	if !t.After(now) {
		return false
	}
	*t = now
	return true
}

func (r *guardRecord) fail(at time.Time) {
	r.FailedLogons++
	r.EverFailed++
	r.LastResult = resultFailed
	if at.After(r.LastFailure) {
		r.LastFailure = at
	}
}

func (r *guardRecord) probeAt() time.Time {
	if r.FailedLogons != failedLogonBudget {
		return time.Time{}
	}
	return r.LastFailure.Add(probeInterval)
}

func lockedError(failures int, since, probeAt time.Time) *GuardError {
	e := &GuardError{Reason: GuardLocked, FailedLogons: failures, Since: since, RetryAt: probeAt}
	if probeAt.IsZero() {
		e.Hint = "unlock the client ID in IAS, fix the cause, then unlock the connection"
	} else {
		e.Hint = "fix the cause, then unlock the connection, or wait for the probe"
	}
	return e
}

// refuse decides whether one more ask may go out now. nil means yes.
func (r *guardRecord) refuse(like string, now time.Time) *GuardError {
	inFlight := len(r.Reservations)
	if r.FailedLogons > failedLogonBudget {
		return lockedError(r.FailedLogons, r.LastFailure, time.Time{})
	}
	if probeAt := r.probeAt(); !probeAt.IsZero() && now.Before(probeAt) {
		return lockedError(r.FailedLogons, r.LastFailure, probeAt)
	}
	// tidy has dropped those whose time has come.
	if i := slices.IndexFunc(r.Refused, func(v refusedLike) bool { return v.Like == like }); i >= 0 {
		return &GuardError{
			Reason: GuardAssertionRefused, FailedLogons: r.FailedLogons, Since: r.Refused[i].At,
			RetryAt: r.Refused[i].At.Add(probeInterval),
			Hint:    "fix the cause, then unlock the connection to try at once",
		}
	}
	oneAtATime := r.LastResult != resultSuccess
	spent := r.FailedLogons+inFlight >= failedLogonBudget // the probe alone may exceed it
	if inFlight > 0 && (oneAtATime || spent) {
		return &GuardError{Reason: GuardBusy, FailedLogons: r.FailedLogons, Since: r.LastFailure}
	}
	return nil
}

// settle ends a try and says whether that counts as a failed logon. One that was
// taken for dead has been counted already; only a success can still make good of
// it.
func (r *guardRecord) settle(t *Try, o Outcome, now time.Time) (counts bool) {
	if o == OutcomeUnanswered {
		o = OutcomeUnknown
		if r.Proven {
			o = OutcomeNotCounted
		}
	}
	i := slices.IndexFunc(r.Reservations, func(v reservation) bool { return v.ID == t.id })
	inFlight := i >= 0
	if inFlight {
		r.Reservations = slices.Delete(r.Reservations, i, i+1)
	}
	sameLike := func(v refusedLike) bool { return v.Like == t.like }
	switch o {
	case OutcomeSuccess:
		r.succeed(t.everFailed, inFlight)
		r.Refused = slices.DeleteFunc(r.Refused, sameLike)
	case OutcomeFailedLogon, OutcomeUnknown:
		if inFlight {
			r.fail(now)
		}
		if o == OutcomeFailedLogon {
			r.Proven = false
			r.Refused = append(slices.DeleteFunc(r.Refused, sameLike), refusedLike{Like: t.like, At: now})
			r.Refused = r.Refused[max(0, len(r.Refused)-maxRefused):]
		}
		return true
	default:
		if inFlight {
			r.LastResult = resultNotCounted
		}
	}
	return false
}

// succeed resets the count, but for failures recorded while the successful try
// was in flight: IAS may have seen them after the success.
func (r *guardRecord) succeed(everFailed int64, inFlight bool) {
	since := r.EverFailed - everFailed
	if !inFlight {
		since-- // the try itself, which was taken for dead
	}
	if since > 0 && r.FailedLogons > 0 {
		r.FailedLogons = int(min(int64(r.FailedLogons), since))
		return
	}
	r.FailedLogons, r.LastFailure, r.LastResult = 0, time.Time{}, resultSuccess
	r.Proven = true
}
