package successfactors

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxPage is the default and the largest page (KBA 2489065).
const maxPage = 1000

// query is the compiled options of one request.
type query struct {
	cond     condition
	order    []orderTerm
	proj     *projection
	touched  []*entityType
	page     int
	top      int // -1: no limit
	skip     int
	counted  bool // $inlinecount=allpages
	token    pageToken
	narrowed []string // the options given that only a collection knows
}

type orderTerm struct {
	path path
	desc bool
}

// pageToken is where the next page begins. Clients take it for opaque.
type pageToken struct {
	StartRow  int64 `json:"startRow"`
	EndRow    int64 `json:"endRow"`
	Remaining int   `json:"remaining"`       // of $top; -1: no limit
	Count     int   `json:"count,omitempty"` // of $inlinecount
}

func (t pageToken) encode() (string, error) {
	b, err := json.Marshal(t)
	if err != nil {
		return "", err
	}
	s := base64.StdEncoding.EncodeToString(b)
	return strings.NewReplacer("+", "%2B", "/", "%2F").Replace(s), nil
}

func decodeToken(s string) (pageToken, bool) {
	var t pageToken
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil || json.Unmarshal(b, &t) != nil {
		return t, false
	}
	return t, t.StartRow > 0 && t.Remaining >= -1 && t.Count >= 0
}

// compileQuery reads the options of a request for entities of one type.
func compileQuery(t *entityType, options []option) (*query, *fault) {
	q := &query{page: maxPage, top: -1}
	var expand, sel *memberTree
	for _, o := range options {
		var f *fault
		switch o.name {
		case "$filter":
			var touched []*entityType
			q.cond, touched, f = compileFilter(t, o.value)
			q.touched = append(q.touched, touched...)
			q.narrowed = append(q.narrowed, o.name)
		case "$orderby":
			f = q.readOrder(t, o.value)
			q.narrowed = append(q.narrowed, o.name)
		case "$expand":
			expand, f = readMembers(o.value)
		case "$select":
			sel, f = readMembers(o.value)
		case "$top":
			q.top, f = readCount(o, 0, math.MaxInt32)
			q.narrowed = append(q.narrowed, o.name)
		case "$skip":
			q.skip, f = readCount(o, 0, math.MaxInt32)
			q.narrowed = append(q.narrowed, o.name)
		case "customPageSize":
			q.page, f = readCount(o, 1, maxPage)
		case "$inlinecount":
			q.counted = o.value == "allpages"
			if !q.counted && o.value != "none" {
				f = badRequest("The value of $inlinecount is allpages or none.")
			}
			q.narrowed = append(q.narrowed, o.name)
		case "$skiptoken":
			var ok bool
			if q.token, ok = decodeToken(o.value); !ok {
				f = badRequest("The $skiptoken is invalid.")
			}
			q.narrowed = append(q.narrowed, o.name)
		case "paging":
			f = notHere("paging=" + o.value)
		case "$format", "asOfDate", "fromDate", "toDate":
		default:
			if strings.HasPrefix(o.name, "$") {
				f = badRequest("The query option %s is not supported.", o.name)
			}
		}
		if f != nil {
			return nil, f
		}
	}
	var f *fault
	q.proj, f = project(t, expand, sel, &q.touched)
	return q, f
}

func (q *query) readOrder(t *entityType, s string) *fault {
	for _, part := range strings.Split(s, ",") {
		words := strings.Fields(part)
		if len(words) == 0 || len(words) > 2 || len(words) == 2 && words[1] != "asc" && words[1] != "desc" {
			return badRequest("Syntax error in $orderby.")
		}
		p, touched, f := resolvePath(t, words[0])
		if f != nil {
			return f
		}
		q.touched = append(q.touched, touched...)
		q.order = append(q.order, orderTerm{p, len(words) == 2 && words[1] == "desc"})
	}
	return nil
}

func readMembers(s string) (*memberTree, *fault) {
	tree := &memberTree{}
	for _, part := range strings.Split(s, ",") {
		at := tree
		for _, name := range strings.Split(strings.TrimSpace(part), "/") {
			if name == "" {
				return nil, badRequest("Syntax error: an empty name in $expand or $select.")
			}
			at = at.add(name)
		}
	}
	return tree, nil
}

func readCount(o option, low, high int) (int, *fault) {
	n, err := strconv.Atoi(o.value)
	if err != nil || n < low || n > high {
		return 0, badRequest("The value of %s must be a whole number from %d to %d.", o.name, low, high)
	}
	return n, nil
}

// readDays tells which days of effective dated entities are looked at; without options it is today.
func readDays(t target, now time.Time) (from, to int64, f *fault) {
	asOf, hasAsOf := t.get("asOfDate")
	first, hasFirst := t.get("fromDate")
	last, hasLast := t.get("toDate")
	if hasAsOf && (hasFirst || hasLast) {
		return 0, 0, badRequest("asOfDate cannot be used together with fromDate or toDate.")
	}
	read := func(s string, there bool, otherwise int64) int64 {
		if !there {
			return otherwise
		}
		ms, ok := parseInstant(s)
		if !ok {
			f = badRequest("%q is not a date; dates are written as 2023-06-01.", s)
		}
		return ms
	}
	switch {
	case hasAsOf:
		from = startOfDay(read(asOf, true, 0))
		return from, from, f
	case hasFirst || hasLast:
		return read(first, hasFirst, dawn), read(last, hasLast, endOfTime), f
	default:
		from = startOfDay(now.UnixMilli())
		return from, from, nil
	}
}

// rowStride spaces the owners in a set's row numbers; nobody has that many rows of one type.
const rowStride = 16

// scan walks rows from a row number on, until yield says no.
type scan func(start int64, yield func(number int64, r row) bool)

// allRows walks a whole set.
func allRows(t *entityType, c *company) scan {
	return func(start int64, yield func(int64, row) bool) {
		if t.outer == nil {
			return
		}
		j := int(start % rowStride)
		for i, n := int(start/rowStride), t.outer(c); i < n; i++ {
			for inner := t.inner(c, i); j < inner; j++ {
				r := row{t: t, i: int32(i), j: int32(j)}
				if !yield(int64(i)*rowStride+int64(j), r) {
					return
				}
			}
			j = 0
		}
	}
}

// theseRows walks rows that are already found.
func theseRows(rows []row) scan {
	return func(start int64, yield func(int64, row) bool) {
		for n := start; n < int64(len(rows)); n++ {
			if !yield(n, rows[n]) {
				return
			}
		}
	}
}

// matching narrows a walk to the rows in force that the filter lets through.
func (q *query) matching(x *reader, walk scan) scan {
	return func(start int64, yield func(int64, row) bool) {
		walk(start, func(n int64, r row) bool {
			if !x.visible(r) || q.cond != nil && !q.cond.holds(x, r) {
				return true
			}
			return yield(n, r)
		})
	}
}

func count(walk scan) int {
	n := 0
	walk(0, func(int64, row) bool { n++; return true })
	return n
}

// ordered sorts the rows of a walk by $orderby; rows that are equal keep their order.
func (q *query) ordered(x *reader, walk scan) scan {
	if len(q.order) == 0 {
		return walk
	}
	type keyed struct {
		r    row
		keys []value
	}
	var all []keyed
	walk(0, func(_ int64, r row) bool {
		keys := make([]value, len(q.order))
		for k, o := range q.order {
			o.path.each(x, r, func(v value) bool { keys[k] = v; return true })
		}
		all = append(all, keyed{r, keys})
		return true
	})
	slices.SortStableFunc(all, func(a, b keyed) int {
		for k, o := range q.order {
			if c := compare(a.keys[k], b.keys[k]); c != 0 {
				if o.desc {
					return -c
				}
				return c
			}
		}
		return 0
	})
	rows := make([]row, len(all))
	for n, k := range all {
		rows[n] = k.r
	}
	return theseRows(rows)
}

// pageOf takes one page off a walk. next is nil on the last page.
func (q *query) pageOf(walk scan) (rows []row, next *pageToken) {
	skip, remaining := q.skip, q.top
	if q.token.StartRow > 0 {
		skip, remaining = 0, q.token.Remaining
	}
	limit := q.page
	if remaining >= 0 {
		limit = min(limit, remaining)
	}
	rows = make([]row, 0, min(limit, maxPage))
	walk(q.token.StartRow, func(n int64, r row) bool {
		if skip > 0 {
			skip--
			return true
		}
		if len(rows) < limit {
			rows = append(rows, r)
			return true
		}
		if remaining < 0 || remaining > limit {
			next = &pageToken{StartRow: n, EndRow: n + int64(q.page), Remaining: remaining}
			if remaining >= 0 {
				next.Remaining = remaining - limit
			}
		}
		return false
	})
	return rows, next
}
