package integration_test

import (
	"debug/buildinfo"
	"debug/elf"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sfbroker/sandbox"
)

// instructions reads a Dockerfile: each instruction's word and the rest of its line, continuations joined.
func instructions(text string) [][2]string {
	text = strings.ReplaceAll(regexp.MustCompile(`(?m)^\s*#.*\n`).ReplaceAllString(text, ""), "\\\n", " ")
	var found [][2]string
	for _, line := range strings.Split(text, "\n") {
		if word, rest, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			found = append(found, [2]string{strings.ToUpper(word), strings.TrimSpace(rest)})
		}
	}
	return found
}

// finalStage returns the instructions from the last FROM on.
func finalStage(t *testing.T) [][2]string {
	t.Helper()
	all := instructions(document(t, "Dockerfile"))
	for i := len(all) - 1; i >= 0; i-- {
		if all[i][0] == "FROM" {
			return all[i:]
		}
	}
	t.Fatal("the Dockerfile has no FROM")
	return nil
}

// execForm returns the arguments of an instruction in JSON, which needs no shell.
func execForm(t *testing.T, stage [][2]string, word string) []string {
	t.Helper()
	for _, in := range stage {
		if in[0] != word {
			continue
		}
		var args []string
		at := strings.IndexByte(in[1], '[')
		if at < 0 || json.Unmarshal([]byte(in[1][at:]), &args) != nil || len(args) == 0 {
			t.Fatalf("%s is not in exec form: %s", word, in[1])
		}
		return args
	}
	t.Fatalf("the image has no %s", word)
	return nil
}

func TestImageHasNoShellAndNoRoot(t *testing.T) {
	t.Parallel()
	stage := finalStage(t)
	if !regexp.MustCompile(`^gcr\.io/distroless/static-debian\d+:nonroot$`).MatchString(stage[0][1]) {
		t.Errorf("the image is made from %s", stage[0][1])
	}
	for _, in := range stage {
		if in[0] == "RUN" || in[0] == "USER" && in[1] != "nonroot" && !strings.HasPrefix(in[1], "65532") {
			t.Errorf("%s %s: the image has no shell and its user is nonroot", in[0], in[1])
		}
	}
	entry := execForm(t, stage, "ENTRYPOINT")
	if len(entry) != 1 || !strings.Contains(stageText(stage, "COPY"), " "+entry[0]+"\n") {
		t.Errorf("the entry point %v is not what is copied:\n%s", entry, stageText(stage, "COPY"))
	}
	if args := execForm(t, stage, "CMD"); args[0] != "serve" {
		t.Errorf("the image runs %v", args)
	}
}

func stageText(stage [][2]string, word string) string {
	var b strings.Builder
	for _, in := range stage {
		if in[0] == word {
			b.WriteString(in[1] + "\n")
		}
	}
	return b.String()
}

// TestBinaryIsStatic looks at the binary that these tests build as the image does: distroless has no loader.
func TestBinaryIsStatic(t *testing.T) {
	t.Parallel()
	makefile := document(t, "Makefile")
	if !regexp.MustCompile(`(?m)^build:\n\tCGO_ENABLED=0 `).MatchString(makefile) || !regexp.MustCompile(`(?m)^export GOFLAGS :=.*-trimpath\)$`).MatchString(makefile) {
		t.Error("make build, which the Dockerfile runs, is not CGO_ENABLED=0 with -trimpath")
	}
	if !strings.Contains(document(t, "Dockerfile"), "RUN make build") {
		t.Error("the Dockerfile does not run make build")
	}
	info, err := buildinfo.ReadFile(binary(t))
	if err != nil {
		t.Fatal(err)
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	if settings["CGO_ENABLED"] != "0" || settings["-trimpath"] != "true" {
		t.Errorf("built with %v", settings)
	}
	f, err := elf.Open(binary(t))
	if err != nil {
		t.Skipf("no ELF binary on this system: %v", err)
	}
	defer func() { _ = f.Close() }()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("the binary wants a loader: it has %v", p.Type)
		}
	}
	if libraries, err := f.ImportedLibraries(); err == nil && len(libraries) > 0 {
		t.Errorf("the binary wants %v", libraries)
	}
}

// TestHealthCheck runs the image's health check as it stands, but for the paths.
func TestHealthCheck(t *testing.T) {
	t.Parallel()
	stage := finalStage(t)
	command := execForm(t, stage, "HEALTHCHECK")
	if entry := execForm(t, stage, "ENTRYPOINT"); command[0] != entry[0] {
		t.Fatalf("the health check runs %s, not the binary itself", command[0])
	}
	serve := execForm(t, stage, "CMD")
	at := slices.Index(command, "--config")
	if at < 0 || at+1 == len(command) || !slices.Contains(serve, command[at+1]) {
		t.Fatalf("the health check %v does not read the configuration of %v", command, serve)
	}
	w := startSandbox(t, "--workers", "20", "--break", sandbox.FaultIASDown)
	config := w.config(sandbox.ConfigOptions{AdminListen: freePort(t)}, noLameDuck)
	check := func(want int, words string) {
		t.Helper()
		args := slices.Clone(command[1:])
		args[at] = config // command[0] is gone, so what follows --config stands here
		r := outcome(t, args...)
		if r.code != want || !strings.Contains(r.stderr, words) || words == "" && r.stdout+r.stderr != "" {
			t.Errorf("%v: exit code %d, want %d with %q\n%s%s", args, r.code, want, words, r.stdout, r.stderr)
		}
	}
	check(1, "no daemon answers")
	d := w.startBroker(config)
	poll(t, "the first try", func() error {
		if r := d.operate("GET", "/startupz"); r.status != 200 {
			return errNotYet
		}
		return nil
	})
	check(1, "no connection can deliver")
	w.fault(sandbox.FaultIASDown, false)
	d.ready()
	check(0, "")
	if code := d.terminate(t); code != 0 {
		t.Errorf("exit code %d\n%s", code, d.stderr)
	}
	check(1, "no daemon answers")
}
