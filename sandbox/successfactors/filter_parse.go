package successfactors

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// maxDepth bounds nested parentheses and functions.
const maxDepth = 100

// filterParser is a recursive descent over the tokens: or, and, comparison, not, primary, from weakest to strongest.
type filterParser struct {
	root    *entityType
	tokens  []token
	at      int
	depth   int
	touched []*entityType
	known   map[string]*function
}

// node is a parsed expression: a condition, or an operand that may become one.
type node struct {
	cond condition
	op   operand
}

// compileFilter parses a $filter on a set and names the types that its paths reach.
func compileFilter(root *entityType, s string) (condition, []*entityType, *fault) {
	tokens, f := scanFilter(s)
	if f != nil {
		return nil, nil, f
	}
	p := &filterParser{root: root, tokens: tokens, known: functions()}
	n, f := p.or()
	if f != nil {
		return nil, nil, f
	}
	if p.peek().kind != tokenEnd {
		return nil, nil, p.unexpected()
	}
	cond, f := p.condition(n)
	return cond, p.touched, f
}

func (p *filterParser) peek() token { return p.tokens[p.at] }

func (p *filterParser) next() token {
	t := p.tokens[p.at]
	if t.kind != tokenEnd {
		p.at++
	}
	return t
}

// word takes the next token if it is one of these names.
func (p *filterParser) word(names ...string) (string, bool) {
	if t := p.peek(); t.kind == tokenName && slices.Contains(names, t.text) {
		p.at++
		return t.text, true
	}
	return "", false
}

func (p *filterParser) sign(s string) bool {
	if t := p.peek(); t.kind == tokenSign && t.text == s {
		p.at++
		return true
	}
	return false
}

func (p *filterParser) unexpected() *fault {
	t := p.peek()
	if t.kind == tokenEnd {
		return badRequest("Syntax error in $filter: it ends too early.")
	}
	return badRequest("Syntax error in $filter at position %d: unexpected %q.", t.at, t.text)
}

// condition turns a node into something that holds or not.
func (p *filterParser) condition(n node) (condition, *fault) {
	switch {
	case n.cond != nil:
		return n.cond, nil
	case n.op != nil && n.op.kind() == kindBool:
		return truth{n.op}, nil
	default:
		return nil, badRequest("Syntax error in $filter before position %d: a boolean expression is needed.", p.peek().at)
	}
}

func (p *filterParser) or() (node, *fault) {
	return p.chain("or", p.and, func(a, b condition) condition { return anyOfConditions{a, b} })
}

func (p *filterParser) and() (node, *fault) {
	return p.chain("and", p.comparison, func(a, b condition) condition { return allOfConditions{a, b} })
}

func (p *filterParser) chain(word string, part func() (node, *fault), join func(a, b condition) condition) (node, *fault) {
	left, f := part()
	if f != nil {
		return node{}, f
	}
	for {
		if _, ok := p.word(word); !ok {
			return left, nil
		}
		a, f := p.condition(left)
		if f != nil {
			return node{}, f
		}
		right, f := part()
		if f != nil {
			return node{}, f
		}
		b, f := p.condition(right)
		if f != nil {
			return node{}, f
		}
		left = node{cond: join(a, b)}
	}
}

func (p *filterParser) comparison() (node, *fault) {
	left, f := p.unary()
	if f != nil {
		return node{}, f
	}
	if _, ok := p.word("in"); ok {
		return p.in(left)
	}
	op, ok := p.word("eq", "ne", "gt", "ge", "lt", "le")
	if !ok {
		return left, nil
	}
	right, f := p.unary()
	if f != nil {
		return node{}, f
	}
	if left.op == nil || right.op == nil {
		return node{}, badRequest("Syntax error in $filter: %s compares values, not conditions.", op)
	}
	if a, b := left.op.kind(), right.op.kind(); a != b && a != kindNull && b != kindNull {
		return node{}, badRequest("Operator '%s' incompatible with operand types %s and %s.", op, a, b)
	}
	return node{cond: comparison{op, left.op, right.op}}, nil
}

// in reads the list of SuccessFactors' own operator: userId in 'a','b'.
func (p *filterParser) in(left node) (node, *fault) {
	if left.op == nil {
		return node{}, p.unexpected()
	}
	m := membership{left: left.op}
	for {
		if t := p.peek(); t.kind == tokenSign {
			return node{}, p.unexpected() // the list stands without parentheses
		}
		n, f := p.primary()
		if f != nil {
			return node{}, f
		}
		l, ok := n.op.(literal)
		if !ok {
			return node{}, badRequest("Syntax error in $filter: in takes literals.")
		}
		if l.v.kind != left.op.kind() {
			return node{}, badRequest("Operator 'in' incompatible with operand types %s and %s.", left.op.kind(), l.v.kind)
		}
		m.list = append(m.list, l.v)
		if !p.sign(",") {
			return node{cond: m}, nil
		}
	}
}

func (p *filterParser) unary() (node, *fault) {
	if _, ok := p.word("not"); !ok {
		return p.primary()
	}
	if p.depth++; p.depth > maxDepth {
		return node{}, badRequest("The $filter is nested too deeply.")
	}
	defer func() { p.depth-- }()
	n, f := p.unary()
	if f != nil {
		return node{}, f
	}
	cond, f := p.condition(n)
	if f != nil {
		return node{}, f
	}
	return node{cond: negation{cond}}, nil
}

func (p *filterParser) primary() (node, *fault) {
	if p.sign("(") {
		return p.group()
	}
	t := p.peek()
	switch t.kind {
	case tokenString:
		p.next()
		return node{op: literal{text(t.text)}}, nil
	case tokenNumber:
		return p.literal(parseNumber(t.text))
	case tokenDate:
		ms, ok := parseInstant(t.text)
		return p.literal(instant(ms), ok)
	case tokenGUID:
		return p.literal(value{kind: kindGUID, s: t.text}, len(t.text) == 36)
	case tokenBinary:
		return p.literal(value{kind: kindBinary, s: t.text}, true)
	case tokenName:
		return p.name()
	default:
		return node{}, p.unexpected()
	}
}

func (p *filterParser) literal(v value, ok bool) (node, *fault) {
	if !ok {
		return node{}, p.unexpected()
	}
	p.next()
	return node{op: literal{v}}, nil
}

func (p *filterParser) group() (node, *fault) {
	if p.depth++; p.depth > maxDepth {
		return node{}, badRequest("The $filter is nested too deeply.")
	}
	defer func() { p.depth-- }()
	n, f := p.or()
	if f != nil {
		return node{}, f
	}
	if !p.sign(")") {
		return node{}, p.unexpected()
	}
	return n, nil
}

func (p *filterParser) name() (node, *fault) {
	t := p.next()
	switch t.text {
	case "null":
		return node{op: literal{}}, nil
	case "true", "false":
		return node{op: literal{boolean(t.text == "true")}}, nil
	}
	if fn := p.known[t.text]; fn != nil && p.sign("(") {
		return p.call(t.text, fn)
	}
	reached, touched, f := resolvePath(p.root, t.text)
	if f != nil {
		return node{}, f
	}
	p.touched = append(p.touched, touched...)
	return node{op: reached}, nil
}

func (p *filterParser) call(name string, fn *function) (node, *fault) {
	if p.depth++; p.depth > maxDepth {
		return node{}, badRequest("The $filter is nested too deeply.")
	}
	defer func() { p.depth-- }()
	c := call{fn: fn}
	for {
		n, f := p.primary()
		if f != nil {
			return node{}, f
		}
		place := len(c.args)
		if n.op == nil || place >= len(fn.params) || n.op.kind() != fn.params[place] && n.op.kind() != kindNull {
			return node{}, badRequest("No applicable function %s exists with the given arguments.", name)
		}
		c.args = append(c.args, n.op)
		if p.sign(",") {
			continue
		}
		if !p.sign(")") {
			return node{}, p.unexpected()
		}
		break
	}
	if len(c.args) < len(fn.params)-fn.optional {
		return node{}, badRequest("No applicable function %s exists with the given arguments.", name)
	}
	return node{op: c}, nil
}

// resolvePath follows a property path from a type and names the types on the way.
func resolvePath(t *entityType, s string) (path, []*entityType, *fault) {
	var p path
	var touched []*entityType
	members := strings.Split(s, "/")
	for _, member := range members[:len(members)-1] {
		n := t.navByName[member]
		if n == nil {
			return path{}, nil, noProperty(t, member)
		}
		p.navs = append(p.navs, n)
		t = n.target
		touched = append(touched, t)
	}
	last := members[len(members)-1]
	if p.prop = t.propByName[last]; p.prop == nil {
		return path{}, nil, noProperty(t, last)
	}
	return p, touched, nil
}

// parseNumber reads an integer or decimal with the suffixes of OData: L, M, D, F.
func parseNumber(s string) (value, bool) {
	digits := strings.TrimRight(s, "LlMmDdFf")
	if len(s)-len(digits) > 1 {
		return value{}, false
	}
	if n, err := strconv.ParseInt(digits, 10, 64); err == nil {
		return number(n), true
	}
	for _, c := range digits {
		if (c < '0' || c > '9') && !strings.ContainsRune("+-.eE", c) {
			return value{}, false
		}
	}
	f, err := strconv.ParseFloat(digits, 64)
	return fraction(f), err == nil && !math.IsInf(f, 0) && strings.TrimRight(s, "Ll") == s
}
