package cmd

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"sfbroker/admin"
)

type statusCmd struct {
	operatorFlags
	JSON  bool `help:"Print JSON."`
	Check bool `help:"Ask only whether the daemon is ready, without a token: exit code 0 or 1. For health checks of containers."`
}

// Run prints one line a connection. The exit code is 1 when one of them is broken.
func (c statusCmd) Run(w *world) error {
	if c.Check {
		return c.ready(w)
	}
	o, err := c.connect(w)
	if err != nil {
		return err
	}
	var s admin.Status
	if err := o.call(w.ctx, http.MethodGet, "/v1/status", nil, &s); err != nil {
		return err
	}
	if c.JSON {
		return w.printJSON(s)
	}
	table := tabwriter.NewWriter(w.Stdout, 0, 0, 2, ' ', 0)
	broken := false
	for _, conn := range s.Connections {
		printf(table, "%s\n", statusLine(conn, s.Now))
		broken = broken || conn.State == "broken"
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if len(s.Connections) == 0 {
		printf(w.Stdout, "no connections\n")
	}
	if s.Draining {
		printf(w.Stdout, "the daemon is draining\n")
	}
	if broken {
		return errFailed
	}
	return nil
}

// ready asks for readiness, which is open to all. It prints nothing when the answer is yes.
func (c statusCmd) ready(w *world) error {
	o, err := c.reach(w)
	if err != nil {
		return err
	}
	status, raw, err := o.ask(w.ctx, http.MethodGet, "/readyz", nil)
	if err != nil || status == http.StatusOK {
		return err
	}
	var answer struct{ Reason string }
	if json.Unmarshal(raw, &answer) != nil || answer.Reason == "" {
		answer.Reason = "it answers " + statusText(status)
	}
	return fmt.Errorf("the daemon is not ready: %s", answer.Reason)
}

// statusLine is as an operator reads it at night: what, since when, who.
func statusLine(c admin.Connection, now time.Time) string {
	switch {
	case c.Finding != nil && c.State == "broken":
		line := fmt.Sprintf("%s\tBROKEN since %s\t%s\tfix: %s\tcallers hit: %d", c.Name, since(c.Since, now), c.Finding.Short, c.Finding.Owner, c.CallersHit)
		return line + lockout(c.Lockout)
	case c.State == "ok":
		life := "no AT2"
		if c.AT2Expiry != nil {
			life = "AT2 for " + c.AT2Expiry.Sub(now).Round(time.Second).String()
		}
		return fmt.Sprintf("%s\tok\t%s\tuser %s@%s\texchanges: %d", c.Name, life, c.TechnicalUser, c.CompanyID, c.Exchanges) + lockout(c.Lockout)
	}
	return fmt.Sprintf("%s\t%s", c.Name, c.State)
}

func since(t *time.Time, now time.Time) string {
	switch {
	case t == nil:
		return "just now"
	case now.Sub(*t) < 20*time.Hour:
		return t.Local().Format("15:04")
	}
	return t.Local().Format("2006-01-02 15:04")
}

func lockout(l admin.Lockout) string {
	if l.FailedLogons == 0 {
		return ""
	}
	line := fmt.Sprintf("\tfailed logons: %d of 5", l.FailedLogons)
	if l.ProbeAt != nil {
		line += ", next try " + l.ProbeAt.Local().Format("15:04")
	}
	if l.NeedsOperator {
		line += ", waits for sfbroker connection unlock"
	}
	return strings.TrimRight(line, " ")
}
