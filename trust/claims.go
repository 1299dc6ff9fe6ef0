package trust

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// lastSecond is the end of the year 9999, the last that RFC 3339 can write.
const lastSecond = 253402300799

// issuerOf finds the issuer's rules by exact iss, before any network.
func (r *Rules) issuerOf(a *assertion) (*issuerRules, *Refusal) {
	var refusal *Refusal
	if a.issuer, refusal = a.text("iss", ReasonIssuerMissing); refusal != nil {
		return nil, refusal
	}
	if issuer := r.byIssuer[a.issuer]; issuer != nil {
		return issuer, nil
	}
	return nil, r.unknownIssuer(a)
}

func (r *Rules) unknownIssuer(a *assertion) *Refusal {
	var expected, hints []string
	for _, known := range r.order {
		expected = append(expected, known.issuer)
		hints = append(hints, issuerHints(known.issuer, a.issuer)...)
	}
	refusal := mismatch(ReasonIssuerUnknown, strings.Join(expected, " | "), a.issuer, hints...)
	if len(r.order) == 1 && len(r.order[0].rules) == 1 {
		refusal.Rule = r.order[0].rules[0].Name
	}
	return refusal
}

// text returns a claim that must be a non-empty string.
func (a *assertion) text(name string, missing Reason) (string, *Refusal) {
	value, present := a.claims[name]
	s, ok := value.(string)
	if !ok || s == "" {
		received := show(value, present)
		if ok {
			received = "empty"
		}
		return "", mismatch(missing, name+", a non-empty string", received)
	}
	return s, nil
}

// match returns the one rule of the issuer that names subject and audience.
// Compile refused sets in which two could.
func (i *issuerRules) match(a *assertion) (*rule, *Refusal) {
	var refusal *Refusal
	if a.subject, refusal = a.text("sub", ReasonSubjectMissing); refusal != nil {
		return nil, i.blame(refusal)
	}
	if a.audience, refusal = a.singleAudience(); refusal != nil {
		return nil, i.blame(refusal)
	}
	for _, r := range i.rules {
		if r.Subject == a.subject && r.Audience == a.audience {
			return r, nil
		}
	}
	return nil, i.nearest(a)
}

// blame names the rule when the issuer has just one.
func (i *issuerRules) blame(refusal *Refusal) *Refusal {
	if len(i.rules) == 1 {
		refusal.Rule = i.rules[0].Name
	}
	return refusal
}

func (a *assertion) singleAudience() (string, *Refusal) {
	value, present := a.claims["aud"]
	var single string
	switch v := value.(type) {
	case string:
		single = v
	case []any:
		for _, element := range v {
			s, ok := element.(string)
			if !ok {
				return "", mismatch(ReasonAudienceForm, "a string or an array of one string", "an array that holds "+show(element, true))
			}
			single = s
		}
		if len(v) > 1 {
			return "", mismatch(ReasonAudienceMany, "exactly one audience", fmt.Sprintf("%d audiences", len(v)))
		}
	default:
		if present && v != nil {
			return "", mismatch(ReasonAudienceForm, "a string or an array of one string", show(value, present))
		}
	}
	if single == "" {
		received := "empty"
		if !present || value == nil {
			received = show(value, present)
		}
		return "", mismatch(ReasonAudienceMissing, "aud", received)
	}
	return single, nil
}

// nearest explains a mismatch by the rule that shares most with the assertion.
func (i *issuerRules) nearest(a *assertion) *Refusal {
	var subjects []string
	for _, r := range i.rules {
		if r.Subject == a.subject {
			return mismatch(ReasonAudienceMismatch, r.Audience, a.audience, audienceHints(r.Audience, a.audience)...).of(r)
		}
		if r.Audience == a.audience {
			return mismatch(ReasonSubjectMismatch, r.Subject, a.subject, subjectHints(r.Subject, a)...).of(r)
		}
		subjects = append(subjects, r.Subject)
	}
	refusal := i.blame(mismatch(ReasonSubjectMismatch, strings.Join(subjects, " | "), a.subject))
	for _, r := range i.rules {
		refusal.Hints = append(refusal.Hints, subjectHints(r.Subject, a)...)
	}
	if len(i.rules) == 1 {
		refusal.Hints = append(refusal.Hints, fmt.Sprintf("the audience differs too: expected %s, received %s", safe(i.rules[0].Audience), safe(a.audience)))
		refusal.Hints = append(refusal.Hints, audienceHints(i.rules[0].Audience, a.audience)...)
	}
	return refusal
}

// times are the NumericDates of an assertion; zero where absent.
type times struct {
	issuedAt, notBefore, expiry time.Time
}

// check applies the rule's own conditions on header and times.
func (r *rule) check(a *assertion, now time.Time) (times, *Refusal) {
	if !slices.Contains(r.Algorithms, a.algorithm) {
		return times{}, mismatch(ReasonAlgorithm, strings.Join(r.Algorithms, " "), a.algorithm)
	}
	if a.hasType && !slices.Contains(r.Types, normalType(a.typ)) {
		return times{}, mismatch(ReasonType, strings.Join(r.Types, " ")+" or none", a.typ)
	}
	t, refusal := a.times()
	if refusal != nil {
		return times{}, refusal
	}
	return t, r.checkTimes(t, now)
}

func (a *assertion) times() (t times, refusal *Refusal) {
	if _, present := a.claims["exp"]; !present {
		return t, mismatch(ReasonExpiryMissing, "exp", "absent")
	}
	if t.expiry, refusal = a.date("exp", ReasonExpiryInvalid); refusal != nil {
		return t, refusal
	}
	if t.notBefore, refusal = a.date("nbf", ReasonNotBeforeInvalid); refusal != nil {
		return t, refusal
	}
	t.issuedAt, refusal = a.date("iat", ReasonIssuedAtInvalid)
	return t, refusal
}

// date reads a NumericDate (RFC 7519 section 2); zero when absent.
func (a *assertion) date(name string, invalid Reason) (time.Time, *Refusal) {
	value, present := a.claims[name]
	if !present {
		return time.Time{}, nil
	}
	number, ok := value.(json.Number)
	if !ok {
		return time.Time{}, mismatch(invalid, name+", a number", typeName(value))
	}
	t, ok := numericDate(string(number))
	if !ok {
		return time.Time{}, mismatch(invalid, name+", seconds from 1970 to the year 9999", string(number))
	}
	return t, nil
}

func typeName(value any) string {
	if _, ok := value.(string); ok {
		return "a string"
	}
	return show(value, true)
}

// numericDate takes whole or fractional seconds. A float64 holds them to
// better than a microsecond up to the bound.
func numericDate(text string) (time.Time, bool) {
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil {
		return time.Unix(seconds, 0).UTC(), 0 <= seconds && seconds <= lastSecond
	}
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || !(seconds >= 0 && seconds <= lastSecond) {
		return time.Time{}, false
	}
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(fraction*1e9)).UTC(), true
}

func (r *rule) checkTimes(t times, now time.Time) *Refusal {
	if !now.Before(t.expiry.Add(r.Skew)) {
		return late(t.expiry, now)
	}
	if t.notBefore.After(now.Add(r.Skew)) {
		return early(ReasonNotYetValid, "nbf", t.notBefore, now)
	}
	if t.issuedAt.After(now.Add(r.Skew)) {
		return early(ReasonIssuedInFuture, "iat", t.issuedAt, now)
	}
	if t.issuedAt.After(t.expiry) || t.notBefore.After(t.expiry) {
		return mismatch(ReasonTimesContradict, "iat and nbf not after exp", "exp "+stamp(t.expiry))
	}
	start := t.issuedAt
	if start.IsZero() {
		start = t.notBefore
	}
	if start.IsZero() {
		start = now
	}
	if lifetime := t.expiry.Sub(start); lifetime > r.MaxLifetime {
		return mismatch(ReasonLifetimeTooLong, "at most "+r.MaxLifetime.String(), lifetime.String())
	}
	return nil
}

func late(expiry, now time.Time) *Refusal {
	ago := now.Sub(expiry).Truncate(time.Second)
	return mismatch(ReasonExpired, "exp after "+stamp(now), stamp(expiry),
		fmt.Sprintf("expired %s ago: the source hands out an old assertion, or a clock is wrong", ago))
}

func early(reason Reason, name string, at, now time.Time) *Refusal {
	return mismatch(reason, name+" not after "+stamp(now), stamp(at),
		fmt.Sprintf("%s is %s ahead of this machine's clock: check both clocks", name, at.Sub(now).Truncate(time.Second)))
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
