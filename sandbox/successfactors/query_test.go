package successfactors_test

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sfbroker/sandbox/successfactors"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", "golden", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(filepath.Clean(file))
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; run with -update and look at the difference", file)
	}
}

// fullQuery is the published full query of Entra's provisioning.
const fullQuery = "/odata/v2/PerPerson?$format=json&$filter=(personEmpTerminationInfoNav/activeEmploymentsCount ne null) and " +
	"(lastModifiedDateTime le datetimeoffset'2026-07-01T11:00:00Z')&$expand=employmentNav/userNav,employmentNav/jobInfoNav,personalInfoNav," +
	"personEmpTerminationInfoNav,phoneNav,emailNav,employmentNav/jobInfoNav/companyNav/countryOfRegistrationNav," +
	"employmentNav/jobInfoNav/divisionNav,employmentNav/jobInfoNav/departmentNav&customPageSize=100"

func TestGoldenAnswers(t *testing.T) {
	s := newServer(t, nil)
	for name, uri := range map[string]string{
		"page.json":       "/odata/v2/PerPerson?$format=json&customPageSize=3&$inlinecount=allpages",
		"entity.json":     "/odata/v2/EmpJob(userId='4',seqNumber=1L,startDate=datetime'2020-01-01T00:00:00')",
		"full_query.json": strings.Replace(fullQuery, "customPageSize=100", "$skip=3&$top=1", 1),
		"selected.json":   "/odata/v2/PerPerson?$format=json&$select=personIdExternal,dateOfBirth,emailNav/emailAddress,phoneNav&$expand=emailNav&$top=2",
		"property.json":   "/odata/v2/PerPerson('1')/dateOfBirth?$format=json",
		"metadata.xml":    "/odata/v2/PerEmail,PerPhone/$metadata",
	} {
		if name == "entity.json" {
			_, text := ask(t, s, "/odata/v2/PerPerson('4')/employmentNav(personIdExternal='4',userId='4')/jobInfoNav?$format=json")
			jobs, _, _ := page(t, text)
			uri = strings.TrimPrefix(jobs[0]["__metadata"].(entity)["uri"].(string), origin)
		}
		status, text := ask(t, s, uri)
		if status != http.StatusOK {
			t.Fatalf("%s: %d %.300s", name, status, text)
		}
		golden(t, name, text)
	}
}

func TestTheSameRequestHasTheSameAnswer(t *testing.T) {
	a, b := newServer(t, nil), newServer(t, nil)
	other := newServer(t, func(c *successfactors.Config) { c.Seed = 8 })
	_, one := ask(t, a, fullQuery)
	_, two := ask(t, b, fullQuery)
	_, three := ask(t, other, fullQuery)
	if one != two || one == three {
		t.Errorf("same seed the same: %t, other seed another: %t", one == two, one != three)
	}
}

func TestFullQueryOfProvisioning(t *testing.T) {
	s := newServer(t, nil)
	for _, space := range []string{"%20", "+"} {
		all, pages := walk(t, s, strings.ReplaceAll(fullQuery, " ", space))
		if len(all) != 300 || pages != 3 {
			t.Fatalf("%d records on %d pages", len(all), pages)
		}
		for _, p := range all {
			employments := p["employmentNav"].(entity)["results"].([]any)
			first := employments[0].(entity)
			if _, ok := first["userNav"].(entity)["userId"].(string); !ok {
				t.Fatalf("no user below %v", p["personIdExternal"])
			}
			for _, j := range first["jobInfoNav"].(entity)["results"].([]any) {
				job := j.(entity)
				country := job["companyNav"].(entity)["countryOfRegistrationNav"].(entity)
				if len(country["twoCharCountryCode"].(string)) != 2 || job["departmentNav"].(entity)["name"] == nil || job["divisionNav"].(entity)["name"] == nil {
					t.Fatalf("job of %v is incomplete", p["personIdExternal"])
				}
			}
			if p["personEmpTerminationInfoNav"].(entity)["activeEmploymentsCount"] == nil {
				t.Fatalf("%v has no employment", p["personIdExternal"])
			}
		}
	}
	if all, _ := walk(t, s, "/odata/v2/PerPerson?$format=json&$filter=personEmpTerminationInfoNav/activeEmploymentsCount eq null"); len(all) != 2 {
		t.Errorf("%d persons without employment, want the 2 dependents", len(all))
	}
}

func TestWalksAreCompleteAndWithoutDuplicates(t *testing.T) {
	s := newServer(t, func(c *successfactors.Config) { c.Workers = 1203 })
	rows := []struct {
		query string
		count string // the $count that must equal the walk; empty: none
		want  int    // -1: whatever $count says
		pages int
	}{
		{"PerPerson?x=1", "PerPerson/$count", 1205, 2},
		{"PerPerson?customPageSize=100", "PerPerson/$count", 1205, 13},
		{"PerPerson?customPageSize=100&$orderby=dateOfBirth desc,personIdExternal", "PerPerson/$count", 1205, 13},
		{"PerPerson?customPageSize=100&$top=250", "", 250, 3},
		{"PerPerson?customPageSize=100&$top=200", "", 200, 2},
		{"PerPerson?customPageSize=100&$skip=1000", "", 205, 3},
		{"PerPerson?customPageSize=100&$skip=1000&$top=150", "", 150, 2},
		{"PerPerson?$skip=5000", "", 0, 1},
		{"PerPerson?$top=0", "", 0, 1},
		{"EmpEmployment?customPageSize=1000&$inlinecount=allpages", "EmpEmployment/$count", -1, 2},
		{"EmpJob?customPageSize=500&fromDate=1900-01-01&toDate=9999-12-31", "EmpJob/$count?fromDate=1900-01-01&toDate=9999-12-31", -1, 0},
		{"PerPhone?customPageSize=100&$filter=isPrimary eq true", "PerPhone/$count?$filter=isPrimary eq true", -1, 0},
		{"PerPerson('1')/employmentNav(userId='1',personIdExternal='1')/userNav/directReports?customPageSize=3", "", 8, 3},
		{"PerSocialAccount?x=1", "PerSocialAccount/$count", 0, 1},
	}
	for _, row := range rows {
		all, pages := walk(t, s, "/odata/v2/"+row.query)
		seen := make(map[string]bool)
		for _, e := range all {
			uri := e["__metadata"].(entity)["uri"].(string)
			if seen[uri] {
				t.Errorf("%s: %s twice", row.query, uri)
			}
			seen[uri] = true
		}
		want := row.want
		if row.count != "" {
			r := get(t, s, "/odata/v2/"+row.count, nil)
			n, err := strconv.Atoi(body(t, r))
			if err != nil || want >= 0 && n != want {
				t.Errorf("%s: %d %v", row.count, n, err)
			}
			want = n
		}
		if len(all) != want || row.pages != 0 && pages != row.pages {
			t.Errorf("%s: %d rows on %d pages, want %d on %d", row.query, len(all), pages, want, row.pages)
		}
	}
}

func TestEveryLinkOfAnEntityLeadsSomewhere(t *testing.T) {
	s := newServer(t, nil)
	for _, set := range s.EntitySets() {
		_, text := ask(t, s, "/odata/v2/"+set+"?$top=3&$skip=7")
		results, _, _ := page(t, text)
		for _, e := range results {
			uri := e["__metadata"].(entity)["uri"].(string)
			status, found := ask(t, s, strings.TrimPrefix(uri, origin))
			if status != http.StatusOK || !strings.Contains(found, uri) {
				t.Errorf("%s: %d %.200s", uri, status, found)
			}
			for name, member := range e {
				m, ok := member.(entity)
				if !ok || m["__deferred"] == nil {
					continue
				}
				link := m["__deferred"].(entity)["uri"].(string)
				if status, text := ask(t, s, strings.TrimPrefix(link, origin)); status != http.StatusOK && status != http.StatusNotFound || !strings.HasSuffix(link, name) {
					t.Errorf("%s: %d %.200s", link, status, text)
				}
			}
		}
	}
}

func TestLinksHaveThePortOrEscapesThatTheHostWrites(t *testing.T) {
	s := newServer(t, func(c *successfactors.Config) { c.LinkPort, c.EscapeLinks = true, true })
	_, text := ask(t, s, "/odata/v2/PerPerson?customPageSize=1")
	for _, want := range []string{
		`"uri" : "https://api.example:443\/odata\/v2\/PerPerson('1')"`, `\/odata\/v2\/PerPerson('1')\/emailNav"`,
		`"__next" : "https://api.example:443\/odata\/v2\/PerPerson?`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
	page(t, text)
}

func TestNavigationPropertiesAndValues(t *testing.T) {
	s := newServer(t, nil)
	rows := []struct{ path, want string }{
		{"PerPerson('2')/personIdExternal", `{"d" : {"personIdExternal" : "2"}}`},
		{"PerPerson('2')/personIdExternal/$value", "2"},
		{"PerPerson('2')/personId", `{"d" : {"personId" : "100001"}}`},
		{"User('2')/manager/userId/$value", "1"},
		{"User('1')/directReports/$count", "8"},
		{"PersonEmpTerminationInfo('1')/activeEmploymentsCount", `{"d" : {"activeEmploymentsCount" : 1}}`},
		{"EmpJob/$count?$filter=userId eq '1' and managerId eq 'NO_MANAGER'", "1"},
		{"FODepartment/$count?$filter=externalCode eq 'R%26D''7;50%25'", "1"},
		{"FODepartment(externalCode='R%26D''''7;50%25',startDate=datetime'1900-01-01T00:00:00')/externalCode/$value", ""},
		{"FODepartment(externalCode='R%26D''7%3B50%25',startDate=datetime'1900-01-01T00:00:00')/externalCode/$value", "R&D'7;50%"},
		{"FOCorporateAddressDEFLT(663469M)/city/$value", "Walldorf"},
		{"PicklistOption(586L)/externalCode/$value", "A"},
		{"FOLocation/$count?$filter=addressNavDEFLT/stateNav/externalCode eq 'CA'", "1"},
		{"FOCompany/$count?$filter=countryOfRegistrationNav/twoCharCountryCode in 'DE','FR'", "2"},
		{"PerPerson/$count?$filter=employmentNav/jobInfoNav/emplStatusNav/externalCode eq 'A' and personIdExternal eq '1'", "1"},
	}
	for _, row := range rows {
		status, text := ask(t, s, "/odata/v2/"+row.path)
		if row.want == "" {
			if status != http.StatusNotFound {
				t.Errorf("%s: %d %s", row.path, status, text)
			}
		} else if status != http.StatusOK || text != row.want {
			t.Errorf("%s: %d %s, want %s", row.path, status, text, row.want)
		}
	}
}

func TestEffectiveDates(t *testing.T) {
	s := newServer(t, nil)
	size := func(query string) int {
		t.Helper()
		_, text := ask(t, s, "/odata/v2/FODivision?"+query)
		results, _, _ := page(t, text)
		return len(results)
	}
	if today, all, old := size(""), size("fromDate=1900-01-01"), size("asOfDate=2014-12-31"); today != 6 || old != 6 || all != 8 {
		t.Errorf("today %d, all %d, in 2014 %d", today, all, old)
	}
	name := func(query string) string {
		t.Helper()
		_, text := ask(t, s, "/odata/v2/FODivision?$filter=externalCode eq 'DIV_RND'"+query)
		results, _, _ := page(t, text)
		return fmt.Sprint(results[0]["name"])
	}
	if now, then := name(""), name("&asOfDate=2014-12-31"); now == then {
		t.Errorf("%s then and now", now)
	}
	// the hundred and first worker is hired but has not begun
	for date, want := range map[string]int{"2026-07-01": 0, "2028-01-01": 1} {
		_, text := ask(t, s, "/odata/v2/PerPerson('101')/employmentNav(personIdExternal='101',userId='101')/jobInfoNav?asOfDate="+date)
		if results, _, _ := page(t, text); len(results) != want {
			t.Errorf("%s: %d records", date, len(results))
		}
	}
}

func TestDataHoldsWhatTestsNeed(t *testing.T) {
	s := newServer(t, nil)
	users, _ := walk(t, s, "/odata/v2/User?x=1")
	people, _ := walk(t, s, "/odata/v2/PerPerson?$expand=personalInfoNav")
	found := make(map[string]bool)
	for _, u := range users {
		note := func(what string, ok bool) { found[what] = found[what] || ok }
		name := fmt.Sprint(u["lastName"])
		note("quote", strings.Contains(name, "'"))
		note("letters beyond ASCII", len(name) != len([]rune(name)))
		note("own address", strings.HasPrefix(fmt.Sprint(u["custom15"]), origin))
		note("next in data", strings.Contains(fmt.Sprint(u["custom14"]), `"__next"`))
		note("active", u["status"] == "t")
		note("left", u["status"] == "f")
		note("null", u["cellPhone"] == nil)
	}
	for _, p := range people {
		found["born before 1970"] = found["born before 1970"] || strings.Contains(fmt.Sprint(p["dateOfBirth"]), "(-")
		for _, info := range p["personalInfoNav"].(entity)["results"].([]any) {
			title := fmt.Sprint(info.(entity)["title"])
			found["semicolon and percent"] = found["semicolon and percent"] || strings.Contains(title, ";") && strings.Contains(title, "%")
			found["no end"] = found["no end"] || info.(entity)["endDate"] == "/Date(253402214400000)/"
		}
	}
	for what, ok := range found {
		if !ok {
			t.Errorf("nobody with: %s", what)
		}
	}
}

func TestFiftyThousandWorkersNeedNoRoom(t *testing.T) {
	s := newServer(t, func(c *successfactors.Config) { c.Workers, c.Dependents = 50000, 0 })
	r := get(t, s, "/odata/v2/PerPerson/$count", nil)
	if n := body(t, r); n != "50000" {
		t.Error(n)
	}
	status, text := ask(t, s, fullQuery+"&$skip=49950")
	if results, next, _ := page(t, text); status != http.StatusOK || len(results) != 50 || next != "" {
		t.Errorf("%d, %d rows, next %q", status, len(results), next)
	}
}

func BenchmarkPage(b *testing.B) {
	s := newServer(b, func(c *successfactors.Config) { c.Workers = 50000 })
	for name, uri := range map[string]string{"plain": "/odata/v2/PerPerson?$format=json&customPageSize=100", "full": fullQuery} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, text := ask(b, s, uri)
				b.SetBytes(int64(len(text)))
			}
		})
	}
}

func TestLatencyEndsWhenTheCallerLeaves(t *testing.T) {
	s := newServer(t, func(c *successfactors.Config) { c.Latency = time.Hour })
	gone, leave := context.WithCancel(t.Context())
	leave()
	r := get(t, s, "/odata/v2/$metadata", func(r *http.Request) { *r = *r.WithContext(gone) })
	if text := body(t, r); text != "" {
		t.Errorf("an answer for nobody: %.100s", text)
	}
	s.SetLatency(0)
	if status, _ := ask(t, s, "/odata/v2/$metadata"); status != http.StatusOK {
		t.Error(status)
	}
}
