package audit_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
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

// TestTornLineStaysAlone: a record after a failed write is whole, on a line of its own.
func TestTornLineStaysAlone(t *testing.T) {
	var file bytes.Buffer
	w := &flaky{to: &file, short: true}
	log := audit.New(w, fixed)
	if err := log.Write(audit.Record{Event: "torn"}); err == nil {
		t.Fatal("a short write went unnoticed")
	}
	if log.Stuck() == nil {
		t.Error("a failing sink is not reported")
	}
	w.short = false
	if err := log.Write(audit.Record{Event: "whole"}); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(file.String()), "\n")
	var got audit.Record
	if len(lines) != 2 || json.Unmarshal([]byte(lines[1]), &got) != nil || got.Event != "whole" {
		t.Errorf("lines %q", lines)
	}
	if log.Stuck() != nil {
		t.Error("still reported after a good write")
	}
}

type flaky struct {
	to    *bytes.Buffer
	short bool
}

func (f *flaky) Write(p []byte) (int, error) {
	if f.short {
		return f.to.Write(p[:len(p)/2])
	}
	return f.to.Write(p)
}

// TestStuckSinkFailsOthers: a reader that stopped reading fails requests instead of hanging them.
func TestStuckSinkFailsOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		log := audit.New(blocked(release), fixed)
		done := make(chan error, 1)
		go func() { done <- log.Write(audit.Record{Event: "first"}) }()
		synctest.Wait()
		if err := log.Write(audit.Record{Event: "second"}); !errors.Is(err, audit.ErrStuck) {
			t.Errorf("err = %v, want ErrStuck", err)
		}
		time.Sleep(time.Second) // in the bubble: past the patience
		if log.Stuck() == nil {
			t.Error("readiness is not told")
		}
		close(release)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if log.Stuck() != nil {
			t.Error("still stuck")
		}
	})
}

type blocked chan struct{}

func (b blocked) Write(p []byte) (int, error) { <-b; return len(p), nil }
