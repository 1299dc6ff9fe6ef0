package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sfbroker/admin"
	"sfbroker/broker/check"
	"sfbroker/cmd/internal/assembly"
	"sfbroker/config"
	"sfbroker/sandbox"
)

type demoCmd struct {
	Once         bool   `help:"End when the job ends, with its exit code."`
	JSON         bool   `help:"Print one JSON document; implies --once."`
	Workers      int    `default:"1000" help:"People in the company."`
	PageSize     int    `default:"100" help:"Rows a page."`
	Break        string `placeholder:"FAULT" help:"Start with one fault at a peer and show how it is diagnosed: ${faults}."`
	ErrorProfile string `default:"microsoft" enum:"microsoft,terse" help:"Wording of IAS errors: microsoft or terse."`
}

// demoResult is the JSON document of the demo.
type demoResult struct {
	OK       bool         `json:"ok"`
	Steps    []admin.Step `json:"steps"`
	Job      *jobResult   `json:"job,omitempty"`
	Error    string       `json:"error,omitempty"`
	ProxyURL string       `json:"proxy_url"`
	AdminURL string       `json:"admin_url"`
}

// demo is one run: a sandbox, a broker in front of it, and a job.
type demo struct {
	w       *world
	c       demoCmd
	out     io.Writer // the story; nowhere with --json
	sandbox *sandbox.Sandbox
	daemon  *assembly.Daemon
	files   sandboxFiles
	dir     string
	log     string
	result  demoResult
}

// Run tells the story and ends with the job's result.
func (c demoCmd) Run(w *world) (err error) {
	d := &demo{w: w, c: c, out: w.Stdout}
	if c.Workers < 1 || c.PageSize < 1 {
		return &usageError{errors.New("--workers and --page-size must be at least 1"), ""}
	}
	if c.JSON {
		c.Once, d.out = true, io.Discard
	}
	if err := d.start(); err != nil {
		return errors.Join(err, d.stop())
	}
	defer func() {
		if stopErr := d.stop(); err == nil {
			err = stopErr
		}
	}()
	if err := d.walk(); err != nil {
		return err
	}
	d.job()
	if c.JSON {
		if err := w.printJSON(d.result); err != nil {
			return err
		}
	}
	d.summary()
	if !c.Once {
		d.next()
		<-w.ctx.Done()
	}
	if !d.result.OK {
		return errFailed
	}
	return nil
}

func (d *demo) start() error {
	var faults []string
	if d.c.Break != "" {
		faults = append(faults, d.c.Break)
	}
	printf(d.out, "Starting a sandbox: stand-ins for Microsoft Entra, SAP Cloud Identity Services (IAS) and SAP SuccessFactors,\na company of %s.\n", count(d.c.Workers, "person", "people"))
	s, err := sandbox.Start(d.w.ctx, sandbox.Config{Workers: d.c.Workers, Seed: 1, Now: d.w.Now, ErrorProfile: d.c.ErrorProfile, Faults: faults})
	if err != nil {
		return &usageError{err, "known faults: " + strings.Join(sandbox.KnownFaults(), ", ")}
	}
	d.sandbox = s
	if d.dir, err = os.MkdirTemp("", "sfbroker-demo-"); err != nil {
		return err
	}
	d.files, err = writeSandboxFiles(s, d.dir, sandbox.ConfigOptions{
		ProxyListen: "127.0.0.1:0", AdminListen: "127.0.0.1:0", AuditFile: filepath.Join(d.dir, "audit.jsonl"),
		Allow: []string{"PerPerson", "PerPerson/personalInfoNav", "PerPerson/emailNav", "PerPerson/phoneNav", "User"},
	})
	if err != nil {
		return err
	}
	printf(d.out, "  Entra %s   IAS %s   SuccessFactors %s\n", s.Info.EntraURL, s.Info.IASURL, s.Info.APIURL)
	if err := d.broker(); err != nil {
		return err
	}
	printf(d.out, "Starting the broker in front of it:\n  proxy %s   admin %s\n", d.result.ProxyURL, d.result.AdminURL)
	if d.c.Break != "" {
		printf(d.out, "One thing is broken at a peer: %s.\n", d.c.Break)
	}
	return nil
}

func (d *demo) broker() error {
	d.log = filepath.Join(d.dir, "broker.log")
	log, err := os.OpenFile(d.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	cfg, err := config.Load(d.files.config, d.w.configEnv())
	if err != nil {
		return err
	}
	opts := d.w.assemblyOptions()
	opts.Log, opts.Audit = log, log
	house, err := assembly.Compile(cfg, opts)
	if err != nil {
		return err
	}
	if d.daemon, err = house.Open(); err != nil {
		return err
	}
	d.result.ProxyURL, d.result.AdminURL = d.daemon.ProxyURL(), d.daemon.AdminURL()
	go func() {
		if err := d.daemon.Serve(context.WithoutCancel(d.w.ctx)); err != nil {
			house.Logger().Error("serving ended", "error", err)
		}
	}()
	return nil
}

// stop ends what start began. The folder goes with its keys.
func (d *demo) stop() error {
	if d.daemon != nil {
		d.daemon.Close()
	}
	var err error
	if d.sandbox != nil {
		err = d.sandbox.Close()
	}
	if d.dir != "" {
		err = errors.Join(err, os.RemoveAll(d.dir))
	}
	return err
}

// walk shows each hop as it happens.
func (d *demo) walk() error {
	printf(d.out, "\nThe way of a token, hop by hop:\n")
	conn, ok := d.daemon.Broker().Connection(sandbox.FirstConnection)
	if !ok {
		return fmt.Errorf("the demo's configuration has no connection %q", sandbox.FirstConnection)
	}
	report, err := check.Walk(d.w.ctx, conn, func(s check.Step) { printStep(d.out, admin.NewStep(s)) })
	if err != nil {
		return err
	}
	d.result.Steps = admin.NewReport(report).Steps
	d.result.OK = report.OK
	return nil
}

// job runs the provisioning job, which knows the proxy's URL and a caller key, nothing else.
func (d *demo) job() {
	printf(d.out, "\nA provisioning job reads PerPerson through the proxy, with user name and key only:\n")
	j := job{url: d.result.ProxyURL, user: demoCaller + "@" + d.sandbox.Info.CompanyID, key: d.files.key, pageSize: d.c.PageSize, progress: d.progress()}
	result, err := j.run(d.w.ctx)
	if conn, ok := d.daemon.Broker().Connection(sandbox.FirstConnection); ok {
		result.Exchanges = conn.TokenState().Exchanges
	}
	d.result.Job = &result
	if err != nil {
		d.result.OK = false
		d.result.Error = err.Error()
		printf(d.out, "  the job failed: %s\n", err)
	}
}

// progress draws a bar on a terminal and a line a page elsewhere.
func (d *demo) progress() func(result jobResult, total int, done bool) {
	bar := terminal(d.out)
	return func(r jobResult, total int, done bool) {
		if !bar {
			printf(d.out, "  page %d: %d of %d records\n", r.Pages, r.Records, total)
			return
		}
		const width = 30
		filled := width
		if total > 0 {
			filled = min(width, r.Records*width/total)
		}
		printf(d.out, "\r  page %-4d [%s%s] %d of %d records", r.Pages, strings.Repeat("#", filled), strings.Repeat(".", width-filled), r.Records, total)
		if done {
			printf(d.out, "\n")
		}
	}
}

func (d *demo) summary() {
	r := d.result
	if !r.OK {
		d.failure()
		return
	}
	printf(d.out, "\n%s in %s, %s, %s. No password was stored anywhere.\n", count(r.Job.Records, "record", "records"), count(r.Job.Pages, "page", "pages"),
		count(int(r.Job.Exchanges), "token exchange", "token exchanges"), r.Job.took.Round(time.Millisecond))
}

// failure repeats in one line what matters of it: where, what and who.
func (d *demo) failure() {
	for _, s := range d.result.Steps {
		if s.Finding != nil {
			printf(d.out, "\nNot delivered: %s does not work (%s).   fix: %s\n", s.Step, s.Finding.Short, s.Finding.Owner)
			return
		}
	}
	printf(d.out, "\nNot delivered, although every hop works: see the job's error above, and the broker's log.\n")
}

// next prints lines to paste. The Python block stands at the margin: a shell ends it only at a bare EOF.
func (d *demo) next() {
	token := filepath.Join(d.dir, "state", "admin-token")
	printf(d.out, `
What to try next, while this runs (Ctrl-C ends it and removes the key):

  curl --netrc-file %[1]s '%[2]s/odata/v2/PerPerson?$top=2&$format=json'

python3 - <<'EOF'
import netrc, json, urllib.request
url = "%[2]s"
user, _, key = netrc.netrc("%[1]s").authenticators("127.0.0.1")
passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
passwords.add_password(None, url, user, key)
opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(passwords))
page = json.load(opener.open(url + "/odata/v2/User?$top=2&$format=json"))
print([user["userId"] for user in page["d"]["results"]])
EOF

  curl %[3]s/metrics
  go run ./cmd/sfbroker status --admin %[3]s --token-file %[4]s
  go run ./cmd/sfbroker connection test %[5]s --admin %[3]s --token-file %[4]s
  tail -f %[6]s %[7]s
`, d.files.netrc, d.result.ProxyURL, d.result.AdminURL, token, sandbox.FirstConnection, filepath.Join(d.dir, "audit.jsonl"), d.log)
}
