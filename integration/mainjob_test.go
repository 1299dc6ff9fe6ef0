package integration_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"sfbroker/sandbox"
)

// fullQuery is Microsoft's published full query, as Entra's provisioning sends it.
func fullQuery() string {
	now := time.Now().UTC().Add(time.Hour).Format("2006-01-02T15:04:05Z")
	return "/odata/v2/PerPerson?$format=json&$filter=(personEmpTerminationInfoNav/activeEmploymentsCount%20ne%20null)%20and%20(lastModifiedDateTime%20le%20datetimeoffset'" + now + "')" +
		"&$expand=employmentNav/userNav,employmentNav/jobInfoNav,personalInfoNav,personEmpTerminationInfoNav,phoneNav,emailNav,employmentNav/jobInfoNav/companyNav/countryOfRegistrationNav,employmentNav/jobInfoNav/divisionNav,employmentNav/jobInfoNav/departmentNav&customPageSize=100"
}

// fullQueryGrants is the least policy under which the full query passes: each navigation path literally.
func fullQueryGrants() []string {
	return []string{
		"PerPerson", "PerPerson/personEmpTerminationInfoNav", "PerPerson/employmentNav", "PerPerson/employmentNav/userNav", "PerPerson/employmentNav/jobInfoNav",
		"PerPerson/personalInfoNav", "PerPerson/phoneNav", "PerPerson/emailNav", "PerPerson/employmentNav/jobInfoNav/companyNav",
		"PerPerson/employmentNav/jobInfoNav/companyNav/countryOfRegistrationNav", "PerPerson/employmentNav/jobInfoNav/divisionNav", "PerPerson/employmentNav/jobInfoNav/departmentNav",
	}
}

// turn rewrites the sandbox's link members without the broker's own code and calls each with every turned link. It knows the
// one spelling that the sandbox writes; a quote inside data is escaped, so nothing matches there.
func turn(page []byte, from, to string, each func(link []byte)) []byte {
	out := make([]byte, 0, len(page))
	for len(page) > 0 {
		at, member := -1, []byte(nil)
		for _, m := range [][]byte{[]byte(`"uri" : "`), []byte(`"__next" : "`)} {
			window := page
			if at >= 0 {
				window = page[:at]
			}
			if i := bytes.Index(window, m); i >= 0 {
				at, member = i, m
			}
		}
		if at < 0 {
			return append(out, page...)
		}
		at += len(member)
		out, page = append(out, page[:at]...), page[at:]
		end := bytes.IndexByte(page, '"')
		link := page[:end]
		if rest, ok := bytes.CutPrefix(link, []byte(from)); ok {
			link = append([]byte(to), rest...)
		}
		each(link)
		out, page = append(out, link...), page[end:]
	}
	return out
}

// nextLink returns the address of the following page, "" on the last one. It reads the end of the page alone: decoding
// megabytes takes the race detector minutes.
func nextLink(page []byte) (string, error) {
	tail := page[max(0, len(page)-8192):]
	if !bytes.HasSuffix(bytes.TrimSpace(tail), []byte("}}")) {
		return "", fmt.Errorf("a page of %d bytes does not end as one", len(page))
	}
	m := regexp.MustCompile(`"__next"\s*:\s*("(?:[^"\\]|\\.)*")\s*\}\s*\}\s*$`).FindSubmatch(tail)
	if m == nil {
		return "", nil
	}
	var next string
	err := json.Unmarshal(m[1], &next)
	return next, err
}

// TestFullQueryByteForByte walks Microsoft's full query over 10,000 workers, through the proxy and directly, page by page.
func TestFullQueryByteForByte(t *testing.T) {
	t.Parallel()
	w := startSandbox(t, "--https", "--workers", "10000")
	d := w.startBroker(w.config(sandbox.ConfigOptions{Allow: fullQueryGrants()}, noLameDuck)).ready()
	var released struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(d.operate("POST", "/v1/connections/"+sandbox.FirstConnection+"/token").body, &released); err != nil || released.AccessToken == "" {
		t.Fatalf("no AT2 for the direct walk: %v", err)
	}
	direct := w.client()
	target, pages, people, turned := fullQuery(), 0, 0, 0
	for target != "" {
		req, err := http.NewRequest(http.MethodGet, w.info.APIURL+target, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+released.AccessToken)
		want, err := do(direct, req)
		if err != nil || want.status != http.StatusOK {
			t.Fatalf("direct page %d: %d %v %.200s", pages, want.status, err, want.body)
		}
		got := d.mustGet("nightly", target)
		n := 0
		expected := turn(want.body, w.info.APIURL, d.proxy, func(link []byte) {
			n++
			if !bytes.HasPrefix(link, []byte(d.proxy+"/odata/v2/")) {
				t.Fatalf("page %d has a link past the broker: %s", pages, link)
			}
		})
		if !bytes.Equal(got.body, expected) {
			t.Fatalf("page %d differs: %s", pages, difference(got.body, expected))
		}
		turned += n
		pages++
		people += bytes.Count(got.body, []byte(`"type" : "SFOData.PerPerson"`))
		next, err := nextLink(got.body)
		if err != nil {
			t.Fatal(err)
		}
		target = strings.TrimPrefix(next, d.proxy)
	}
	if pages < 90 || people < 9000 || turned < 100_000 {
		t.Errorf("%d pages, %d people, %d links: the walk was not what it should be", pages, people, turned)
	}
	s := w.stats()
	if s.IAS.TokenRequests != 1 {
		t.Errorf("%d token requests, want exactly 1", s.IAS.TokenRequests)
	}
	if s.SuccessFactors.SessionViolations != 0 {
		t.Errorf("%d session violations", s.SuccessFactors.SessionViolations)
	}
	t.Logf("%d pages, %d people, %d links", pages, people, turned)
}

// TestLeastPolicyIsLeast takes each grant of the full query away: without it the query is denied.
func TestLeastPolicyIsLeast(t *testing.T) {
	t.Parallel()
	w := startSandbox(t, "--workers", "20")
	grants := fullQueryGrants()
	callers := map[string][]string{"all": grants}
	for i := range grants {
		rest := append(append([]string{}, grants[:i]...), grants[i+1:]...)
		callers[fmt.Sprint("without-", i)] = rest
	}
	digests := map[string]string{}
	for name := range callers {
		digests[name] = w.key(name)
	}
	d := w.startBroker(w.config(sandbox.ConfigOptions{Callers: digests}, func(text string) string {
		for name, allowed := range callers {
			head, rest, ok := strings.Cut(text, "\n  \""+name+"\":")
			if !ok {
				t.Fatalf("no caller %s in the configuration", name)
			}
			text = head + "\n  \"" + name + "\":" + strings.Replace(rest, `["*"]`, "["+strings.Join(allowed, ", ")+"]", 1)
		}
		return noLameDuck(text)
	})).ready()
	d.mustGet("all", fullQuery())
	for i, grant := range grants {
		r, err := d.get(fmt.Sprint("without-", i), fullQuery())
		if err != nil || r.status != http.StatusForbidden || r.header.Get("Sfbroker-Error-Code") != "policy_denied" {
			t.Errorf("without %s: %d %s %v", grant, r.status, r.header.Get("Sfbroker-Error-Code"), err)
		}
	}
}

func difference(a, b []byte) string {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return fmt.Sprintf("at byte %d: %q against %q", i, a[max(0, i-40):min(len(a), i+60)], b[max(0, i-40):min(len(b), i+60)])
		}
	}
	return fmt.Sprintf("lengths %d and %d", len(a), len(b))
}

// TestTwoConnectionsOneBroken: one company that is broken leaves the other alone.
func TestTwoConnectionsOneBroken(t *testing.T) {
	t.Parallel()
	w := startSandbox(t, "--workers", "50", "--break", "unmapped-client")
	d := w.startBroker(w.config(sandbox.ConfigOptions{
		Callers: map[string]string{"first": w.key("first")}, SecondCallers: map[string]string{"second": w.key("second")},
	}, noLameDuck)).ready()
	if r, err := d.get("first", "/odata/v2/User?$top=1&$format=json"); err != nil || r.status != http.StatusForbidden {
		t.Errorf("the broken company answers %d %v", r.status, err)
	}
	d.mustGet("second", "/odata/v2/User?$top=1&$format=json")
	if r := d.operate("GET", "/readyz"); r.status != http.StatusOK || !bytes.Contains(r.body, []byte("successfactors_application_map")) {
		t.Errorf("readyz: %d %s", r.status, r.body)
	}
	if r := d.operate("GET", "/readyz?connection="+sandbox.FirstConnection); r.status != http.StatusServiceUnavailable {
		t.Errorf("readyz of the broken connection: %d %s", r.status, r.body)
	}
	out := run(t, 1, "status", "--admin", d.admin, "--token-file", d.state+"/admin-token")
	if !regexp.MustCompile(`hr-prod +BROKEN since \d\d:\d\d +SuccessFactors 403: application map +fix: SuccessFactors admin +callers hit: 1`).MatchString(out) {
		t.Errorf("status says:\n%s", out)
	}
	w.fault("unmapped-client", false)
	d.mustGet("first", "/odata/v2/User?$top=1&$format=json")
	if out := run(t, 0, "status", "--admin", d.admin, "--token-file", d.state+"/admin-token"); strings.Contains(out, "BROKEN") {
		t.Errorf("status after the repair says:\n%s", out)
	}
}

// TestOutageWithinATokensLife: IAS is gone for most of a 10-second token's life, and no request is lost.
func TestOutageWithinATokensLife(t *testing.T) {
	t.Parallel()
	w := startSandbox(t, "--workers", "50", "--token-lifetime", "10s")
	d := w.startBroker(w.config(sandbox.ConfigOptions{}, noLameDuck)).ready()
	w.fault("ias-down", true)
	held := d.expiry()
	served := 0
	for back := held.Add(-2200 * time.Millisecond); time.Now().Before(back); served++ {
		d.mustGet("nightly", "/odata/v2/User?$top=1&$format=json")
	}
	if now := d.expiry(); !now.Equal(held) {
		t.Fatalf("the token was renewed during the outage: %v, %v", held, now)
	}
	w.fault("ias-down", false)
	poll(t, "a second exchange", func() error {
		d.mustGet("nightly", "/odata/v2/User?$top=1&$format=json")
		if n := w.stats().IAS.TokensIssued; n < 2 {
			return fmt.Errorf("%d tokens issued", n)
		}
		return nil
	})
	t.Logf("%d requests during the outage", served)
}

// expiry is the end of the AT2 that the broker holds, as its status says.
func (d *daemon) expiry() time.Time {
	d.w.t.Helper()
	var s struct {
		Connections []struct {
			Expiry time.Time `json:"at2_expires_at"`
		} `json:"connections"`
	}
	if err := json.Unmarshal(d.operate("GET", "/v1/status").body, &s); err != nil || len(s.Connections) == 0 || s.Connections[0].Expiry.IsZero() {
		d.w.t.Fatalf("no expiry in the status: %v", err)
	}
	return s.Connections[0].Expiry
}
