package config

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// maxProblems bounds a report: beyond it one line says how many more there are.
const maxProblems = 200

// Problem is one thing that is wrong in a configuration, or, from Risks, one that deserves a second look.
// None of its fields ever holds a secret.
type Problem struct {
	File         string
	Line, Column int    // from 1, columns in characters; 0 when the problem is the file itself
	Path         string // such as connections.hr-prod.ias.url; empty for the file itself
	Message      string
	Hint         string // what to do; may be empty
	Err          error  // what the system said when a file could not be read; else nil
}

// String is the problem without its hint: file:line:column: path: message.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	if p.Path != "" {
		b.WriteString(": " + p.Path)
	}
	b.WriteString(": " + p.Message)
	return b.String()
}

// Problems are all problems of a configuration, in the order of the files and of the positions in them. It is the error of
// Load and Parse and is never empty there.
type Problems []Problem

// Error prints one block a problem, as Format does.
func (ps Problems) Error() string {
	var b strings.Builder
	_ = ps.Format(&b) // a Builder does not fail
	return strings.TrimSuffix(b.String(), "\n")
}

// Format prints one block a problem: a line error: with its position and, where there is one, a line hint:.
// It returns the error of the writer.
func (ps Problems) Format(w io.Writer) error {
	for i, p := range ps {
		block := "error: " + p.String() + "\n"
		if p.Hint != "" {
			block += "hint: " + p.Hint + "\n"
		}
		if i > 0 {
			block = "\n" + block
		}
		if _, err := io.WriteString(w, block); err != nil {
			return err
		}
	}
	return nil
}

// Unwrap returns the errors of the system behind the problems, so that errors.Is finds fs.ErrNotExist.
func (ps Problems) Unwrap() []error {
	var errs []error
	for _, p := range ps {
		if p.Err != nil {
			errs = append(errs, p.Err)
		}
	}
	return errs
}

// position is where a node stands. The order of the files is the order in which they were read.
type position struct {
	file         *source
	line, column int
}

// positions knows where each path of a configuration stands.
type positions struct {
	root  position
	paths map[string]position
}

// find returns the position of path, or of its nearest parent that was written.
func (ps positions) find(path string) position {
	for path != "" {
		if at, ok := ps.paths[path]; ok {
			return at
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			break
		}
		path = path[:cut]
	}
	return ps.root
}

// Problem makes a problem at the node that path names, such as connections.hr-prod.ias.url or callers.x.allow.read[2]; when
// the node was not written, at its nearest parent. A package that compiles a part of the configuration reports through it.
func (c *Config) Problem(path, message, hint string) Problem {
	at := c.at.find(path)
	p := Problem{Path: path, Message: message, Hint: hint, Line: at.line, Column: at.column}
	if at.file != nil {
		p.File = at.file.name
	}
	return p
}

// report collects problems with what is needed to sort them.
type report struct {
	found []located
	seen  map[located]bool
}

type located struct {
	order, line, column int
	path                string
	problem             *Problem
}

// add records a problem at a position. The first one at a path and position wins: the later ones follow from it.
func (r *report) add(at position, path, message, hint string) {
	p := &Problem{Path: path, Message: message, Hint: hint, Line: at.line, Column: at.column}
	l := located{line: at.line, column: at.column, path: path}
	if at.file != nil {
		p.File, l.order = at.file.name, at.file.order
	}
	if r.seen == nil {
		r.seen = map[located]bool{}
	}
	if r.seen[l] {
		return
	}
	r.seen[l] = true
	l.problem = p
	r.found = append(r.found, l)
}

// failed records that a file could not be read.
func (r *report) failed(at position, path, message, hint string, err error) {
	before := len(r.found)
	r.add(at, path, message, hint)
	if len(r.found) > before {
		r.found[before].problem.Err = err
	}
}

// problems returns what was found, sorted and bounded.
func (r *report) problems() Problems {
	slices.SortStableFunc(r.found, func(a, b located) int {
		if a.order != b.order {
			return a.order - b.order
		}
		if a.line != b.line {
			return a.line - b.line
		}
		return a.column - b.column
	})
	var ps Problems
	for i, l := range r.found {
		if i == maxProblems {
			ps = append(ps, Problem{File: l.problem.File, Message: fmt.Sprintf("%d more problems", len(r.found)-i)})
			break
		}
		ps = append(ps, *l.problem)
	}
	return ps
}
