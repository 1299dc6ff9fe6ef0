package broker_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"sfbroker/broker/diagnosis"
)

// linked is a page of n people as SuccessFactors writes it, with links of every kind and the same addresses in data.
func linked(origin string, n int, next string) string {
	var b strings.Builder
	b.WriteString(`{"d":{"results":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"__metadata":{"uri":"%[1]s/odata/v2/User('%[2]d')","type":"SFOData.User"},"userId":"%[2]d","lastName":"Müller \"quoted\" \u00e9","url":"%[1]s/odata/v2/data","note":"__next %[1]s","empInfo":{"__deferred":{"uri":"%[1]s/odata/v2/User('%[2]d')/empInfo"}}}`, origin, i)
	}
	b.WriteString(`]`)
	if next != "" {
		fmt.Fprintf(&b, `,"__next":"%s"`, next)
	}
	b.WriteString(`}}`)
	return b.String()
}

// TestLinksLeadBackToWhereTheCallerCame asks under each public URL; data stays as it was, byte for byte.
func TestLinksLeadBackToWhereTheCallerCame(t *testing.T) {
	h := build(t, setup{public: []string{"http://proxy.example", "https://secure.example:8443"}})
	h.sf.answer(page(linked(h.sf.URL, 3, h.sf.URL+"/odata/v2/User?$skiptoken=abc")))
	for host, public := range map[string]string{strings.TrimPrefix(h.public, "http://"): h.public, "proxy.example": "http://proxy.example", "PROXY.example:80": "http://proxy.example", "secure.example:8443": "https://secure.example:8443"} {
		a := h.get("/odata/v2/User", http.Header{"Host": {host}, "X-Forwarded-Host": {"evil.example"}, "X-Forwarded-Proto": {"gopher"}})
		want := linked(public, 3, public+"/odata/v2/User?$skiptoken=abc")
		want = strings.ReplaceAll(want, `"url":"`+public, `"url":"`+h.sf.URL)
		want = strings.ReplaceAll(want, `"note":"__next `+public, `"note":"__next `+h.sf.URL)
		if a.body != want {
			t.Errorf("as %s:\n got %s\nwant %s", host, a.body, want)
		}
	}
}

// TestEveryPageLeadsThroughTheProxy walks as a job does, following __next and nothing else.
func TestEveryPageLeadsThroughTheProxy(t *testing.T) {
	h := build(t, setup{})
	h.sf.answer(func(w http.ResponseWriter, r *http.Request) {
		for i := range 5 {
			next := fmt.Sprintf("/odata/v2/User?$skiptoken=p%d%%7Cx=", i+1)
			if i == 4 {
				next = ""
			} else {
				next = h.sf.URL + next
			}
			if i == 0 && !strings.Contains(r.RequestURI, "skiptoken") || strings.Contains(r.RequestURI, fmt.Sprintf("=p%d%%7Cx=", i)) {
				page(linked(h.sf.URL, 2, next))(w, r)
				return
			}
		}
		reply(404, "application/json", `{}`)(w, r)
	})
	target, pages := "/odata/v2/User", 0
	for target != "" && pages < 10 {
		a := h.get(target, nil)
		var p struct {
			D struct {
				Next string `json:"__next"`
			}
		}
		if a.status != http.StatusOK || json.Unmarshal([]byte(a.body), &p) != nil {
			t.Fatalf("page %d: %d %s", pages, a.status, a.body)
		}
		pages++
		if p.D.Next == "" {
			break
		}
		var ours bool
		if target, ours = strings.CutPrefix(p.D.Next, h.public); !ours {
			t.Fatalf("page %d leads to %s", pages, p.D.Next)
		}
	}
	if pages != 5 {
		t.Errorf("%d pages, want 5", pages)
	}
}

// TestForeignLinkEndsTheAnswer: a page whose __next leads elsewhere would lead the job past the broker.
func TestForeignLinkEndsTheAnswer(t *testing.T) {
	h := build(t, setup{})
	for _, next := range []string{"https://evil.example/odata/v2/User?$skiptoken=1", "//evil.example/odata/v2/User", "http://evil.example@" + strings.TrimPrefix(h.sf.URL, "http://") + "/odata/v2/User", h.sf.URL + "1/odata/v2/User"} {
		h.sf.answer(page(linked(h.sf.URL, 1, next)))
		wantErrorOrCut(t, h, next, diagnosis.ForeignLink)
		h.sf.answer(page(linked(h.sf.URL, 2000, next))) // far behind the first byte
		wantErrorOrCut(t, h, next+" late", diagnosis.ForeignLink)
	}
	for _, next := range []string{"/odata/v2/User?$skiptoken=1", h.sf.URL + "/odata/v2/User?$skiptoken=1"} {
		h.sf.answer(page(linked(h.sf.URL, 1, next)))
		if a := h.get("/odata/v2/User", nil); a.status != http.StatusOK {
			t.Errorf("%s: %d", next, a.status)
		}
	}
}

// wantErrorOrCut accepts an error of ours or an answer that ends badly, and nothing else.
func wantErrorOrCut(t *testing.T, h *house, what string, codes ...diagnosis.Code) {
	t.Helper()
	resp, err := h.client.Do(h.request(http.MethodGet, "/odata/v2/User", nil))
	if err != nil {
		return
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		return
	}
	for _, code := range codes {
		if resp.StatusCode == diagnosis.Lookup(code).Status && resp.Header.Get("Sfbroker-Error-Code") == string(code) {
			return
		}
	}
	t.Errorf("%s: a well-formed %d %s of %d bytes", what, resp.StatusCode, resp.Header.Get("Sfbroker-Error-Code"), len(body))
}
