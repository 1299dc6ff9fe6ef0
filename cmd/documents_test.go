package cmd_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sfbroker/config"
)

// TestDocumentedConfigurationsLoad takes every block of YAML in README.md and docs/ that is a configuration, and loads it. A
// block that begins with version: stands for itself; any other is a part, which is laid over a complete one. Blocks of other
// programs' YAML are marked by a comment in their first line that names the program.
func TestDocumentedConfigurationsLoad(t *testing.T) {
	root := ".."
	files, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	loaded := 0
	for _, file := range append([]string{filepath.Join(root, "README.md")}, files...) {
		text, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range yamlBlocks(string(text)) {
			if otherProgram(block.text) {
				continue
			}
			loaded++
			for _, problem := range load(block.text) {
				t.Errorf("%s:%d: %s", file, block.line+problem.Line, problem)
			}
		}
	}
	t.Logf("%d blocks", loaded)
}

// TestDesignsConfigurationLoads: the design's own example, with values where it has "...", but for what a later version will
// enforce.
func TestDesignsConfigurationLoads(t *testing.T) {
	file := os.Getenv("SFBROKER_DESIGN")
	if file == "" {
		file = filepath.Join("..", "..", "shared", "DESIGN.md")
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Skipf("the design is not here: %v", err)
	}
	blocks := yamlBlocks(string(text))
	if len(blocks) == 0 {
		t.Fatalf("%s holds no YAML", file)
	}
	fill := strings.NewReplacer(`"https://..."`, "https://issuer.example.com/keys", `sha256: "..."`, `sha256: "`+strings.Repeat("0", 64)+`"`, "<tenant>", "tenant", " ...", " x")
	for _, block := range blocks {
		for _, problem := range load(fill.Replace(block.text)) {
			if problem.Path == "callers.nightly.allow.upsert" && strings.Contains(problem.Message, "this version does not enforce") {
				continue
			}
			t.Errorf("%s:%d: %s", file, block.line+problem.Line, problem)
		}
	}
}

type yamlBlock struct {
	text string
	line int // of the fence before it
}

// yamlBlocks finds fenced blocks marked yaml, also inside lists.
func yamlBlocks(text string) []yamlBlock {
	var blocks []yamlBlock
	fence := regexp.MustCompile("^( *)```(\\w*)")
	var current *yamlBlock
	indent := ""
	for i, line := range strings.Split(text, "\n") {
		m := fence.FindStringSubmatch(line)
		switch {
		case m != nil && current != nil:
			blocks = append(blocks, *current)
			current = nil
		case m != nil && (m[2] == "yaml" || m[2] == "yml"):
			current, indent = &yamlBlock{line: i + 1}, m[1]
		case current != nil:
			current.text += strings.TrimPrefix(line, indent) + "\n"
		}
	}
	return blocks
}

// otherProgram reports whether the block says in its first line whose it is.
func otherProgram(text string) bool {
	first, _, _ := strings.Cut(text, "\n")
	return strings.HasPrefix(first, "# prometheus") || strings.HasPrefix(first, "# kubernetes") || strings.HasPrefix(first, "# docker")
}

// complete is what a part of a configuration is laid over.
func complete() map[string]string {
	return map[string]string{
		"workload_identities": `workload_identities:
  prod-vm:
    source: { file: { path: /run/sfbroker/at1.jwt } }
    trust_by_issuer: { issuer: "https://issuer.example.com", jwks_uri: "https://issuer.example.com/keys", subject: s, audience: a }
`,
		"connections": `connections:
  hr-prod:
    workload_identity: prod-vm
    ias: { url: https://acme.accounts.ondemand.com, client_id: c, dependency: SF-EC-TA }
    successfactors: { api_url: https://api012.successfactors.eu, company_id: ACME, technical_user: sfapi.broker }
`,
		"callers": `callers:
  nightly:
    connection: hr-prod
    key: { sha256: "0000000000000000000000000000000000000000000000000000000000000001" }
    allow: { read: [User] }
`,
	}
}

func load(text string) config.Problems {
	if !regexp.MustCompile(`(?m)^version:`).MatchString(text) {
		text += "version: 1\n"
		for key, section := range complete() {
			if !regexp.MustCompile(`(?m)^` + key + `:`).MatchString(text) {
				text += section
			}
		}
	}
	env := config.Env{
		LookupEnv: func(string) (string, bool) { return "value", true },
		ReadFile:  func(string) ([]byte, error) { return []byte("value"), nil },
	}
	_, err := config.Parse("block", []byte(text), env)
	var problems config.Problems
	if err != nil && !errors.As(err, &problems) {
		return config.Problems{{Message: err.Error()}}
	}
	return problems
}
