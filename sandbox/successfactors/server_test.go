package successfactors_test

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"sfbroker/sandbox/successfactors"
)

const (
	origin     = "https://api.example"
	technician = "sfapi.broker"
	goodToken  = "aaa.good.sig"
)

var noon = time.Date(2026, time.July, 1, 12, 0, 0, 0, time.UTC)

// clock is a time that a test moves by hand.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

// verify knows a few tokens by name: what a real one holds is the business of package sandbox.
func verify(raw string) (successfactors.Claims, error) {
	claims := successfactors.Claims{
		ClientID: "client-1", Audience: []string{"provider"}, APIs: []string{"sf_technical_access"}, ID: raw,
		IssuedAt: noon.Add(-time.Minute), Expiry: noon.Add(time.Hour),
	}
	switch raw {
	case goodToken:
	case "aaa.other.sig":
		claims.ClientID = "client-2"
	case "aaa.unmapped.sig":
		claims.ClientID = "client-3"
	case "aaa.unbound.sig":
		claims.ClientID = "client-4"
	case "aaa.audience.sig":
		claims.Audience = []string{"somebody else"}
	case "aaa.noapi.sig":
		claims.APIs = []string{"principal-propagation"}
	case "aaa.old.sig":
		claims.Expiry = noon
	case "aaa.expired.sig":
		return successfactors.Claims{}, fmt.Errorf("checking: %w", successfactors.ErrExpired)
	default:
		return successfactors.Claims{}, errors.New("signature")
	}
	return claims, nil
}

func newServer(t testing.TB, change func(*successfactors.Config)) *successfactors.Server {
	t.Helper()
	cfg := successfactors.Config{
		CompanyID: "ACME", BaseURL: origin, Workers: 300, Dependents: 2, Seed: 7, Audience: "provider",
		Now: func() time.Time { return noon }, Verify: verify,
	}
	if change != nil {
		change(&cfg)
	}
	s, err := successfactors.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.RegisterApplication("Entra-Provisioning")
	s.MapClient("client-1", technician, true)
	s.MapClient("client-2", "sfapi.other", true)
	s.MapClient("client-4", technician, false)
	return s
}

// get asks with a good token and whatever change adds.
func get(t testing.TB, s *successfactors.Server, uri string, change func(*http.Request)) *http.Response {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, strings.ReplaceAll(uri, " ", "%20"), nil)
	r.Header.Set("Authorization", "Bearer "+goodToken)
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Result()
}

func body(t testing.TB, r *http.Response) string {
	t.Helper()
	defer func() { _ = r.Body.Close() }()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// ask is get with JSON wanted; it returns status and body.
func ask(t testing.TB, s *successfactors.Server, uri string) (int, string) {
	t.Helper()
	r := get(t, s, uri, func(r *http.Request) { r.Header.Set("Accept", "application/json") })
	return r.StatusCode, body(t, r)
}

type entity = map[string]any

// page reads a collection's answer.
func page(t testing.TB, text string) (results []entity, next, count string) {
	t.Helper()
	var doc struct {
		D struct {
			Results []entity `json:"results"`
			Next    string   `json:"__next"`
			Count   string   `json:"__count"`
		} `json:"d"`
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatalf("%v in %.300s", err, text)
	}
	return doc.D.Results, doc.D.Next, doc.D.Count
}

// walk follows __next to the end.
func walk(t testing.TB, s *successfactors.Server, uri string) (all []entity, pages int) {
	t.Helper()
	for uri != "" {
		status, text := ask(t, s, uri)
		if status != http.StatusOK {
			t.Fatalf("page %d: %d %.300s", pages+1, status, text)
		}
		results, next, _ := page(t, text)
		all = append(all, results...)
		if pages++; pages > 10000 {
			t.Fatal("the walk does not end")
		}
		if next != "" && !strings.HasPrefix(next, origin+"/odata/v2/") {
			t.Fatalf("__next leads to %q", next)
		}
		uri = strings.TrimPrefix(next, origin)
	}
	return all, pages
}

func errorOf(t testing.TB, text string) (code, message string) {
	t.Helper()
	var doc struct {
		Error struct {
			Code    string `json:"code"`
			Message struct {
				Lang  string `json:"lang"`
				Value string `json:"value"`
			} `json:"message"`
		} `json:"error"`
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil || doc.Error.Message.Lang != "en-US" {
		t.Fatalf("not an OData error: %v %.300s", err, text)
	}
	return doc.Error.Code, doc.Error.Message.Value
}

func header(name, val string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, val) }
}

func TestConfigIsChecked(t *testing.T) {
	good := successfactors.Config{CompanyID: "A", Audience: "p", Verify: verify}
	if _, err := successfactors.New(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*successfactors.Config){
		"Verify": func(c *successfactors.Config) { c.Verify = nil }, "CompanyID": func(c *successfactors.Config) { c.CompanyID = "" },
		"Audience": func(c *successfactors.Config) { c.Audience = "" }, "Workers": func(c *successfactors.Config) { c.Workers = -1 },
	} {
		cfg := good
		change(&cfg)
		if _, err := successfactors.New(cfg); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestErrorsHaveTheFormThatWasAskedFor(t *testing.T) {
	s := newServer(t, nil)
	rows := []struct {
		rule, uri, accept, contentType string
	}{
		{"$format=json", "/odata/v2/Nothing?$format=json", "", "application/json"},
		{"Accept", "/odata/v2/Nothing", "text/html, application/json;q=0.5", "application/json"},
		{"Accept refuses JSON", "/odata/v2/Nothing", "application/json;q=0", "application/xml"},
		{"$format wins over Accept", "/odata/v2/Nothing?$format=atom", "application/json", "application/xml"},
		{"neither", "/odata/v2/Nothing", "*/*", "application/xml"},
	}
	for _, row := range rows {
		r := get(t, s, row.uri, header("Accept", row.accept))
		text := body(t, r)
		if r.StatusCode != http.StatusBadRequest || !strings.HasPrefix(r.Header.Get("Content-Type"), row.contentType) || !strings.Contains(text, "COE_ENTITY_NOT_FOUND") {
			t.Errorf("%s: %d %s %s", row.rule, r.StatusCode, r.Header.Get("Content-Type"), text)
		}
	}
	r := get(t, s, "/odata/v2/PerPerson", nil)
	if text := body(t, r); r.StatusCode != http.StatusNotAcceptable || !strings.Contains(text, "not in this stand-in") {
		t.Errorf("Atom: %d %s", r.StatusCode, text)
	}
}

func TestBadRequests(t *testing.T) {
	s := newServer(t, nil)
	rows := []struct {
		path   string
		status int
		code   string
	}{
		{"Nothing", 400, "COE_ENTITY_NOT_FOUND"},
		{"PerPerson('1')/nothingNav", 400, "COE_PROPERTY_NOT_FOUND"},
		{"PerPerson?$select=nothing", 400, "COE_PROPERTY_NOT_FOUND"},
		{"PerPerson?$select=emailNav/nothing", 400, "COE_PROPERTY_NOT_FOUND"},
		{"PerPerson?$expand=personIdExternal", 400, "COE_PROPERTY_NOT_FOUND"},
		{"PerPerson?$filter=nothing eq 1", 400, "COE_PROPERTY_NOT_FOUND"},
		{"PerPerson?$orderby=nothing", 400, "COE_PROPERTY_NOT_FOUND"},
		{"PerPerson?$orderby=personId sideways", 400, "BadRequestException"},
		{"PerPerson?$search=x", 400, "BadRequestException"},
		{"PerPerson?$top=-1", 400, "BadRequestException"},
		{"PerPerson?$top=1&$top=2", 400, "BadRequestException"},
		{"PerPerson?$top=%zz", 400, "BadRequestException"},
		{"PerPerson?$skiptoken=x", 400, "BadRequestException"},
		{"PerPerson?customPageSize=0", 400, "BadRequestException"},
		{"PerPerson?customPageSize=1001", 400, "BadRequestException"},
		{"PerPerson?asOfDate=yesterday", 400, "BadRequestException"},
		{"PerPerson?asOfDate=2020-01-01&toDate=2021-01-01", 400, "BadRequestException"},
		{"PerPerson?paging=snapshot", 400, "NOT_IN_THIS_STAND_IN"},
		{"PerPerson?paging=cursor", 400, "NOT_IN_THIS_STAND_IN"},
		{"PerPerson(1)", 400, "BadRequestException"},
		{"PerPerson('1'", 400, "BadRequestException"},
		{"PerPerson('999999')", 404, "NotFoundException"},
		{"PerPerson('1')?$filter=personId eq 1L", 400, "BadRequestException"},
		{"PerPerson/emailNav", 400, "BadRequestException"},
		{"PerPhone(personIdExternal='1')", 400, "BadRequestException"},
	}
	for _, row := range rows {
		status, text := ask(t, s, "/odata/v2/"+row.path)
		if code, _ := errorOf(t, text); status != row.status || code != row.code {
			t.Errorf("%s: %d %s", row.path, status, text)
		}
	}
	if status, text := ask(t, s, "/odata/v4/PerPerson"); status != 404 || !strings.Contains(text, "LGN0001") {
		t.Errorf("another root: %d %s", status, text)
	}
	r := get(t, s, "/odata/v2/PerPerson?$format=json", func(r *http.Request) { r.Method = http.MethodPost })
	if text := body(t, r); r.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d %s", r.StatusCode, text)
	}
	if status, _ := ask(t, s, "/odata/v2/PerPerson?ignored=1&$top=1"); status != http.StatusOK {
		t.Error("an option of no standard was not ignored")
	}
}

func TestReminderOfMissingHeaders(t *testing.T) {
	s := newServer(t, nil)
	r := get(t, s, "/odata/v2/$metadata", nil)
	_ = body(t, r)
	if got := r.Header.Get("successfactors-message"); got != "X-SF-Correlation-Id, successfactors-sourcetype are missing in request headers" {
		t.Error(got)
	}
	r = get(t, s, "/odata/v2/$metadata", func(r *http.Request) {
		r.Header.Set("X-SF-Correlation-Id", "1")
		r.Header.Set("successfactors-sourcetype", "Application")
	})
	_ = body(t, r)
	if got := r.Header.Get("successfactors-message"); got != "" {
		t.Error(got)
	}
}

func TestGzipCarriesTheSameBytes(t *testing.T) {
	s := newServer(t, nil)
	_, want := ask(t, s, "/odata/v2/PerPerson?$top=5")
	r := get(t, s, "/odata/v2/PerPerson?$top=5", func(r *http.Request) {
		r.Header.Set("Accept", "application/json")
		r.Header.Set("Accept-Encoding", "br, gzip;q=0.5")
	})
	if r.Header.Get("Content-Encoding") != "gzip" {
		t.Fatal("not compressed")
	}
	z, err := gzip.NewReader(strings.NewReader(body(t, r)))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(z)
	if err != nil || string(got) != want {
		t.Errorf("%v: %.200s", err, got)
	}
	r = get(t, s, "/odata/v2/PerPerson?$top=5", header("Accept-Encoding", "gzip;q=0"))
	_ = body(t, r)
	if r.Header.Get("Content-Encoding") != "" {
		t.Error("compressed against the client's word")
	}
}

func TestLongRequestLineOverTheWire(t *testing.T) {
	s := newServer(t, nil)
	server := httptest.NewServer(s)
	defer server.Close()
	s.SetBaseURL(server.URL)
	filter := "personIdExternal eq '" + strings.Repeat("x;%|", 2500) + "' or personIdExternal eq '7'"
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/odata/v2/PerPerson?$format=json&$filter="+url.QueryEscape(filter), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+goodToken)
	answer, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	results, _, _ := page(t, body(t, answer))
	if len(results) != 1 || results[0]["__metadata"].(entity)["uri"] != server.URL+"/odata/v2/PerPerson('7')" {
		t.Errorf("%v", results)
	}
}
