package workload_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"sfbroker/oauthclient"
	"sfbroker/workload"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	_ workload.Source = (*workload.File)(nil)
	_ workload.Source = (*workload.Env)(nil)
	_ workload.Source = (*workload.Entra)(nil)
)

const jwtText = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"

func wantCause(t *testing.T, err error, cause workload.Cause) *workload.Error {
	t.Helper()
	var failure *workload.Error
	if !errors.As(err, &failure) || failure.Cause != cause {
		t.Fatalf("error %v (%T), want cause %s", err, err, cause)
	}
	return failure
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// contentRow is what a file or a variable may hold.
type contentRow struct {
	name, content string
	want          string         // the assertion
	cause         workload.Cause // or why there is none
	hint          string
}

func contentRows() []contentRow {
	exact := strings.Repeat("a", 16<<10)
	return []contentRow{
		{"plain", jwtText, jwtText, "", ""},
		{"one line end", jwtText + "\n", jwtText, "", ""},
		{"one Windows line end", jwtText + "\r\n", jwtText, "", ""},
		{"a second line end is not ours to drop", jwtText + "\n\n", jwtText + "\n", "", ""},
		{"leading space is not ours to drop", " " + jwtText, " " + jwtText, "", ""},
		{"exactly 16 KiB", exact, exact, "", ""},
		{"exactly 16 KiB and a line end", exact + "\r\n", exact, "", ""},
		{"16 KiB and a byte", exact + "a", "", workload.CauseGarbled, "one JWT"},
		{"16 KiB, a line end and a byte", exact + "\r\na", "", workload.CauseGarbled, "one JWT"},
		{"16 KiB, a byte and a line end", exact + "a\r\n", "", workload.CauseGarbled, "one JWT"},
		{"far too much", strings.Repeat("a", 1<<20), "", workload.CauseGarbled, "one JWT"},
		{"empty", "", "", workload.CauseMissing, "not written it yet"},
		{"a line end alone", "\n", "", workload.CauseMissing, "not written it yet"},
		{"white space alone", " \n \n", "", workload.CauseMissing, "not written it yet"},
		{"JSON", "\n{\"access_token\":\"" + jwtText + "\"}", "", workload.CauseGarbled, "access_token"},
		{"PEM", "-----BEGIN CERTIFICATE-----\n", "", workload.CauseGarbled, "certificate"},
		{"header value", "Bearer " + jwtText, "", workload.CauseGarbled, "Bearer"},
	}
}

func (row contentRow) check(t *testing.T, got oauthclient.Secret, err error) {
	t.Helper()
	if row.cause == "" {
		if err != nil || got.Reveal() != row.want {
			t.Errorf("got %d bytes, error %v", len(got.Reveal()), err)
		}
		return
	}
	failure := wantCause(t, err, row.cause)
	if !strings.Contains(failure.Hint, row.hint) || failure.FixedBy != workload.OwnerOperator {
		t.Errorf("hint %q, fixed by %q", failure.Hint, failure.FixedBy)
	}
	if !got.IsZero() || strings.Contains(fmt.Sprintf("%v %+v", err, *failure), jwtText) {
		t.Errorf("the assertion shows: %+v", *failure)
	}
}

func TestFileContent(t *testing.T) {
	for _, row := range contentRows() {
		t.Run(row.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "at1.jwt")
			write(t, path, row.content)
			got, err := workload.NewFile(path).Assertion(context.Background())
			row.check(t, got, err)
		})
	}
}

func TestEnvContent(t *testing.T) {
	for _, row := range contentRows() {
		t.Run(row.name, func(t *testing.T) {
			source := workload.NewEnv("AT1", func(name string) (string, bool) { return row.content, name == "AT1" })
			got, err := source.Assertion(context.Background())
			row.check(t, got, err)
		})
	}
	unset := workload.NewEnv("AT1", func(string) (string, bool) { return "", false })
	_, err := unset.Assertion(context.Background())
	if failure := wantCause(t, err, workload.CauseMissing); !strings.Contains(failure.Detail, "AT1 is not set") {
		t.Errorf("detail %q", failure.Detail)
	}
}

func TestFileMustBeRegular(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skip("no FIFO here:", err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(pipe, link); err != nil {
		t.Fatal(err)
	}
	for path, what := range map[string]string{dir: "directory", pipe: "pipe", link: "pipe", os.DevNull: "device"} {
		_, err := workload.NewFile(path).Assertion(context.Background())
		if failure := wantCause(t, err, workload.CauseGarbled); !strings.Contains(failure.Detail, what) {
			t.Errorf("%s: detail %q", path, failure.Detail)
		}
	}
	_, err := workload.NewFile(filepath.Join(dir, "absent")).Assertion(context.Background())
	wantCause(t, err, workload.CauseMissing)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("cause is lost: %v", err)
	}
	write(t, filepath.Join(dir, "there"), jwtText)
	if _, err := workload.NewFile(filepath.Join(dir, "there")).Assertion(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestFileHonoursItsContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "at1.jwt")
	write(t, path, jwtText)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := workload.NewFile(path).Assertion(ctx)
	wantCause(t, err, workload.CauseUnavailable)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cause is lost: %v", err)
	}
}

// TestFileSurvivesProjectedSwaps does what the kubelet does: the file is a link
// through ..data, which is swapped to a new directory; the old one goes away.
func TestFileSurvivesProjectedSwaps(t *testing.T) {
	dir := t.TempDir()
	publish := func(n int) {
		name := fmt.Sprintf("..gen%d", n)
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name, "token"), fmt.Sprint("token-", n))
		if err := os.Symlink(name, filepath.Join(dir, "..tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
		_ = os.RemoveAll(filepath.Join(dir, fmt.Sprintf("..gen%d", n-1)))
	}
	if err := os.Symlink("..data/token", filepath.Join(dir, "token")); err != nil {
		t.Fatal(err)
	}
	source := workload.NewFile(filepath.Join(dir, "token"))
	_, err := source.Assertion(context.Background())
	wantCause(t, err, workload.CauseMissing)
	for n := range 3 {
		publish(n)
		got, err := source.Assertion(context.Background())
		if want := fmt.Sprint("token-", n); err != nil || got.Reveal() != want {
			t.Errorf("got %q, %v, want %q", got.Reveal(), err, want)
		}
	}
}

func TestFileIsWholeUnderConcurrentRenames(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "at1.jwt")
	content := func(n int) string { return strings.Repeat(string(rune('a'+n%26)), 4000+n%26) }
	write(t, path, content(0))
	source := workload.NewFile(path)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				got, err := source.Assertion(context.Background())
				if err != nil {
					t.Errorf("reading: %v", err)
					return
				}
				if text := got.Reveal(); text != content(int(text[0]-'a')) {
					t.Errorf("a torn read of %d bytes", len(text))
					return
				}
			}
		})
	}
	for n := range 500 {
		write(t, path+".new", content(n))
		if err := os.Rename(path+".new", path); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
}
