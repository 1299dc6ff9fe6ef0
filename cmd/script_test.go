package cmd_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"sfbroker/cmd"
)

var update = flag.Bool("update", false, "write what commands print into the scripts' golden files")

// TestScripts runs the command line as a user does. Commands run in this process; a script names files by $WORK.
//
//	sfbroker ARGS...           must exit with 0
//	exits CODE ARGS...         must exit with CODE
//	background NAME ARGS...    runs until finish or the end of the script, with output in NAME.out and NAME.err
//	finish NAME CODE           ends it, as a signal would, and checks its exit code
//	await FILE PATTERN         waits until the file holds the pattern
//	ports NAME...              puts a free loopback address into each variable
//	json FILE                  checks that the file, or stdout, is one JSON document
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", UpdateScripts: *update, RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("STATE", e.WorkDir+"/state")
			e.Values[jobsKey{}] = map[string]*backgroundJob{}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"sfbroker": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg {
					ts.Fatalf("name the exit code: exits CODE ...")
				}
				exits(ts, 0, args)
			},
			"exits": func(ts *testscript.TestScript, _ bool, args []string) {
				exits(ts, number(ts, args[0]), args[1:])
			},
			"background": background, "finish": finish, "await": await, "ports": ports, "json": oneJSON,
		},
	})
}

func number(ts *testscript.TestScript, s string) int {
	n, err := strconv.Atoi(s)
	ts.Check(err)
	return n
}

func environment(ts *testscript.TestScript) func(string) (string, bool) {
	return func(name string) (string, bool) {
		v := ts.Getenv(name)
		return v, v != ""
	}
}

func exits(ts *testscript.TestScript, want int, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	got := cmd.Run(ctx, cmd.Env{Args: args, Stdin: strings.NewReader(""), Stdout: ts.Stdout(), Stderr: ts.Stderr(), LookupEnv: environment(ts)})
	if got != want {
		ts.Fatalf("sfbroker %s: exit code %d, want %d", strings.Join(args, " "), got, want)
	}
}

type jobsKey struct{}

type backgroundJob struct {
	cancel context.CancelFunc
	code   chan int
}

func background(ts *testscript.TestScript, _ bool, args []string) {
	name := args[0]
	out, err := os.Create(ts.MkAbs(name + ".out"))
	ts.Check(err)
	errs, err := os.Create(ts.MkAbs(name + ".err"))
	ts.Check(err)
	ctx, cancel := context.WithCancel(context.Background())
	job := &backgroundJob{cancel, make(chan int, 1)}
	env := cmd.Env{Args: args[1:], Stdin: strings.NewReader(""), Stdout: out, Stderr: errs, LookupEnv: environment(ts)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		job.code <- cmd.Run(ctx, env)
		_, _ = out.Close(), errs.Close()
	}()
	ts.Defer(func() { cancel(); <-ended })
	jobs(ts)[name] = job
}

func jobs(ts *testscript.TestScript) map[string]*backgroundJob {
	return ts.Value(jobsKey{}).(map[string]*backgroundJob)
}

func finish(ts *testscript.TestScript, _ bool, args []string) {
	job := jobs(ts)[args[0]]
	if job == nil {
		ts.Fatalf("nothing runs under the name %s", args[0])
	}
	job.cancel()
	if got, want := <-job.code, number(ts, args[1]); got != want {
		ts.Fatalf("%s: exit code %d, want %d\n%s", args[0], got, want, ts.ReadFile(args[0]+".err"))
	}
}

func await(ts *testscript.TestScript, _ bool, args []string) {
	pattern := regexp.MustCompile(args[1])
	deadline := time.Now().Add(30 * time.Second)
	for !pattern.MatchString(ts.ReadFile(args[0])) {
		if time.Now().After(deadline) {
			ts.Fatalf("%s does not match %s:\n%s", args[0], args[1], ts.ReadFile(args[0]))
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func ports(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		ts.Check(err)
		defer l.Close()
		ts.Setenv(name, l.Addr().String())
	}
}

func oneJSON(ts *testscript.TestScript, _ bool, args []string) {
	var v map[string]any
	if err := json.Unmarshal([]byte(ts.ReadFile(args[0])), &v); err != nil {
		ts.Fatalf("%s: %v", args[0], err)
	}
	for _, key := range args[1:] {
		if text := fmt.Sprint(v[key]); v[key] == nil || text == "" || text == "[]" {
			ts.Fatalf("%s has no %s", args[0], key)
		}
	}
}
