package broker

import (
	"testing"
	"time"

	"sfbroker/broker/diagnosis"
)

// TestTokenEndsWhateverKeptItAway: each failure on the way to a token is over once one is held, also the broker's own;
// SuccessFactors' verdict is not.
func TestTokenEndsWhateverKeptItAway(t *testing.T) {
	for _, e := range diagnosis.All() {
		h := newHealth(time.Now)
		h.broken(diagnosis.Finding{Entry: e}, "")
		h.tokenObtained()
		if ended := h.state().finding == nil; ended != (e.Origin != diagnosis.FromSuccessFactors) {
			t.Errorf("%s of %s: ended %v", e.Code, e.Origin, ended)
		}
	}
}

// TestLateAnswerEndsNoNewerFailure: a success counts from when it was sent.
func TestLateAnswerEndsNoNewerFailure(t *testing.T) {
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	h := newHealth(func() time.Time { return now })
	h.broken(diagnosis.Finding{}, "")
	h.ok(now.Add(-time.Second))
	if h.state().finding == nil {
		t.Error("an answer to an earlier request ended it")
	}
	h.ok(now)
	if h.state().finding != nil {
		t.Error("an answer to a later request did not")
	}
}
