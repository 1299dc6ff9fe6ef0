package successfactors

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// answer is a whole response but for the headers that every response has.
type answer struct {
	status      int
	contentType string
	body        []byte
	entitySet   string // what was asked for, for Stats
}

// asker is who asks and how the answer is to look.
type asker struct {
	user   string
	sets   []string // the entity sets the user may read; nil: all
	base   string
	root   string
	isJSON bool
}

func (a asker) allow(types ...*entityType) *fault {
	for _, t := range types {
		if a.sets != nil && !slices.Contains(a.sets, t.name) {
			return forbidden(t, a.user)
		}
	}
	return nil
}

// wantsJSON reads $format first and Accept second, as OData 2.0 does.
func wantsJSON(uri string, accept []string) bool {
	_, query, _ := strings.Cut(uri, "?")
	for _, raw := range strings.Split(query, "&") {
		name, val, _ := strings.Cut(raw, "=")
		if n, ok := decode(name, true); !ok || n != "$format" {
			continue
		}
		v, _ := decode(val, true)
		return v == "json" || strings.HasPrefix(v, "application/json")
	}
	for _, part := range strings.Split(strings.Join(accept, ","), ",") {
		media, params, _ := strings.Cut(part, ";")
		if strings.EqualFold(strings.TrimSpace(media), "application/json") && strings.ReplaceAll(params, " ", "") != "q=0" {
			return true
		}
	}
	return false
}

// resource is what a path leads to.
type resource struct {
	t       *entityType
	walk    scan // a collection
	one     *row // one entity
	prop    *property
	raw     bool // $value
	counted bool // $count
}

// read answers a GET below the service root.
func (s *Server) read(t target, a asker) (answer, *fault) {
	if len(t.segments) == 0 {
		return s.serviceDocument(a), nil
	}
	if t.segments[len(t.segments)-1].name == "$metadata" {
		return s.metadata(t.segments)
	}
	from, to, f := readDays(t, s.now())
	if f != nil {
		return answer{}, f
	}
	x := &reader{company: s.company, base: a.base, from: from, to: to}
	found, f := s.resolve(x, t.segments, a)
	if f != nil {
		return answer{}, f
	}
	q, f := compileQuery(found.t, t.options)
	if f != nil {
		return answer{}, f
	}
	if f := a.allow(q.touched...); f != nil {
		return answer{}, f
	}
	if format, ok := t.get("$format"); ok && format != "json" && format != "atom" && format != "xml" {
		return answer{}, badRequest("The format %q is not supported.", format)
	}
	out, f := found.answer(x, q, t, a)
	out.entitySet = t.segments[0].name
	return out, f
}

func plain(body string) answer {
	return answer{status: http.StatusOK, contentType: "text/plain;charset=utf-8", body: []byte(body)}
}

func (res resource) answer(x *reader, q *query, t target, a asker) (answer, *fault) {
	if res.walk == nil && len(q.narrowed) > 0 {
		return answer{}, badRequest("The query option %s does not apply to a single entity.", q.narrowed[0])
	}
	if res.counted {
		return plain(strconv.Itoa(count(q.matching(x, res.walk)))), nil
	}
	if res.raw {
		v := x.get(res.prop, *res.one)
		if v.kind == kindNull {
			return answer{}, noRow(t.path)
		}
		return plain(v.plain()), nil
	}
	if !a.isJSON {
		f := notHere("Atom is what this address answers without $format=json or Accept: application/json; Atom")
		f.status = http.StatusNotAcceptable
		return answer{}, f
	}
	w := &writer{Buffer: new(bytes.Buffer), x: x, root: []byte(a.root)}
	w.WriteString(`{"d" : `)
	switch {
	case res.prop != nil:
		w.WriteByte('{')
		w.Write(res.prop.label)
		w.value(res.prop.typ, x.get(res.prop, *res.one))
		w.WriteByte('}')
	case res.one != nil:
		w.entity(q.proj, *res.one)
	default:
		if f := w.page(q, res.walk, t, a); f != nil {
			return answer{}, f
		}
	}
	w.WriteByte('}')
	return answer{status: http.StatusOK, contentType: "application/json;charset=utf-8", body: w.Bytes()}, nil
}

// page writes one page of a collection and the address of the next.
func (w *writer) page(q *query, walk scan, t target, a asker) *fault {
	walk = q.matching(w.x, walk)
	total := q.token.Count
	if q.counted && q.token.StartRow == 0 {
		total = count(walk)
	}
	rows, next := q.pageOf(q.ordered(w.x, walk))
	w.WriteByte('{')
	if q.counted {
		fmt.Fprintf(w, `"__count" : "%d", `, total)
	}
	w.WriteString(`"results" : [`)
	w.list(q.proj, rows)
	w.WriteByte(']')
	if next != nil {
		if q.counted {
			next.Count = total
		}
		token, err := next.encode()
		if err != nil {
			return &fault{http.StatusInternalServerError, "COE_GENERAL_SERVER_FAILURE", "The next page has no address."}
		}
		w.WriteString(`, "__next" : `)
		w.nextLink(t, a, token)
	}
	w.WriteByte('}')
	return nil
}

// nextLink repeats the request's own options, byte for byte, but for the ones that the token stands for.
func (w *writer) nextLink(t target, a asker, token string) {
	var b strings.Builder
	b.WriteString(strings.TrimPrefix(t.path, serviceRoot+"/"))
	b.WriteByte('?')
	for _, o := range without(t.options, "$skiptoken", "$skip") {
		b.WriteString(o.raw)
		b.WriteByte('&')
	}
	b.WriteString("$skiptoken=")
	b.WriteString(token)
	var quoted bytes.Buffer
	writeString(&quoted, b.String())
	w.WriteByte('"')
	w.WriteString(a.root)
	w.Write(quoted.Bytes()[1:])
}

// resolve follows a path. Each type on the way must be readable.
func (s *Server) resolve(x *reader, path []segment, a asker) (resource, *fault) {
	t := s.model.byName[path[0].name]
	if t == nil {
		return resource{}, noEntity(path[0].name)
	}
	if f := a.allow(t); f != nil {
		return resource{}, f
	}
	res := resource{t: t, walk: allRows(t, s.company)}
	if path[0].hasKey {
		keys, f := keyValues(t, path[0].key)
		if f != nil {
			return resource{}, f
		}
		r, ok := x.find(t, keys)
		if !ok {
			return resource{}, noRow(path[0].name + "(" + path[0].key + ")")
		}
		res = resource{t: t, one: &r}
	}
	for k, step := range path[1:] {
		var f *fault
		if res, f = res.step(x, step, a); f != nil {
			return resource{}, f
		}
		if last := k == len(path)-2; !last && (res.counted || res.raw) {
			return resource{}, badRequest("Nothing follows %s in a path.", step.name)
		}
	}
	return res, nil
}

// step goes one segment further.
func (res resource) step(x *reader, to segment, a asker) (resource, *fault) {
	switch {
	case to.name == "$count" && res.walk != nil && !to.hasKey:
		res.counted = true
		return res, nil
	case to.name == "$value" && res.prop != nil && !to.hasKey:
		res.raw = true
		return res, nil
	case res.one == nil || res.prop != nil:
		return resource{}, badRequest("%s cannot follow a collection or a property.", to.name)
	}
	if p := res.t.propByName[to.name]; p != nil && !to.hasKey {
		res.prop = p
		return res, nil
	}
	n := res.t.navByName[to.name]
	if n == nil {
		return resource{}, noProperty(res.t, to.name)
	}
	if f := a.allow(n.target); f != nil {
		return resource{}, f
	}
	rows := x.follow(n, *res.one, nil)
	switch {
	case to.hasKey && n.many:
		return amongRows(x, n.target, rows, to)
	case to.hasKey:
		return resource{}, badRequest("%s is not a collection.", to.name)
	case n.many:
		return resource{t: n.target, walk: theseRows(rows)}, nil
	case len(rows) == 0:
		return resource{}, noRow(to.name)
	default:
		return resource{t: n.target, one: &rows[0]}, nil
	}
}

func amongRows(x *reader, t *entityType, rows []row, to segment) (resource, *fault) {
	keys, f := keyValues(t, to.key)
	if f != nil {
		return resource{}, f
	}
	for _, r := range rows {
		if x.hasKeys(r, keys) {
			return resource{t: t, one: &r}, nil
		}
	}
	return resource{}, noRow(to.name + "(" + to.key + ")")
}

func (x *reader) hasKeys(r row, keys []value) bool {
	for k, p := range r.t.keys {
		v := x.get(p, r)
		if v.kind != keys[k].kind || compare(v, keys[k]) != 0 {
			return false
		}
	}
	return true
}

// find looks an entity up by its key, whatever days are looked at.
func (x *reader) find(t *entityType, keys []value) (row, bool) {
	if t.owner == nil {
		return row{}, false
	}
	i, anyOwner := t.owner(x.company, keys)
	var rows []row
	if !anyOwner {
		rows = allOf(t, x, i, nil)
	} else {
		allRows(t, x.company)(0, func(_ int64, r row) bool { rows = append(rows, r); return true })
	}
	for _, r := range rows {
		if x.hasKeys(r, keys) {
			return r, true
		}
	}
	return row{}, false
}
