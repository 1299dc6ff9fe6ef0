package successfactors

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
)

//go:embed model.tsv
var publishedModel string

//go:embed supplement.tsv
var supplementModel string

// edmType is a primitive type of the entity data model.
type edmType uint8

const (
	edmString edmType = iota + 1
	edmBoolean
	edmInt32
	edmInt64
	edmDecimal
	edmDouble
	edmSingle
	edmDateTime
	edmDateTimeOffset
	edmBinary
)

var edmNames = map[string]edmType{
	"String": edmString, "Boolean": edmBoolean, "Int32": edmInt32, "Int64": edmInt64, "Decimal": edmDecimal,
	"Double": edmDouble, "Single": edmSingle, "DateTime": edmDateTime, "DateTimeOffset": edmDateTimeOffset, "Binary": edmBinary,
}

// kind is the class of values that a property of the type holds.
func (t edmType) kind() kind {
	switch t {
	case edmBoolean:
		return kindBool
	case edmInt32, edmInt64, edmDecimal, edmDouble, edmSingle:
		return kindNumber
	case edmDateTime, edmDateTimeOffset:
		return kindTime
	case edmBinary:
		return kindBinary
	default:
		return kindString
	}
}

// property is one member of an entity type that holds a value.
type property struct {
	name   string
	typ    edmType
	flags  string // n nullable, k key, f filterable, s sortable, u upsertable, r required
	detail string // MaxLength, or a display format
	label  []byte // the member's name as it stands in JSON: "name" :
	get    func(x *reader, r row) value
}

// navigation is one member of an entity type that leads to other entities.
type navigation struct {
	name   string
	target *entityType
	many   bool
	mult   string // *, 0..1, 1
	label  []byte
	follow func(x *reader, r row, out []row) []row
}

// entityType is an entity type and the one set that holds it: both carry the same name.
type entityType struct {
	name  string
	verbs string
	ord   uint64
	keys  []*property
	props []*property
	navs  []*navigation

	propByName map[string]*property
	navByName  map[string]*navigation

	outer  func(c *company) int                             // how many owners have rows of the type
	inner  func(c *company, i int) int                      // how many rows owner i has
	period func(x *reader, r row) (start, end int64)        // not nil for an effective dated type
	owner  func(c *company, keys []value) (i int, all bool) // where a key leads; all: nowhere in particular
}

// model is every entity type, in the order of the files. It is not changed once it is compiled.
type model struct {
	types  []*entityType
	byName map[string]*entityType
}

// compileModel reads the published model and the supplement, and joins the company's data to it.
func compileModel() (*model, error) {
	m := &model{byName: make(map[string]*entityType)}
	targets := make(map[*navigation]string)
	for _, text := range []string{publishedModel, supplementModel} {
		if err := m.read(text, targets); err != nil {
			return nil, err
		}
	}
	for _, t := range slices.Clone(m.types) {
		for _, n := range t.navs {
			n.target = m.byName[targets[n]]
			if n.target == nil {
				n.target = m.stub(targets[n])
			}
		}
	}
	if err := m.attach(); err != nil {
		return nil, err
	}
	return m, nil
}

func (m *model) read(text string, targets map[*navigation]string) error {
	var t *entityType
	var keys []string
	finish := func() error {
		if t == nil || keys == nil {
			return nil
		}
		for _, k := range keys {
			p := t.propByName[k]
			if p == nil {
				return fmt.Errorf("reading the model: %s has no key property %s", t.name, k)
			}
			t.keys = append(t.keys, p)
		}
		t.sortKeysFirst()
		keys = nil
		return nil
	}
	for number, line := range strings.Split(text, "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		f := strings.Split(line, "\t")
		for len(f) < 5 {
			f = append(f, "")
		}
		switch f[0] {
		case "set", "extend":
			if err := finish(); err != nil {
				return err
			}
			if t = m.byName[f[1]]; t == nil {
				t = m.add(f[1], f[2])
			}
		case "key":
			keys = strings.Split(f[1], ",")
		case "prop":
			typ, ok := edmNames[f[2]]
			if !ok {
				return fmt.Errorf("reading the model: line %d: unknown type %q", number+1, f[2])
			}
			t.addProperty(&property{name: f[1], typ: typ, flags: f[3], detail: f[4]})
		case "nav":
			if t.navByName[f[1]] != nil {
				return fmt.Errorf("reading the model: line %d: %s/%s stands twice", number+1, t.name, f[1])
			}
			n := &navigation{name: f[1], mult: f[3], many: f[3] == "*", label: []byte(`"` + f[1] + `" : `)}
			t.navs = append(t.navs, n)
			t.navByName[n.name] = n
			targets[n] = f[2]
		default:
			return fmt.Errorf("reading the model: line %d: unknown member %q", number+1, f[0])
		}
	}
	return finish()
}

func (m *model) add(name, verbs string) *entityType {
	t := &entityType{
		name: name, verbs: verbs, ord: uint64(len(m.types) + 1),
		propByName: make(map[string]*property), navByName: make(map[string]*navigation),
	}
	m.types = append(m.types, t)
	m.byName[name] = t
	return t
}

// stub stands for a type whose members are not published: one key and no rows.
func (m *model) stub(name string) *entityType {
	t := m.add(name, "")
	p := &property{name: "externalCode", typ: edmString, flags: "kfsr", detail: "128"}
	t.addProperty(p)
	t.keys = []*property{p}
	return t
}

func (t *entityType) addProperty(p *property) {
	p.label = []byte(`"` + p.name + `" : `)
	t.props = append(t.props, p)
	t.propByName[p.name] = p
}

// sortKeysFirst puts the key properties in front: captured answers begin with them.
func (t *entityType) sortKeysFirst() {
	slices.SortStableFunc(t.props, func(a, b *property) int {
		return boolInt(slices.Contains(t.keys, b)) - boolInt(slices.Contains(t.keys, a))
	})
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// attach joins accessors, navigation and row counts to the model. A name that the model does not have is an error, so that
// data and model cannot drift apart.
func (m *model) attach() error {
	for name, get := range propertyData() {
		owner, member, _ := strings.Cut(name, ".")
		t := m.byName[owner]
		if t == nil || t.propByName[member] == nil {
			return fmt.Errorf("joining data to the model: no property %s", name)
		}
		t.propByName[member].get = get
	}
	for name, follow := range navigationData(m) {
		owner, member, _ := strings.Cut(name, ".")
		t := m.byName[owner]
		if t == nil || t.navByName[member] == nil {
			return fmt.Errorf("joining data to the model: no navigation %s", name)
		}
		t.navByName[member].follow = follow
	}
	for name, s := range rowData() {
		t := m.byName[name]
		if t == nil {
			return fmt.Errorf("joining data to the model: no entity type %s", name)
		}
		t.outer, t.inner, t.period, t.owner = s.outer, s.inner, s.period, s.owner
	}
	common := commonData()
	for _, t := range m.types {
		for _, p := range t.props {
			if p.get == nil && t.outer != nil {
				p.get = common[p.name]
			}
		}
	}
	return nil
}
