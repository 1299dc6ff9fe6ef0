package trust_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"sfbroker/trust"
)

// longLived are claims that hold on both sides of a clock set back by a day.
func longLived(issuer string, at time.Time) map[string]any {
	claims := goodClaims(issuer)
	for name, value := range map[string]any{"iat": at.Unix() - 10, "nbf": at.Unix() - 10, "exp": at.Add(72 * time.Hour).Unix()} {
		claims = with(claims, name, value)
	}
	return claims
}

func clockWorld(t *testing.T, rule trust.Rule) *world {
	rule.MaxLifetime = 100 * time.Hour
	return compile(t, rule)
}

func TestClockSetBackRefreshesAtOnce(t *testing.T) {
	for name, row := range map[string]struct {
		back    time.Duration
		refresh bool
	}{
		"by a day":      {24 * time.Hour, true},
		"by 2 seconds":  {2 * time.Second, true},
		"within jitter": {time.Second, false},
		"not at all":    {0, false},
	} {
		t.Run(name, func(t *testing.T) {
			older, newer := jwkOf("old", &rsaKey().PublicKey), jwkOf("new", &rsaOther().PublicKey)
			i := newIssuer(t, keySet(older))
			w := clockWorld(t, i.rule())
			withOld := mint(jwt.SigningMethodRS256, rsaKey(), "old", longLived(i.URL, testEpoch.Add(-24*time.Hour)))
			mustVerify(t, w, withOld)
			i.Publish(keySet(newer)) // the old key is withdrawn
			w.clock.Advance(-row.back)
			if !row.refresh {
				mustVerify(t, w, withOld)
				if n := i.Fetches(); n != 1 {
					t.Errorf("%d fetches", n)
				}
				return
			}
			eventually(t, "the withdrawn key dies", func() bool {
				_, err := w.verify(withOld)
				return reasonOf(t, err) == trust.ReasonKeyUnknown
			})
			if state := w.Keys()[0]; state.FetchedAt.After(w.clock.Now()) {
				t.Errorf("confirmed in the future: %+v", state)
			}
		})
	}
}

func TestClockSetBackNeitherHammersNorOutlivesTheCeiling(t *testing.T) {
	i := newIssuer(t, keySet(jwkOf("k1", &rsaKey().PublicKey)))
	w := clockWorld(t, i.rule())
	assertion := mint(jwt.SigningMethodRS256, rsaKey(), "k1", longLived(i.URL, testEpoch.Add(-24*time.Hour)))
	mustVerify(t, w, assertion)
	i.Serve(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	w.clock.Advance(-24 * time.Hour)
	eventually(t, "a refresh that fails", func() bool {
		mustVerify(t, w, assertion) // the good set serves meanwhile
		return w.Keys()[0].LastError != nil
	})
	for range 1000 {
		mustVerify(t, w, assertion)
	}
	if n := i.Fetches(); n != 2 {
		t.Errorf("%d fetches: the clock was set back once", n)
	}
	if state := w.Keys()[0]; !state.FetchedAt.Equal(w.clock.Now()) {
		t.Errorf("confirmed at %v, clock %v", state.FetchedAt, w.clock.Now())
	}
	// The ceiling runs from when the clock was set back.
	w.clock.Advance(48 * time.Hour)
	mustVerify(t, w, assertion)
	w.clock.Advance(time.Second)
	_, err := w.verify(assertion)
	wantReason(t, err, trust.ReasonKeysStale)
}

func TestClockSetBackWithAKeysFile(t *testing.T) {
	path := writeKeys(t, keySet(jwkOf("k1", &rsaKey().PublicKey)))
	w := clockWorld(t, trust.Rule{Name: "r", Issuer: fuzzIssuer, KeysFile: path, Subject: subject, Audience: audience})
	assertion := mint(jwt.SigningMethodRS256, rsaKey(), "k1", longLived(fuzzIssuer, testEpoch.Add(-24*time.Hour)))
	mustVerify(t, w, assertion)
	w.clock.Advance(-24 * time.Hour)
	mustVerify(t, w, assertion)
	if state := w.Keys()[0]; !state.FetchedAt.Equal(w.clock.Now()) {
		t.Errorf("confirmed at %v, clock %v", state.FetchedAt, w.clock.Now())
	}
}
