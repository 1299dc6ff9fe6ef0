package assembly_test

import (
	"net/http"
	"testing"
	"time"

	"sfbroker/sandbox"
)

// TestIASGoneForMostOfATokensLife: from minute 5 to minute 55 IAS answers nobody, and no request is lost: the token in hand
// serves, and is renewed in the minutes that are left.
func TestIASGoneForMostOfATokensLife(t *testing.T) {
	time0 := &clock{at: time.Now().Truncate(time.Second)}
	start := time0.now()
	h := newHouse(t, alone(), clocked(time0.now))
	h.tried(t, first)
	conn, _ := h.daemon.Broker().Connection(first)
	requests, failed := 0, 0
	ask := func() {
		t.Helper()
		requests++
		if w := do(t, h.job(t, "/odata/v2/PerPerson?$top=1&$format=json")); w.Code != http.StatusOK {
			failed++
			t.Errorf("request %d, after %s: %d %s", requests, time0.now().Sub(start), w.Code, w.Body)
		}
	}
	ask()
	if n := conn.TokenState().Exchanges; n != 1 {
		t.Fatalf("%d exchanges for the first token", n)
	}
	issued := h.sandbox.Stats().IAS.TokensIssued
	for time0.now().Before(start.Add(65 * time.Minute)) {
		time0.add(15 * time.Second)
		switch after := time0.now().Sub(start); after {
		case 5 * time.Minute:
			fault(t, h, true)
		case 55 * time.Minute:
			fault(t, h, false)
		case 56 * time.Minute:
			// The pause between two attempts is at most half a minute, so by now the keeper asks again.
			until(t, "the token is renewed before it expires", func() bool {
				ask()
				return h.sandbox.Stats().IAS.TokensIssued == issued+1
			})
		}
		ask()
	}
	if after := h.sandbox.Stats().IAS.TokensIssued; after != issued+1 {
		t.Errorf("IAS issued %d tokens in 65 minutes, want 2", after)
	}
	if s := conn.Lockout(); s.FailedLogons != 0 {
		t.Errorf("an outage was counted as %d failed logons", s.FailedLogons)
	}
	if requests < 250 || failed != 0 {
		t.Errorf("%d of %d requests failed", failed, requests)
	}
}

func fault(t *testing.T, h *house, on bool) {
	t.Helper()
	if err := h.sandbox.SetFault(sandbox.FaultIASDown, on); err != nil {
		t.Fatal(err)
	}
}

// TestRenewalComesBeforeExpiry: in 65 minutes of a 60-minute token there are exactly two exchanges, and the second comes
// while the first token is still good.
func TestRenewalComesBeforeExpiry(t *testing.T) {
	time0 := &clock{at: time.Now().Truncate(time.Second)}
	start := time0.now()
	h := newHouse(t, alone(), clocked(time0.now))
	h.tried(t, first)
	conn, _ := h.daemon.Broker().Connection(first)
	expiry := conn.TokenState().Expiry
	if life := expiry.Sub(start); life < 59*time.Minute || life > 61*time.Minute {
		t.Fatalf("the first token lives %s", life)
	}
	renewed := time.Time{}
	for time0.now().Before(start.Add(65 * time.Minute)) {
		time0.add(30 * time.Second)
		if w := do(t, h.job(t, "/odata/v2/PerPerson?$top=1&$format=json")); w.Code != http.StatusOK {
			t.Errorf("after %s: %d %s", time0.now().Sub(start), w.Code, w.Body)
		}
		if time0.now().Equal(start.Add(52 * time.Minute)) { // the latest renewal is due at 85 % of 59.5 minutes
			until(t, "renewal", func() bool { return conn.TokenState().Exchanges == 2 })
		}
		if renewed.IsZero() && !conn.TokenState().Expiry.Equal(expiry) {
			renewed = time0.now()
		}
	}
	if renewed.IsZero() || !renewed.Before(expiry) || renewed.Before(start.Add(40*time.Minute)) {
		t.Errorf("renewed after %s of %s", renewed.Sub(start), expiry.Sub(start))
	}
	if n, asked := conn.TokenState().Exchanges, h.sandbox.Stats().IAS.TokenRequests; n != 2 || asked != 2 {
		t.Errorf("the keeper counts %d exchanges, IAS %d: want 2", n, asked)
	}
}
