// Package audit keeps the record of what was decided: one JSON line a decision, written before the decision takes effect.
//
// A record holds names, shapes and reasons, never a token, a key or a literal of a query.
package audit

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// Decision is the outcome of an authorisation.
type Decision string

// The two decisions. There is no third: what could not be decided is a denial.
const (
	Allow Decision = "allow"
	Deny  Decision = "deny"
)

// Record is one line of the audit log.
type Record struct {
	// Time is when the decision was taken, UTC; Log fills it in when it is zero.
	Time time.Time `json:"time"`
	// Event says what was decided on: "request", "test_connection", "release_token".
	Event string `json:"event"`
	// Decision is allow or deny.
	Decision Decision `json:"decision"`
	// Code is the diagnosis code of a denial, empty when allowed.
	Code string `json:"code,omitempty"`
	// Reason is the stable reason below the code, such as the refused construct or the missing grant.
	Reason string `json:"reason,omitempty"`
	// RequestID joins the line with the answer's Sfbroker-Request-Id and with the log.
	RequestID string `json:"request_id,omitempty"`
	// Caller and Connection are names of the configuration; empty when nobody was recognised.
	Caller     string `json:"caller,omitempty"`
	Connection string `json:"connection,omitempty"`
	// Revision is the configuration revision that decided.
	Revision string `json:"revision,omitempty"`
	// Remote is the peer's address without its port.
	Remote string `json:"remote,omitempty"`
	// Method and Shape say what was asked, without literals.
	Method string `json:"method,omitempty"`
	Shape  string `json:"shape,omitempty"`
	// EntitySet is the set that the path names.
	EntitySet string `json:"entity_set,omitempty"`
	// Touches lists what the request reads, in the policy's own words.
	Touches []string `json:"touches,omitempty"`
	// Subject is the technical user as which SuccessFactors sees an allowed request.
	Subject string `json:"technical_user,omitempty"`
}

// Log writes records as JSON lines. It is safe for concurrent use.
type Log struct {
	mu  sync.Mutex
	w   io.Writer
	now func() time.Time
}

// New returns a Log on w. Each record is one Write of one whole line, so a file opened with O_APPEND keeps every record
// of a process that is killed. now stamps records that have no time.
func New(w io.Writer, now func() time.Time) *Log {
	return &Log{w: w, now: now}
}

// Write appends r. A caller that gets an error must not go on with what r allows.
func (l *Log) Write(r Record) error {
	if r.Time.IsZero() {
		r.Time = l.now()
	}
	r.Time = r.Time.UTC()
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encoding audit record: %w", err)
	}
	line = append(line, '\n')
	l.mu.Lock()
	defer l.mu.Unlock()
	n, err := l.w.Write(line)
	if err != nil {
		return fmt.Errorf("writing audit record: %w", err)
	}
	if n != len(line) {
		return fmt.Errorf("writing audit record: %w", io.ErrShortWrite)
	}
	return nil
}
