package broker_test

import (
	"log/slog"
	"testing"
	"time"

	"sfbroker/audit"
	"sfbroker/broker"
	"sfbroker/broker/caller"
)

func TestNewRefuses(t *testing.T) {
	h := build(t, setup{})
	conn := h.warm("one")
	for _, row := range []struct {
		rule   string
		change func(*broker.Config, *caller.Config)
		ok     bool
	}{
		{"nothing wrong", func(*broker.Config, *caller.Config) {}, true},
		{"a caller without its connection", func(_ *broker.Config, c *caller.Config) { c.Callers[0].Connection = "two" }, false},
		{"a connection twice", func(b *broker.Config, _ *caller.Config) { b.Connections = append(b.Connections, conn) }, false},
		{"no public URL", func(b *broker.Config, _ *caller.Config) { b.PublicURLs = nil }, false},
		{"a public URL without a host", func(b *broker.Config, _ *caller.Config) { b.PublicURLs = []string{"/odata"} }, false},
	} {
		callers := caller.Config{Callers: []caller.Caller{{Name: "nightly", Connection: "one"}}, Now: time.Now}
		cfg := broker.Config{PublicURLs: []string{"http://127.0.0.1:8020"}, Connections: []*broker.Connection{conn}, Audit: audit.New(h.audit, time.Now), Logger: slog.New(slog.DiscardHandler), Now: time.Now}
		row.change(&cfg, &callers)
		var err error
		if cfg.Callers, err = caller.New(callers); err != nil {
			t.Fatal(err)
		}
		if _, err := broker.New(cfg); (err == nil) != row.ok {
			t.Errorf("%s: %v", row.rule, err)
		}
	}
}
