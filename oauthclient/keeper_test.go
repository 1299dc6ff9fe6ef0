package oauthclient_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"sfbroker/oauthclient"
)

func assertFixed(context.Context) (oauthclient.Assertion, error) { return assertion(), nil }

func keeper(t testing.TB, s *ias, c *clock, change ...func(*oauthclient.KeeperConfig)) *oauthclient.Keeper {
	cfg := oauthclient.KeeperConfig{
		Name: "hr-prod", Application: application(s.tokenURL()), Assert: assertFixed, HTTPClient: client(t), Now: c.Now,
	}
	for _, f := range change {
		f(&cfg)
	}
	k := oauthclient.NewKeeper(cfg)
	t.Cleanup(k.Close)
	return k
}

// warm waits for the first attempt's end.
func warm(t *testing.T, k *oauthclient.Keeper) {
	t.Helper()
	eventually(t, "first attempt", func() bool { return k.State().Attempted })
}

func mustToken(t testing.TB, k *oauthclient.Keeper) oauthclient.Token {
	t.Helper()
	token, err := k.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func wantAsked(t *testing.T, s *ias, want int64) {
	t.Helper()
	if got := s.asked.Load(); got != want {
		t.Errorf("IAS was asked %d times, want %d", got, want)
	}
}

// at runs f in n goroutines that start together, and waits for them.
func at(n int, f func()) {
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for range n {
		wg.Go(func() { <-begin; f() })
	}
	close(begin)
	wg.Wait()
}

func TestKeeperThousandColdCallersCostOneExchange(t *testing.T) {
	c := newClock()
	s := newIAS(t, issue(c.Now, time.Hour))
	k := keeper(t, s, c)
	at(1000, func() {
		if _, err := k.Token(t.Context()); err != nil {
			t.Error(err)
		}
	})
	wantAsked(t, s, 1)
	if st := k.State(); !st.HasToken || st.Exchanges != 1 || !st.Expiry.Equal(start.Add(time.Hour)) || st.LastError != nil || !st.Attempted {
		t.Errorf("%+v", st)
	}
}

func TestKeeperWarmsItself(t *testing.T) {
	c := newClock()
	s := newIAS(t, issue(c.Now, time.Hour))
	k := keeper(t, s, c)
	eventually(t, "a token that nobody asked for", func() bool { _, ok := k.Current(); return ok })
	wantAsked(t, s, 1)
}

func TestKeeperWaiterHonoursItsContext(t *testing.T) {
	c := newClock()
	release := make(chan struct{})
	s := newIAS(t, func(w http.ResponseWriter, r *http.Request) { <-release; issue(c.Now, time.Hour)(w, r) })
	k := keeper(t, s, c)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := k.Token(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("= %v", err)
	}
	if _, ok := k.Current(); ok {
		t.Error("there is a token before IAS answered")
	}
	close(release)
	mustToken(t, k)
	wantAsked(t, s, 1)
}

func TestKeeperRenewsInTheBackgroundInsideTheUsableLife(t *testing.T) {
	usable := time.Hour - 30*time.Second
	for name, use := range map[string]bool{"noticed at a use": true, "noticed without a use": false} {
		t.Run(name, func(t *testing.T) {
			c := newClock()
			s := newIAS(t, issue(c.Now, time.Hour))
			k := keeper(t, s, c)
			old := mustToken(t, k)
			if at := k.State().NextAttempt.Sub(start); at < usable*70/100 || at > usable*85/100 {
				t.Errorf("renewal planned after %v of %v", at, usable)
			}
			c.Add(usable * 69 / 100)
			mustToken(t, k)
			wantAsked(t, s, 1)
			c.Add(usable * 17 / 100)
			if use {
				mustToken(t, k)
			}
			eventually(t, "renewal", func() bool {
				now, ok := k.Current()
				return ok && !now.AccessToken.Equal(old.AccessToken)
			})
			wantAsked(t, s, 2)
		})
	}
}

func TestKeeperOutageInsideTheLifeIsNotNoticed(t *testing.T) {
	c := newClock()
	s := newIAS(t, issue(c.Now, time.Hour))
	k := keeper(t, s, c)
	mustToken(t, k)
	s.set(raw(http.StatusServiceUnavailable, "text/html", "<html>"))
	end := start.Add(time.Hour - 30*time.Second)
	for c.Now().Before(end.Add(-time.Minute)) {
		c.Add(30 * time.Second)
		mustToken(t, k)
	}
	eventually(t, "failed renewals", func() bool { return k.State().LastError != nil })
	wantKind(t, k.State().LastError, oauthclient.KindUnavailable, false)
	mustToken(t, k)
	c.Add(time.Minute) // exactly at the end of the usable life
	if _, err := k.Token(t.Context()); err == nil {
		t.Error("a token that is about to expire was handed out")
	}
	s.set(issue(c.Now, time.Hour))
	c.Add(31 * time.Second)
	mustToken(t, k)
	if st := k.State(); st.LastError != nil || !st.HasToken {
		t.Errorf("%+v", st)
	}
}

// TestKeeperHurriesAsTheTokenEnds: the pauses of an outage shrink with what is left of the token, so that its end finds IAS
// back whenever it is back.
func TestKeeperHurriesAsTheTokenEnds(t *testing.T) {
	c := newClock()
	s := newIAS(t, issue(c.Now, time.Hour))
	k := keeper(t, s, c)
	mustToken(t, k)
	s.set(raw(http.StatusServiceUnavailable, "text/html", "<html>"))
	end := start.Add(time.Hour - 30*time.Second)
	late := 0
	for next := k.State().NextAttempt; next.Before(end); next = k.State().NextAttempt {
		c.Add(next.Sub(c.Now()))
		mustToken(t, k)
		eventually(t, "a failed renewal", func() bool { return !k.State().LastErrorAt.Before(next) })
		now, left := c.Now(), end.Sub(c.Now())
		if pause := k.State().NextAttempt.Sub(now); pause > max(left/4, 250*time.Millisecond) {
			t.Fatalf("%v before the token's end the next attempt is %v away", left, pause)
		}
		if left < 10*time.Second {
			late++
		}
	}
	if late < 3 {
		t.Errorf("%d attempts in the last ten seconds", late)
	}
}

func TestKeeperNeverHandsOutAnExpiredToken(t *testing.T) {
	lives := []time.Duration{
		time.Second, 2 * time.Second, 10 * time.Second, 59 * time.Second, 5 * time.Minute,
		time.Hour, 3 * time.Hour, 12 * time.Hour,
	}
	skews := []time.Duration{-50 * time.Minute, -4 * time.Minute, -time.Second, 0, time.Second, 4 * time.Minute, 50 * time.Minute}
	for _, life := range lives {
		for _, skew := range skews {
			if -skew >= life/2 {
				continue // the token is half or wholly expired as it comes
			}
			t.Run(fmt.Sprintf("life %v skew %v", life, skew), func(t *testing.T) {
				t.Parallel()
				neverExpired(t, life, skew)
			})
		}
	}
}

func neverExpired(t *testing.T, life, skew time.Duration) {
	c := newClock()
	var ends sync.Map // token -> its end by IAS, told by our clock
	s := newIAS(t, func(w http.ResponseWriter, r *http.Request) {
		now := c.Now()
		iat := now.Add(skew)
		token := at2("http://"+r.Host, iat, life, nil)
		ends.Store(token, iat.Truncate(time.Second).Add(life).Add(-skew))
		raw(200, "application/json", fmt.Sprintf(`{"access_token":%q,"token_type":"Bearer","expires_in":%d}`, token, int64(life/time.Second)))(w, r)
	})
	k := keeper(t, s, c)
	r := rand.New(rand.NewPCG(uint64(life), uint64(skew)))
	const uses = 150
	served := 0
	for range uses {
		c.Add(time.Duration(r.Float64() * r.Float64() * float64(life)))
		token, err := k.Token(t.Context())
		if err != nil {
			// With whole seconds a token of a second may be spent as it comes.
			var spent *oauthclient.TokenError
			if life > 2*time.Second || !errors.As(err, &spent) {
				t.Fatal(err)
			}
			continue
		}
		served++
		end, ok := ends.Load(token.AccessToken.Reveal())
		if !ok {
			t.Fatal("a token that IAS never issued")
		}
		if now := c.Now(); life > 2*time.Second && !now.Before(end.(time.Time)) || !now.Before(token.Expiry) {
			t.Fatalf("at %v a token was handed out that ended at %v", now, end)
		}
	}
	if served < uses/2 {
		t.Errorf("only %d of %d uses were served", served, uses)
	}
	if asked := s.asked.Load(); asked > uses+1 {
		t.Errorf("%d exchanges for %d uses", asked, uses)
	}
}

func TestKeeperCountsExpiresInFromTheRequest(t *testing.T) {
	c := newClock()
	s := newIAS(t, func(w http.ResponseWriter, r *http.Request) {
		answer := issue(func() time.Time { return c.Now().Add(50 * time.Minute) }, time.Hour) // IAS's clock is ahead
		c.Add(10 * time.Minute)                                                               // a slow answer
		answer(w, r)
	})
	k := keeper(t, s, c)
	mustToken(t, k)
	if want := start.Add(time.Hour - 30*time.Second); !k.UsableUntil().Equal(want) {
		t.Errorf("usable until %v, want %v", k.UsableUntil(), want)
	}
}

func TestKeeperMetricSaysLockedWhenIASDoes(t *testing.T) {
	c := newClock()
	reg := prometheus.NewRegistry()
	s := newIAS(t, refusal(401, "invalid_client", "", "X-message-code: PASSWORD_LOCKED"))
	k := keeper(t, s, c, func(cfg *oauthclient.KeeperConfig) { cfg.Metrics = oauthclient.NewMetrics(reg) })
	_, err := k.Token(t.Context())
	wantKind(t, err, oauthclient.KindLocked, true)
	const want = `# HELP sfbroker_ias_locked 1 while the lockout guard or IAS itself lets no logon of the connection's client ID through, as of the last attempt.
# TYPE sfbroker_ias_locked gauge
sfbroker_ias_locked{connection="hr-prod"} 1
`
	must(t, testutil.GatherAndCompare(reg, strings.NewReader(want), "sfbroker_ias_locked"))
}

func TestKeeperClockSetBackRevivesNothing(t *testing.T) {
	c := newClock()
	s := newIAS(t, issue(c.Now, time.Hour))
	k := keeper(t, s, c)
	old := mustToken(t, k)
	c.Add(-10 * time.Hour)
	if now := mustToken(t, k); now.AccessToken.Equal(old.AccessToken) {
		t.Error("a token from the future was handed out")
	}
	wantAsked(t, s, 2)
}

func TestKeeperClockSetBackShortensTheLife(t *testing.T) {
	c := newClock()
	s := newIAS(t, issue(c.Now, time.Hour))
	k := keeper(t, s, c)
	mustToken(t, k)
	c.Add(30 * time.Minute)
	eventually(t, "the loop to look", func() bool { k.State(); return k.LooksUpTo(c.Now()) })
	c.Add(-20 * time.Minute) // 30 minutes of real life are left, the clock says 50
	eventually(t, "the shorter life", func() bool { return k.UsableUntil().Equal(start.Add(40*time.Minute - 30*time.Second)) })
	wantAsked(t, s, 1)
}

func TestKeeperStormWithNoTokenAsksOnce(t *testing.T) {
	c := newClock()
	s := newIAS(t, raw(503, "", ""))
	k := keeper(t, s, c)
	warm(t, k)
	at(1000, func() {
		_, err := k.Token(t.Context())
		wantKind(t, err, oauthclient.KindUnavailable, false)
	})
	wantAsked(t, s, 1)
	for n := range int64(5) {
		c.Add(30 * time.Second)
		eventually(t, "a retry nobody asked for", func() bool { return s.asked.Load() == n+2 && k.State().Exchanges == n+2 })
		eventually(t, "its end", func() bool { return !k.State().NextAttempt.Before(c.Now()) })
	}
	if pause := k.State().NextAttempt.Sub(c.Now()); pause > 30*time.Second || pause < time.Second {
		t.Errorf("pause after six failures is %v", pause)
	}
	s.set(issue(c.Now, time.Hour))
	c.Add(30 * time.Second)
	mustToken(t, k)
}

func TestKeeperHonoursRetryAfter(t *testing.T) {
	c := newClock()
	s := newIAS(t, raw(429, "", "", "Retry-After: 600"))
	k := keeper(t, s, c)
	warm(t, k)
	c.Add(599 * time.Second)
	_, err := k.Token(t.Context())
	wantKind(t, err, oauthclient.KindThrottled, false)
	_, err = k.Force(t.Context())
	wantKind(t, err, oauthclient.KindThrottled, false)
	wantAsked(t, s, 1)
	s.set(issue(c.Now, time.Hour))
	c.Add(time.Second)
	mustToken(t, k)
	wantAsked(t, s, 2)
}

func TestKeeperFailedLogonIsNotRepeated(t *testing.T) {
	c := newClock()
	s := newIAS(t, refusal(401, "invalid_client_assertion", "sub mismatch"))
	g := openGuard(t, t.TempDir(), c)
	var current atomic.Pointer[oauthclient.Assertion]
	a := assertion()
	current.Store(&a)
	withGuard := func(cfg *oauthclient.KeeperConfig) {
		cfg.Guard = g
		cfg.Assert = func(context.Context) (oauthclient.Assertion, error) { return *current.Load(), nil }
	}
	k := keeper(t, s, c, withGuard)
	_, err := k.Token(t.Context())
	wantKind(t, err, oauthclient.KindAssertionRejected, true)
	attempts := func() {
		for range 5 {
			c.Add(30 * time.Second)
			_, _ = k.Token(t.Context())
			_, _ = k.Force(t.Context())
		}
	}
	attempts()
	_, err = k.Force(t.Context())
	wantKind(t, err, oauthclient.KindAssertionRejected, true) // the cause stays in sight
	var refused *oauthclient.GuardError
	if !errors.As(err, &refused) || refused.Reason != oauthclient.GuardAssertionRefused {
		t.Errorf("= %v", err)
	}
	k.Close()
	k = keeper(t, s, c, withGuard) // a restart
	attempts()
	wantAsked(t, s, 1)
	// Another assertion gets its chance, without anybody's help, until the budget is spent.
	for n := range int64(4) {
		a := assertion()
		a.KeyID = fmt.Sprint("new", n)
		current.Store(&a)
		attempts()
	}
	wantAsked(t, s, 3)
	_, err = k.Token(t.Context())
	if !errors.As(err, &refused) || refused.Reason != oauthclient.GuardLocked || refused.FailedLogons != 3 {
		t.Errorf("= %v", err)
	}
	// The cause is fixed in IAS: unlock, and it recovers by itself.
	s.set(issue(c.Now, time.Hour))
	must(t, g.Unlock(s.tokenURL(), clientID))
	c.Add(30 * time.Second)
	eventually(t, "recovery after unlock", func() bool { return k.State().HasToken })
	wantAsked(t, s, 4)
}

func TestKeeperProbesOnceByItself(t *testing.T) {
	c := newClock()
	s := newIAS(t, refusal(401, "invalid_client", ""))
	g := openGuard(t, "", c)
	for n := range 3 {
		r, err := g.Reserve(s.tokenURL(), clientID, like(n))
		must(t, err)
		must(t, r.Settle(oauthclient.OutcomeFailedLogon))
	}
	k := keeper(t, s, c, func(cfg *oauthclient.KeeperConfig) { cfg.Guard = g })
	warm(t, k)
	wantAsked(t, s, 0)
	c.Add(time.Hour)
	eventually(t, "the probe", func() bool { return s.asked.Load() == 1 })
	eventually(t, "its end", func() bool { return g.State(s.tokenURL(), clientID).NeedsOperator })
	for range 5 {
		c.Add(24 * time.Hour)
		_, _ = k.Force(t.Context())
	}
	wantAsked(t, s, 1)
}

func TestKeepersOfOneClientTakeTurns(t *testing.T) {
	c := newClock()
	s := newIAS(t, issue(c.Now, time.Hour))
	dir := t.TempDir()
	var keepers []*oauthclient.Keeper
	for range 5 {
		keepers = append(keepers, keeper(t, s, c, func(cfg *oauthclient.KeeperConfig) { cfg.Guard = openGuard(t, dir, c) }))
	}
	for _, k := range keepers {
		mustToken(t, k)
	}
	wantAsked(t, s, 5)
}

func TestKeeperAssertionFailure(t *testing.T) {
	c := newClock()
	s := newIAS(t, issue(c.Now, time.Hour))
	missing := errors.New("no such file")
	var broken atomic.Bool
	broken.Store(true)
	k := keeper(t, s, c, func(cfg *oauthclient.KeeperConfig) {
		cfg.Assert = func(context.Context) (oauthclient.Assertion, error) {
			if broken.Load() {
				return oauthclient.Assertion{}, missing
			}
			return assertion(), nil
		}
	})
	if _, err := k.Token(t.Context()); !errors.Is(err, missing) {
		t.Errorf("= %v", err)
	}
	wantAsked(t, s, 0)
	broken.Store(false)
	c.Add(time.Second)
	mustToken(t, k)
}

func TestKeeperUselessTokenIsNeitherServedNorAFailedLogon(t *testing.T) {
	c := newClock()
	g := openGuard(t, "", c)
	s := newIAS(t, raw(200, "application/json", `{"access_token":"opaque","token_type":"Bearer","expires_in":3600}`))
	k := keeper(t, s, c, func(cfg *oauthclient.KeeperConfig) { cfg.Guard = g })
	_, err := k.Token(t.Context())
	var e *oauthclient.TokenError
	if !errors.As(err, &e) || e.Check != oauthclient.CheckFormat {
		t.Errorf("= %v", err)
	}
	if st := g.State(s.tokenURL(), clientID); st.FailedLogons != 0 {
		t.Errorf("%+v", st)
	}
}

func TestKeeperRefusedStormCostsOneExchange(t *testing.T) {
	c := newClock()
	var dropped atomic.Int64
	s := newIAS(t, issue(c.Now, time.Hour))
	k := keeper(t, s, c, func(cfg *oauthclient.KeeperConfig) {
		cfg.OnReplace = func(oauthclient.Token) { dropped.Add(1) }
	})
	first := mustToken(t, k)
	at(1000, func() {
		fresh, err := k.Refused(t.Context(), first)
		if err != nil || fresh.AccessToken.Equal(first.AccessToken) {
			t.Errorf("= %v", err)
		}
	})
	wantAsked(t, s, 2)
	if dropped.Load() != 1 {
		t.Errorf("OnReplace was called %d times", dropped.Load())
	}
	second := mustToken(t, k)
	// A late report of the first token does not touch the second.
	if fresh, err := k.Refused(t.Context(), first); err != nil || !fresh.AccessToken.Equal(second.AccessToken) {
		t.Errorf("= %v", err)
	}
	// The fresh one is refused too: nothing more until the interval ends.
	c.Add(time.Minute)
	at(1000, func() {
		_, err := k.Refused(t.Context(), second)
		wantRefusedUpstream(t, err, start.Add(5*time.Minute))
	})
	c.Add(4*time.Minute - 1)
	at(100, func() {
		_, err := k.Token(t.Context())
		wantRefusedUpstream(t, err, start.Add(5*time.Minute))
	})
	wantAsked(t, s, 2)
	if st := k.State(); !st.RefusedUntil.Equal(start.Add(5*time.Minute)) || st.HasToken {
		t.Errorf("%+v", st)
	}
	// After the interval there is one more exchange, not two.
	c.Add(1)
	third := mustToken(t, k)
	_, err := k.Refused(t.Context(), third)
	wantRefusedUpstream(t, err, start.Add(10*time.Minute))
	wantAsked(t, s, 3)
	c.Add(5 * time.Minute)
	mustToken(t, k)
	c.Add(5 * time.Minute)
	if _, err := k.Refused(t.Context(), mustToken(t, k)); err != nil {
		t.Errorf("the interval has passed: %v", err)
	}
	wantAsked(t, s, 5)
}

func wantRefusedUpstream(t *testing.T, err error, retryAt time.Time) {
	t.Helper()
	var e *oauthclient.RefusedError
	if !errors.As(err, &e) || !e.RetryAt.Equal(retryAt) {
		t.Errorf("= %v, want refused until %v", err, retryAt)
	}
}

func TestKeeperRefusedDuringAnOutage(t *testing.T) {
	c := newClock()
	s := newIAS(t, issue(c.Now, time.Hour))
	k := keeper(t, s, c)
	first := mustToken(t, k)
	s.set(raw(503, "", ""))
	_, err := k.Refused(t.Context(), first)
	wantKind(t, err, oauthclient.KindUnavailable, false)
	if _, ok := k.Current(); ok {
		t.Error("the refused token is served again")
	}
	s.set(issue(c.Now, time.Hour))
	c.Add(30 * time.Second)
	mustToken(t, k)
}

func TestKeeperForce(t *testing.T) {
	c := newClock()
	s := newIAS(t, issue(c.Now, time.Hour))
	k := keeper(t, s, c)
	first := mustToken(t, k)
	second, err := k.Force(t.Context())
	if err != nil || second.AccessToken.Equal(first.AccessToken) {
		t.Fatalf("= %v", err)
	}
	c.Add(time.Minute - 1)
	at(100, func() {
		if again, err := k.Force(t.Context()); err != nil || !again.AccessToken.Equal(second.AccessToken) {
			t.Errorf("= %v", err)
		}
	})
	wantAsked(t, s, 2)
	c.Add(1)
	s.set(raw(503, "", ""))
	_, err = k.Force(t.Context())
	wantKind(t, err, oauthclient.KindUnavailable, false)
	wantAsked(t, s, 3)
	if now := mustToken(t, k); !now.AccessToken.Equal(second.AccessToken) {
		t.Error("the old token is gone though the new one never came")
	}
}

func TestKeeperForceGetsAConnectionOutOfRefused(t *testing.T) {
	c := newClock()
	s := newIAS(t, issue(c.Now, time.Hour))
	k := keeper(t, s, c)
	second, err := k.Refused(t.Context(), mustToken(t, k))
	must(t, err)
	_, err = k.Refused(t.Context(), second)
	wantRefusedUpstream(t, err, start.Add(5*time.Minute))
	if _, err := k.Force(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustToken(t, k)
	wantAsked(t, s, 3)
}

func TestKeeperExpiryWithoutSuccessorIsTold(t *testing.T) {
	c := newClock()
	gone := make(chan oauthclient.Token, 10)
	s := newIAS(t, issue(c.Now, time.Hour))
	k := keeper(t, s, c, func(cfg *oauthclient.KeeperConfig) {
		cfg.OnReplace = func(old oauthclient.Token) { gone <- old }
	})
	first := mustToken(t, k)
	s.set(raw(503, "", ""))
	c.Add(time.Hour)
	if old := <-gone; !old.AccessToken.Equal(first.AccessToken) {
		t.Error("another token is gone")
	}
	if st := k.State(); st.HasToken || !st.Expiry.IsZero() {
		t.Errorf("%+v", st)
	}
}

func TestKeeperClose(t *testing.T) {
	c := newClock()
	s := newIAS(t, issue(c.Now, time.Hour))
	k := keeper(t, s, c)
	token := mustToken(t, k)
	at(10, k.Close)
	for name, use := range map[string]func() error{
		"Token":   func() error { _, err := k.Token(t.Context()); return err },
		"Force":   func() error { _, err := k.Force(t.Context()); return err },
		"Refused": func() error { _, err := k.Refused(t.Context(), token); return err },
	} {
		if err := use(); !errors.Is(err, oauthclient.ErrKeeperClosed) {
			t.Errorf("%s = %v", name, err)
		}
	}
	wantAsked(t, s, 1)
}

func TestKeeperClosedDuringALogonCountsIt(t *testing.T) {
	c := newClock()
	g := openGuard(t, "", c)
	arrived := make(chan struct{})
	s := newIAS(t, func(_ http.ResponseWriter, r *http.Request) { close(arrived); <-r.Context().Done() })
	k := keeper(t, s, c, func(cfg *oauthclient.KeeperConfig) { cfg.Guard = g })
	<-arrived
	waiter := make(chan error)
	go func() { _, err := k.Token(context.Background()); waiter <- err }()
	k.Close()
	if err := <-waiter; err == nil {
		t.Error("the waiter got a token from nowhere")
	}
	if st := g.State(s.tokenURL(), clientID); st.FailedLogons != 1 || st.InFlight != 0 {
		t.Errorf("%+v", st)
	}
	// Nobody knows what IAS thought of the assertion, so it may be presented again.
	if _, err := g.Reserve(s.tokenURL(), clientID, assertion().Like()); err != nil {
		t.Error(err)
	}
}

func TestKeeperLogsACauseOnceInFiveMinutes(t *testing.T) {
	c := newClock()
	var mu sync.Mutex
	var log bytes.Buffer
	s := newIAS(t, raw(503, "", ""))
	k := keeper(t, s, c, func(cfg *oauthclient.KeeperConfig) {
		cfg.Logger = slog.New(slog.NewTextHandler(lockedWriter{&mu, &log}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	warm(t, k)
	step := func() { c.Add(30 * time.Second); _, _ = k.Token(t.Context()) }
	lines := func() int {
		mu.Lock()
		defer mu.Unlock()
		return strings.Count(log.String(), "no new access token")
	}
	for range 9 {
		step()
	}
	if n := lines(); n != 1 {
		t.Errorf("%d lines in 4:30 minutes of one cause", n)
	}
	step()
	if n := lines(); n != 2 {
		t.Errorf("%d lines in 5 minutes of one cause", n)
	}
	s.set(raw(200, "text/html", "<html>"))
	step()
	if n := lines(); n != 3 {
		t.Errorf("%d lines after a change of cause", n)
	}
	s.set(issue(c.Now, time.Hour))
	step()
	mustToken(t, k)
	mu.Lock()
	defer mu.Unlock()
	if !strings.Contains(log.String(), "access token obtained again") || strings.Contains(log.String(), rawAT1) {
		t.Error(log.String())
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	w  *bytes.Buffer
}

func (w lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.w.Write(p)
}

func TestKeeperMetrics(t *testing.T) {
	c := newClock()
	reg := prometheus.NewRegistry()
	s := newIAS(t, refusal(401, "invalid_client", ""))
	g := openGuard(t, "", c)
	k := keeper(t, s, c, func(cfg *oauthclient.KeeperConfig) { cfg.Metrics, cfg.Guard = oauthclient.NewMetrics(reg), g })
	warm(t, k)
	s.set(issue(c.Now, time.Hour))
	must(t, g.Unlock(s.tokenURL(), clientID))
	c.Add(time.Second)
	mustToken(t, k)
	want := fmt.Sprintf(`# HELP sfbroker_token_exchanges_total Requests to the token endpoint, by outcome: success, token_refused or the kind of the error.
# TYPE sfbroker_token_exchanges_total counter
sfbroker_token_exchanges_total{connection="hr-prod",outcome="client_rejected"} 1
sfbroker_token_exchanges_total{connection="hr-prod",outcome="success"} 1
# HELP sfbroker_token_expiry_timestamp_seconds When the access token held expires, in Unix time; 0 when none is held.
# TYPE sfbroker_token_expiry_timestamp_seconds gauge
sfbroker_token_expiry_timestamp_seconds{connection="hr-prod"} %g
# HELP sfbroker_ias_failed_logons Failed logons of the connection's client ID since the last success or unlock, as of the last attempt.
# TYPE sfbroker_ias_failed_logons gauge
sfbroker_ias_failed_logons{connection="hr-prod"} 0
# HELP sfbroker_ias_locked 1 while the lockout guard or IAS itself lets no logon of the connection's client ID through, as of the last attempt.
# TYPE sfbroker_ias_locked gauge
sfbroker_ias_locked{connection="hr-prod"} 0
`, float64(start.Add(time.Hour+time.Second).Unix()))
	must(t, testutil.GatherAndCompare(reg, strings.NewReader(want),
		"sfbroker_token_exchanges_total", "sfbroker_token_expiry_timestamp_seconds", "sfbroker_ias_failed_logons", "sfbroker_ias_locked"))
	if n, err := testutil.GatherAndCount(reg, "sfbroker_token_exchange_duration_seconds"); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

func TestKeeperKeyHoldsEveryInput(t *testing.T) {
	base := oauthclient.KeeperConfig{Application: oauthclient.Application{TokenURL: "a", ClientID: "b", Resource: "c"}, Revision: "d"}
	seen := map[string]bool{base.Key(): true}
	for _, app := range []oauthclient.Application{
		{TokenURL: "x", ClientID: "b", Resource: "c"},
		{TokenURL: "a", ClientID: "x", Resource: "c"},
		{TokenURL: "a", ClientID: "b", Resource: "x"},
		{TokenURL: "ab", ClientID: "", Resource: "c"},
	} {
		other := base
		other.Application = app
		seen[other.Key()] = true
	}
	other := base
	other.Revision = "x"
	seen[other.Key()] = true
	if len(seen) != 6 {
		t.Errorf("%d keys of 6 configurations", len(seen))
	}
	other = base
	other.Name = "renamed"
	if other.Key() != base.Key() {
		t.Error("a new name costs a new token")
	}
}

func TestKeeperWarmTokenAllocatesNothing(t *testing.T) {
	c := newClock()
	k := keeper(t, newIAS(t, issue(c.Now, time.Hour)), c)
	mustToken(t, k)
	ctx := t.Context()
	if n := testing.AllocsPerRun(1000, func() { _, _ = k.Token(ctx) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkKeeperToken(b *testing.B) {
	s := newIAS(b, issue(time.Now, time.Hour))
	k := keeper(b, s, newClock(), func(cfg *oauthclient.KeeperConfig) { cfg.Now = time.Now })
	mustToken(b, k)
	ctx := b.Context()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := k.Token(ctx); err != nil {
				b.Error(err)
			}
		}
	})
}
