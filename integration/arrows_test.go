package integration_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "sfbroker"

// arrows says what each room may import of ours; docs/architecture.md draws it. A room is a folder
// with everything below it, except that each room of the broker has its own row. A room may always
// import its own folders. "*" is every room but integration.
func arrows() map[string][]string {
	return map[string][]string{
		"trust":            {},
		"oauthclient":      {},
		"odata":            {},
		"store":            {},
		"audit":            {},
		"config":           {},
		"workload":         {"oauthclient"},
		"sandbox":          {},
		"broker/caller":    {"trust"},
		"broker/policy":    {"odata"},
		"broker/upstream":  {},
		"broker/diagnosis": {},
		"broker": {
			"broker/caller", "broker/policy", "broker/upstream", "broker/diagnosis",
			"workload", "trust", "oauthclient", "odata", "store", "audit",
		},
		"broker/check": {"broker", "broker/diagnosis"},
		"landscape":    {"oauthclient", "store", "audit"},
		"events":       {"oauthclient", "store", "audit"},
		"admin":        {"broker", "broker/check", "landscape", "events", "audit"},
		"console":      {"admin"},
		"cmd":          {"*"},
		"integration":  {"*"},
	}
}

// room returns the row of arrows that a package of ours belongs to, "" when there is none.
// The package is named by its folder, relative to the module's root.
func room(folder string) string {
	rows := arrows()
	for at := folder; at != "."; at = path.Dir(at) {
		// A new folder below broker/ is a new room and wants a row; it is not covered by the broker's.
		if _, known := rows[at]; known && (at != "broker" || folder == "broker") {
			return at
		}
	}
	return ""
}

// forbidden says why the package in folder from may not import the one in folder to, "" when it may.
// Test files may in addition import the sandbox and what integration offers to tests, unless they
// test the sandbox: it shares nothing with what it stands in for. They may also import what the room
// reaches over its arrows, since somebody must build what the room is handed.
func forbidden(from, to string, test bool) string {
	here, there := room(from), room(to)
	switch {
	case here == "":
		return fmt.Sprintf("%s is in no room: give it a row in arrows and in docs/architecture.md", from)
	case there == "":
		return fmt.Sprintf("%s is in no room: give it a row in arrows and in docs/architecture.md", to)
	case here == there:
		return ""
	case test && here != "sandbox" && (there == "sandbox" || there == "integration"):
		return ""
	}
	allowed := arrows()[here]
	if test && slices.Contains(reached(here), there) {
		return ""
	}
	if slices.Contains(allowed, there) || slices.Contains(allowed, "*") && there != "integration" {
		return ""
	}
	return fmt.Sprintf("%s must not import %s: the arrows of %s are %v", from, to, here, allowed)
}

// reached lists every room that the arrows lead to from a room, over any number of steps.
func reached(room string) []string {
	all := []string{room}
	for i := 0; i < len(all); i++ {
		for _, next := range arrows()[all[i]] {
			if !slices.Contains(all, next) {
				all = append(all, next)
			}
		}
	}
	return all[1:]
}

// TestArrowRules shows that each kind of wrong arrow is found, beside a right one that differs in one thing.
func TestArrowRules(t *testing.T) {
	const ok, denied = false, true
	for _, row := range []struct {
		rule, from, to string
		test, want     bool
	}{
		{"workload may use oauthclient", "workload", "oauthclient", false, ok},
		{"oauthclient may not use workload", "oauthclient", "workload", false, denied},
		{"workload may not use trust", "workload", "trust", false, denied},
		{"policy may use odata", "broker/policy", "odata", false, ok},
		{"caller may not use odata", "broker/caller", "odata", false, denied},
		{"caller may use trust", "broker/caller", "trust", false, ok},
		{"policy may not use trust", "broker/policy", "trust", false, denied},
		{"the broker may use its rooms", "broker", "broker/policy", false, ok},
		{"the broker may not use check", "broker", "broker/check", false, denied},
		{"a room may not use the broker", "broker/policy", "broker", false, denied},
		{"a room may not use another room", "broker/policy", "broker/caller", false, denied},
		{"check may use the broker", "broker/check", "broker", false, ok},
		{"check may use diagnosis", "broker/check", "broker/diagnosis", false, ok},
		{"check may not use policy", "broker/check", "broker/policy", false, denied},
		{"the broker may not use config", "broker", "config", false, denied},
		{"admin may use check", "admin", "broker/check", false, ok},
		{"admin may not use policy", "admin", "broker/policy", false, denied},
		{"admin may not use config", "admin", "config", false, denied},
		{"a command may use everything", "cmd/internal/assembly", "config", false, ok},
		{"a command may not use integration", "cmd", "integration/harness", false, denied},
		{"nobody uses a command", "admin", "cmd", false, denied},
		{"integration may use a command", "integration", "cmd", true, ok},
		{"a room uses its own folders", "sandbox/ias", "sandbox/faults", false, ok},
		{"the sandbox uses nothing of ours", "sandbox/ias", "trust", false, denied},
		{"nor do its tests", "sandbox/ias", "trust", true, denied},
		{"a test may use the sandbox", "broker", "sandbox", true, ok},
		{"the broker itself may not", "broker", "sandbox", false, denied},
		{"a test may use what integration offers", "broker", "integration/harness", true, ok},
		{"a test follows the arrows otherwise", "broker/policy", "config", true, denied},
		{"a test builds what its room reaches", "broker/check", "trust", true, ok},
		{"the room itself does not", "broker/check", "trust", false, denied},
		{"a test builds nothing above its room", "broker/policy", "broker", true, denied},
		{"a new folder at the top has no room", "helpers", "odata", false, denied},
		{"nor may it be used", "broker", "helpers", false, denied},
		{"a new room of the broker has no row", "broker/fairshare", "odata", false, denied},
		{"a folder is not its longer namesake", "oddata", "odata", false, denied},
	} {
		t.Run(row.rule, func(t *testing.T) {
			why := forbidden(row.from, row.to, row.test)
			if (why != "") != row.want {
				t.Errorf("%s -> %s, test file %t: got %q", row.from, row.to, row.test, why)
			}
		})
	}
}

// TestArrows holds every Go file of the module to the arrows, whatever its build constraints.
func TestArrows(t *testing.T) {
	for _, src := range sources(t) {
		if room(src.folder) == "" {
			t.Errorf("%s: in no room: give it a row in arrows and in docs/architecture.md", src.name)
		}
		if room(src.folder) == "integration" && src.folder == "integration" && !src.test {
			t.Errorf("%s: the folder integration holds tests only", src.name)
		}
		for _, spec := range src.file.Imports {
			folder, ours := ourFolder(importPath(spec))
			if !ours {
				continue
			}
			if why := forbidden(src.folder, folder, src.test); why != "" {
				t.Errorf("%s: %s", src.fset.Position(spec.Pos()), why)
			}
		}
	}
}

// TestArrowsSeeTheHouse fails when the walk misses rooms, so that TestArrows cannot pass on nothing.
func TestArrowsSeeTheHouse(t *testing.T) {
	seen := map[string]bool{}
	for _, src := range sources(t) {
		seen[room(src.folder)] = true
	}
	for _, want := range []string{"trust", "oauthclient", "odata", "workload", "config", "broker", "broker/policy", "cmd", "sandbox", "integration"} {
		if !seen[want] {
			t.Errorf("no Go file of room %s was read", want)
		}
	}
}

// source is one Go file of the module.
type source struct {
	name, folder string // relative to the root, with slashes
	test         bool
	fset         *token.FileSet
	file         *ast.File
}

// sources parses every Go file of the module. Folders that are a module of their own, hidden
// folders and testdata are not part of it.
func sources(t *testing.T) []source {
	t.Helper()
	root := moduleRoot(t)
	fset := token.NewFileSet()
	var all []source
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name != root && foreign(name, entry.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		relative, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		relative = filepath.ToSlash(relative)
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(fset, relative, text, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		all = append(all, source{relative, path.Dir(relative), strings.HasSuffix(name, "_test.go"), fset, file})
		return nil
	})
	if err != nil {
		t.Fatalf("reading the module's sources: %v", err)
	}
	return all
}

// foreign reports whether the go command leaves the folder out of the module's packages.
func foreign(name, base string) bool {
	if base == "testdata" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
		return true
	}
	_, err := os.Stat(filepath.Join(name, "go.mod"))
	return err == nil
}

// moduleRoot is the nearest folder above the test that holds go.mod.
func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = up
	}
}

// ourFolder returns the folder of an import path of this module.
func ourFolder(importPath string) (string, bool) {
	return strings.CutPrefix(importPath, module+"/")
}

func importPath(spec *ast.ImportSpec) string {
	// The parser has accepted the literal, so it unquotes.
	unquoted, _ := strconv.Unquote(spec.Path.Value)
	return unquoted
}
