package policy_test

import (
	"testing"

	"sfbroker/broker/policy"
	"sfbroker/odata"
)

func read(paths ...string) *odata.Request {
	r := &odata.Request{Method: "GET"}
	for _, p := range paths {
		r.Touches = append(r.Touches, odata.Touch{Verb: odata.Read, Path: p, Where: "path"})
	}
	return r
}

func compile(t *testing.T, paths ...string) *policy.Policy {
	t.Helper()
	p, err := policy.Compile(policy.Grants{Read: paths})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestDecide(t *testing.T) {
	listed := compile(t, "User", "PerPerson", "PerPerson/employmentNav/jobInfoNav")
	tests := []struct {
		rule    string
		policy  *policy.Policy
		request *odata.Request
		allowed bool
		reason  policy.Reason
		grant   string
	}{
		{"a listed set is granted", listed, read("PerPerson"), true, policy.Granted, ""},
		{"its neighbour is not", listed, read("PerPersonal"), false, policy.NotGranted, "allow: { read: [PerPersonal] }"},
		{"case matters", listed, read("perperson"), false, policy.NotGranted, "allow: { read: [perperson] }"},
		{"a listed navigation is granted", listed, read("PerPerson/employmentNav/jobInfoNav"), true, policy.Granted, ""},
		{"the step on the way is not", listed, read("PerPerson/employmentNav"), false, policy.NotGranted, "allow: { read: [PerPerson/employmentNav] }"},
		{"a set does not grant its navigation", listed, read("User/manager"), false, policy.NotGranted, "allow: { read: [User/manager] }"},
		{"one missing of three denies", listed, read("PerPerson", "PerPerson/emailNav", "User"), false, policy.NotGranted, "allow: { read: [PerPerson/emailNav] }"},
		{"a prefix of a name grants nothing", compile(t, "Per"), read("PerPerson"), false, policy.NotGranted, "allow: { read: [PerPerson] }"},
		{"the star grants any read", compile(t, "*"), read("PerPerson", "PerPerson/emailNav"), true, policy.Granted, ""},
		{"the star grants no other verb", compile(t, "*"), &odata.Request{Touches: []odata.Touch{{Verb: odata.Upsert, Path: "PerEmail"}}}, false, policy.VerbNotKnown, ""},
		{"metadata shows structure only", listed, &odata.Request{Metadata: true}, true, policy.Structure, ""},
		{"metadata of a set needs the set", listed, &odata.Request{Metadata: true, Touches: read("FOCompany").Touches}, false, policy.NotGranted, "allow: { read: [FOCompany] }"},
		{"nothing touched is denied", listed, &odata.Request{}, false, policy.Nothing, ""},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			d := tt.policy.Decide(tt.request)
			if d.Allowed != tt.allowed || d.Reason != tt.reason || d.Grant() != tt.grant {
				t.Errorf("got %v %q %q, want %v %q %q", d.Allowed, d.Reason, d.Grant(), tt.allowed, tt.reason, tt.grant)
			}
		})
	}
}

func TestCompileRefuses(t *testing.T) {
	for _, bad := range [][]string{nil, {}, {""}, {"/PerPerson"}, {"PerPerson/"}} {
		if _, err := policy.Compile(policy.Grants{Read: bad}); err == nil {
			t.Errorf("%q compiled", bad)
		}
	}
}

func TestEntitySets(t *testing.T) {
	got := compile(t, "User", "PerPerson/emailNav", "PerPerson").EntitySets()
	if len(got) != 2 || got[0] != "PerPerson" || got[1] != "User" {
		t.Errorf("EntitySets = %q", got)
	}
	if compile(t, "*", "User").Unlimited() == compile(t, "User").Unlimited() {
		t.Error("Unlimited does not tell the star apart")
	}
}
