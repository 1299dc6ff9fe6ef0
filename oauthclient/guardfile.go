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
	peekPatience      = 100 * time.Millisecond
	peekInterval      = 2 * time.Second // probes and scrapes look more often than that
)

// errStateHeld: somebody else held the state for longer than one was ready to wait.
var errStateHeld = errors.New("held by another process")

// fileStore keeps one JSON file per key. Every read and every change holds an
// exclusive lock on a file beside it, which the system drops with its holder.
// Keys do not wait for each other.
type fileStore struct {
	dir string

	mu   sync.Mutex
	keys map[guardKey]*stateFile
}

// stateFile is one key's file as this process uses it.
type stateFile struct {
	turn chan struct{} // full while somebody in this process uses the file

	mu       sync.Mutex
	last     *guardRecord // as read or written last; nil when never, or with err
	err      error        // why it could not be read
	lookedAt time.Time    // real time of the last look, well or not; zero asks for one
}

// recall returns what is remembered, and whether that is enough: because it is
// fresh, or because somebody was here to refresh it a moment ago.
func (f *stateFile) recall() (r *guardRecord, enough bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	enough = (f.last != nil || f.err != nil) && !f.lookedAt.IsZero() && time.Since(f.lookedAt) < peekInterval
	if f.last == nil {
		return nil, enough, f.err
	}
	return f.last.clone(), enough, f.err
}

func (f *stateFile) remember(r *guardRecord, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last, f.err, f.lookedAt = nil, err, time.Now()
	if err == nil {
		f.last = r.clone()
	}
}

// looking keeps others from looking for a while; what is known stays.
func (f *stateFile) looking(at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lookedAt = at
}

// held is remembered only in place of nothing.
func (f *stateFile) held(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last == nil && f.err == nil {
		f.err = err
	}
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
	return &fileStore{dir: dir, keys: map[guardKey]*stateFile{}}, nil
}

func (s *fileStore) where(k guardKey) string { return filepath.Join(s.dir, k.hash()+".json") }

func (s *fileStore) file(k guardKey) *stateFile {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.keys[k]
	if f == nil {
		f = &stateFile{turn: make(chan struct{}, 1)}
		s.keys[k] = f
	}
	return f
}

func (s *fileStore) update(k guardKey, change func(*guardRecord) bool) error {
	return s.locked(k, func(f *stateFile) error {
		r, err := s.read(k)
		f.remember(r, err)
		if err != nil {
			return err
		}
		return s.changed(k, f, r, change)
	})
}

func (s *fileStore) reset(k guardKey, change func(*guardRecord) bool) error {
	return s.locked(k, func(f *stateFile) error {
		r, err := s.read(k)
		if err != nil {
			if err := os.Rename(s.where(k), s.where(k)+".corrupt"); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			r = newRecord(k)
		}
		return s.changed(k, f, r, change)
	})
}

func (s *fileStore) changed(k guardKey, f *stateFile, r *guardRecord, change func(*guardRecord) bool) error {
	if !change(r) {
		return nil
	}
	if err := s.write(k, r); err != nil {
		f.looking(time.Time{}) // which of the two is there now must be looked up
		return err
	}
	f.remember(r, nil)
	return nil
}

// locked waits for its turn in this process and then for other processes.
func (s *fileStore) locked(k guardKey, do func(*stateFile) error) error {
	f := s.file(k)
	f.turn <- struct{}{}
	defer func() { <-f.turn }()
	return s.flocked(k, f, lockPatience, func() error { return do(f) })
}

// flocked keeps other processes away. The caller has the turn.
func (s *fileStore) flocked(k guardKey, f *stateFile, patience time.Duration, do func() error) error {
	unlock, err := lockFile(filepath.Join(s.dir, k.hash()+".lock"), patience)
	switch {
	case errors.Is(err, errStateHeld):
		err = fmt.Errorf("locking the state: %w", err)
		f.held(err)
		return err
	case err != nil:
		err = fmt.Errorf("locking the state: %w", err)
		f.remember(nil, err)
		return err
	}
	defer unlock()
	return do()
}

// peek answers from memory and looks at the file once in peekInterval. It waits
// for nobody longer than peekPatience.
func (s *fileStore) peek(k guardKey) (*guardRecord, error) {
	f := s.file(k)
	if r, enough, err := f.recall(); enough {
		return r, err
	}
	f.looking(time.Now())
	deadline := time.NewTimer(peekPatience)
	defer deadline.Stop()
	began := time.Now()
	select {
	case f.turn <- struct{}{}:
		_ = s.flocked(k, f, peekPatience-time.Since(began), func() error { // what it ends with is remembered
			f.remember(s.read(k))
			return nil
		})
		<-f.turn
	case <-deadline.C:
		f.held(fmt.Errorf("locking the state: %w for %s", errStateHeld, peekPatience))
	}
	r, _, err := f.recall()
	if r == nil && err == nil { // its first look is under way elsewhere
		err = errStateHeld
	}
	return r, err
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
	if err := r.validate(k); err != nil {
		return nil, err
	}
	r.Proven = r.Proven || r.LastResult == resultSuccess
	return &r, nil
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
