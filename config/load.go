package config

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
)

const (
	maxIncludeDepth = 5
	maxFiles        = 200
)

// Load reads and validates the configuration in a file and the files that it includes, each of at most 1 MiB. The error is
// Problems and holds everything that is wrong. Secrets are not read: see Secret.Resolve.
func Load(path string, env Env) (*Config, error) {
	l := &loader{env: env}
	root := l.read(path, position{}, "")
	return l.finish(root)
}

// Parse is Load for the content of a file that was read already. Relative paths in it count from the folder of name, which
// is also the name that problems show.
func Parse(name string, data []byte, env Env) (*Config, error) {
	l := &loader{env: env}
	root := parseSource(l.source(name), data, &l.report)
	return l.finish(root)
}

// loader reads the main file and what it includes into one tree of nodes.
type loader struct {
	env        Env
	report     report
	files      []*source
	incomplete bool
}

func (l *loader) source(name string) *source {
	s := &source{name: name, order: len(l.files)}
	l.files = append(l.files, s)
	return s
}

func (l *loader) finish(root *node) (*Config, error) {
	if root == nil {
		return nil, l.report.problems()
	}
	l.include(root, root, []string{filepath.Clean(l.files[0].name)})
	c := &Config{}
	d := newDecoder(&l.report, root.at)
	d.structure(reflect.ValueOf(c).Elem(), root, "")
	k := &checker{decoder: d, c: c, incomplete: l.incomplete}
	k.check()
	if len(l.report.found) > 0 {
		return nil, l.report.problems()
	}
	c.at = d.at
	c.risks = k.assess(l.env)
	return c, nil
}

// read reads and parses one file; at is where it was asked for, the zero position for the main file.
func (l *loader) read(path string, at position, asked string) *node {
	s := l.source(path)
	data, err := l.env.readFile(path)
	if err == nil {
		return parseSource(s, data, &l.report)
	}
	hint := "check the name, and that the user of the broker may read it"
	if at.file == nil {
		at = position{file: s}
	}
	what := "cannot be read"
	if errors.Is(err, fs.ErrNotExist) {
		what, hint = "does not exist", "check the name; it counts from the folder of the file that includes it"
		if asked == "" {
			hint = "check the name, or write one: sfbroker config schema shows what it may hold"
		}
	}
	message := "the file " + what
	if asked != "" {
		message = "the file " + show(path) + " " + what
	}
	l.report.failed(at, asked, message, hint, err)
	return nil
}

// include reads the files that n names and moves their definitions into root. The stack holds the files on the way here.
func (l *loader) include(root, n *node, stack []string) {
	files := n.find("include")
	if files == nil || files.kind != kindList {
		if files != nil && n != root {
			l.report.add(files.at, "include", "holds "+files.kind.String()+" where a list belongs", "write include: [file.yaml]")
		}
		return
	}
	for i, item := range files.items {
		path := fmt.Sprintf("include[%d]", i)
		if item.kind != kindText {
			l.report.add(item.at, path, "holds "+item.kind.String()+" where text belongs", "write the name of a file")
			continue
		}
		message, hint := checkText(item.text, "path")
		if message == "" {
			message, hint = checkFormat("path", item.text)
		}
		if message == "" {
			message, hint = l.mayInclude(item.at.file.join(item.text), stack)
		}
		if message != "" {
			l.report.add(item.at, path, message, hint)
			l.incomplete = true
			continue
		}
		l.merge(root, item, path, stack)
	}
}

func (l *loader) mayInclude(file string, stack []string) (message, hint string) {
	clean := filepath.Clean(file)
	if slices.Contains(stack, clean) {
		return "includes itself: " + strings.Join(append(slices.Clone(stack), clean), " -> "), "remove one of these includes"
	}
	for _, s := range l.files {
		if filepath.Clean(s.name) == clean {
			return "the file " + show(file) + " is included twice", "remove one of the two"
		}
	}
	if len(stack) > maxIncludeDepth {
		return fmt.Sprintf("files include each other more than %d deep", maxIncludeDepth), "name the file in the main file"
	}
	if len(l.files) >= maxFiles {
		return fmt.Sprintf("more than %d files are included", maxFiles), "put more into one file"
	}
	return "", ""
}

func (l *loader) merge(root, item *node, path string, stack []string) {
	file := item.at.file.join(item.text)
	included := l.read(file, item.at, path)
	if included == nil {
		l.incomplete = true
		return
	}
	l.include(root, included, append(slices.Clone(stack), filepath.Clean(file)))
	shape := structureOf(reflect.TypeFor[Config]())
	first := map[string]position{}
	for _, e := range included.entries {
		if before, twice := first[e.key]; twice {
			l.report.add(e.at, join("", e.key), "stands twice: first at "+where(before), "keep one of them")
			continue
		}
		first[e.key] = e.at
		f, known := shape.field(e.key)
		switch {
		case !known || !f.included:
			l.foreign(e, known)
		case f.name != "include":
			l.adopt(root, e)
		}
	}
}

// foreign reports a key that an included file may not hold.
func (l *loader) foreign(e entry, known bool) {
	var accepted []string
	for _, f := range structureOf(reflect.TypeFor[Config]()).fields {
		if f.included {
			accepted = append(accepted, f.name)
		}
	}
	hint := "known keys here: " + list(sorted(accepted))
	if known {
		l.report.add(e.at, join("", e.key), "belongs in the main file, not in an included one", "move it there; "+hint)
		return
	}
	if meant := nearest(e.key, accepted); meant != "" {
		hint = "did you mean " + quoted(meant) + "? " + hint
	}
	l.report.add(e.at, join("", e.key), "unknown key", hint)
}

// adopt appends the definitions of an included section to the section of the main file. Names that are there already are
// found by the decoder.
func (l *loader) adopt(root *node, e entry) {
	target := root.find(e.key)
	switch {
	case target == nil:
		root.entries = append(root.entries, e)
	case e.value.kind != kindMap:
		l.incomplete = true
		l.report.add(e.value.at, e.key, "holds "+e.value.kind.String()+" where a map of names belongs", "write name: {...}, or remove the line")
	case target.kind != kindMap:
		l.incomplete = true // the decoder reports the other one
	default:
		target.entries = append(target.entries, e.value.entries...)
	}
}
