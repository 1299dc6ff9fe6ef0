package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// decoder fills a Config from nodes and reports everything that does not fit.
type decoder struct {
	*report
	at     positions
	bad    map[string]bool // paths that hold a reported problem: later checks leave them alone
	shapes map[reflect.Type]structure
}

func newDecoder(r *report, root position) *decoder {
	return &decoder{report: r, at: positions{root: root, paths: map[string]position{}}, bad: map[string]bool{}, shapes: map[reflect.Type]structure{}}
}

func (d *decoder) shape(t reflect.Type) structure {
	s, ok := d.shapes[t]
	if !ok {
		s = structureOf(t)
		d.shapes[t] = s
	}
	return s
}

func (d *decoder) fault(at position, path, message, hint string) {
	d.bad[path] = true
	d.add(at, path, message, hint)
}

// value decodes a node into v, which f describes.
func (d *decoder) value(v reflect.Value, n *node, path string, f field) {
	d.at.paths[path] = n.at
	if n.kind == kindNull {
		d.fault(n.at, path, "has no value", "give it a value or remove the line; "+f.doc)
		return
	}
	t := v.Type()
	switch {
	case isScalar(t) || isDuration(t):
		d.scalar(v, n, path, f)
	case t.Kind() == reflect.Pointer:
		target := reflect.New(t.Elem())
		d.value(target.Elem(), n, path, f)
		v.Set(target)
	case t.Kind() == reflect.Struct:
		d.structure(v, n, path)
	case t.Kind() == reflect.Map:
		d.section(v, n, path, f)
	case t.Kind() == reflect.Slice:
		d.list(v, n, path, f)
	default:
		d.scalar(v, n, path, f)
	}
}

// wrongKind reports that a node is not what belongs here. It never repeats the value.
func (d *decoder) wrongKind(n *node, path, want, hint string) {
	d.fault(n.at, path, "holds "+n.kind.String()+" where "+want+" belongs", hint)
}

// structure decodes a map with known keys.
func (d *decoder) structure(v reflect.Value, n *node, path string) {
	shape := d.shape(v.Type())
	if n.kind != kindMap {
		d.wrongKind(n, path, "a map", "the keys here are: "+list(shape.keys))
		return
	}
	first := map[string]position{}
	excused := map[string]bool{} // a key that was probably meant is not reported as missing too
	strange := false
	for _, e := range n.entries {
		p := join(path, e.key)
		if before, twice := first[e.key]; twice {
			d.fault(e.at, p, "stands twice: first at "+where(before), "keep one of them")
			continue
		}
		first[e.key] = e.at
		f, ok := shape.field(e.key)
		if !ok {
			strange = true
			excused[d.unknownKey(shape, e, p)] = true
			continue
		}
		d.value(v.Field(f.index), e.value, p, f)
	}
	for _, f := range shape.fields {
		if _, there := first[f.name]; !there {
			d.absent(v.Field(f.index), n.at, join(path, f.name), f, excused[f.name])
		}
	}
	d.exclusive(shape, n, path, first, strange)
}

// absent fills in the default of a key that was not written, or reports that it is missing.
func (d *decoder) absent(v reflect.Value, parent position, path string, f field, excused bool) {
	switch {
	case f.required && excused:
		d.bad[path] = true
	case f.required:
		message := "is required"
		if f.why != "" {
			message += ": " + f.why
		}
		d.fault(parent, path, message, "add "+f.name+": "+f.doc)
	case f.fallback != "":
		d.fallback(v, f)
	case v.Kind() == reflect.Struct && !isScalar(v.Type()):
		for _, inner := range d.shape(v.Type()).fields {
			d.absent(v.Field(inner.index), parent, join(path, inner.name), inner, false)
		}
	}
}

// fallback sets a default, which is written in a tag just as in a file.
func (d *decoder) fallback(v reflect.Value, f field) {
	switch {
	case isDuration(v.Type()):
		// A default that does not parse is caught by the test that loads an empty configuration.
		duration, _ := time.ParseDuration(f.fallback)
		v.SetInt(int64(duration))
	case v.Kind() == reflect.Slice:
		v.Set(reflect.ValueOf(strings.Fields(f.fallback)))
	default:
		v.SetString(f.fallback)
	}
}

// exclusive checks the rules about keys that exclude each other.
func (d *decoder) exclusive(shape structure, n *node, path string, there map[string]position, strange bool) {
	check := func(keys []string, need bool) {
		var found []string
		for _, k := range keys {
			if _, ok := there[k]; ok {
				found = append(found, k)
			}
		}
		switch {
		case len(found) > 1:
			last := found[0]
			for _, k := range found {
				if p := there[k]; p.line > there[last].line || p.line == there[last].line && p.column > there[last].column {
					last = k
				}
			}
			d.fault(there[last], join(path, last), list(found)+" exclude each other", "keep one of them")
		case len(found) == 0 && need && len(keys) > 0 && !strange:
			d.fault(n.at, path, "needs one of: "+list(keys), "add exactly one of them")
		}
	}
	check(shape.oneOf, true)
	check(shape.atMostOne, false)
}

// unknownKey reports a key that is not accepted and returns the key that was probably meant.
func (d *decoder) unknownKey(shape structure, e entry, path string) string {
	known := "known keys here: " + list(sorted(shape.keys))
	if slices.Contains(shape.later, e.key) {
		d.fault(e.at, path, fmt.Sprintf("this version does not enforce %s, so it does not accept it", show(e.key)), "remove it; "+known)
		return ""
	}
	hint := known
	meant := nearest(e.key, shape.keys)
	switch {
	case shape.under(e.key) != "":
		hint = fmt.Sprintf("%s belongs under %s; %s", show(e.key), quoted(shape.under(e.key)), known)
	case meant != "":
		hint = fmt.Sprintf("did you mean %s? %s", quoted(meant), known)
	case strings.Contains(fold(e.key), "password"):
		hint = "the broker keeps no passwords: a job gets a key of its own, the connection a token; " + known
	}
	d.fault(e.at, path, "unknown key", hint)
	return meant
}

// section decodes a map with names as keys.
func (d *decoder) section(v reflect.Value, n *node, path string, f field) {
	if n.kind != kindMap {
		d.wrongKind(n, path, "a map of names", f.doc)
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	first := map[string]position{}
	for _, e := range n.entries {
		p := join(path, e.key)
		if before, twice := first[e.key]; twice {
			d.fault(e.at, p, "the name is defined twice: first at "+where(before), "rename or remove one of them")
			continue
		}
		first[e.key] = e.at
		if message, hint := checkFormat("name", e.key); message != "" {
			d.fault(e.at, p, message, hint)
		}
		item := reflect.New(v.Type().Elem()).Elem()
		d.value(item, e.value, p, f)
		d.at.paths[p] = e.at
		v.SetMapIndex(reflect.ValueOf(e.key), item)
	}
}

// list decodes a list of scalars.
func (d *decoder) list(v reflect.Value, n *node, path string, f field) {
	if n.kind != kindList {
		d.wrongKind(n, path, "a list", "write it in brackets, such as ["+"value"+"]; "+f.doc)
		return
	}
	if len(n.items) == 0 && f.required {
		d.fault(n.at, path, "is empty", "list what is meant: "+f.doc)
	}
	all := reflect.MakeSlice(v.Type(), 0, len(n.items))
	first := map[string]position{}
	for i, item := range n.items {
		p := path + "[" + strconv.Itoa(i) + "]"
		element := reflect.New(v.Type().Elem()).Elem()
		d.value(element, item, p, f)
		if d.bad[p] {
			continue
		}
		if before, twice := first[item.text]; twice {
			d.fault(item.at, p, "stands twice: first at "+where(before), "keep one of them")
			continue
		}
		first[item.text] = item.at
		all = reflect.Append(all, element)
	}
	v.Set(all)
}

// scalar decodes one value.
func (d *decoder) scalar(v reflect.Value, n *node, path string, f field) {
	var message, hint string
	switch {
	case v.Type() == reflect.TypeFor[Secret]():
		if n.kind != kindText && n.kind != kindInt && n.kind != kindFloat {
			d.wrongKind(n, path, "a reference to a secret", secretHowTo)
			return
		}
		var s Secret
		s, message, hint = parseSecret(n.text, n.at.file.join)
		v.Set(reflect.ValueOf(s))
	case v.Type() == reflect.TypeFor[netip.Prefix]():
		message, hint = d.prefix(v, n)
	case isDuration(v.Type()):
		message, hint = duration(v, n, f)
	case v.Kind() == reflect.Bool:
		if n.kind != kindBool {
			d.wrongKind(n, path, "true or false", "write true or false, without quotes")
			return
		}
		v.SetBool(n.text == "true" || n.text == "True" || n.text == "TRUE")
		if len(f.enum) > 0 && !v.Bool() {
			message, hint = "can only be true", "write true or remove the line"
		}
	case v.Kind() == reflect.Int:
		i, err := strconv.Atoi(n.text)
		if n.kind != kindInt || err != nil {
			d.wrongKind(n, path, "a whole number", "write it without quotes; "+f.doc)
			return
		}
		v.SetInt(int64(i))
	default:
		d.text(v, n, path, f)
		return
	}
	if message != "" {
		d.fault(n.at, path, message, hint)
	}
}

// text decodes a string. A number counts as the text that was written, so that company_id: 0123 means what it says.
func (d *decoder) text(v reflect.Value, n *node, path string, f field) {
	if n.kind != kindText && n.kind != kindInt && n.kind != kindFloat {
		d.wrongKind(n, path, "text", "put it in quotes when it is meant as text; "+f.doc)
		return
	}
	message, hint := checkText(n.text, f.format)
	if message == "" && len(f.enum) > 0 && !slices.Contains(f.enum, n.text) {
		message, hint = notInEnum(n.text, f.enum)
	}
	if message == "" && f.format != "" {
		message, hint = checkFormat(f.format, n.text)
	}
	if message != "" {
		d.fault(n.at, path, message, hint)
		return
	}
	v.SetString(normalise(f.format, n.text, n.at.file))
}

func notInEnum(value string, enum []string) (message, hint string) {
	hint = "the accepted values are: " + list(enum)
	if meant := nearest(value, enum); meant != "" {
		hint = fmt.Sprintf("did you mean %s? %s", quoted(meant), hint)
	}
	if strings.EqualFold(value, "none") || strings.HasPrefix(strings.ToUpper(value), "HS") {
		hint = "unsigned tokens and shared secrets prove nothing about an issuer; " + hint
	}
	return show(value) + " is not accepted", hint
}

func duration(v reflect.Value, n *node, f field) (message, hint string) {
	hint = fmt.Sprintf("write a number with a unit, from %s to %s, such as %s", f.min, f.max, f.fallback)
	value, err := time.ParseDuration(n.text)
	if err != nil {
		return "is not a duration", hint
	}
	// The bounds stand in a tag; the test that loads an empty configuration parses them.
	least, _ := time.ParseDuration(f.min)
	most, _ := time.ParseDuration(f.max)
	if value < least || value > most {
		return fmt.Sprintf("is outside %s to %s", f.min, f.max), hint
	}
	v.SetInt(int64(value))
	return "", ""
}

func (d *decoder) prefix(v reflect.Value, n *node) (message, hint string) {
	const form = "write a network such as 10.20.0.0/16 or 192.0.2.7/32"
	prefix, err := netip.ParsePrefix(n.text)
	if addr, addrErr := netip.ParseAddr(n.text); err != nil && addrErr == nil {
		return "is an address, not a network", fmt.Sprintf("write %s/%d for this address alone", addr, addr.BitLen())
	}
	switch {
	case err != nil:
		return "is not a network", form
	case prefix.Masked() != prefix:
		return "has bits set beyond its length", "write " + quoted(prefix.Masked().String()) + ", or a longer prefix"
	case prefix.Bits() == 0:
		return "is the whole internet: anyone could send plain text", form
	}
	v.Set(reflect.ValueOf(prefix))
	return "", ""
}

func sorted(words []string) []string {
	words = slices.Clone(words)
	slices.Sort(words)
	return words
}

func where(p position) string {
	return fmt.Sprintf("%s:%d:%d", p.file.name, p.line, p.column)
}

// join makes the path of a key. A key that is not a plain word is quoted and bounded, as it may be anything.
func join(path, key string) string {
	if !plainKey.MatchString(key) {
		key = show(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}
