package caller_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sfbroker/broker/caller"
)

func key(t *testing.T, id string) (string, caller.Digest) {
	t.Helper()
	k, d, err := caller.NewKey(id)
	if err != nil {
		t.Fatal(err)
	}
	return k, d
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

func clock() time.Time { return time.Date(2026, 11, 22, 2, 0, 0, 0, time.UTC) }

var home = netip.MustParseAddr("192.0.2.1")

func TestAuthenticate(t *testing.T) {
	nightly, nightlyDigest := key(t, "nightly")
	delta, deltaDigest := key(t, "delta")
	set, err := caller.New(caller.Config{Now: clock, FailuresPerMinute: 1000, Callers: []caller.Caller{
		{Name: "nightly", Connection: "hr-prod", Company: "ACME", Username: "SFAPI_NIGHTLY", Key: nightlyDigest},
		{Name: "delta", Connection: "hr-prod", Company: "ACME", Key: deltaDigest},
	}})
	if err != nil {
		t.Fatal(err)
	}
	flipped := nightly[:len(nightly)-8] + string('a'+(nightly[len(nightly)-8]-'a'+1)%20) + nightly[len(nightly)-7:]
	tests := []struct {
		rule   string
		header []string
		want   string
		reason caller.Reason
	}{
		{"a key as Bearer", []string{"Bearer " + nightly}, "nightly", ""},
		{"scheme names ignore case (RFC 9110)", []string{"bearer " + nightly}, "nightly", ""},
		{"a key as Basic password", []string{basic("nightly@ACME", nightly)}, "nightly", ""},
		{"the user name the job always sent", []string{basic("SFAPI_NIGHTLY@ACME", nightly)}, "nightly", ""},
		{"the bare caller name", []string{basic("nightly", nightly)}, "nightly", ""},
		{"another caller's key", []string{basic("nightly@ACME", delta)}, "", caller.Wrong},
		{"another company", []string{basic("nightly@OTHER", nightly)}, "", caller.Wrong},
		{"a user name without its company", []string{basic("SFAPI_NIGHTLY", nightly)}, "", caller.Wrong},
		{"one character changed", []string{"Bearer " + flipped}, "", caller.Wrong},
		{"a key cut short", []string{"Bearer " + nightly[:len(nightly)-1]}, "", caller.Wrong},
		{"an unknown caller's well-formed key", []string{"Bearer " + must(key(t, "stranger"))}, "", caller.Wrong},
		{"an empty password", []string{basic("nightly@ACME", "")}, "", caller.Wrong},
		{"no header", nil, "", caller.Missing},
		{"two headers", []string{"Bearer " + nightly, "Bearer " + nightly}, "", caller.Ambiguous},
		{"another scheme", []string{"Digest username=nightly"}, "", caller.Scheme},
		{"no base64", []string{"Basic %%%"}, "", caller.Malformed},
		{"no colon", []string{"Basic " + base64.StdEncoding.EncodeToString([]byte("nightly"))}, "", caller.Malformed},
		{"the digest is not the key", []string{basic("nightly@ACME", nightlyDigest.String())}, "", caller.Wrong},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			got, err := set.Authenticate(http.Header{"Authorization": tt.header}, home)
			if tt.want != "" {
				if err != nil || got.Name != tt.want {
					t.Fatalf("got %v, %v; want %s", got, err, tt.want)
				}
				return
			}
			var e *caller.Error
			if !errors.As(err, &e) || e.Reason != tt.reason || got != nil {
				t.Fatalf("got %v, %v; want reason %s", got, err, tt.reason)
			}
			if len(tt.header) > 0 && strings.Contains(fmt.Sprintf("%v %+v", err, e), nightly[12:30]) {
				t.Error("the error shows the key")
			}
		})
	}
}

func must(k string, _ caller.Digest) string { return k }

func TestAnonymousOnlyWithoutCredentials(t *testing.T) {
	k, d := key(t, "nightly")
	set, err := caller.New(caller.Config{Now: clock, Callers: []caller.Caller{
		{Name: "local", Connection: "hr", Anonymous: true},
		{Name: "nightly", Connection: "hr", Key: d},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if c, err := set.Authenticate(http.Header{}, home); err != nil || c.Name != "local" {
		t.Errorf("no credentials: %v, %v", c, err)
	}
	if c, err := set.Authenticate(http.Header{"Authorization": {"Bearer " + k}}, home); err != nil || c.Name != "nightly" {
		t.Errorf("with a key: %v, %v", c, err)
	}
	// The anonymous caller has a zero digest: no password may match it.
	if c, err := set.Authenticate(http.Header{"Authorization": {basic("local", "")}}, home); err == nil {
		t.Errorf("an empty password logged in as %v", c)
	}
}

func TestFailuresAreLimitedPerAddress(t *testing.T) {
	k, d := key(t, "nightly")
	now := clock()
	set, err := caller.New(caller.Config{Now: func() time.Time { return now }, FailuresPerMinute: 3, Callers: []caller.Caller{{Name: "nightly", Key: d}}})
	if err != nil {
		t.Fatal(err)
	}
	wrong := http.Header{"Authorization": {"Bearer nonsense"}}
	try := func(from netip.Addr) caller.Reason {
		_, err := set.Authenticate(wrong, from)
		var e *caller.Error
		if !errors.As(err, &e) {
			t.Fatalf("err = %v", err)
		}
		if (e.Reason == caller.Throttled) != (e.RetryAfter > 0) {
			t.Errorf("reason %s with RetryAfter %s", e.Reason, e.RetryAfter)
		}
		return e.Reason
	}
	for i := range 3 {
		if got := try(home); got != caller.Wrong {
			t.Fatalf("failure %d: %s", i, got)
		}
	}
	if got := try(home); got != caller.Throttled {
		t.Errorf("fourth failure: %s, want throttled", got)
	}
	if got := try(netip.MustParseAddr("::ffff:192.0.2.1")); got != caller.Throttled {
		t.Errorf("the same address in its IPv6 spelling: %s, want throttled", got)
	}
	if got := try(netip.MustParseAddr("192.0.2.2")); got != caller.Wrong {
		t.Errorf("another address: %s, want wrong", got)
	}
	if _, err := set.Authenticate(http.Header{"Authorization": {"Bearer " + k}}, home); err != nil {
		t.Errorf("the right key from a throttled address: %v", err)
	}
	if _, err := set.Authenticate(http.Header{}, home); err.(*caller.Error).Reason != caller.Missing { //nolint:errorlint // the type is the contract
		t.Errorf("a first request without credentials is no failure: %v", err)
	}
	now = now.Add(time.Minute)
	if got := try(home); got != caller.Wrong {
		t.Errorf("a minute later: %s, want wrong", got)
	}
}

func TestManyAddressesStayBounded(t *testing.T) {
	set, err := caller.New(caller.Config{Now: clock, FailuresPerMinute: 1})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10_000 {
		addr := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		if _, err := set.Authenticate(http.Header{"Authorization": {"Bearer x"}}, addr); err == nil {
			t.Fatal("logged in")
		}
	}
}

func TestNewRefusesCallersThatCannotBeToldApart(t *testing.T) {
	for name, callers := range map[string][]caller.Caller{
		"twice":         {{Name: "a"}, {Name: "a"}},
		"two anonymous": {{Name: "a", Anonymous: true}, {Name: "b", Anonymous: true}},
		"one user name": {{Name: "a", Company: "ACME", Username: "X"}, {Name: "b", Company: "ACME", Username: "X"}},
	} {
		if _, err := caller.New(caller.Config{Now: clock, Callers: callers}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := caller.New(caller.Config{Now: clock, Callers: []caller.Caller{{Name: "a", Company: "ACME", Username: "X"}, {Name: "b", Company: "OTHER", Username: "X"}}}); err != nil {
		t.Errorf("one user name in two companies: %v", err)
	}
}

func TestKeys(t *testing.T) {
	a, digest := key(t, "nightly")
	b, _ := key(t, "nightly")
	if a == b {
		t.Error("two keys are equal")
	}
	if !strings.HasPrefix(a, "sfb_nightly_") || len(a) != len("sfb_nightly_")+59 {
		t.Errorf("shape of the key: %d characters", len(a))
	}
	if parsed, err := caller.ParseDigest(digest.String()); err != nil || parsed != digest {
		t.Errorf("digest does not survive: %v", err)
	}
	for _, bad := range []string{"", "abc", strings.Repeat("z", 64), digest.String() + "00"} {
		if _, err := caller.ParseDigest(bad); err == nil {
			t.Errorf("digest %q accepted", bad)
		}
	}
	for _, bad := range []string{"", "a_b", "a:b", "a b", "a@b"} {
		if _, _, err := caller.NewKey(bad); err == nil {
			t.Errorf("caller name %q accepted", bad)
		}
	}
}
