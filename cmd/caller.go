package cmd

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sfbroker/broker/caller"
)

type callerCmd struct {
	Add callerAddCmd `cmd:"" help:"Make a key: it is printed once, with the configuration that holds its hash."`
}

type callerAddCmd struct {
	Name       string   `arg:"" help:"Name of the caller: lower-case letters, digits and hyphens."`
	Connection string   `required:"" placeholder:"NAME" help:"Connection that the caller uses."`
	Read       []string `placeholder:"PATH" help:"Entity sets and navigation paths that it may read; User where none is named."`
	JSON       bool     `help:"Print JSON."`
}

// Run prints the key and the YAML. The key is nowhere else.
func (c callerAddCmd) Run(w *world) error {
	key, digest, err := caller.NewKey(c.Name)
	if err != nil {
		return &usageError{err, ""}
	}
	if len(c.Read) == 0 {
		c.Read = []string{"User"}
	}
	yaml := fmt.Sprintf("callers:\n  %s:\n    connection: %s\n    key: { sha256: %q }\n    allow: { read: [%s] }\n", scalar(c.Name), scalar(c.Connection), digest.String(), joinYAML(c.Read))
	if c.JSON {
		return w.printJSON(map[string]string{"name": c.Name, "key": key, "sha256": digest.String(), "yaml": yaml})
	}
	printf(w.Stderr, "The key of %s, shown this once; give it to the job as its password (user name %s@<company>):\n", c.Name, c.Name)
	printf(w.Stdout, "%s\n", key)
	printf(w.Stderr, "\nIts hash belongs into the configuration:\n\n")
	printf(w.Stdout, "%s", yaml)
	return nil
}

func joinYAML(paths []string) string {
	out := make([]string, len(paths))
	for i, p := range paths {
		out[i] = scalar(p)
	}
	return strings.Join(out, ", ")
}

// scalar writes a YAML string, plain where nothing else could be read into it.
func scalar(s string) string {
	plain := regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_/-]*$`)
	words := []string{"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
	if plain.MatchString(s) && !slices.Contains(words, strings.ToLower(s)) {
		return s
	}
	return strconv.Quote(s)
}
