package successfactors

import (
	"bytes"
	"slices"
	"strconv"
	"unicode/utf8"
)

// projection says what of an entity is written: properties, links, and what is expanded in place.
type projection struct {
	t     *entityType
	props []*property
	navs  []projectedNav
}

// projectedNav is written as a link where inside is nil, else in place.
type projectedNav struct {
	nav    *navigation
	inside *projection
}

// memberTree holds the paths of $select or $expand by their members.
type memberTree struct {
	names    []string
	children map[string]*memberTree
}

func (m *memberTree) add(name string) *memberTree {
	if m.children == nil {
		m.children = make(map[string]*memberTree)
	}
	child := m.children[name]
	if child == nil {
		child = &memberTree{}
		m.children[name] = child
		m.names = append(m.names, name)
	}
	return child
}

// all tells whether a $select leaves everything in: it is missing, or asks for *.
func (m *memberTree) all() bool {
	return m == nil || len(m.names) == 0 || m.children["*"] != nil
}

// project joins $expand and $select; touched grows by the types that are expanded.
func project(t *entityType, expand, sel *memberTree, touched *[]*entityType) (*projection, *fault) {
	p := &projection{t: t}
	if expand != nil {
		for _, name := range expand.names {
			if t.navByName[name] == nil {
				return nil, noProperty(t, name)
			}
		}
	}
	if !sel.all() {
		for _, name := range sel.names {
			nav, prop := t.navByName[name], t.propByName[name]
			if nav == nil && prop == nil || prop != nil && len(sel.children[name].names) > 0 {
				return nil, noProperty(t, name)
			}
		}
	}
	for _, prop := range t.props {
		if sel.all() || sel.children[prop.name] != nil {
			p.props = append(p.props, prop)
		}
	}
	for _, nav := range t.navs {
		var below, chosen *memberTree
		if expand != nil {
			below = expand.children[nav.name]
		}
		if sel != nil {
			chosen = sel.children[nav.name]
		}
		if !sel.all() && chosen == nil && below == nil {
			continue
		}
		part := projectedNav{nav: nav}
		if below != nil {
			*touched = append(*touched, nav.target)
			inside, f := project(nav.target, below, chosen, touched)
			if f != nil {
				return nil, f
			}
			part.inside = inside
		} else if chosen != nil {
			if _, f := project(nav.target, nil, chosen, touched); f != nil { // names are checked even where nothing is expanded
				return nil, f
			}
		}
		if sel.all() || chosen != nil {
			p.navs = append(p.navs, part)
		}
	}
	return p, nil
}

// writer writes entities in the wire form of captured answers: one line, a space on both sides of a colon and after a comma,
// escaped slashes in dates.
type writer struct {
	*bytes.Buffer
	x    *reader
	root []byte // origin and service root, as they stand in links
}

// uri appends an entity's address, for instance https://host/odata/v2/PerPerson('1').
func (w *writer) uri(to []byte, r row) []byte {
	to = append(to, w.root...)
	to = append(to, r.t.name...)
	to = append(to, '(')
	for k, p := range r.t.keys {
		if k > 0 {
			to = append(to, ',')
		}
		if len(r.t.keys) > 1 {
			to = append(to, p.name...)
			to = append(to, '=')
		}
		to = appendKey(to, p.typ, w.x.get(p, r))
	}
	return append(to, ')')
}

func appendKey(to []byte, t edmType, v value) []byte {
	switch t {
	case edmInt64:
		return append(strconv.AppendInt(to, v.n, 10), 'L')
	case edmDecimal:
		return append(append(to, v.plain()...), 'M')
	case edmDateTime:
		return append(append(append(to, "datetime'"...), v.plain()...), '\'')
	case edmDateTimeOffset:
		return append(append(append(to, "datetimeoffset'"...), v.plain()...), "Z'"...)
	case edmString:
		to = append(to, '\'')
		for i := 0; i < len(v.s); i++ {
			to = appendEscaped(to, v.s[i])
		}
		return append(to, '\'')
	default:
		return append(to, v.plain()...)
	}
}

// appendEscaped percent-encodes a byte of a key, and doubles a quote.
func appendEscaped(to []byte, c byte) []byte {
	const hex = "0123456789ABCDEF"
	switch {
	case c == '\'':
		return append(to, "''"...)
	case wordByte(c) || c == '-' || c == '.' || c == '~':
		return append(to, c)
	default:
		return append(to, '%', hex[c>>4], hex[c&15])
	}
}

func (w *writer) entity(p *projection, r row) {
	var room [256]byte
	uri := w.uri(room[:0], r)
	w.WriteString(`{"__metadata" : {"uri" : "`)
	w.Write(uri)
	w.WriteString(`", "type" : "SFOData.`)
	w.WriteString(p.t.name)
	w.WriteString(`"}`)
	for _, prop := range p.props {
		w.WriteString(", ")
		w.Write(prop.label)
		w.value(prop.typ, w.x.get(prop, r))
	}
	for _, n := range p.navs {
		w.WriteString(", ")
		w.Write(n.nav.label)
		if n.inside == nil {
			w.WriteString(`{"__deferred" : {"uri" : "`)
			w.Write(uri)
			w.WriteString(w.slash())
			w.WriteString(n.nav.name)
			w.WriteString(`"}}`)
			continue
		}
		w.expanded(n, r)
	}
	w.WriteByte('}')
}

// slash is the slash of links, which some hosts escape.
func (w *writer) slash() string {
	if bytes.HasSuffix(w.root, []byte(`\/`)) {
		return `\/`
	}
	return "/"
}

func (w *writer) expanded(n projectedNav, r row) {
	var room [8]row
	found := w.x.follow(n.nav, r, room[:0])
	if n.nav.many {
		w.WriteString(`{"results" : [`)
		w.list(n.inside, found)
		w.WriteString(`]}`)
		return
	}
	if len(found) == 0 {
		w.WriteString("null")
		return
	}
	w.entity(n.inside, found[0])
}

func (w *writer) list(p *projection, rows []row) {
	before := w.Len()
	for i, r := range rows {
		if i > 0 {
			w.WriteString(", ")
		}
		w.entity(p, r)
		if i == 0 && len(rows) > 8 {
			w.Grow((w.Len() - before) * len(rows) * 5 / 4) // rows of one type are about equally long
		}
	}
}

func (w *writer) value(t edmType, v value) {
	switch {
	case v.kind == kindNull:
		w.WriteString("null")
	case t == edmDateTime || t == edmDateTimeOffset:
		w.WriteString(`"\/Date(`)
		w.Write(strconv.AppendInt(w.AvailableBuffer(), v.n, 10))
		if t == edmDateTimeOffset {
			w.WriteString("+0000")
		}
		w.WriteString(`)\/"`)
	case t == edmBoolean, t == edmInt32, t == edmSingle:
		w.WriteString(v.plain())
	case t == edmInt64 && v.whole:
		w.WriteByte('"')
		w.Write(strconv.AppendInt(w.AvailableBuffer(), v.n, 10))
		w.WriteByte('"')
	case t == edmDecimal || t == edmDouble || t == edmInt64:
		w.WriteByte('"')
		w.WriteString(v.plain())
		w.WriteByte('"')
	default:
		writeString(w.Buffer, v.s)
	}
}

// writeString writes a JSON string; slashes and letters beyond ASCII stand as they are, bytes that are no UTF-8 are replaced.
func writeString(b *bytes.Buffer, s string) {
	const hex = "0123456789abcdef"
	b.WriteByte('"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			letter, size := utf8.DecodeRuneInString(s[i:])
			if letter == utf8.RuneError && size == 1 {
				b.WriteString(s[start:i])
				b.WriteString("\uFFFD")
				start = i + 1
			}
			i += size
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		b.WriteString(s[start:i])
		switch c {
		case '"', '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case '\n':
			b.WriteString(`\n`)
		case '\t':
			b.WriteString(`\t`)
		case '\r':
			b.WriteString(`\r`)
		default:
			b.WriteString(`\u00`)
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
		i++
		start = i
	}
	b.WriteString(s[start:])
	b.WriteByte('"')
}

// without copies the options that a continuation carries on.
func without(options []option, names ...string) []option {
	var out []option
	for _, o := range options {
		if !slices.Contains(names, o.name) {
			out = append(out, o)
		}
	}
	return out
}
