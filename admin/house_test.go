package admin_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sfbroker/admin"
	"sfbroker/audit"
	"sfbroker/broker"
)

const (
	host  = "127.0.0.1:8021"
	token = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	name  = "hr-prod"
)

// house is the admin API of a broker without connections: what these tests ask is who is let in. What the routes do is
// tested where a whole daemon is built.
type house struct {
	broker *broker.Broker
	api    *admin.API
	audit  *strings.Builder
	log    *audit.Log
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{audit: &strings.Builder{}}
	log := audit.New(h.audit, time.Now)
	var err error
	cfg := broker.Config{
		Revision: "r1", PublicURLs: []string{"http://127.0.0.1:8020"}, Audit: log, Logger: slog.New(slog.DiscardHandler), Now: time.Now,
	}
	cfg.Callers = nobody(cfg.Callers)
	h.broker, err = broker.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	h.log = log
	h.api = admin.New(h.config())
	return h
}

func (h *house) config() admin.Config {
	return admin.Config{
		Broker: h.broker, Audit: h.log, Token: func(s string) bool { return s == token }, Hosts: func(s string) bool { return s == host },
		Gatherer: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler), Now: time.Now, Version: "test",
	}
}

// nobody is a set without callers.
func nobody[T any](*T) *T { return new(T) }

// ask sends one request to the operators' handler, with the token.
func (h *house) ask(t *testing.T, method, target, body string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.api.Handler().ServeHTTP(w, asOperator(newRequest(t, method, target, body)))
	return w
}

func newRequest(t *testing.T, method, target, body string) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	r.Host = host
	return r
}

func asOperator(r *http.Request) *http.Request {
	r.Header.Set("Authorization", "Bearer "+token)
	return r
}

// code is the code of an error answer, "" when it is none.
func code(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	if w.Code == http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
		return ""
	}
	var answer struct{ Error struct{ Code string } }
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	return answer.Error.Code
}

// TestProbesOfABrokerWithoutConnections: it lives and has started, but there is nothing that it could deliver.
func TestProbesOfABrokerWithoutConnections(t *testing.T) {
	h := newHouse(t)
	for target, want := range map[string]int{"/livez": 200, "/startupz": 200, "/readyz": 503, "/readyz?connection=" + name: 404} {
		if w := h.ask(t, http.MethodGet, target, ""); w.Code != want {
			t.Errorf("%s: %d %s, want %d", target, w.Code, w.Body, want)
		}
	}
}
