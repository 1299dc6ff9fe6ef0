package successfactors_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"sfbroker/sandbox/successfactors"
)

func TestWhoMayLogOn(t *testing.T) {
	bearer := func(token string) func(*http.Request) { return header("Authorization", "Bearer "+token) }
	rows := []struct {
		rule    string
		setup   func(*successfactors.Server)
		request func(*http.Request)
		status  int
		code    string
		message string
	}{
		{"a bound client's token is let in", nil, nil, 200, "", ""},
		{"no credentials", nil, func(r *http.Request) { r.Header.Del("Authorization") }, 403, "LGN0003", "[LGN0003]"},
		{"basic is disabled", nil, func(r *http.Request) { r.SetBasicAuth("a@ACME", "b") }, 403, "LGN0010", "BASIC_AUTH_OR_IP_DISABLED"},
		{"a bearer token that is no JWT", nil, bearer("opaque"), 403, "LGN0005", "[LGN0005]"},
		{"two Authorization headers", nil, func(r *http.Request) { r.Header.Add("Authorization", "Bearer "+goodToken) }, 403, "LGN0005", ""},
		{"another scheme", nil, header("Authorization", "Digest "+goodToken), 403, "LGN0005", ""},
		{"expired, says the verifier", nil, bearer("aaa.expired.sig"), 403, "LGN0006", ""},
		{"expired at this second", nil, bearer("aaa.old.sig"), 403, "LGN0006", ""},
		{"signature wrong", nil, bearer("aaa.forged.sig"), 403, "LGN0007", ""},
		{"for another audience", nil, bearer("aaa.audience.sig"), 403, "LGN0007", ""},
		{"ias_apis without technical access", nil, bearer("aaa.noapi.sig"), 403, "FORBIDDEN", "sf_technical_access"},
		{"client not in the application map", nil, bearer("aaa.unmapped.sig"), 403, "FORBIDDEN", "not mapped"},
		{"client without Bind to User", nil, bearer("aaa.unbound.sig"), 403, "FORBIDDEN", "not bound"},
		{"mapping withdrawn", func(s *successfactors.Server) { s.SetMapped("client-1", false) }, nil, 403, "FORBIDDEN", "not mapped"},
		{"mapping withdrawn from another client", func(s *successfactors.Server) { s.SetMapped("client-2", false) }, nil, 200, "", ""},
		{"every token refused", func(s *successfactors.Server) { s.SetTokenRefused(true) }, nil, 403, "LGN0022", "[LGN0022]"},
		{"issued before the revocation", func(s *successfactors.Server) { s.RevokeIssuedBefore(noon) }, nil, 403, "LGN0022", ""},
		{"issued after the revocation", func(s *successfactors.Server) { s.RevokeIssuedBefore(noon.Add(-time.Hour)) }, nil, 200, "", ""},
		{"maintenance", func(s *successfactors.Server) { s.SetMaintenance(true) }, nil, 503, "COE_SERVICE_UNAVAILABLE", ""},
		{"address outside of the exceptions", allowIP("10.0.0.1-10.0.0.9, 192.0.2.2"), nil, 403, "FAILED_AUTHENTICATION", "unauthorized ip: 192.0.2.1 (status code = 8)"},
		{"address inside of the exceptions", allowIP("10.0.0.1-10.0.0.9, 192.0.2.1"), nil, 200, "", ""},
		{"exceptions of another user", func(s *successfactors.Server) { _ = s.AllowIP("sfapi.other", "10.0.0.1") }, nil, 200, "", ""},
	}
	for _, row := range rows {
		for _, path := range []string{"/odata/v2/PerPerson?$top=1&$format=json", "/odata/v2/$metadata?$format=json"} {
			t.Run(row.rule+path[9:13], func(t *testing.T) {
				s := newServer(t, nil)
				if row.setup != nil {
					row.setup(s)
				}
				r := get(t, s, path, row.request)
				text := body(t, r)
				if r.StatusCode != row.status {
					t.Fatalf("status %d, want %d: %.200s", r.StatusCode, row.status, text)
				}
				if row.status == http.StatusOK {
					return
				}
				code, message := errorOf(t, text)
				if code != row.code || !strings.Contains(message, row.message) {
					t.Errorf("%s %q, want %s %q", code, message, row.code, row.message)
				}
				if strings.Contains(text, "aaa.") || s.Stats().SessionsOpened != 0 {
					t.Errorf("a refused request left a trace: %s, %d sessions", text, s.Stats().SessionsOpened)
				}
			})
		}
	}
}

func allowIP(ranges string) func(*successfactors.Server) {
	return func(s *successfactors.Server) {
		if err := s.AllowIP(technician, ranges); err != nil {
			panic(err)
		}
	}
}

func TestLoginExceptionsTakeRangesOnly(t *testing.T) {
	s := newServer(t, nil)
	for ranges, ok := range map[string]bool{
		"10.0.0.1": true, "10.0.0.1-10.0.0.9": true, "10.0.0.0/8": false, "10.0.0.9-10.0.0.1": false, "::1": false, "host": false,
	} {
		if err := s.AllowIP(technician, ranges); (err == nil) != ok {
			t.Errorf("%s: %v", ranges, err)
		}
	}
}

func TestNobodyLogsOnWithoutAnApplicationType(t *testing.T) {
	s, err := successfactors.New(successfactors.Config{
		CompanyID: "ACME", Audience: "provider", Verify: verify, Now: func() time.Time { return noon },
	})
	if err != nil {
		t.Fatal(err)
	}
	s.MapClient("client-1", technician, true)
	if status, _ := ask(t, s, "/odata/v2/PerPerson"); status != http.StatusForbidden {
		t.Errorf("before registration: %d", status)
	}
	s.RegisterApplication("Entra-Provisioning")
	if status, _ := ask(t, s, "/odata/v2/PerPerson"); status != http.StatusOK {
		t.Errorf("after registration: %d", status)
	}
}

func TestPermissionsDecideOnEveryTypeThatIsReached(t *testing.T) {
	s := newServer(t, nil)
	s.SetPermissions(technician, []string{"PerPerson", "PerEmail"})
	rows := []struct {
		path   string
		entity string // refused; empty: allowed
	}{
		{"PerPerson?$top=1", ""},
		{"PerEmail?$top=1", ""},
		{"PerPhone?$top=1", "PerPhone"},
		{"PerPerson?$expand=emailNav&$top=1", ""},
		{"PerPerson?$expand=phoneNav&$top=1", "PerPhone"},
		{"PerPerson?$expand=employmentNav/userNav&$top=1", "EmpEmployment"},
		{"PerPerson?$filter=emailNav/isPrimary eq true&$top=1", ""},
		{"PerPerson?$filter=phoneNav/isPrimary eq true&$top=1", "PerPhone"},
		{"PerPerson?$orderby=phoneNav/phoneNumber&$top=1", "PerPhone"},
		{"PerPerson('1')/emailNav", ""},
		{"PerPerson('1')/phoneNav", "PerPhone"},
		{"PerPerson/$count", ""},
		{"PerPhone/$count", "PerPhone"},
		{"$metadata", ""},
		{"PerPhone/$metadata", ""},
	}
	for _, row := range rows {
		status, text := ask(t, s, "/odata/v2/"+row.path)
		if row.entity == "" {
			if status != http.StatusOK {
				t.Errorf("%s: %d %.200s", row.path, status, text)
			}
			continue
		}
		if status != http.StatusForbidden {
			t.Errorf("%s: %d", row.path, status)
			continue
		}
		if _, message := errorOf(t, text); !strings.Contains(message, row.entity) {
			t.Errorf("%s: %s", row.path, message)
		}
	}
	s.SetPermissions(technician, []string{})
	if status, _ := ask(t, s, "/odata/v2/PerPerson"); status != http.StatusForbidden {
		t.Errorf("no permission at all: %d", status)
	}
	s.SetPermissions(technician, nil)
	if status, _ := ask(t, s, "/odata/v2/PerPhone"); status != http.StatusOK {
		t.Errorf("all permissions: %d", status)
	}
}

func TestSessionsBelongToOneIdentity(t *testing.T) {
	c := &clock{noon}
	s := newServer(t, func(cfg *successfactors.Config) { cfg.Now = c.now })
	call := func(token string, cookie *http.Cookie) *http.Cookie {
		r := get(t, s, "/odata/v2/PerPerson/$count", func(r *http.Request) {
			r.Header.Set("Authorization", "Bearer "+token)
			if cookie != nil {
				r.AddCookie(cookie)
			}
		})
		if text := body(t, r); r.StatusCode != http.StatusOK {
			t.Fatal(text)
		}
		for _, set := range r.Cookies() {
			if set.Name == "JSESSIONID" {
				return set
			}
		}
		return nil
	}
	expect := func(step string, opened, violations int) {
		t.Helper()
		if got := s.Stats(); got.SessionsOpened != opened || got.SessionViolations != violations {
			t.Fatalf("%s: %d opened, %d violations", step, got.SessionsOpened, got.SessionViolations)
		}
	}
	mine := call(goodToken, nil)
	expect("no cookie opens", 1, 0)
	if !mine.Secure || !mine.HttpOnly {
		t.Error("the cookie of an https origin is not Secure and HttpOnly")
	}
	if again := call(goodToken, mine); again != nil {
		t.Error("a live session was opened anew")
	}
	c.at = noon.Add(9 * time.Minute)
	call(goodToken, mine)
	c.at = noon.Add(18 * time.Minute)
	call(goodToken, mine)
	expect("use keeps a session alive", 1, 0)
	other := call("aaa.other.sig", mine)
	expect("another identity's cookie is ignored", 2, 1)
	call("aaa.other.sig", other)
	expect("its own is not", 2, 1)
	c.at = noon.Add(28 * time.Minute)
	call(goodToken, mine)
	expect("ten idle minutes end a session", 3, 1)
	call(goodToken, &http.Cookie{Name: "JSESSIONID", Value: "made up"})
	expect("an unknown cookie opens", 4, 1)
}
