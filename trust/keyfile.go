package trust

import (
	"errors"
	"io"
	"os"
	"syscall"
	"time"
)

// readFile reads the key file again when it is another one than before. A set
// that does not parse leaves the good one in place, until the stale ceiling.
func (s *keySet) readFile(now time.Time) {
	info, err := os.Stat(s.path)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clampLocked(now)
	if err != nil {
		s.fileFailed(s.fault(OutcomeUnreachable, "file cannot be read", err))
		return
	}
	if !info.Mode().IsRegular() { // opening a device can do things
		s.fileFailed(s.notRegular(info))
		return
	}
	set := s.current.Load()
	if set != nil && sameVersion(set.file, info) {
		s.confirm(set, now)
		return
	}
	if s.retryFile != nil && sameVersion(s.retryFile, info) {
		return
	}
	fresh, info, err := s.openFile()
	if err != nil {
		s.retryFile = info
		s.fileFailed(err)
		return
	}
	s.retryFile = nil
	fresh.file, fresh.fetchedAt = info, now
	s.replace(fresh)
}

// confirm notes that the file on disk still is the one in use.
func (s *keySet) confirm(set *snapshot, now time.Time) {
	s.lastErr = nil
	if now.Sub(set.fetchedAt) > tick {
		confirmed := *set
		confirmed.fetchedAt = now
		s.current.Store(&confirmed)
	}
}

func (s *keySet) fileFailed(err error) {
	if s.lastErr == nil || s.lastErr.Error() != err.Error() {
		s.metrics.fetched(outcomeOf(err))
		s.logger.Warn("key set not refreshed", "issuer", s.issuer, "error", err)
	}
	s.lastErr = err
}

// openFile reads the file and says, by the open file itself, which version it
// read. The info is nil when it is worth trying again at the next use.
func (s *keySet) openFile() (*snapshot, os.FileInfo, error) {
	// O_NONBLOCK: opening a FIFO must not wait for its writer.
	file, err := os.OpenFile(s.path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, s.fault(OutcomeUnreachable, "file cannot be read", err)
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, nil, s.fault(OutcomeUnreachable, "file cannot be read", err)
	}
	if !info.Mode().IsRegular() {
		return nil, nil, s.notRegular(info)
	}
	body, err := io.ReadAll(io.LimitReader(file, maxBody+1))
	if err != nil {
		return nil, nil, s.fault(OutcomeUnreachable, "file cannot be read", err)
	}
	if len(body) > maxBody {
		return nil, info, s.fault(OutcomeTooLarge, "larger than 1 MiB", nil)
	}
	set, err := s.parse(body)
	return set, info, err
}

func (s *keySet) notRegular(info os.FileInfo) error {
	return s.fault(OutcomeUnreachable, "no regular file", errors.New(info.Mode().Type().String()))
}

func sameVersion(a, b os.FileInfo) bool {
	return a != nil && os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}
