package oauthclient_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"sfbroker/oauthclient"
)

// cut reads the request and ends the connection without an answer.
func cut(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// silent reads the request and never answers.
func silent(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func TestGuardUnansweredLogonCountsUnlessProven(t *testing.T) {
	const (
		success    = oauthclient.OutcomeSuccess
		failed     = oauthclient.OutcomeFailedLogon
		notCounted = oauthclient.OutcomeNotCounted
		unknown    = oauthclient.OutcomeUnknown
		unanswered = oauthclient.OutcomeUnanswered
		unlock     = oauthclient.Outcome(-1)
	)
	stores(t, func(t *testing.T, _ *clock, g func() *oauthclient.Guard) {
		for name, row := range map[string]struct {
			before []oauthclient.Outcome
			counts int
		}{
			"never judged":                        {nil, 1},
			"judged good":                         {[]oauthclient.Outcome{success}, 0},
			"judged good, then an outage":         {[]oauthclient.Outcome{success, unanswered, notCounted, unanswered, unanswered}, 0},
			"judged good, then refused":           {[]oauthclient.Outcome{success, failed}, 1},
			"refused, then judged good":           {[]oauthclient.Outcome{failed, success}, 0},
			"judged good, then abandoned by us":   {[]oauthclient.Outcome{success, unknown}, 0},
			"refused":                             {[]oauthclient.Outcome{failed}, 1},
			"never judged, not counted":           {[]oauthclient.Outcome{notCounted}, 1},
			"never judged, unanswered":            {[]oauthclient.Outcome{unanswered}, 1},
			"judged good, unlocked":               {[]oauthclient.Outcome{success, unlock}, 1},
			"unlocked, judged good":               {[]oauthclient.Outcome{unlock, success}, 0},
			"judged good, refused, unlocked":      {[]oauthclient.Outcome{success, failed, unlock}, 1},
			"refused, good, outage, refused":      {[]oauthclient.Outcome{failed, success, unanswered, failed}, 1},
			"refused, good, outage, good, outage": {[]oauthclient.Outcome{failed, success, unanswered, success, unanswered}, 0},
		} {
			must(t, g().Unlock(tokenURL, clientID))
			n := 0
			step := func(o oauthclient.Outcome) {
				n++
				if o == unlock {
					must(t, g().Unlock(tokenURL, clientID))
					return
				}
				try(t, g(), like(n), o)
			}
			for _, o := range row.before {
				step(o)
			}
			before := g().State(tokenURL, clientID).FailedLogons
			step(unanswered)
			if got := g().State(tokenURL, clientID).FailedLogons - before; got != row.counts {
				t.Errorf("%s: counts %d, want %d", name, got, row.counts)
			}
			// Nobody knows what IAS thought of the assertion, so it may be presented again.
			if r, err := g().Reserve(tokenURL, clientID, like(n)); err != nil {
				t.Errorf("%s: %v", name, err)
			} else {
				must(t, r.Settle(notCounted))
			}
		}
	})
}

// TestUnprovenClientWhoseAnswersAreSwallowedIsAskedThreeTimes: whatever hides the
// answers, IAS never sees the failed logon that locks the client.
func TestUnprovenClientWhoseAnswersAreSwallowedIsAskedThreeTimes(t *testing.T) {
	for name, row := range map[string]struct {
		answer  reply
		timeout time.Duration
	}{
		"connection cut":      {answer: cut},
		"our own time limit":  {answer: silent, timeout: 20 * time.Millisecond},
		"no HTTP in response": {answer: raw(http.StatusFound, "", "", "Location: http://[")},
	} {
		for seed := range uint64(4) {
			t.Run(fmt.Sprintf("%s, seed %d", name, seed), func(t *testing.T) {
				c, dir, r := newClock(), t.TempDir(), rand.New(rand.NewPCG(seed, 1))
				s := newIAS(t, row.answer)
				start := func() *oauthclient.Keeper {
					return keeper(t, s, c, func(cfg *oauthclient.KeeperConfig) {
						cfg.Guard = openGuard(t, dir, c)
						cfg.HTTPClient.Timeout = row.timeout
						cfg.Assert = func(context.Context) (oauthclient.Assertion, error) {
							a := assertion()
							a.KeyID = fmt.Sprint(serial.Add(1) % 3)
							return a, nil
						}
					})
				}
				k := start()
				for c.Now().Before(newClock().Now().Add(50 * time.Minute)) {
					warm(t, k)
					c.Add(time.Duration(r.IntN(180)) * time.Second)
					if _, err := k.Token(t.Context()); err == nil {
						t.Fatal("a token from nowhere")
					}
					_, _ = k.Force(t.Context())
					if r.IntN(8) == 0 {
						k.Close()
						k = start()
					}
				}
				wantAsked(t, s, 3)
				wantLocked(t, k, 3)
				// The probe is the only one more, ever.
				for range 5 {
					c.Add(2 * time.Hour)
					_, _ = k.Token(t.Context())
					_, _ = k.Force(t.Context())
				}
				wantAsked(t, s, 4)
				wantLocked(t, k, 4)
			})
		}
	}
}

func wantLocked(t *testing.T, k *oauthclient.Keeper, failures int) {
	t.Helper()
	_, err := k.Token(t.Context())
	var e *oauthclient.GuardError
	if !errors.As(err, &e) || e.Reason != oauthclient.GuardLocked || e.FailedLogons != failures {
		t.Errorf("= %v, want locked at %d", err, failures)
	}
}

func TestProvenClientOutlivesAnOutageThatSwallowsAnswers(t *testing.T) {
	c, dir := newClock(), t.TempDir()
	s := newIAS(t, issue(c.Now, time.Minute))
	withGuard := func(cfg *oauthclient.KeeperConfig) { cfg.Guard = openGuard(t, dir, c) }
	k := keeper(t, s, c, withGuard)
	mustToken(t, k)
	k.Close()
	k = keeper(t, s, c, withGuard) // what is proven survives a restart
	mustToken(t, k)
	s.set(cut)
	before := s.asked.Load()
	const outage = 3 * time.Hour
	for range outage / (30 * time.Second) {
		c.Add(30 * time.Second)
		_, _ = k.Token(t.Context())
	}
	// Pauses lie between one minute and two.
	if asked := s.asked.Load() - before; asked > 180+20 || asked < 60 {
		t.Errorf("IAS was asked %d times in %v", asked, outage)
	}
	if pause := k.State().NextAttempt.Sub(k.State().LastErrorAt); pause < time.Minute || pause > 2*time.Minute {
		t.Errorf("pause is %v", pause)
	}
	if st := openGuard(t, dir, c).State(s.tokenURL(), clientID); st.FailedLogons != 0 || st.NeedsOperator || st.Err != nil {
		t.Errorf("an outage was counted: %+v", st)
	}
	s.set(issue(c.Now, time.Hour))
	c.Add(2 * time.Minute)
	eventually(t, "recovery by itself", func() bool { return k.State().HasToken })
}

func TestKeeperRetriesQuicklyWhenNothingWasSent(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	c := newClock()
	g := openGuard(t, "", c)
	k := keeper(t, newIAS(t, cut), c, func(cfg *oauthclient.KeeperConfig) {
		cfg.Guard, cfg.Application.TokenURL = g, gone.URL
	})
	for n := range int64(12) {
		_, err := k.Token(t.Context())
		wantKind(t, err, oauthclient.KindUnavailable, false)
		if asked := k.State().Exchanges; asked != n+1 {
			t.Errorf("attempt %d is number %d", n+1, asked)
		}
		if pause := k.State().NextAttempt.Sub(c.Now()); pause > 30*time.Second || n == 0 && pause > 250*time.Millisecond {
			t.Errorf("pause %v after attempt %d", pause, n+1)
		}
		c.Add(30 * time.Second)
	}
	if st := g.State(gone.URL, clientID); st.FailedLogons != 0 {
		t.Errorf("%+v", st)
	}
}

func TestKeeperSpreadsTheFewTriesOfAnUnprovenClient(t *testing.T) {
	c := newClock()
	s := newIAS(t, cut)
	k := keeper(t, s, c)
	warm(t, k)
	if pause := k.State().NextAttempt.Sub(start); pause < 15*time.Second || pause > 30*time.Second {
		t.Errorf("pause %v", pause)
	}
	s.set(issue(c.Now, time.Hour))
	c.Add(30 * time.Second)
	mustToken(t, k)
}
