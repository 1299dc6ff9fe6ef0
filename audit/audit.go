// Package audit keeps the record of what was decided: one JSON line a decision, written before the decision takes effect.
//
// A record holds names, shapes and reasons, never a token, a key or a literal of a query.
package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
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
	// Suppressed counts like records that were left out before this one; only denials of an address that was told to stop.
	Suppressed int `json:"suppressed,omitempty"`
}

// Patience is how long a record may wait for those before it: a full pipe must fail requests, not hang them all.
const Patience = 5 * time.Second

// ErrStuck is returned while the sink takes nothing.
var ErrStuck = errors.New("the audit sink takes no records")

// Log writes records as JSON lines. It is safe for concurrent use.
type Log struct {
	turn chan struct{} // holds one element while nobody writes
	w    io.Writer
	now  func() time.Time

	// torn says that the last write stopped within a line. Only the holder of the turn uses it.
	torn bool
	// since is when the present writer took its turn, failed when the last write failed, in Unix nanoseconds; 0 is never.
	since, failed atomic.Int64
}

// New returns a Log on w. Each record is one Write of one whole line, so a file opened with O_APPEND keeps every record
// of a process that is killed. now stamps records that have no time.
func New(w io.Writer, now func() time.Time) *Log {
	l := &Log{turn: make(chan struct{}, 1), w: w, now: now}
	l.turn <- struct{}{}
	return l
}

// Write appends r. A caller that gets an error must not go on with what r allows. It waits at most Patience for records
// before it, and the error is then ErrStuck; the one record that the sink itself holds up waits for the sink.
func (l *Log) Write(r Record) error {
	if r.Time.IsZero() {
		r.Time = l.now()
	}
	r.Time = r.Time.UTC()
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encoding audit record: %w", err)
	}
	if err := l.wait(); err != nil {
		return err
	}
	defer func() { l.since.Store(0); l.turn <- struct{}{} }()
	l.since.Store(time.Now().UnixNano())
	if l.torn {
		line = append([]byte{'\n'}, line...) // what was torn stays alone on its line
	}
	line = append(line, '\n')
	n, err := l.w.Write(line)
	if err == nil && n != len(line) {
		err = io.ErrShortWrite
	}
	if err != nil {
		l.failed.Store(time.Now().UnixNano())
		l.torn = l.torn || n > 0
		return fmt.Errorf("writing audit record: %w", err)
	}
	l.torn = false
	l.failed.Store(0)
	return nil
}

func (l *Log) wait() error {
	select {
	case <-l.turn:
		return nil
	default:
	}
	timer := time.NewTimer(Patience)
	defer timer.Stop()
	select {
	case <-l.turn:
		return nil
	case <-timer.C:
		return ErrStuck
	}
}

// Stuck returns an error while the sink takes no records: a write failed within the last half minute, or one has been
// waiting longer than Patience. Readiness asks; it says yes again after the half minute, since nothing would be written
// while nobody sends requests, and a request whose record fails is refused anyway.
func (l *Log) Stuck() error {
	now := time.Now()
	since, failed := l.since.Load(), l.failed.Load()
	if since != 0 && now.Sub(time.Unix(0, since)) > Patience || failed != 0 && now.Sub(time.Unix(0, failed)) < 30*time.Second {
		return ErrStuck
	}
	return nil
}
