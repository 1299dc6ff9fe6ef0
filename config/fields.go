package config

import (
	"net/netip"
	"reflect"
	"strings"
	"time"
)

// field is what the tags say about one key.
type field struct {
	index              int
	name, format       string
	doc, why, fallback string
	enum               []string
	min, max           string
	required, included bool
	typ                reflect.Type
}

// structure is what the tags say about one type.
type structure struct {
	fields    []field
	oneOf     []string // exactly one of these keys is there; empty: no such rule
	atMostOne []string // at most one of these keys is there
	later     []string // keys of later versions
	keys      []string // names of fields
}

// structureOf reads the tags of a struct type.
func structureOf(t reflect.Type) structure {
	var s structure
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag
		if f.Name == "_" {
			s.oneOf = strings.Fields(tag.Get("oneof"))
			s.atMostOne = strings.Fields(tag.Get("atmostone"))
			s.later = strings.Fields(tag.Get("later"))
			continue
		}
		name := tag.Get("yaml")
		if name == "" {
			continue
		}
		s.keys = append(s.keys, name)
		s.fields = append(s.fields, field{
			index: i, name: name, typ: f.Type,
			format: tag.Get("format"), doc: tag.Get("doc"), why: tag.Get("why"), fallback: tag.Get("default"),
			enum: strings.Fields(tag.Get("enum")), min: tag.Get("min"), max: tag.Get("max"),
			required: tag.Get("required") == "true", included: tag.Get("included") == "true",
		})
	}
	return s
}

// field returns the field of a key.
func (s structure) field(name string) (field, bool) {
	for _, f := range s.fields {
		if f.name == name {
			return f, true
		}
	}
	return field{}, false
}

// under returns the key of s whose own keys hold name: where a key that stands one level too high belongs.
func (s structure) under(name string) string {
	for _, f := range s.fields {
		t := f.typ
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct || isScalar(t) {
			continue
		}
		if _, ok := structureOf(t).field(name); ok {
			return f.name
		}
	}
	return ""
}

// isScalar says that a struct type is written as one scalar.
func isScalar(t reflect.Type) bool {
	return t == reflect.TypeFor[Secret]() || t == reflect.TypeFor[netip.Prefix]()
}

func isDuration(t reflect.Type) bool { return t == reflect.TypeFor[time.Duration]() }

// show quotes a key, a name or a choice for a message, bounded, unless it is a secret that was pasted there.
func show(s string) string {
	const most = 64
	if message, _ := pastedSecret(s); message != "" {
		return redacted
	}
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "..."
	}
	return quoted(s)
}

// list joins words for a hint.
func list(words []string) string { return strings.Join(words, ", ") }
