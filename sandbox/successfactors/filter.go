package successfactors

import "strings"

// condition is a compiled $filter: it holds for a row or it does not.
type condition interface {
	holds(x *reader, r row) bool
}

type (
	allOfConditions struct{ left, right condition }
	anyOfConditions struct{ left, right condition }
	negation        struct{ inner condition }
	truth           struct{ operand operand }
	comparison      struct {
		op          string
		left, right operand
	}
	membership struct {
		left operand
		list []value
	}
)

func (c allOfConditions) holds(x *reader, r row) bool {
	return c.left.holds(x, r) && c.right.holds(x, r)
}

func (c anyOfConditions) holds(x *reader, r row) bool {
	return c.left.holds(x, r) || c.right.holds(x, r)
}

func (c negation) holds(x *reader, r row) bool { return !c.inner.holds(x, r) }

func (c truth) holds(x *reader, r row) bool {
	return c.operand.each(x, r, value.isTrue)
}

// holds when any of the values that the paths lead to compares as asked: a collection on the way means any of its rows.
func (c comparison) holds(x *reader, r row) bool {
	return c.left.each(x, r, func(a value) bool {
		return c.right.each(x, r, func(b value) bool { return compares(c.op, a, b) })
	})
}

func compares(op string, a, b value) bool {
	null := a.kind == kindNull || b.kind == kindNull
	order := compare(a, b)
	switch op {
	case "eq":
		return order == 0
	case "ne":
		return order != 0
	case "gt":
		return !null && order > 0
	case "ge":
		return !null && order >= 0
	case "lt":
		return !null && order < 0
	default:
		return !null && order <= 0
	}
}

func (c membership) holds(x *reader, r row) bool {
	return c.left.each(x, r, func(a value) bool {
		for _, b := range c.list {
			if a.kind != kindNull && b.kind != kindNull && compare(a, b) == 0 {
				return true
			}
		}
		return false
	})
}

// operand yields values for a row: one for a literal, as many as there are for a path through collections.
type operand interface {
	kind() kind // kindNull for the literal null
	each(x *reader, r row, ok func(value) bool) bool
}

type literal struct{ v value }

func (l literal) kind() kind { return l.v.kind }

func (l literal) each(_ *reader, _ row, ok func(value) bool) bool { return ok(l.v) }

// path is a property, reached over navigation or directly.
type path struct {
	navs []*navigation
	prop *property
}

func (p path) kind() kind { return p.prop.typ.kind() }

func (p path) each(x *reader, r row, ok func(value) bool) bool {
	if len(p.navs) == 0 {
		return ok(x.get(p.prop, r))
	}
	var room [8]row
	found := x.follow(p.navs[0], r, room[:0])
	if len(found) == 0 {
		return ok(value{}) // as an outer join has it: nothing there is null
	}
	rest := path{p.navs[1:], p.prop}
	for _, to := range found {
		if rest.each(x, to, ok) {
			return true
		}
	}
	return false
}

// call is a function of the $filter language.
type call struct {
	fn   *function
	args []operand
}

func (c call) kind() kind { return c.fn.result }

func (c call) each(x *reader, r row, ok func(value) bool) bool {
	return c.collect(x, r, make([]value, 0, len(c.args)), ok)
}

func (c call) collect(x *reader, r row, got []value, ok func(value) bool) bool {
	if len(got) == len(c.args) {
		for _, v := range got {
			if v.kind == kindNull {
				return ok(value{})
			}
		}
		return ok(c.fn.apply(got))
	}
	return c.args[len(got)].each(x, r, func(v value) bool { return c.collect(x, r, append(got, v), ok) })
}

// function is one of the functions of the OData 2.0 $filter language.
type function struct {
	params   []kind
	optional int // how many of the last parameters may be missing
	result   kind
	apply    func(args []value) value
}

func functions() map[string]*function {
	s, n, t := kindString, kindNumber, kindTime
	datePart := func(part func(v value) int) *function {
		return &function{params: []kind{t}, result: n, apply: func(a []value) value { return number(int64(part(a[0]))) }}
	}
	return map[string]*function{
		"substringof": {params: []kind{s, s}, result: kindBool, apply: func(a []value) value { return boolean(strings.Contains(a[1].s, a[0].s)) }},
		"startswith":  {params: []kind{s, s}, result: kindBool, apply: func(a []value) value { return boolean(strings.HasPrefix(a[0].s, a[1].s)) }},
		"endswith":    {params: []kind{s, s}, result: kindBool, apply: func(a []value) value { return boolean(strings.HasSuffix(a[0].s, a[1].s)) }},
		"tolower":     {params: []kind{s}, result: s, apply: func(a []value) value { return text(strings.ToLower(a[0].s)) }},
		"toupper":     {params: []kind{s}, result: s, apply: func(a []value) value { return text(strings.ToUpper(a[0].s)) }},
		"trim":        {params: []kind{s}, result: s, apply: func(a []value) value { return text(strings.TrimSpace(a[0].s)) }},
		"concat":      {params: []kind{s, s}, result: s, apply: func(a []value) value { return text(a[0].s + a[1].s) }},
		"replace":     {params: []kind{s, s, s}, result: s, apply: replaced},
		"length":      {params: []kind{s}, result: n, apply: func(a []value) value { return number(int64(len([]rune(a[0].s)))) }},
		"indexof":     {params: []kind{s, s}, result: n, apply: indexOf},
		"substring":   {params: []kind{s, n, n}, optional: 1, result: s, apply: substring},
		"year":        datePart(func(v value) int { return v.time().Year() }),
		"month":       datePart(func(v value) int { return int(v.time().Month()) }),
		"day":         datePart(func(v value) int { return v.time().Day() }),
		"hour":        datePart(func(v value) int { return v.time().Hour() }),
		"minute":      datePart(func(v value) int { return v.time().Minute() }),
		"second":      datePart(func(v value) int { return v.time().Second() }),
	}
}

// replaced leaves the text alone where there is nothing to look for: an empty string would match between all letters.
func replaced(a []value) value {
	if a[1].s == "" {
		return a[0]
	}
	return text(strings.ReplaceAll(a[0].s, a[1].s, a[2].s))
}

func indexOf(a []value) value {
	at := strings.Index(a[0].s, a[1].s)
	if at < 0 {
		return number(-1)
	}
	return number(int64(len([]rune(a[0].s[:at]))))
}

func substring(a []value) value {
	letters := []rune(a[0].s)
	clamp := func(f float64) int { return int(min(max(f, 0), float64(len(letters)))) }
	from, to := clamp(a[1].float()), len(letters)
	if len(a) == 3 {
		to = max(from, clamp(float64(from)+max(a[2].float(), 0)))
	}
	return text(string(letters[from:to]))
}
