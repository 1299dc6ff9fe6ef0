//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package oauthclient

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// staleLock is older than any holder needs: what is done under the lock takes
// milliseconds.
const staleLock = 30 * time.Second

// lockFile takes a lock by making a file that must not exist. One left behind by
// a process that died is broken after staleLock. It gives up after patience,
// with errStateHeld.
func lockFile(name string, patience time.Duration) (unlock func(), err error) {
	deadline := time.Now().Add(patience)
	for {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			return func() { _ = f.Close(); _ = os.Remove(name) }, nil
		}
		if !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrPermission) {
			return nil, err
		}
		if info, err := os.Stat(name); err == nil && time.Since(info.ModTime()) > staleLock {
			_ = os.Remove(name)
			continue
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%w for %s", errStateHeld, patience)
		}
		time.Sleep(lockPoll)
	}
}

// syncDir does nothing where directories cannot be synced.
func syncDir(string) error { return nil }

// processRuns cannot tell here; the holder's timeout decides.
func processRuns(int, string) bool { return true }
