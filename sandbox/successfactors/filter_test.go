package successfactors_test

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"sfbroker/sandbox/successfactors"
)

func TestFilters(t *testing.T) {
	s := newServer(t, nil)
	size := func(filter string) (int, string) {
		r := get(t, s, "/odata/v2/PerPerson/$count?$format=json&$filter="+url.QueryEscape(filter), nil)
		text := body(t, r)
		if r.StatusCode != http.StatusOK {
			code, message := errorOf(t, text)
			return -r.StatusCode, code + " " + message
		}
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		return n, ""
	}
	rows := []struct {
		filter string
		want   int
	}{
		{"personIdExternal eq '7'", 1},
		{"personIdExternal ne '7'", 301},
		{"not (personIdExternal eq '7')", 301},
		{"personIdExternal in '7','8','nobody'", 2},
		{"personIdExternal in '7' and employmentNav/userNav/status in 't','f','e'", 1},
		{"(personIdExternal in '7','8' or personIdExternal eq '9')", 3},
		{"personId eq 100006L", 1},
		{"personId eq 100006", 1},
		{"personId eq 100006.0", 1},
		{"personId gt 100006 and personId le 100008", 2},
		{"personId ge 100006 and personId lt 100008", 2},
		{"personIdExternal eq '7' or personIdExternal eq '8' and personIdExternal eq '9'", 1}, // and binds tighter
		{"(personIdExternal eq '7' or personIdExternal eq '8') and personIdExternal eq '9'", 0},
		{"startswith(personIdExternal,'30')", 4},
		{"startswith(personIdExternal,'30') eq true", 4},
		{"endswith(personIdExternal,'00')", 3},
		{"substringof('00',personIdExternal)", 3},
		{"length(personIdExternal) eq 1", 9},
		{"tolower(toupper(personIdExternal)) eq '7'", 1},
		{"concat(personIdExternal,'x') eq '7x'", 1},
		{"indexof(personIdExternal,'00') eq 1", 3},
		{"substring(personIdExternal,1) eq '00'", 3},
		{"substring(personIdExternal,0,1) eq '9'", 11},
		{"replace(trim(personIdExternal),'7','8') eq '88'", 4},
		{"year(dateOfBirth) ge 1900 and month(dateOfBirth) le 12 and day(dateOfBirth) ge 1", 302},
		{"dateOfBirth gt datetime'1900-01-01T00:00:00'", 302},
		{"lastModifiedDateTime ge datetimeoffset'2026-07-01T00:00:00Z'", 0},
		{"lastModifiedDateTime lt datetime'2026-07-01T00:00:00'", 302},
		{"personalInfoNav/startDate le datetimeoffset'2026-07-01T00:00:00Z' and (personalInfoNav/endDate ge datetimeoffset'2026-07-01T00:00:00Z' or personalInfoNav/endDate eq null)", 300},
		{"employmentNav/userId eq '50-2'", 1},
		{"employmentNav/userNav/manager/empInfo/userId eq '1'", 8},
		{"userId eq null", 2},
		{"regionOfBirth eq null", 302},
		{"regionOfBirth gt 'a'", 0},
		{"null eq null", 302},
		{"true", 302},
		{"false or not true", 0},
		{"'a;b|c%d''e' eq 'a;b|c%d''e'", 302},
		{"personIdExternal  eq\t'7'", 1},
	}
	for _, row := range rows {
		if got, problem := size(row.filter); got != row.want {
			t.Errorf("%s: %d, want %d %s", row.filter, got, row.want, problem)
		}
	}
	for _, bad := range []string{
		"", "personIdExternal", "personIdExternal eq", "personIdExternal eq 7", "personId eq '7'", "(personIdExternal eq '7'",
		"personIdExternal eq '7')", "personIdExternal eq '7", "personIdExternal IN '7'", "personIdExternal in", "personIdExternal in 7",
		"personIdExternal in ('7')", "personIdExternal eq '7' and", "and", "not", "not personIdExternal", "1 eq", "12x eq 12", "- eq 1",
		"datetime'yesterday' eq dateOfBirth", "duration'P1D' eq 1", "length(personIdExternal,1) eq 1", "length() eq 1", "substring('a') eq 'a'",
		"startswith(personIdExternal,7)", "unknown(1) eq 1", "personIdExternal eq '7' personIdExternal eq '8'", "a # b",
		"(personIdExternal eq '7') eq true", "personIdExternal add 1 eq 2", "personIdExternal/x eq 1", "emailNav eq null", "/ eq 1",
		strings.Repeat("(", 5000) + "true" + strings.Repeat(")", 5000), strings.Repeat("not ", 5000) + "true",
		"$filter", "personIdExternal eq guid'x'", "9e999 eq 1", "1e1L eq 1",
	} {
		if got, problem := size(bad); got != -http.StatusBadRequest {
			t.Errorf("%.60q: %d %s", bad, got, problem)
		}
	}
}

func TestOrderBy(t *testing.T) {
	s := newServer(t, nil)
	read := func(order string) []string {
		all, _ := walk(t, s, "/odata/v2/PerPerson?customPageSize=100&$orderby="+order)
		var ids []string
		for _, p := range all {
			ids = append(ids, p["personIdExternal"].(string))
		}
		return ids
	}
	if up := read("personIdExternal"); up[0] != "1" || up[1] != "10" || up[301] != "99" {
		t.Errorf("strings: %v", up[:3])
	}
	if down := read("personId desc"); down[0] != "302" || down[301] != "1" {
		t.Errorf("numbers: %v", down[:3])
	}
	if first := read("personEmpTerminationInfoNav/activeEmploymentsCount,personId desc"); first[0] != "302" || first[1] != "301" {
		t.Errorf("null comes first: %v", first[:3])
	}
}

func FuzzFilter(f *testing.F) {
	s := newServer(f, func(c *successfactors.Config) { c.Workers = 12 })
	f.Add("personIdExternal in '1','2' and not (employmentNav/userNav/status eq 't')")
	f.Add("substring(concat(personIdExternal,'x'),1,2) eq null or dateOfBirth lt datetimeoffset'2026-01-01T00:00:00Z'")
	f.Add("((((true))) and -1.5e3 lt length(trim(birthName)))")
	f.Fuzz(func(t *testing.T, filter string) {
		count := func(filter string) (int, string) {
			r := get(t, s, "/odata/v2/PerPerson/$count?$format=json&$filter="+url.QueryEscape(filter), nil)
			text := body(t, r)
			if r.StatusCode != http.StatusOK && r.StatusCode != http.StatusBadRequest {
				t.Fatalf("%q: %d %s", filter, r.StatusCode, text)
			}
			return r.StatusCode, text
		}
		status, text := count(filter)
		if status != http.StatusOK {
			errorOf(t, text)
			return
		}
		// what a filter keeps and what its negation keeps make the whole
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		status, text = count("not (" + filter + ")")
		if m, err := strconv.Atoi(text); status == http.StatusOK && (err != nil || n+m != 14) {
			t.Fatalf("%q: %d rows, and %s without it", filter, n, text)
		}
	})
}
