// Package cmd is the command line of sfbroker: one file a command.
package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"golang.org/x/term"

	"sfbroker/cmd/internal/assembly"
	"sfbroker/config"
	"sfbroker/sandbox"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// Env is the world of one run: what a test replaces.
type Env struct {
	// Args are the arguments without the program's name.
	Args []string
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Stdin, Stdout and Stderr must be set.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// LookupEnv reads the environment; nil means os.LookupEnv.
	LookupEnv func(string) (string, bool)
}

// Main runs the program with the process's own world. The first SIGINT or SIGTERM ends the context, the second the process.
func Main() int {
	log.SetOutput(discreet{}) // net/http quotes unexpected bytes of a peer there
	coreErr := assembly.NoCoreDumps()
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		got := <-signals
		cancel(signalled{got})
		got = <-signals
		os.Exit(signalled{got}.exitCode())
	}()
	if coreErr != nil {
		printf(os.Stderr, "warning: core dumps stay on: %v\n", coreErr)
	}
	return Run(ctx, Env{Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr})
}

// discreet takes the place of the standard logger's output: libraries write there what a peer sent, personal data and tokens
// included.
type discreet struct{}

func (discreet) Write(p []byte) (int, error) {
	printf(os.Stderr, "level=WARN msg=%q\n", "a library had a remark, which is not shown since it may quote a peer")
	return len(p), nil
}

// signalled is the cause of a context that a signal ended.
type signalled struct{ signal os.Signal }

func (s signalled) Error() string { return "got signal " + s.signal.String() }

func (s signalled) exitCode() int {
	if n, ok := s.signal.(syscall.Signal); ok {
		return 128 + int(n)
	}
	return exitFailed
}

// usageError is a mistake on the command line or in the configuration: exit code 2.
type usageError struct {
	err  error
	hint string
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// failedError is a command that ran and whose answer is no; what there is to say was printed.
var errFailed = errors.New("failed")

// hinted is an error with an advice.
type hinted struct {
	err  error
	hint string
}

func (e *hinted) Error() string { return e.err.Error() }
func (e *hinted) Unwrap() error { return e.err }

// cli is the whole command line.
type cli struct {
	Serve      serveCmd      `cmd:"" help:"Run the daemon."`
	Demo       demoCmd       `cmd:"" help:"Run a sandbox, a broker in front of it, and one provisioning job, step by step."`
	Status     statusCmd     `cmd:"" help:"One line a connection: what is broken since when, and who fixes it."`
	Sandbox    sandboxCmd    `cmd:"" help:"Run only the stand-ins for Entra, IAS and SuccessFactors, with fault switches."`
	Connection connectionCmd `cmd:"" help:"Test a connection, or unlock its client ID."`
	TestAlias  testCmd       `cmd:"" name:"test-connection" help:"The same as: connection test."`
	Caller     callerCmd     `cmd:"" help:"Make a key for a caller."`
	Token      tokenCmd      `cmd:"" help:"Show the claims of AT1 and AT2."`
	Config     configCmd     `cmd:"" help:"Check a configuration, or print its JSON Schema."`
	Version    versionCmd    `cmd:"" help:"Print the version."`
}

// world is what commands share.
type world struct {
	Env
	ctx context.Context //nolint:containedctx // one run, one context
}

func (w *world) configEnv() config.Env {
	return config.Env{LookupEnv: w.LookupEnv, ReadFile: os.ReadFile}
}

// terminal reports whether f is one: colour and progress go only there.
func terminal(f any) bool {
	file, ok := f.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// exitRequested is how kong asks to end, after --help.
type exitRequested struct{ code int }

// Run runs one command and returns the exit code: 0 ok, 1 it ran and failed, 2 usage or configuration, 128+n for a signal.
func Run(ctx context.Context, env Env) (code int) {
	if env.Now == nil {
		env.Now = time.Now
	}
	if env.LookupEnv == nil {
		env.LookupEnv = os.LookupEnv
	}
	defer func() {
		if r := recover(); r != nil {
			exit, ok := r.(exitRequested)
			if !ok {
				panic(r)
			}
			code = exit.code
		}
	}()
	w := &world{Env: env, ctx: ctx}
	parser, err := kong.New(&cli{}, kong.Name("sfbroker"), kong.Writers(env.Stdout, env.Stderr), kong.Bind(w),
		kong.Vars{"faults": strings.Join(sandbox.KnownFaults(), ", ")},
		kong.Description("Lets any job call SAP SuccessFactors with no stored password: workload identity in, technical access out."),
		kong.Exit(func(code int) { panic(exitRequested{code}) }), kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
	if err != nil {
		return w.report(err)
	}
	if len(env.Args) == 0 {
		env.Args = []string{"--help"}
	}
	parsed, err := parser.Parse(env.Args)
	if err != nil {
		return w.report(&usageError{err, "sfbroker --help lists the commands and their flags"})
	}
	return w.report(parsed.Run())
}

// report prints err as error: and hint: lines and returns the exit code.
func (w *world) report(err error) int {
	var problems config.Problems
	var usage *usageError
	var hint *hinted
	var sig signalled
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errFailed):
		return exitFailed
	case errors.As(err, &problems):
		if err := problems.Format(w.Stderr); err != nil {
			return exitFailed
		}
		return exitUsage
	case errors.As(context.Cause(w.ctx), &sig) && errors.Is(err, context.Canceled):
		return sig.exitCode()
	}
	printf(w.Stderr, "error: %s\n", strings.ReplaceAll(err.Error(), "\n", "\n       "))
	if errors.As(err, &hint) && hint.hint != "" {
		printf(w.Stderr, "hint: %s\n", hint.hint)
	}
	if errors.As(err, &usage) {
		if usage.hint != "" {
			printf(w.Stderr, "hint: %s\n", usage.hint)
		}
		return exitUsage
	}
	return exitFailed
}

// printf writes to a terminal or a pipe; when nobody reads any more there is nobody to tell.
func printf(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }

// version is the module's version, or the revision that it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "devel-" + s.Value[:12]
		}
	}
	return "devel"
}

type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run(w *world) error {
	printf(w.Stdout, "sfbroker %s\n", version())
	return nil
}
