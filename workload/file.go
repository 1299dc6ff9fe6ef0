package workload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"sfbroker/oauthclient"
)

// File reads the assertion from a file that somebody else keeps fresh, such as
// a projected Kubernetes token or what a sidecar writes. It is opened anew at
// each use, so atomic renames and swapped symbolic links are followed.
type File struct {
	path string
}

// NewFile names the file; it need not exist yet.
func NewFile(path string) *File { return &File{path: path} }

// Kind is "file".
func (f *File) Kind() string { return "file" }

// Assertion reads the file: a regular one of at most 16 KiB. One trailing line
// end is dropped.
func (f *File) Assertion(ctx context.Context) (oauthclient.Secret, error) {
	if err := context.Cause(ctx); err != nil {
		return oauthclient.Secret{}, f.fail(CauseUnavailable, "gave up before reading", "", err)
	}
	text, err := f.read()
	if err != nil {
		return oauthclient.Secret{}, err
	}
	return fromText(f.Kind(), text, f.path)
}

func (f *File) read() (string, error) {
	// Looked at before it is opened, since opening a device can do things, and
	// again afterwards, since it may have been swapped between.
	info, err := os.Stat(f.path)
	if err != nil {
		return "", f.unreadable(err)
	}
	if !info.Mode().IsRegular() {
		return "", f.notRegular(info)
	}
	// O_NONBLOCK: opening a FIFO must not wait for its writer.
	file, err := os.OpenFile(f.path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", f.unreadable(err)
	}
	defer func() { _ = file.Close() }()
	if info, err = file.Stat(); err != nil {
		return "", f.unreadable(err)
	}
	if !info.Mode().IsRegular() {
		return "", f.notRegular(info)
	}
	// Three more than the limit: two for a line end, one to notice the excess.
	content, err := io.ReadAll(io.LimitReader(file, maxAssertion+3))
	if err != nil {
		return "", f.unreadable(err)
	}
	return string(content), nil
}

func (f *File) unreadable(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return f.fail(CauseMissing, f.path+" does not exist", "check the path, and that whatever provides the assertion runs and has written it", err)
	case errors.Is(err, fs.ErrPermission):
		return f.fail(CauseMissing, f.path+" may not be read", fmt.Sprintf("let the user with ID %d read it", os.Getuid()), err)
	default:
		return f.fail(CauseUnavailable, f.path+" cannot be read", "", err)
	}
}

func (f *File) notRegular(info fs.FileInfo) error {
	what := "a device, pipe or socket"
	if info.IsDir() {
		what = "a directory"
	}
	return f.fail(CauseGarbled, f.path+" is "+what, "name a regular file that holds one JWT", nil)
}

func (f *File) fail(cause Cause, detail, hint string, err error) error {
	return &Error{Source: f.Kind(), Cause: cause, Detail: detail, Hint: hint, FixedBy: OwnerOperator, Err: err}
}
