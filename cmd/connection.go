package cmd

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"time"

	"sfbroker/admin"
	"sfbroker/broker/check"
	"sfbroker/cmd/internal/assembly"
	"sfbroker/config"
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
	if cfg.State.Dir == "" {
		return admin.Report{}, config.Problems{cfg.Problem("state.dir", "is needed for a test from this process, so that it shares the count of failed logons with the daemon", "add state: { dir: /var/lib/sfbroker }, the folder that the daemon uses")}
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
