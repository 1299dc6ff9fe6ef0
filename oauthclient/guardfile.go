package oauthclient

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	guardSubdirectory = "lockout"
	maxRecordSize     = 64 << 10
	lockPatience      = 5 * time.Second
	lockPoll          = time.Millisecond
)

// fileStore keeps one JSON file per key. Every look and every change holds an
// exclusive lock on a file beside it, which the system drops with its holder.
type fileStore struct {
	dir string
	mu  sync.Mutex // one at a time in this process, so that only processes contend for the file
}

func openFileStore(stateDir string) (*fileStore, error) {
	if err := os.MkdirAll(stateDir, 0o700); err != nil {
		return nil, err
	}
	dir := filepath.Join(stateDir, guardSubdirectory)
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	info, err := os.Lstat(dir)
	switch {
	case err != nil:
		return nil, err
	case !info.IsDir():
		return nil, fmt.Errorf("%s is not a directory", dir)
	case info.Mode().Perm() != 0o700:
		if err := os.Chmod(dir, 0o700); err != nil { //nolint:gosec // a directory
			return nil, err
		}
	}
	return &fileStore{dir: dir}, nil
}

func (s *fileStore) where(k guardKey) string { return filepath.Join(s.dir, k.hash()+".json") }

func (s *fileStore) update(k guardKey, change func(*guardRecord) bool) error {
	return s.locked(k, func() error {
		r, err := s.read(k)
		if err != nil {
			return err
		}
		if !change(r) {
			return nil
		}
		return s.write(k, r)
	})
}

func (s *fileStore) reset(k guardKey, change func(*guardRecord) bool) error {
	return s.locked(k, func() error {
		r, err := s.read(k)
		if err != nil {
			if err := os.Rename(s.where(k), s.where(k)+".corrupt"); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			r = newRecord(k)
		}
		if !change(r) {
			return nil
		}
		return s.write(k, r)
	})
}

func (s *fileStore) locked(k guardKey, do func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	unlock, err := lockFile(filepath.Join(s.dir, k.hash()+".lock"))
	if err != nil {
		return fmt.Errorf("locking the state: %w", err)
	}
	defer unlock()
	return do()
}

func newRecord(k guardKey) *guardRecord {
	return &guardRecord{Version: recordVersion, TokenEndpoint: k.Endpoint, ClientID: k.ClientID}
}

// read takes an absent file for a client ID never seen, and nothing else.
func (s *fileStore) read(k guardKey) (*guardRecord, error) {
	info, err := os.Lstat(s.where(k))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// A directory that vanished is no fresh start.
		if _, err := os.Stat(s.dir); err != nil {
			return nil, err
		}
		return newRecord(k), nil
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("the state is not a regular file")
	}
	f, err := os.Open(s.where(k))
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxRecordSize+1))
	switch {
	case err != nil:
		return nil, err
	case len(data) > maxRecordSize:
		return nil, errors.New("the state is larger than any guard writes")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	var r guardRecord
	if err := d.Decode(&r); err != nil {
		return nil, fmt.Errorf("the state is not readable: %w", err)
	}
	if d.More() {
		return nil, errors.New("the state is followed by more data")
	}
	return &r, r.validate(k)
}

// write replaces the file whole and makes that durable before it returns.
func (s *fileStore) write(k guardKey, r *guardRecord) (err error) {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(s.dir, k.hash()+".tmp-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if _, err := f.Write(append(data, '\n')); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), s.where(k)); err != nil {
		return err
	}
	return syncDir(s.dir)
}
