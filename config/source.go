package config

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const (
	maxTokens = 100_000 // the parser is quadratic in the size of a map
	maxDepth  = 16      // the deepest accepted key is at 6
	maxColumn = 400     // where a block collection may begin; bounds the parser's recursion
)

// source is one file that was read.
type source struct {
	name  string // as it is shown
	order int
}

// join resolves a path that was written in this file.
func (s *source) join(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(s.name), path)
}

// kind is what a node is in YAML. Text is a quoted or plain string.
type kind int

const (
	kindNull kind = iota
	kindText
	kindInt
	kindFloat
	kindBool
	kindList
	kindMap
	kindOther
)

func (k kind) String() string {
	return [...]string{"nothing", "text", "a number", "a number", "true or false", "a list", "a map", "a special value"}[k]
}

// node is a YAML value with its position.
type node struct {
	kind    kind
	at      position // of the value; of the key where the value is a map or is missing
	text    string   // of a scalar, as written
	items   []*node
	entries []entry
}

// entry is a key of a map with its value.
type entry struct {
	key   string
	at    position
	value *node
}

// find returns the first value of a key, or nil.
func (n *node) find(key string) *node {
	for _, e := range n.entries {
		if e.key == key {
			return e.value
		}
	}
	return nil
}

// parseSource reads one document. It returns nil when it reported a problem.
func parseSource(s *source, data []byte, r *report) *node {
	start := position{s, 1, 1}
	if len(data) > maxFile {
		r.add(position{file: s}, "", "the file is larger than 1 MiB", "move callers or connections to files of their own and name them under include")
		return nil
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if at, message, hint := badByte(data); message != "" {
		r.add(position{s, at.line, at.column}, "", message, hint)
		return nil
	}
	tokens := lexer.Tokenize(string(data))
	before := len(r.found)
	checkTokens(s, tokens, r)
	if len(r.found) > before {
		return nil
	}
	file, err := parseTokens(tokens)
	if err != nil {
		reportSyntax(s, err, r)
		return nil
	}
	root := documentOf(s, file, r)
	if len(r.found) > before {
		return nil
	}
	if root.kind != kindMap {
		r.add(start, "", "the file holds "+root.kind.String()+", not a map of keys", "begin with: version: 1")
		return nil
	}
	return root
}

// documentOf converts the only document of a file. A file without any is an empty map.
func documentOf(s *source, file *ast.File, r *report) *node {
	start := position{s, 1, 1}
	b := builder{s, r}
	root := &node{kind: kindMap, at: start}
	first := true
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if !first {
			r.add(b.start(doc.Body), "", secondDocument, secondDocumentHint)
			return nil
		}
		first = false
		root = b.node(doc.Body, start, 0)
		root.at = start
	}
	return root
}

const (
	secondDocument     = "a second YAML document begins here; a file holds one"
	secondDocumentHint = "remove the line --- or ... before it, or move what follows to a file of its own and name it under include"
)

// badByte finds what no configuration holds: broken UTF-8 and control characters. Both confuse positions and readers.
func badByte(data []byte) (at position, message, hint string) {
	at = position{line: 1, column: 1}
	for i := 0; i < len(data); {
		c, size := utf8.DecodeRune(data[i:])
		switch {
		case c == utf8.RuneError && size == 1:
			return at, "the file is not UTF-8 here", "save it as UTF-8"
		case c == '\r' && i+1 < len(data) && data[i+1] == '\n', c == '\t':
		case c == '\n':
			at.line, at.column = at.line+1, 0
		case c < 0x20 || c == 0x7f || c >= 0x80 && c < 0xa0 || c == 0x2028 || c == 0x2029:
			return at, fmt.Sprintf("the control character U+%04X", c), "remove it"
		}
		at.column++
		i += size
	}
	return at, "", ""
}

// checkTokens refuses, before anything is built of them, the parts of YAML that make a file mean something else than it seems
// to say, and what would cost the parser too much.
func checkTokens(s *source, tokens token.Tokens, r *report) {
	if len(tokens) > maxTokens {
		r.add(position{file: s}, "", "the file holds too many values", "move callers or connections to files of their own and name them under include")
		return
	}
	depth := 0
	content := false
	for _, tk := range tokens {
		at := position{s, tk.Position.Line, tk.Position.Column}
		switch tk.Type {
		case token.SequenceStartType, token.MappingStartType:
			depth++
		case token.SequenceEndType, token.MappingEndType:
			depth--
		}
		if depth > maxDepth || depth == 0 && tk.Type == token.SequenceEntryType && at.column > maxColumn ||
			depth == 0 && tk.Type == token.MappingValueType && tk.Prev != nil && tk.Prev.Position.Column > maxColumn {
			r.add(at, "", "the values are nested too deeply", "no key of this file is deeper than 6 levels")
			return
		}
		if message, hint := refusedToken(tk.Type, content); message != "" {
			r.add(at, "", message, hint)
			if tk.Type == token.DirectiveType {
				return // what follows belongs to it
			}
		}
		content = content || tk.Type != token.CommentType
	}
}

func refusedToken(t token.Type, content bool) (message, hint string) {
	const writeOut = "write the value out where it is needed, or quote it when it is meant as text"
	switch t {
	case token.AnchorType, token.AliasType:
		return "YAML anchors (&) and aliases (*) are not accepted", writeOut
	case token.MergeKeyType:
		return "YAML merge keys (<<) are not accepted", writeOut
	case token.TagType:
		return "YAML tags (!) are not accepted", "remove it, or quote the value when it is meant as text"
	case token.DirectiveType:
		return "YAML directives (%) are not accepted", "remove the line"
	case token.MappingKeyType:
		return "YAML complex keys (?) are not accepted", "write key: value"
	case token.DocumentHeaderType:
		if content {
			return secondDocument, secondDocumentHint
		}
	}
	return "", ""
}

// parseTokens shields against a panic of the parser, which reads whatever stands in the file.
func parseTokens(tokens token.Tokens) (file *ast.File, err error) {
	defer func() {
		if recover() != nil {
			file, err = nil, fmt.Errorf("the YAML cannot be read")
		}
	}()
	// Duplicate keys are allowed here because the decoder reports all of them, with both positions.
	return parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
}

// reportSyntax passes on what the parser says. Its messages hold single characters of the file, never values.
func reportSyntax(s *source, err error, r *report) {
	at := position{s, 1, 1}
	message := "the YAML cannot be read"
	if syntax, ok := asSyntax(err); ok {
		message = "not valid YAML: " + syntax.GetMessage()
		if tk := syntax.GetToken(); tk != nil && tk.Position != nil {
			at.line, at.column = max(1, tk.Position.Line), max(1, tk.Position.Column)
		}
	}
	hint := "check the indentation of this line and of the one before; quote a value that holds \": \", \" #\" or begins with one of @ ` % & * ! | > { ["
	if strings.Contains(message, "'\t'") {
		message, hint = "not valid YAML: a tab where spaces belong", "indent with spaces"
	}
	r.add(at, "", message, hint)
}

func asSyntax(err error) (yaml.Error, bool) {
	syntax, ok := err.(yaml.Error) //nolint:errorlint // the parser's own error, never wrapped
	return syntax, ok
}

// builder turns the parser's tree into nodes.
type builder struct {
	file   *source
	report *report
}

func (b builder) position(tk *token.Token) position {
	if tk == nil || tk.Position == nil {
		return position{b.file, 1, 1}
	}
	return position{b.file, max(1, tk.Position.Line), max(1, tk.Position.Column)}
}

// start is where a value begins. The parser's token of a block map is its first colon.
func (b builder) start(n ast.Node) position {
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		return b.position(m.Values[0].Key.GetToken())
	}
	return b.position(n.GetToken())
}

// node converts one value; key is where its key stands.
func (b builder) node(n ast.Node, key position, depth int) *node {
	if depth > maxDepth {
		b.report.add(key, "", "the values are nested too deeply", "no key of this file is deeper than 6 levels")
		return &node{kind: kindOther, at: key}
	}
	at := b.position(n.GetToken())
	switch n := n.(type) {
	case *ast.MappingNode:
		return b.mapping(n.Values, key, depth)
	case *ast.MappingValueNode:
		return b.mapping([]*ast.MappingValueNode{n}, key, depth)
	case *ast.SequenceNode:
		list := &node{kind: kindList, at: at}
		for _, item := range n.Values {
			list.items = append(list.items, b.node(item, b.start(item), depth+1))
		}
		return list
	case *ast.StringNode:
		return &node{kind: kindText, at: at, text: n.Value}
	case *ast.LiteralNode:
		return &node{kind: kindText, at: at, text: n.Value.Value}
	case *ast.IntegerNode:
		return &node{kind: kindInt, at: at, text: n.Token.Value}
	case *ast.FloatNode:
		return &node{kind: kindFloat, at: at, text: n.Token.Value}
	case *ast.BoolNode:
		return &node{kind: kindBool, at: at, text: n.Token.Value}
	case *ast.NullNode:
		return &node{kind: kindNull, at: key}
	}
	return &node{kind: kindOther, at: at}
}

func (b builder) mapping(values []*ast.MappingValueNode, key position, depth int) *node {
	m := &node{kind: kindMap, at: key}
	for _, v := range values {
		at := b.position(v.Key.GetToken())
		name := ""
		switch k := v.Key.(type) {
		case *ast.StringNode:
			name = k.Value
		case ast.ScalarNode:
			name = k.GetToken().Value
		default:
			b.report.add(at, "", "a key is not plain text", "write key: value")
			continue
		}
		m.entries = append(m.entries, entry{key: name, at: at, value: b.node(v.Value, at, depth+1)})
	}
	return m
}
