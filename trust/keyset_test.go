package trust_test

import (
	"bytes"
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"sfbroker/trust"
)

func outcome(err error) trust.Outcome {
	if fault := (*trust.KeySetError)(nil); errors.As(err, &fault) {
		return fault.Outcome
	}
	return ""
}

// eventually polls, since background work has no other end to wait on.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func TestOverlapRotation(t *testing.T) {
	older, newer := jwkOf("old", &rsaKey().PublicKey), jwkOf("new", &rsaOther().PublicKey)
	i := newIssuer(t, keySet(older))
	w := compile(t, i.rule())
	withOld := mint(jwt.SigningMethodRS256, rsaKey(), "old", goodClaims(i.URL))
	withNew := mint(jwt.SigningMethodRS256, rsaOther(), "new", goodClaims(i.URL))

	mustVerify(t, w, withOld)
	i.Publish(keySet(older, newer))
	mustVerify(t, w, withNew)
	if i.Fetches() != 2 {
		t.Fatalf("a new key cost %d fetches", i.Fetches()-1)
	}
	mustVerify(t, w, withOld)
	if i.Fetches() != 2 {
		t.Fatal("the old key fetched")
	}
	i.Publish(keySet(newer))
	w.clock.Advance(67 * time.Minute) // past an hour and its jitter
	long := with(goodClaims(i.URL), "exp", testEpoch.Add(5*time.Hour).Unix())
	withOld = mint(jwt.SigningMethodRS256, rsaKey(), "old", long)
	eventually(t, "the withdrawn key dies at the refresh", func() bool {
		_, err := w.verify(withOld)
		return reasonOf(t, err) == trust.ReasonKeyUnknown
	})
	mustVerify(t, w, mint(jwt.SigningMethodRS256, rsaOther(), "new", long))
}

func TestWithdrawnKeyDiesWithoutTraffic(t *testing.T) {
	older, newer := jwkOf("old", &rsaKey().PublicKey), jwkOf("new", &rsaOther().PublicKey)
	i := newIssuer(t, keySet(older))
	w := compile(t, i.rule())
	mustVerify(t, w, mint(jwt.SigningMethodRS256, rsaKey(), "old", goodClaims(i.URL)))
	i.Publish(keySet(newer))
	w.clock.Advance(67 * time.Minute)
	eventually(t, "the background refresh", func() bool { return w.Keys()[0].FetchedAt.Equal(w.clock.Now()) })
	_, err := w.verify(mint(jwt.SigningMethodRS256, rsaKey(), "old", with(goodClaims(i.URL), "exp", testEpoch.Add(2*time.Hour).Unix())))
	wantReason(t, err, trust.ReasonKeyUnknown)
}

func TestUnknownKeyIDCostsOneFetchPerInterval(t *testing.T) {
	i := newIssuer(t, keySet(jwkOf("k1", &rsaKey().PublicKey)))
	w := compile(t, i.rule())
	good := mint(jwt.SigningMethodRS256, rsaKey(), "k1", goodClaims(i.URL))
	mustVerify(t, w, good)
	storm := func() {
		var wg sync.WaitGroup
		for n := range 50 {
			wg.Go(func() {
				_, err := w.verify(mint(jwt.SigningMethodRS256, rsaKey(), fmt.Sprint("bad", n), goodClaims(i.URL)))
				if got := reasonOf(t, err); got != trust.ReasonKeyUnknown {
					t.Errorf("reason %s", got)
				}
			})
		}
		wg.Wait()
	}
	for round := 1; round <= 3; round++ {
		storm()
		storm()
		if got := i.Fetches(); got != 1+round {
			t.Fatalf("round %d: %d fetches", round, got)
		}
		w.clock.Advance(29 * time.Second)
		storm()
		if got := i.Fetches(); got != 1+round {
			t.Fatalf("round %d: a fetch inside the interval", round)
		}
		w.clock.Advance(time.Second)
	}
	if checks := w.signatureChecks(t); checks != 1 {
		t.Errorf("unknown key IDs cost %d signature checks", checks-1)
	}
	mustVerify(t, w, good)
}

func TestUnknownKeyIDOnAColdSet(t *testing.T) {
	i := newIssuer(t, keySet(jwkOf("k1", &rsaKey().PublicKey)))
	w := compile(t, i.rule())
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			_, err := w.verify(mint(jwt.SigningMethodRS256, rsaKey(), "bad", goodClaims(i.URL)))
			if got := reasonOf(t, err); got != trust.ReasonKeyUnknown {
				t.Errorf("reason %s", got)
			}
		})
	}
	wg.Wait()
	if i.Fetches() != 1 {
		t.Errorf("%d fetches", i.Fetches())
	}
	mustVerify(t, w, mint(jwt.SigningMethodRS256, rsaKey(), "k1", goodClaims(i.URL)))
}

func TestKnownKeyWaitsForNobody(t *testing.T) {
	i := newIssuer(t, keySet(jwkOf("k1", &rsaKey().PublicKey)))
	w := compile(t, i.rule())
	good := mint(jwt.SigningMethodRS256, rsaKey(), "k1", goodClaims(i.URL))
	mustVerify(t, w, good)
	entered, release := make(chan struct{}), make(chan struct{})
	i.Serve(func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		select {
		case <-release:
		case <-r.Context().Done():
		}
		fmt.Fprint(w, keySet(jwkOf("k1", &rsaKey().PublicKey)))
	})
	waiting := make(chan error, 2)
	short, cancel := context.WithCancel(context.Background())
	unknown := mint(jwt.SigningMethodRS256, rsaKey(), "bad", goodClaims(i.URL))
	go func() { _, err := w.verify(unknown); waiting <- err }()
	<-entered
	impatient := make(chan error, 1)
	go func() { _, err := w.Verify(short, unknown); impatient <- err }()
	mustVerify(t, w, good) // while the fetch hangs
	cancel()
	err := <-impatient
	wantReason(t, err, trust.ReasonKeysUnreachable)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the waiter's own context is not the cause: %v", err)
	}
	close(release)
	wantReason(t, <-waiting, trust.ReasonKeyUnknown)
}

func TestSlowDripEndsWithTheContext(t *testing.T) {
	i := newIssuer(t, "")
	dripping := make(chan struct{})
	i.Serve(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `{"keys":[`)
		_ = http.NewResponseController(w).Flush()
		close(dripping)
		<-r.Context().Done()
	})
	w := compile(t, i.rule())
	ctx, cancel := context.WithCancelCause(context.Background())
	go func() { <-dripping; cancel(context.DeadlineExceeded) }()
	_, err := w.Verify(ctx, mint(jwt.SigningMethodRS256, rsaKey(), "k1", goodClaims(i.URL)))
	wantReason(t, err, trust.ReasonKeysUnreachable)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cause: %v", err)
	}
	w.Close() // ends the fetch, or goleak and the server's Close would tell
	if got := outcome(w.Keys()[0].LastError); got != trust.OutcomeClosed {
		t.Errorf("outcome %q", got)
	}
	_, err = w.verify(mint(jwt.SigningMethodRS256, rsaKey(), "k1", goodClaims(i.URL)))
	wantReason(t, err, trust.ReasonKeysUnreachable)
}

func TestBadAnswersNeverReplaceAGoodSet(t *testing.T) {
	good := keySet(jwkOf("k1", &rsaKey().PublicKey))
	text := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }
	}
	twice := jwkOf("k1", &rsaOther().PublicKey)
	rows := []struct {
		name  string
		serve http.HandlerFunc
		want  trust.Outcome
	}{
		{"control", text(good), trust.OutcomeOK},
		{"500", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "secret-body", 500) }, trust.OutcomeStatus},
		{"204", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, trust.OutcomeStatus},
		{"redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }, trust.OutcomeRedirect},
		{"200 with HTML", text("<html>secret-body</html>"), trust.OutcomeGarbled},
		{"empty body", text(""), trust.OutcomeGarbled},
		{"no keys", text(`{}`), trust.OutcomeGarbled},
		{"keys no array", text(`{"keys":{}}`), trust.OutcomeGarbled},
		{"key no object", text(`{"keys":[1]}`), trust.OutcomeGarbled},
		{"empty set", text(`{"keys":[]}`), trust.OutcomeRefused},
		{"trailing data", text(good + "x"), trust.OutcomeGarbled},
		{"Keys beside keys", text(`{"Keys":[],` + good[1:]), trust.OutcomeGarbled},
		{"duplicate member in a key", text(strings.Replace(good, `"kid"`, `"kid":"k0","kid"`, 1)), trust.OutcomeGarbled},
		{"duplicate kid", text(keySet(jwkOf("k1", &rsaKey().PublicKey), twice)), trust.OutcomeRefused},
		{"endless body", endless, trust.OutcomeTooLarge},
		{"hung up in the body", hangUp, trust.OutcomeUnreachable},
		{"100 keys", text(keySet(manyKeys(100)...)), trust.OutcomeOK},
		{"101 keys", text(keySet(manyKeys(101)...)), trust.OutcomeTooLarge},
		{"1 MiB", text(good + strings.Repeat(" ", 1<<20-len(good))), trust.OutcomeOK},
		{"1 MiB and a byte", text(good + strings.Repeat(" ", 1<<20-len(good)+1)), trust.OutcomeTooLarge},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			i := newIssuer(t, good)
			w := compile(t, i.rule())
			assertion := mint(jwt.SigningMethodRS256, rsaKey(), "k1", goodClaims(i.URL))
			mustVerify(t, w, assertion)
			i.Serve(row.serve)
			_, err := w.verify(mint(jwt.SigningMethodRS256, rsaKey(), "other", goodClaims(i.URL)))
			if row.want == trust.OutcomeOK {
				wantReason(t, err, trust.ReasonKeyUnknown)
			} else {
				wantReason(t, err, trust.ReasonKeysUnreachable)
				if got := outcome(err); got != row.want {
					t.Errorf("outcome %q, want %q (%v)", got, row.want, err)
				}
			}
			if err != nil && strings.Contains(err.Error(), "secret-body") {
				t.Errorf("the error quotes the body: %v", err)
			}
			if got := w.count(t, "sfbroker_jwks_fetches_total", string(row.want)); got == 0 {
				t.Error("the outcome is not counted")
			}
			mustVerify(t, w, assertion) // the good set is still there
			if i.Fetches() != 2 {
				t.Errorf("%d fetches", i.Fetches())
			}
		})
	}
}

func endless(w http.ResponseWriter, r *http.Request) {
	fmt.Fprint(w, `{"keys":[`)
	filler := bytes.Repeat([]byte(" "), 64<<10)
	for r.Context().Err() == nil {
		if _, err := w.Write(filler); err != nil {
			return
		}
	}
}

func hangUp(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	fmt.Fprint(w, `{"keys":[`)
	panic(http.ErrAbortHandler)
}

// manyKeys are distinct kids; the first is the one in use.
func manyKeys(n int) []map[string]any {
	keys := []map[string]any{jwkOf("k1", &rsaKey().PublicKey)}
	for len(keys) < n {
		keys = append(keys, jwkOf(fmt.Sprint("key-", len(keys)), edKey().Public()))
	}
	return keys
}

func TestStaleCeiling(t *testing.T) {
	i := newIssuer(t, keySet(jwkOf("k1", &rsaKey().PublicKey)))
	rule := i.rule()
	rule.MaxLifetime = 100 * time.Hour
	w := compile(t, rule)
	claims := with(goodClaims(i.URL), "exp", testEpoch.Add(72*time.Hour).Unix())
	assertion := mint(jwt.SigningMethodRS256, rsaKey(), "k1", claims)
	mustVerify(t, w, assertion)
	i.Serve(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	w.clock.Advance(48 * time.Hour)
	mustVerify(t, w, assertion)
	w.clock.Advance(time.Second)
	_, err := w.verify(assertion)
	wantReason(t, err, trust.ReasonKeysStale)
	if outcome(err) != trust.OutcomeStatus {
		t.Errorf("cause: %v", err)
	}
	i.Publish(keySet(jwkOf("k1", &rsaKey().PublicKey)))
	w.clock.Advance(time.Hour)
	eventually(t, "recovery", func() bool { _, err := w.verify(assertion); return err == nil })
}

func TestUnreachableIssuerRecovers(t *testing.T) {
	i := newIssuer(t, keySet(jwkOf("k1", &rsaKey().PublicKey)))
	i.Serve(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	w := compile(t, i.rule())
	assertion := mint(jwt.SigningMethodRS256, rsaKey(), "k1", goodClaims(i.URL))
	for range 5 {
		_, err := w.verify(assertion)
		wantReason(t, err, trust.ReasonKeysUnreachable)
		if outcome(err) != trust.OutcomeStatus {
			t.Errorf("cause: %v", err)
		}
	}
	if i.Fetches() != 1 {
		t.Errorf("%d fetches of an issuer that is down", i.Fetches())
	}
	if state := w.Keys()[0]; state.Keys != 0 || state.LastError == nil || state.JWKSURI != i.URL+"/keys" {
		t.Errorf("state %+v", state)
	}
	i.Publish(keySet(jwkOf("k1", &rsaKey().PublicKey)))
	w.clock.Advance(30 * time.Second)
	mustVerify(t, w, assertion)
	if state := w.Keys()[0]; state.Keys != 1 || state.LastError != nil || !state.FetchedAt.Equal(w.clock.Now()) {
		t.Errorf("state %+v", state)
	}
}

func TestKeysThatAreNotUsed(t *testing.T) {
	edit := func(key map[string]any, name string, value any) map[string]any { return with(key, name, value) }
	public := func() map[string]any { return jwkOf("k1", &rsaKey().PublicKey) }
	smallE := &rsa.PublicKey{N: rsaKey().N, E: 3}
	evenE := &rsa.PublicKey{N: rsaKey().N, E: 65538}
	huge := &rsa.PublicKey{N: new(big.Int).SetBit(new(big.Int), 8192, 1), E: 65537}
	rows := []struct {
		name string
		key  func(issuer string) map[string]any
		want trust.Reason
	}{
		{"control", func(string) map[string]any { return public() }, ""},
		{"use absent", func(string) map[string]any { return edit(public(), "use", nil) }, ""},
		{"use enc", func(string) map[string]any { return edit(public(), "use", "enc") }, trust.ReasonKeyUnsuitable},
		{"use number", func(string) map[string]any { return edit(public(), "use", 1) }, trust.ReasonKeyUnsuitable},
		{"key_ops verify", func(string) map[string]any { return edit(public(), "key_ops", []string{"verify"}) }, ""},
		{"key_ops encrypt", func(string) map[string]any { return edit(public(), "key_ops", []string{"encrypt"}) }, trust.ReasonKeyUnsuitable},
		{"key_ops empty", func(string) map[string]any { return edit(public(), "key_ops", []string{}) }, trust.ReasonKeyUnsuitable},
		{"alg equal", func(string) map[string]any { return edit(public(), "alg", "RS256") }, ""},
		{"alg another", func(string) map[string]any { return edit(public(), "alg", "PS256") }, trust.ReasonKeyAlgorithm},
		{"alg of another type", func(string) map[string]any { return edit(public(), "alg", "ES256") }, trust.ReasonKeyUnsuitable},
		{"alg RSA-OAEP", func(string) map[string]any { return edit(public(), "alg", "RSA-OAEP") }, trust.ReasonKeyUnsuitable},
		{"kty absent", func(string) map[string]any { return edit(public(), "kty", nil) }, trust.ReasonKeyUnsuitable},
		{"n absent", func(string) map[string]any { return edit(public(), "n", nil) }, trust.ReasonKeyUnsuitable},
		{"N beside n", func(string) map[string]any { return edit(public(), "N", "AQAB") }, trust.ReasonKeyUnsuitable},
		{"1024 bits", func(string) map[string]any { return jwkOf("k1", &rsaWeak().PublicKey) }, trust.ReasonKeyUnsuitable},
		{"8193 bits", func(string) map[string]any { return jwkOf("k1", huge) }, trust.ReasonKeyUnsuitable},
		{"e 3", func(string) map[string]any { return jwkOf("k1", smallE) }, trust.ReasonKeyUnsuitable},
		{"e even", func(string) map[string]any { return jwkOf("k1", evenE) }, trust.ReasonKeyUnsuitable},
		{"e of 9 bytes that ends in 65537", func(string) map[string]any { return edit(public(), "e", b64([]byte{1, 0, 0, 0, 0, 0, 1, 0, 1})) }, trust.ReasonKeyUnsuitable},
		{"private key", func(string) map[string]any { return edit(public(), "d", b64(rsaKey().D.Bytes())) }, trust.ReasonKeyUnsuitable},
		{"symmetric key", func(string) map[string]any { return map[string]any{"kty": "oct", "kid": "k1", "k": "c2VjcmV0"} }, trust.ReasonKeyUnsuitable},
		{"issuer equal", func(issuer string) map[string]any { return edit(public(), "issuer", issuer) }, ""},
		{"issuer another", func(string) map[string]any { return edit(public(), "issuer", "https://b.example") }, trust.ReasonKeyUnsuitable},
		{"issuer number", func(string) map[string]any { return edit(public(), "issuer", 1) }, trust.ReasonKeyUnsuitable},
		{"curve P-521", func(string) map[string]any {
			return map[string]any{"kty": "EC", "crv": "P-521", "kid": "k1", "x": b64(make([]byte, 66)), "y": b64(make([]byte, 66))}
		}, trust.ReasonKeyUnsuitable},
		{"point off the curve", func(string) map[string]any { return edit(jwkOf("k1", &ecKey().PublicKey), "y", b64(make([]byte, 32))) }, trust.ReasonKeyUnsuitable},
		{"Ed25519 of 31 bytes", func(string) map[string]any { return edit(jwkOf("k1", edKey().Public()), "x", b64(make([]byte, 31))) }, trust.ReasonKeyUnsuitable},
		{"X25519", func(string) map[string]any { return edit(jwkOf("k1", edKey().Public()), "crv", "X25519") }, trust.ReasonKeyUnsuitable},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			i := newIssuer(t, "")
			i.Publish(keySet(jwkOf("other", &rsaOther().PublicKey), row.key(i.URL)))
			w := compile(t, i.rule())
			_, err := w.verify(mint(jwt.SigningMethodRS256, rsaKey(), "k1", goodClaims(i.URL)))
			if got := reasonOf(t, err); got != row.want {
				t.Errorf("reason %q, want %q (%v)", got, row.want, err)
			}
			mustVerify(t, w, mint(jwt.SigningMethodRS256, rsaOther(), "other", goodClaims(i.URL)))
			// A published key that is not used is no better after a fetch, though the limiter would allow one.
			w.clock.Advance(31 * time.Second)
			_, err = w.verify(mint(jwt.SigningMethodRS256, rsaKey(), "k1", goodClaims(i.URL)))
			if got := reasonOf(t, err); got != row.want {
				t.Errorf("warm: reason %q, want %q", got, row.want)
			}
			if i.Fetches() != 1 {
				t.Errorf("%d fetches", i.Fetches())
			}
		})
	}
}

func TestKeyIssuerTemplate(t *testing.T) {
	const issuer = "https://login.microsoftonline.com/8a1c4f2e-3b5d-4f6a-9c7e-1d2b3a4c5e6f/v2.0"
	templated := with(jwkOf("k1", &rsaKey().PublicKey), "issuer", "https://login.microsoftonline.com/{tenantid}/v2.0")
	rule := trust.Rule{Name: "r", Issuer: issuer, KeysFile: writeKeys(t, keySet(templated)), Subject: subject, Audience: audience}
	mustVerify(t, compile(t, rule), mint(jwt.SigningMethodRS256, rsaKey(), "k1", goodClaims(issuer)))
	rule.Issuer = strings.Replace(issuer, "com/", "us/", 1)
	_, err := compile(t, rule).verify(mint(jwt.SigningMethodRS256, rsaKey(), "k1", goodClaims(rule.Issuer)))
	wantReason(t, err, trust.ReasonKeysUnreachable) // no key of the file is this issuer's
}

func TestKeyIDMissingAmongSeveralKeys(t *testing.T) {
	i := newIssuer(t, keySet(jwkOf("a", &rsaKey().PublicKey), jwkOf("b", &rsaOther().PublicKey)))
	w := compile(t, i.rule())
	_, err := w.verify(mint(jwt.SigningMethodRS256, rsaKey(), "", goodClaims(i.URL)))
	wantReason(t, err, trust.ReasonKeyIDMissing)
	if w.signatureChecks(t) != 0 || i.Fetches() != 1 {
		t.Errorf("%d checks, %d fetches", w.signatureChecks(t), i.Fetches())
	}
	lone := newIssuer(t, keySet(jwkOf("", &rsaKey().PublicKey)))
	mustVerify(t, compile(t, lone.rule()), mint(jwt.SigningMethodRS256, rsaKey(), "", goodClaims(lone.URL)))
}

func TestPrivateKeysRaiseAnAlarmWithoutTheKey(t *testing.T) {
	secret := b64(rsaKey().D.Bytes())
	i := newIssuer(t, keySet(jwkOf("k1", &rsaKey().PublicKey), with(jwkOf("k2", &rsaOther().PublicKey), "d", secret)))
	var log bytes.Buffer
	rules, err := trust.Compile(trust.Config{
		Rules: []trust.Rule{i.rule()}, AllowInsecureLoopback: true, Now: newClock().Now,
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	assertion := mint(jwt.SigningMethodRS256, rsaKey(), "k1", goodClaims(i.URL))
	if _, err := rules.Verify(context.Background(), assertion); err != nil {
		t.Fatal(err)
	}
	rules.Close()
	if !strings.Contains(log.String(), "level=ERROR") || strings.Contains(log.String(), secret[:40]) || strings.Contains(log.String(), assertion[:40]) {
		t.Errorf("log: %s", log.String())
	}
}

func writeKeys(t *testing.T, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys.json")
	replaceFile(t, path, body)
	return path
}

func replaceFile(t *testing.T, path, body string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func TestKeysFile(t *testing.T) {
	path := writeKeys(t, keySet(jwkOf("old", &rsaKey().PublicKey)))
	const name = "https://offline.example"
	w := compile(t, trust.Rule{Name: "r", Issuer: name, KeysFile: path, Subject: subject, Audience: audience, MaxLifetime: 100 * time.Hour})
	claims := with(goodClaims(name), "exp", testEpoch.Add(72*time.Hour).Unix())
	withOld := mint(jwt.SigningMethodRS256, rsaKey(), "old", claims)
	withNew := mint(jwt.SigningMethodRS256, rsaOther(), "new", claims)
	mustVerify(t, w, withOld)
	_, err := w.verify(withNew)
	wantReason(t, err, trust.ReasonKeyUnknown)

	replaceFile(t, path, keySet(jwkOf("new", &rsaOther().PublicKey)))
	mustVerify(t, w, withNew)
	_, err = w.verify(withOld)
	wantReason(t, err, trust.ReasonKeyUnknown)

	replaceFile(t, path, `{"keys":[]}`)
	mustVerify(t, w, withNew)
	if got := outcome(w.Keys()[0].LastError); got != trust.OutcomeRefused {
		t.Errorf("outcome %q", got)
	}
	w.clock.Advance(49 * time.Hour)
	_, err = w.verify(withNew)
	wantReason(t, err, trust.ReasonKeysStale)
	replaceFile(t, path, keySet(jwkOf("new", &rsaOther().PublicKey)))
	mustVerify(t, w, withNew)
	if state := w.Keys()[0]; state.JWKSURI != path || state.LastError != nil || state.Keys != 1 {
		t.Errorf("state %+v", state)
	}
}

func TestKeysFileMustBeAFile(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{dir, filepath.Join(dir, "absent"), os.DevNull} {
		w := compile(t, trust.Rule{Name: "r", Issuer: "https://a.example", KeysFile: path, Subject: subject, Audience: audience})
		_, err := w.verify(mint(jwt.SigningMethodRS256, rsaKey(), "k1", goodClaims("https://a.example")))
		wantReason(t, err, trust.ReasonKeysUnreachable)
		if outcome(err) != trust.OutcomeUnreachable {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// discovery is an issuer that publishes a discovery document.
func discovery(t *testing.T, edit func(document map[string]any)) *issuer {
	t.Helper()
	i := newIssuer(t, "")
	i.expect = append(i.expect, "/.well-known/openid-configuration")
	document := map[string]any{"issuer": i.URL, "jwks_uri": i.URL + "/keys"}
	edit(document)
	text, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	i.Serve(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/keys" {
			fmt.Fprint(w, keySet(jwkOf("k1", &rsaKey().PublicKey)))
			return
		}
		_, _ = w.Write(text)
	})
	return i
}

func TestDiscovery(t *testing.T) {
	rows := []struct {
		name string
		edit func(map[string]any)
		want trust.Outcome
	}{
		{"control", func(map[string]any) {}, ""},
		{"another issuer", func(d map[string]any) { d["issuer"] = "https://b.example" }, trust.OutcomeMismatch},
		{"issuer with slash", func(d map[string]any) { d["issuer"] = d["issuer"].(string) + "/" }, trust.OutcomeMismatch},
		{"ISSUER for issuer", func(d map[string]any) { d["ISSUER"] = d["issuer"]; delete(d, "issuer") }, trust.OutcomeMismatch},
		{"keys on another host", func(d map[string]any) { d["jwks_uri"] = "https://b.example/keys" }, trust.OutcomeMismatch},
		{"keys on another port", func(d map[string]any) { d["jwks_uri"] = "http://127.0.0.1:1/keys" }, trust.OutcomeMismatch},
		{"keys in plain http", func(d map[string]any) { d["jwks_uri"] = "http://b.example/keys" }, trust.OutcomeInsecure},
		{"no jwks_uri", func(d map[string]any) { delete(d, "jwks_uri") }, trust.OutcomeInsecure},
		{"JWKS_URI for jwks_uri", func(d map[string]any) { d["JWKS_URI"] = d["jwks_uri"]; delete(d, "jwks_uri") }, trust.OutcomeInsecure},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			i := discovery(t, row.edit)
			rule := i.rule()
			rule.JWKSURI = ""
			w := compile(t, rule)
			_, err := w.verify(mint(jwt.SigningMethodRS256, rsaKey(), "k1", goodClaims(i.URL)))
			if outcome(err) != row.want || (row.want == "") != (err == nil) {
				t.Errorf("outcome %q, want %q (%v)", outcome(err), row.want, err)
			}
			if row.want == "" && (w.Keys()[0].JWKSURI != i.URL+"/keys" || i.Fetches() != 2) {
				t.Errorf("state %+v after %d fetches", w.Keys()[0], i.Fetches())
			}
		})
	}
}

func TestDiscoveryIsRetriedAndBounded(t *testing.T) {
	i := discovery(t, func(map[string]any) {})
	good := i.serve
	rule := i.rule()
	rule.JWKSURI = ""
	w := compile(t, rule)
	assertion := mint(jwt.SigningMethodRS256, rsaKey(), "k1", goodClaims(i.URL))
	for want, serve := range map[trust.Outcome]http.HandlerFunc{
		trust.OutcomeTooLarge: endless,
		trust.OutcomeStatus:   func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "secret-body", 500) },
		trust.OutcomeGarbled:  func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>secret-body") },
	} {
		i.Serve(serve)
		_, err := w.verify(assertion)
		wantReason(t, err, trust.ReasonKeysUnreachable)
		if outcome(err) != want || strings.Contains(err.Error(), "secret-body") {
			t.Errorf("want %s: %v", want, err)
		}
		w.clock.Advance(31 * time.Second)
	}
	i.Serve(good)
	eventually(t, "recovery", func() bool {
		_, err := w.verify(assertion)
		w.clock.Advance(time.Second)
		return err == nil
	})
}
