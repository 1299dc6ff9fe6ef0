package cmd

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"sfbroker/admin"
	"sfbroker/broker/check"
	"sfbroker/cmd/internal/assembly"
)

type connectionCmd struct {
	Test   testCmd   `cmd:"" help:"Walk the hops of a connection and explain what does not work."`
	Unlock unlockCmd `cmd:"" help:"Forget the failed logons that the broker counted, after the cause was mended. Recorded in the audit log."`
}

type testCmd struct {
	operatorFlags
	Name  string `arg:"" help:"Name of the connection."`
	JSON  bool   `help:"Print JSON."`
	Local bool   `help:"Test from this process, without a running daemon. The count of failed logons is shared through the state directory."`
}

// Run prints the walk. The exit code is 1 when a hop does not work.
func (c testCmd) Run(w *world) error {
	report, err := c.report(w)
	if err != nil {
		return err
	}
	if c.JSON {
		if err := w.printJSON(report); err != nil {
			return err
		}
	} else {
		for _, s := range report.Steps {
			printStep(w.Stdout, s)
		}
	}
	if !report.OK {
		return errFailed
	}
	return nil
}

func (c testCmd) report(w *world) (admin.Report, error) {
	if c.Local {
		return c.local(w)
	}
	o, err := c.connect(w)
	if err != nil {
		return admin.Report{}, err
	}
	var report admin.Report
	err = o.call(w.ctx, http.MethodPost, "/v1/connections/"+url.PathEscape(c.Name)+"/test", nil, &report)
	return report, err
}

func (c testCmd) local(w *world) (admin.Report, error) {
	cfg, err := c.load(w)
	if err != nil {
		return admin.Report{}, err
	}
	opts := w.assemblyOptions()
	opts.Log = io.Discard
	house, err := assembly.Compile(cfg, opts)
	if err != nil {
		return admin.Report{}, err
	}
	defer house.Close()
	conn, err := house.OpenConnection(c.Name)
	if err != nil {
		return admin.Report{}, &usageError{err, ""}
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(w.ctx, 2*time.Minute)
	defer cancel()
	report, err := check.Walk(ctx, conn, nil)
	if err != nil && len(report.Steps) == 0 {
		return admin.Report{}, err
	}
	return admin.NewReport(report), nil
}

// printStep prints one hop, and for a broken one everything that helps to mend it.
func printStep(w io.Writer, s admin.Step) {
	switch {
	case s.Skipped:
		printf(w, "  -   %-22s not reached\n", s.Step)
		return
	case s.OK:
		printf(w, "  ok  %-22s %7.1f ms  %s\n", s.Step, s.DurationMS, details(s.Detail))
		return
	}
	printf(w, "FAIL  %-22s %7.1f ms\n", s.Step, s.DurationMS)
	if s.Finding != nil {
		printFinding(w, *s.Finding)
	}
}

func printFinding(w io.Writer, f admin.Finding) {
	line := func(name, value string) {
		if value != "" {
			printf(w, "      %-10s %s\n", name, value)
		}
	}
	line("what", f.Sentence+" ("+f.Code+")")
	line("expected", f.Expected)
	line("received", f.Received)
	for _, h := range f.Hints {
		line("note", h)
	}
	for i, c := range f.Causes {
		name := ""
		if i == 0 {
			name = "causes"
		}
		line(name, fmt.Sprintf("%d. %s", i+1, c))
	}
	owner := f.Owner
	if f.Role != "" {
		owner += " (" + f.Role + ")"
	}
	line("fix", owner)
	line("where", f.Where)
	line("write", "\""+f.Words+"\"")
	again := "of no use before that"
	if f.RetrySafe {
		again = "safe"
	}
	if f.RetryAfter > 0 {
		again += ", in " + (time.Duration(f.RetryAfter) * time.Second).String()
	}
	line("retry", again)
	line("more", f.Documentation)
}

// details prints a hop's findings in one line, in a fixed order.
func details(d map[string]any) string {
	names := make([]string, 0, len(d))
	for name := range d {
		if name != "note" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	parts := make([]string, 0, len(names))
	for _, name := range names {
		parts = append(parts, fmt.Sprintf("%s=%v", name, d[name]))
	}
	return strings.Join(parts, " ")
}

type unlockCmd struct {
	operatorFlags
	Name   string `arg:"" help:"Name of the connection."`
	Reason string `required:"" help:"What was mended; it goes into the audit log."`
}

// Run clears the count.
func (c unlockCmd) Run(w *world) error {
	o, err := c.connect(w)
	if err != nil {
		return err
	}
	var conn admin.Connection
	if err := o.call(w.ctx, http.MethodPost, "/v1/connections/"+url.PathEscape(c.Name)+"/unlock", map[string]string{"reason": c.Reason}, &conn); err != nil {
		return err
	}
	printf(w.Stdout, "%s: the broker may ask IAS again. A lock at IAS itself ends 60 minutes after it began, or by the IAS admin.\n", c.Name)
	return nil
}

type tokenCmd struct {
	operatorFlags
	Name string `arg:"" help:"Name of the connection."`
	Raw  bool   `help:"Print AT2 itself, for curl. Recorded in the audit log before it is released."`
}

// Run prints claims, or the token.
func (c tokenCmd) Run(w *world) error {
	o, err := c.connect(w)
	if err != nil {
		return err
	}
	path := "/v1/connections/" + url.PathEscape(c.Name) + "/token"
	if !c.Raw {
		var claims admin.Claims
		if err := o.call(w.ctx, http.MethodGet, path, nil, &claims); err != nil {
			return err
		}
		return w.printJSON(claims)
	}
	var released struct {
		AccessToken string `json:"access_token"`
	}
	if err := o.call(w.ctx, http.MethodPost, path, nil, &released); err != nil {
		return err
	}
	printf(w.Stdout, "%s\n", released.AccessToken)
	return nil
}
