package audit_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"sfbroker/audit"
)

func fixed() time.Time { return time.Date(2026, 11, 22, 2, 10, 0, 0, time.FixedZone("CET", 3600)) }

func TestOneLineARecordInUTC(t *testing.T) {
	var buf bytes.Buffer
	log := audit.New(&buf, fixed)
	want := audit.Record{Event: "request", Decision: audit.Deny, Code: "policy_denied", Caller: "nightly", Touches: []string{"read PerPerson"}}
	if err := log.Write(want); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(buf.String(), "\n"); n != 1 || !strings.HasSuffix(buf.String(), "\n") {
		t.Fatalf("want exactly one line, got %q", buf.String())
	}
	var got audit.Record
	if err := json.Unmarshal(buf.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Code != want.Code || got.Caller != want.Caller || got.Decision != audit.Deny || len(got.Touches) != 1 {
		t.Errorf("record changed on its way: %+v", got)
	}
	if got.Time.Location() != time.UTC || !got.Time.Equal(fixed()) {
		t.Errorf("time = %v, want %v in UTC", got.Time, fixed())
	}
}

func TestConcurrentRecordsStayWhole(t *testing.T) {
	var buf bytes.Buffer
	log := audit.New(&buf, fixed)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if err := log.Write(audit.Record{Event: "request", Decision: audit.Allow, Shape: strings.Repeat("x", 500)}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	lines := strings.Split(strings.TrimSpace(buf.String()), "\n")
	if len(lines) != 50 {
		t.Fatalf("%d lines, want 50", len(lines))
	}
	for _, line := range lines {
		if !json.Valid([]byte(line)) {
			t.Fatalf("torn line %q", line)
		}
	}
}

type shortWriter struct{ err error }

func (s shortWriter) Write(p []byte) (int, error) { return len(p) / 2, s.err }

func TestFailedWriteIsAnError(t *testing.T) {
	full := errors.New("disk full")
	if err := audit.New(shortWriter{full}, fixed).Write(audit.Record{}); !errors.Is(err, full) {
		t.Errorf("err = %v, want the writer's", err)
	}
	if err := audit.New(shortWriter{nil}, fixed).Write(audit.Record{}); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("err = %v, want a short write", err)
	}
}
