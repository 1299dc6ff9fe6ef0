package config_test

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"sfbroker/config"
)

// files is an environment of files in memory.
func files(content map[string]string) config.Env {
	env := hermetic()
	missing := env.ReadFile
	env.ReadFile = func(name string) ([]byte, error) {
		if text, ok := content[name]; ok {
			return []byte(text), nil
		}
		return missing(name)
	}
	return env
}

// split is base in two files: the callers stand in another one.
func split(main, callers string) (string, string) {
	head, tail, _ := strings.Cut(base, "callers:\n")
	return head + main, "callers:\n" + tail + callers
}

func TestInclude(t *testing.T) {
	main, callers := split("include: [teams/callers.yaml]\n", "include: [../ids.yaml]\n")
	c, err := config.Load("etc/sfbroker.yaml", files(map[string]string{
		"etc/sfbroker.yaml":      main,
		"etc/teams/callers.yaml": callers,
		"etc/ids.yaml":           "workload_identities:\n  by-file:\n    source: {file: {path: at1}}\n    trust_by_issuer: {issuer: 'https://x', subject: s, audience: a}\n",
	}))
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(config.Names(c.Callers), config.Names(c.WorkloadIdentities)) != "[nightly] [by-file vm]" {
		t.Errorf("callers %v, workload identities %v", config.Names(c.Callers), config.Names(c.WorkloadIdentities))
	}
	if got, want := c.WorkloadIdentities["by-file"].Source.File.Path, "etc/at1"; got != want {
		t.Errorf("path %q, want %q: it counts from the file that it stands in", got, want)
	}
	p := c.Problem("callers.nightly.connection", "m", "")
	if p.File != "etc/teams/callers.yaml" || p.Line != 3 || p.Column != 17 {
		t.Errorf("a node of an included file is at %s", p)
	}
}

func TestIncludeRefused(t *testing.T) {
	const ids = "workload_identities: {}\n"
	for _, row := range []struct {
		name, main, callers string
		others              map[string]string
		at, path            string
		message, hint       string
	}{
		{"a missing file", "include: [callers.yaml, b.yaml]\n", "", nil, "sfbroker.yaml:11:25", "include[1]", `"b.yaml" does not exist`, "check the name"},
		{"a file that is no YAML", "include: [callers.yaml, b.yaml]\n", "", map[string]string{"b.yaml": "callers: {\n"}, "b.yaml:1:10", "", "not valid YAML", "indentation"},
		{"a file that is no map", "include: [callers.yaml, b.yaml]\n", "", map[string]string{"b.yaml": "- a\n"}, "b.yaml:1:1", "", "not a map", "version: 1"},
		{"a file that includes itself", "include: [callers.yaml]\n", "include: [callers.yaml]\n", nil, "callers.yaml:6:11", "include[0]", "includes itself: sfbroker.yaml -> callers.yaml -> callers.yaml", "remove one"},
		{"two files that include each other", "include: [callers.yaml]\n", "include: [./sfbroker.yaml]\n", nil, "callers.yaml:6:11", "include[0]", "includes itself: sfbroker.yaml -> callers.yaml -> sfbroker.yaml", "remove one"},
		{"a file twice", "include: [callers.yaml, ./callers.yaml]\n", "", nil, "sfbroker.yaml:11:25", "include[1]", "is included twice", "remove one"},
		{"a file too deep", "include: [callers.yaml]\n", "include: [1.yaml]\n", map[string]string{"1.yaml": "include: [2.yaml]\n", "2.yaml": "include: [3.yaml]\n", "3.yaml": "include: [4.yaml]\n", "4.yaml": "include: [5.yaml]\n", "5.yaml": ids}, "4.yaml:1:11", "include[0]", "more than 5 deep", "main file"},
		{"a name that is a URL", "include: [callers.yaml, 'https://x/b.yaml']\n", "", nil, "sfbroker.yaml:11:25", "include[1]", "is a URL", "on this machine"},
		{"a name from a variable", "include: [callers.yaml, '${B}']\n", "", nil, "sfbroker.yaml:11:25", "include[1]", "not a secret", "only where a secret belongs"},
		{"one file without brackets", "include: callers.yaml\n", "", nil, "sfbroker.yaml:11:10", "include", "holds text where a list belongs", "brackets"},
		{"one file without brackets, included", "include: [callers.yaml]\n", "include: b.yaml\n", nil, "callers.yaml:6:10", "include", "holds text where a list belongs", "[file.yaml]"},
		{"a key of the main file", "include: [callers.yaml]\n", "proxy: {}\n", nil, "callers.yaml:6:1", "proxy", "belongs in the main file", "known keys here: callers, connections, include, workload_identities"},
		{"an unknown key", "include: [callers.yaml]\n", "conections: {}\n", nil, "callers.yaml:6:1", "conections", "unknown key", `did you mean "connections"?`},
		{"a key twice", "include: [callers.yaml]\n", "callers: {}\n", nil, "callers.yaml:6:1", "callers", "stands twice: first at callers.yaml:1:1", "keep one"},
		{"a section that is no map", "include: [callers.yaml]\n", "connections: []\n", nil, "callers.yaml:6:14", "connections", "holds a list where a map of names belongs", "remove the line"},
		{"a name in two files", "include: [callers.yaml]\n", "connections:\n  hr: {}\n", nil, "callers.yaml:7:3", "connections.hr", "the name is defined twice: first at sfbroker.yaml:7:3", "rename"},
		{"a problem in an included file", "include: [callers.yaml]\n", "  weekly: {connection: hr, key: {sha256: x}, allow: {read: [A]}}\n", nil, "callers.yaml:6:42", "callers.weekly.key.sha256", "SHA-256", "caller add"},
	} {
		t.Run(row.name, func(t *testing.T) {
			main, callers := split(row.main, row.callers)
			content := map[string]string{"sfbroker.yaml": main, "callers.yaml": callers}
			for name, text := range row.others {
				content[name] = text
			}
			_, err := config.Load("sfbroker.yaml", files(content))
			ps := problems(t, err)
			if len(ps) != 1 {
				t.Fatalf("%d problems, want 1:\n%v", len(ps), err)
			}
			p := ps[0]
			if at := fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column); at != row.at || p.Path != row.path {
				t.Errorf("at %s %q, want %s %q", at, p.Path, row.at, row.path)
			}
			if !strings.Contains(p.Message, row.message) || !strings.Contains(p.Hint, row.hint) {
				t.Errorf("message %q, hint %q", p.Message, p.Hint)
			}
		})
	}
}

func TestFilesAreSortedAsTheyWereRead(t *testing.T) {
	_, err := config.Load("z.yaml", files(map[string]string{
		"z.yaml": "version: 1\ninclude: [b.yaml, a.yaml]\nx: 1\n",
		"a.yaml": "x: 1\n", "b.yaml": "y: 1\nx: 1\n",
	}))
	var got []string
	for _, p := range problems(t, err) {
		got = append(got, fmt.Sprintf("%s:%d", p.File, p.Line))
	}
	if want := "[z.yaml:3 b.yaml:1 b.yaml:2 a.yaml:1]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

func TestMissingMainFile(t *testing.T) {
	_, err := config.Load("none.yaml", hermetic())
	ps := problems(t, err)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the cause is lost: %v", err)
	}
	if got, want := err.Error(), "error: none.yaml: the file does not exist\nhint: check the name, or write one: sfbroker config schema shows what it may hold"; got != want || len(ps) != 1 {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestFolderInsteadOfFile(t *testing.T) {
	_, err := config.Load(t.TempDir(), config.Env{})
	if ps := problems(t, err); len(ps) != 1 || !strings.Contains(ps[0].Message, "cannot be read") || ps[0].Err == nil {
		t.Errorf("got %v", err)
	}
}
