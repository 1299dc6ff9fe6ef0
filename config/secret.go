package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
)

const (
	maxFile     = 1 << 20 // a configuration file
	maxSecret   = 64 << 10
	redacted    = "[redacted]"
	filePrefix  = "file:"
	envPrefix   = "${"
	envSuffix   = "}"
	secretHowTo = "write file:/path/to/secret or ${VARIABLE}"
)

// Env is what the configuration reads from its surroundings. A nil field means the process's own.
type Env struct {
	LookupEnv func(name string) (string, bool)
	ReadFile  func(path string) ([]byte, error)
	Stat      func(path string) (fs.FileInfo, error) // used for Risks alone
}

func (e Env) lookupEnv(name string) (string, bool) {
	if e.LookupEnv != nil {
		return e.LookupEnv(name)
	}
	return os.LookupEnv(name)
}

func (e Env) stat(path string) (fs.FileInfo, error) {
	if e.Stat != nil {
		return e.Stat(path)
	}
	return os.Stat(path)
}

// readFile reads a file up to one byte beyond the largest that is accepted, so that a device never fills the memory.
func (e Env) readFile(path string) ([]byte, error) {
	if e.ReadFile != nil {
		return e.ReadFile(path)
	}
	f, err := os.Open(path) //nolint:gosec // the operator's own file names
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // opened for reading
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}

// Secret says where a secret stands, in a file or in an environment variable; it never holds the secret itself, and a literal
// one is refused at load. Every way to print it prints [redacted]. The zero Secret means that none is configured.
type Secret struct{ file, variable string }

// IsZero says that no secret is configured.
func (s Secret) IsZero() bool { return s == Secret{} }

// Place names where the secret stands; it is safe to show. It is empty for the zero Secret.
func (s Secret) Place() string {
	switch {
	case s.file != "":
		return fmt.Sprintf("file %q", s.file)
	case s.variable != "":
		return fmt.Sprintf("environment variable %q", s.variable)
	}
	return ""
}

// ErrEmptySecret is the cause when a secret's file or variable holds nothing.
var ErrEmptySecret = errors.New("it is empty")

// ErrUnsetVariable is the cause when a secret's environment variable is not set.
var ErrUnsetVariable = errors.New("it is not set")

// ErrSecretTooLong is the cause when a secret's file holds more than 64 KiB.
var ErrSecretTooLong = errors.New("it is longer than 64 KiB")

// SecretError says which secret could not be read and why. It never holds the secret.
type SecretError struct {
	Place string // as Secret.Place
	Err   error
}

func (e *SecretError) Error() string {
	return "reading the secret in " + e.Place + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *SecretError) Unwrap() error { return e.Err }

// Resolve reads the secret now, without one trailing line end. The error is a *SecretError. The zero Secret resolves to "".
func (s Secret) Resolve(env Env) (string, error) {
	var value string
	switch {
	case s.file != "":
		data, err := env.readFile(s.file)
		if err != nil {
			return "", &SecretError{s.Place(), err}
		}
		value = string(data)
	case s.variable != "":
		v, ok := env.lookupEnv(s.variable)
		if !ok {
			return "", &SecretError{s.Place(), ErrUnsetVariable}
		}
		value = v
	default:
		return "", nil
	}
	if len(value) > maxSecret {
		return "", &SecretError{s.Place(), ErrSecretTooLong}
	}
	value = strings.TrimSuffix(strings.TrimSuffix(value, "\n"), "\r")
	if value == "" {
		return "", &SecretError{s.Place(), ErrEmptySecret}
	}
	return value, nil
}

// String redacts.
func (Secret) String() string { return redacted }

// GoString redacts.
func (Secret) GoString() string { return redacted }

// Format redacts for every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue redacts.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON redacts.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalText redacts.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// parseSecret reads a reference. The message never repeats the value: it may be the secret.
func parseSecret(value string, join func(string) string) (s Secret, message, hint string) {
	if path, ok := strings.CutPrefix(value, filePrefix); ok {
		switch {
		case path == "":
			return s, "file: names no file", secretHowTo
		case strings.HasPrefix(path, "//"):
			return s, "a file reference is not a URL", "write file:/path with one slash"
		case strings.TrimSpace(path) != path || hasControl(path):
			return s, "the file name begins or ends with a blank or holds a control character", secretHowTo
		}
		return Secret{file: join(path)}, "", ""
	}
	if name, ok := strings.CutPrefix(value, envPrefix); ok {
		name, ok = strings.CutSuffix(name, envSuffix)
		if ok && patterns["envname"].MatchString(name) {
			return Secret{variable: name}, "", ""
		}
		return s, "the reference is not of the form ${VARIABLE}", "a variable's name has letters, digits and underscores, and no default"
	}
	hint = "put it into a file that only the broker can read and write file:/path/to/secret, or ${VARIABLE}"
	return s, "a secret in the clear: this file holds references to secrets, never secrets", hint
}
