package config

import (
	"encoding/json"
	"reflect"
	"strconv"
)

// Schema returns the JSON Schema (draft 2020-12) of the main file, for editors. It says less than Load checks: what depends
// on other values is not in it. Numbers that stand unquoted where text belongs are accepted by Load and not by the schema.
func Schema() ([]byte, error) {
	s := object(reflect.TypeFor[Config]())
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "sfbroker configuration"
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(data, '\n'), nil
}

type schema = map[string]any

func object(t reflect.Type) schema {
	shape := structureOf(t)
	properties := schema{}
	var required []string
	for _, f := range shape.fields {
		p := value(f.typ, f)
		p["description"] = f.doc
		properties[f.name] = p
		if f.required {
			required = append(required, f.name)
		}
	}
	s := schema{"type": "object", "additionalProperties": false, "properties": properties}
	if len(required) > 0 {
		s["required"] = required
	}
	if len(shape.oneOf) > 0 {
		var one []schema
		for _, key := range shape.oneOf {
			one = append(one, schema{"required": []string{key}})
		}
		s["oneOf"] = one
	}
	if len(shape.atMostOne) > 0 {
		s["not"] = schema{"required": shape.atMostOne}
	}
	return s
}

func value(t reflect.Type, f field) schema {
	switch {
	case t == reflect.TypeFor[Secret]():
		return schema{"type": "string", "pattern": `^(file:[^/].*|file:/[^/].*|\$\{[A-Za-z_][A-Za-z0-9_]{0,127}\})$`}
	case isScalar(t):
		return schema{"type": "string", "pattern": `^[0-9A-Fa-f.:]+/[0-9]{1,3}$`}
	case isDuration(t):
		return withDefault(schema{"type": "string", "pattern": `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`}, f)
	}
	switch t.Kind() {
	case reflect.Pointer:
		return value(t.Elem(), f)
	case reflect.Struct:
		return object(t)
	case reflect.Map:
		return schema{
			"type": "object", "additionalProperties": false,
			"patternProperties": schema{patterns["name"].String(): value(t.Elem(), f)},
		}
	case reflect.Slice:
		s := schema{"type": "array", "uniqueItems": true, "items": value(t.Elem(), field{format: f.format, enum: f.enum})}
		if f.required {
			s["minItems"] = 1
		}
		if f.fallback != "" {
			s["default"] = []string{f.fallback}
		}
		return s
	case reflect.Bool:
		return withDefault(schema{"type": "boolean"}, f)
	case reflect.Int:
		return withDefault(schema{"type": "integer"}, f)
	}
	s := schema{"type": "string"}
	if p := patterns[f.format]; p != nil {
		s["pattern"] = p.String()
	}
	return withDefault(s, f)
}

func withDefault(s schema, f field) schema {
	if f.fallback != "" {
		s["default"] = f.fallback
	}
	if len(f.enum) == 0 {
		return s
	}
	var enum []any
	for _, e := range f.enum {
		enum = append(enum, typed(s["type"], e))
	}
	s["enum"] = enum
	return s
}

// typed writes an accepted value in the type of its key.
func typed(kind any, word string) any {
	switch kind {
	case "integer":
		if n, err := strconv.Atoi(word); err == nil {
			return n
		}
	case "boolean":
		return word == "true"
	}
	return word
}
