package assembly_test

import (
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// used is a daemon whose metrics have all been touched: answers, denials, a wrong key, a test, a broken connection.
func used(t *testing.T) (h *house, foreign []string) {
	t.Helper()
	h = newHouse(t, faults("locked-client"))
	h.tried(t, first, other)
	h.sandbox.UnlockClient(h.sandbox.Info.IASClientID)
	if w := h.ask(t, http.MethodPost, "/v1/connections/"+first+"/unlock", `{"reason":"mended"}`); w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	until(t, "the job is served", func() bool {
		return do(t, h.job(t, "/odata/v2/PerPerson?$top=1&$filter=personIdExternal%20eq%20'needle1'&$format=json")).Code == http.StatusOK
	})
	for _, target := range []string{
		"/odata/v2/Needle2", "/odata/v2/PerPerson('needle3')?$format=json", "/needle4", "/odata/v2/PerPerson?$needle5=1", "/metrics",
		"/odata/v2/PerPerson?$top=1", "/odata/v2/$batch",
	} {
		do(t, h.job(t, target))
	}
	for _, set := range []func(*http.Request){
		func(r *http.Request) { r.SetBasicAuth("needle6", "sfb_needle7_x") },
		func(r *http.Request) { r.Header.Set("Authorization", "Bearer needle8") },
		func(r *http.Request) { r.Header.Del("Authorization") },
		func(r *http.Request) { r.Method = "NEEDLE9" },
		func(r *http.Request) { r.Host = "needle10.example" },
		func(r *http.Request) { r.Header.Set("Origin", "https://needle11.example") },
	} {
		r := h.job(t, "/odata/v2/PerPerson")
		set(r)
		do(t, r)
	}
	h.ask(t, http.MethodPost, "/v1/connections/"+first+"/test", "")
	return h, []string{"needle", "Needle", "NEEDLE", h.key, h.token, ".eyJ", "personIdExternal", "/odata"}
}

// series is one line of the exposition format.
type series struct {
	name   string
	labels map[string]string
}

// scrape returns the metrics as Prometheus gets them, and our own series by metric.
func scrape(t *testing.T, h *house) (string, map[string][]series) {
	t.Helper()
	w := do(t, request(t, http.MethodGet, h.daemon.AdminURL()+"/metrics", ""))
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	text := w.Body.String()
	line, label := regexp.MustCompile(`(?m)^(sfbroker_\w+)(?:\{(.*)\})? \S+$`), regexp.MustCompile(`(\w+)="((?:[^"\\]|\\.)*)"`)
	all := map[string][]series{}
	for _, m := range line.FindAllStringSubmatch(text, -1) {
		one := series{m[1], map[string]string{}}
		for _, l := range label.FindAllStringSubmatch(m[2], -1) {
			one.labels[l[1]] = l[2]
		}
		all[m[1]] = append(all[m[1]], one)
	}
	return text, all
}

// TestMetricsFollowConventions asks Prometheus's own linter, once as a library and once as the program that operators have.
func TestMetricsFollowConventions(t *testing.T) {
	h, _ := used(t)
	text, families := scrape(t, h)
	if len(families) < 10 {
		t.Errorf("only %d metrics of ours", len(families))
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("SFBROKER_PEERS") == "required" {
			t.Fatalf(`peer "promtool" is not installed and SFBROKER_PEERS=required: %v`, err)
		}
		t.Skip(`peer "promtool" is not installed`)
	}
	check := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	check.Stdin = strings.NewReader(text)
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

// TestLabelsAreBounded: a label's values come from the configuration or from a list in the program, never from a request.
func TestLabelsAreBounded(t *testing.T) {
	h, foreign := used(t)
	text, families := scrape(t, h)
	for _, s := range foreign {
		if strings.Contains(text, s) {
			t.Errorf("the metrics hold %q", s)
		}
	}
	known := map[string][]string{
		"connection": {"", first, other}, "caller": {"", "nightly", "weekly"}, "workload_identity": {"sandbox-vm"}, "version": {"test"},
	}
	for name, family := range families {
		if len(family) > 80 {
			t.Errorf("%s has %d series after two dozen requests", name, len(family))
		}
		for _, one := range family {
			for label, value := range one.labels {
				if values, ok := known[label]; ok && !slices.Contains(values, value) {
					t.Errorf("%s has %s=%q", name, label, value)
				}
				if len(value) > 80 {
					t.Errorf("%s has a %s of %d characters", name, label, len(value))
				}
			}
		}
	}
	before := len(families["sfbroker_denials_total"])
	for i := range 20 {
		do(t, h.job(t, "/odata/v2/Set"+strings.Repeat("x", i)))
	}
	_, after := scrape(t, h)
	if got := len(after["sfbroker_denials_total"]); got > before+1 {
		t.Errorf("20 addresses made %d new series", got-before)
	}
}
