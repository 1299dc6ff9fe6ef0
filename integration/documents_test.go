package integration_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestThreatModelNamesTests holds docs/threat-model.md to the tests that exist: each control of its
// table names, by package and pattern, at least one test or fuzz target. A pattern without a package
// is a black-box test of this folder.
func TestThreatModelNamesTests(t *testing.T) {
	names := testNames(t)
	quoted := regexp.MustCompile("`([^`]+)`")
	rows := 0
	for _, line := range strings.Split(document(t, "docs/threat-model.md"), "\n") {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || strings.HasPrefix(cells[1], "-") || strings.TrimSpace(cells[1]) == "threat" {
			continue
		}
		rows++
		for _, claim := range strings.Split(cells[3], ";") {
			folder, patterns := "integration", []string{}
			for _, token := range quoted.FindAllStringSubmatch(claim, -1) {
				if inside, found := strings.CutPrefix(token[1], "./"); found {
					folder = inside
					continue
				}
				patterns = append(patterns, token[1])
			}
			if len(patterns) == 0 {
				t.Errorf("no test is named for the threat %q in %q", strings.TrimSpace(cells[1]), claim)
			}
			for _, pattern := range patterns {
				if !named(names[folder], pattern) {
					t.Errorf("./%s has no test that matches %q, for the threat %q", folder, pattern, strings.TrimSpace(cells[1]))
				}
			}
		}
	}
	if rows < 10 {
		t.Errorf("read %d rows of the table, expected at least 10: its shape has changed", rows)
	}
}

// TestDependenciesAreDocumented holds docs/dependencies.md to go.mod and to the tools' modules: each
// direct requirement has a row with its version.
func TestDependenciesAreDocumented(t *testing.T) {
	text := document(t, "docs/dependencies.md")
	direct := regexp.MustCompile(`(?m)^(?:require )?\t?(\S+/\S+) (v\S+)$`)
	found := direct.FindAllStringSubmatch(document(t, "go.mod"), -1)
	if len(found) < 5 {
		t.Fatalf("read %d direct requirements of go.mod: its shape has changed", len(found))
	}
	for _, require := range found {
		if row := "| `" + require[1] + "` | " + require[2] + " |"; !strings.Contains(text, row) {
			t.Errorf("docs/dependencies.md lacks a row that begins %q", row)
		}
	}
	tool := regexp.MustCompile(`(?m)^tool (.+)$`)
	modules, err := filepath.Glob(filepath.Join(moduleRoot(t), "tools", "*", "go.mod"))
	if err != nil || len(modules) == 0 {
		t.Fatalf("no module below tools/: %v", err)
	}
	for _, name := range modules {
		mod, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		built := tool.FindSubmatch(mod)
		if built == nil {
			t.Errorf("%s names no tool", name)
			continue
		}
		version := toolVersion(string(mod), string(built[1]))
		row := regexp.MustCompile("(?m)^\\| `[^`]+` \\| " + regexp.QuoteMeta(version) + " \\|")
		if version == "" || !row.MatchString(text) {
			t.Errorf("docs/dependencies.md lacks a row for %s %s", built[1], version)
		}
	}
}

// toolVersion is the version of the module that holds the package, "" when none does.
func toolVersion(mod, pkg string) string {
	version, longest := "", 0
	for _, m := range regexp.MustCompile(`(?m)^(?:require )?\t?(\S+) (v\S+)`).FindAllStringSubmatch(mod, -1) {
		if (pkg == m[1] || strings.HasPrefix(pkg, m[1]+"/")) && len(m[1]) > longest {
			version, longest = m[2], len(m[1])
		}
	}
	return version
}

// testNames lists the tests and fuzz targets of each folder.
func testNames(t *testing.T) map[string][]string {
	t.Helper()
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	names := map[string][]string{}
	for _, src := range sources(t) {
		if !src.test {
			continue
		}
		for _, m := range declared.FindAllStringSubmatch(document(t, src.name), -1) {
			names[src.folder] = append(names[src.folder], m[1])
		}
	}
	return names
}

func named(names []string, pattern string) bool {
	for _, name := range names {
		if strings.Contains(name, pattern) {
			return true
		}
	}
	return false
}

// document reads a file of the repository.
func document(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(moduleRoot(t), filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
