package config_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"sfbroker/config"
)

func schemaOf(t *testing.T) (text string, root map[string]any) {
	t.Helper()
	data, err := config.Schema()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &root); err != nil {
		t.Fatal(err)
	}
	return string(data), root
}

func TestSchemaGolden(t *testing.T) {
	text, _ := schemaOf(t)
	golden(t, "schema.golden", text)
}

// TestEveryKeyIsInTheSchema walks types and schema together.
func TestEveryKeyIsInTheSchema(t *testing.T) {
	_, root := schemaOf(t)
	keys := 0
	var walk func(typ reflect.Type, s map[string]any, path string)
	walk = func(typ reflect.Type, s map[string]any, path string) {
		if typ.Kind() == reflect.Pointer {
			typ = typ.Elem()
		}
		if typ.Kind() == reflect.Map {
			for _, inner := range s["patternProperties"].(map[string]any) {
				walk(typ.Elem(), inner.(map[string]any), path+".*")
			}
			return
		}
		if s["type"] != "object" {
			return
		}
		if s["additionalProperties"] != false {
			t.Errorf("%s: other keys are allowed", path)
		}
		properties := s["properties"].(map[string]any)
		for i := range typ.NumField() {
			name := typ.Field(i).Tag.Get("yaml")
			if name == "" {
				continue
			}
			keys++
			p, ok := properties[name].(map[string]any)
			if !ok {
				t.Errorf("%s.%s is missing", path, name)
				continue
			}
			if p["description"] == "" {
				t.Errorf("%s.%s has no description", path, name)
			}
			delete(properties, name)
			walk(typ.Field(i).Type, p, path+"."+name)
		}
		for name := range properties {
			t.Errorf("%s.%s is in the schema alone", path, name)
		}
	}
	walk(reflect.TypeFor[config.Config](), root, "")
	if keys < 60 {
		t.Errorf("walked only %d keys", keys)
	}
}

func TestSchemaAcceptsWhatLoadAccepts(t *testing.T) {
	_, root := schemaOf(t)
	documents := map[string]string{}
	for _, name := range []string{"example.yaml", "full.yaml"} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		documents[name] = strings.Replace(string(data), "company_id: 0123", `company_id: "0123"`, 1)
	}
	for _, r := range rules() {
		documents[r.name] = change(t, r.old, r.good)
	}
	for name, text := range documents {
		if faults := validate(root, document(t, text), ""); len(faults) > 0 {
			t.Errorf("%s: %v", name, faults)
		}
	}
}

func TestSchemaRefuses(t *testing.T) {
	_, root := schemaOf(t)
	for _, row := range []struct{ name, old, bad string }{
		{"an unknown key", "version: 1", "version: 1\nx: 1"},
		{"no version", "version: 1", "log: {}"},
		{"another version", "version: 1", "version: 2"},
		{"a name with capitals", "  nightly:", "  Nightly:"},
		{"two sources", oldSource, "{file: {path: a}, env: {name: A}}"},
		{"a secret in the clear", oldSource, entraStart + "client_secret: hunter2}}"},
		{"keys from two places", oldIssuer, oldIssuer + ", jwks_file: k, jwks_uri: 'https://k'"},
		{"an unknown algorithm", "audience: aud-1", "audience: aud-1, algorithms: [none]"},
		{"an empty allow", oldRead, "read: []"},
		{"a path with a slash", oldRead, "read: [/A]"},
		{"anonymous: false", oldKey, "anonymous: false"},
		{"a number as a duration", "version: 1", "version: 1\nproxy: {drain: {timeout: 30}}"},
	} {
		if faults := validate(root, document(t, change(t, row.old, row.bad)), ""); len(faults) == 0 {
			t.Errorf("%s is valid", row.name)
		}
	}
}

func document(t *testing.T, text string) any {
	t.Helper()
	asJSON, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	var v any
	if err := json.Unmarshal(asJSON, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// validate is as much of JSON Schema as the schema uses.
func validate(s map[string]any, v any, path string) (faults []string) {
	fault := func(what string) { faults = append(faults, path+": "+what) }
	kind := map[string]bool{"object": is[map[string]any](v), "array": is[[]any](v), "string": is[string](v), "boolean": is[bool](v), "integer": is[float64](v)}
	if want, ok := s["type"].(string); ok && !kind[want] {
		fault("is no " + want)
		return faults
	}
	if enum, ok := s["enum"].([]any); ok && !slices.Contains(enum, v) {
		fault("is not in the enum")
	}
	if pattern, ok := s["pattern"].(string); ok && !regexp.MustCompile(pattern).MatchString(v.(string)) {
		fault("does not match " + pattern)
	}
	if least, ok := s["minItems"].(float64); ok && float64(len(v.([]any))) < least {
		fault("is too short")
	}
	if items, ok := s["items"].(map[string]any); ok {
		for _, item := range v.([]any) {
			faults = append(faults, validate(items, item, path+"[]")...)
		}
	}
	matches := 0
	for _, one := range list(s["oneOf"]) {
		if len(validate(one.(map[string]any), v, path)) == 0 {
			matches++
		}
	}
	if s["oneOf"] != nil && matches != 1 {
		fault("is not exactly one of")
	}
	if not, ok := s["not"].(map[string]any); ok && len(validate(not, v, path)) == 0 {
		fault("is what it must not be")
	}
	for _, name := range list(s["required"]) {
		if _, ok := v.(map[string]any)[name.(string)]; !ok {
			fault("needs " + name.(string))
		}
	}
	if s["type"] == "object" {
		faults = append(faults, validateObject(s, v.(map[string]any), path)...)
	}
	return faults
}

func validateObject(s map[string]any, v map[string]any, path string) (faults []string) {
	properties, _ := s["properties"].(map[string]any)
	patterns, _ := s["patternProperties"].(map[string]any)
	for name, value := range v {
		inner, ok := properties[name].(map[string]any)
		for pattern, p := range patterns {
			if regexp.MustCompile(pattern).MatchString(name) {
				inner, ok = p.(map[string]any), true
			}
		}
		if !ok {
			faults = append(faults, path+"."+name+" is unknown")
			continue
		}
		faults = append(faults, validate(inner, value, path+"."+name)...)
	}
	return faults
}

func is[T any](v any) bool { _, ok := v.(T); return ok }

func list(v any) []any { l, _ := v.([]any); return l }
