package config_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sfbroker/config"
)

func secretOf(t *testing.T, reference string, env config.Env) config.Secret {
	t.Helper()
	text := change(t, oldSource, entraStart+"client_secret: '"+reference+"'}}")
	c, err := config.Parse("conf/sfbroker.yaml", []byte(text), env)
	if err != nil {
		t.Fatal(err)
	}
	return c.WorkloadIdentities["vm"].Source.Entra.ClientSecret
}

func TestSecretResolves(t *testing.T) {
	env := files(map[string]string{
		"/run/plain": "hunter2", "/run/line": "hunter2\n", "/run/windows": "hunter2\r\n", "/run/lines": "hunter2\n\n", "conf/relative": "hunter2",
		"/run/empty": "\n", "/run/long": strings.Repeat("x", 64<<10+1),
	})
	env.LookupEnv = func(name string) (string, bool) {
		v, ok := map[string]string{"SET": "hunter2\n", "EMPTY": ""}[name]
		return v, ok
	}
	for _, row := range []struct {
		name, reference, want, place string
		err                          error
	}{
		{"a file", "file:/run/plain", "hunter2", "", nil},
		{"one line end goes", "file:/run/line", "hunter2", "", nil},
		{"one line end of Windows goes", "file:/run/windows", "hunter2", "", nil},
		{"only one line end goes", "file:/run/lines", "hunter2\n", "", nil},
		{"relative to the configuration", "file:relative", "hunter2", "", nil},
		{"a variable", "${SET}", "hunter2", "", nil},
		{"a missing file", "file:/run/none", "", `file "/run/none"`, fs.ErrNotExist},
		{"an empty file", "file:/run/empty", "", `file "/run/empty"`, config.ErrEmptySecret},
		{"a file too long", "file:/run/long", "", `file "/run/long"`, config.ErrSecretTooLong},
		{"a variable that is not set", "${UNSET}", "", `environment variable "UNSET"`, config.ErrUnsetVariable},
		{"a variable that is empty", "${EMPTY}", "", `environment variable "EMPTY"`, config.ErrEmptySecret},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := secretOf(t, row.reference, env).Resolve(env)
			if got != row.want || !errors.Is(err, row.err) {
				t.Fatalf("got %q, %v; want %q, %v", got, err, row.want, row.err)
			}
			var se *config.SecretError
			if row.err != nil && (!errors.As(err, &se) || se.Place != row.place) {
				t.Errorf("got %v, want a *SecretError at %s", err, row.place)
			}
		})
	}
	if got, err := (config.Secret{}).Resolve(env); got != "" || err != nil {
		t.Errorf("no secret: got %q, %v", got, err)
	}
}

func TestSecretOfTheProcess(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SFBROKER_TEST_SECRET", "from-env")
	for reference, want := range map[string]string{"file:" + file: "from-file", "${SFBROKER_TEST_SECRET}": "from-env"} {
		if got, err := secretOf(t, reference, config.Env{}).Resolve(config.Env{}); err != nil || got != want {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
}

func TestSecretRedacts(t *testing.T) {
	s := secretOf(t, "file:/run/canary", hermetic())
	asJSON, err := json.Marshal(map[string]any{"s": s})
	if err != nil {
		t.Fatal(err)
	}
	text, err := s.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("m", "s", s)
	for _, shown := range []string{fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %q %x %d", s, s, s, s, s, s, s), s.GoString(), s.String(), string(asJSON), string(text), log.String(), fmt.Sprintf("%+v", struct{ S config.Secret }{s})} {
		if strings.Contains(shown, "canary") || !strings.Contains(shown, "[redacted]") {
			t.Errorf("shows %q", shown)
		}
	}
	if s.IsZero() || !(config.Secret{}).IsZero() {
		t.Error("IsZero is wrong")
	}
}

// TestNoErrorRepeatsASecret puts a secret wherever an operator might, and looks for it in the report.
func TestNoErrorRepeatsASecret(t *testing.T) {
	const canary = "c4n4ry-hunter2"
	at := func(old, new string) string { return change(t, old, strings.ReplaceAll(new, "CANARY", canary)) }
	for _, row := range []struct{ name, text string }{
		{"a literal", at(oldSource, entraStart+"client_secret: CANARY}}")},
		{"a literal in quotes", at(oldSource, entraStart+"client_secret: 'CANARY '}}")},
		{"in a list", at(oldSource, entraStart+"client_secret: [CANARY]}}")},
		{"in a map", at(oldSource, entraStart+"client_secret: {CANARY: CANARY}}}")},
		{"as a default", at(oldSource, entraStart+"client_secret: '${X:-CANARY}'}}")},
		{"over two lines", at(oldSource, entraStart+"client_secret: \"CANARY\\nCANARY\"}}")},
		{"with a colon", at("    source: "+oldSource, "    source:\n      entra:\n        client_secret: CANARY: CANARY")},
		{"with an open quote", at("    source: "+oldSource, "    source:\n      entra:\n        client_secret: \"CANARY")},
		{"with an emoji", at(oldSource, entraStart+"client_secret: CANARY📛}}")},
		{"as a tag", at(oldSource, entraStart+"client_secret: !CANARY x}}")},
		{"as an alias", at(oldSource, entraStart+"client_secret: *CANARY}}")},
		{"under a wrong key", at(oldSource, entraStart+"client_sekret: CANARY}}")},
		{"as a password", at(oldUser, "technical_user: u, password: CANARY")},
		{"in a URL", at(oldAPI, `api_url: "https://u:CANARY@api4.successfactors.com"`)},
		{"in an issuer", at(oldIssuer, `issuer: "https://u:CANARY@x"`)},
		{"as a token where its file belongs", at(oldSource, "{file: {path: eyJCANARY.e30.x}}")},
		{"as a token in a key", at(oldUser, "technical_user: u, eyJCANARY.e30.x: y")},
		{"as a key where its hash belongs", at(oldKey, "key: {sha256: sfb_CANARY}")},
		{"as a key where its hash belongs, alone", at(oldKey, "key: CANARY")},
		{"as a key file", at(oldSource, entraStart+"certificate: {cert_file: a, key_file: '-----BEGIN CANARY'}}}")},
		{"as the name of a variable", at(oldSource, "{env: {name: CANARY}}")},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := parse(row.text)
			if ps := problems(t, err); strings.Contains(ps.Error(), canary) || strings.Contains(fmt.Sprintf("%+v", ps), canary) {
				t.Errorf("repeats the secret:\n%v", err)
			}
		})
	}
}
