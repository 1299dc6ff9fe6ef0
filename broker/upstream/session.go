package upstream

import (
	"net/http"
	"strings"
	"sync"
	"time"
)

// SuccessFactors opens a login session for every request without a cookie and closes it after 10 idle minutes (SAP KBA
// 2735876, 2904498), so cookies are kept: JSESSIONID is the session, BIGipServer... the node that holds it.
const sessionIdle = 10 * time.Minute

// maxSessions and maxCookies bound what a peer can make us hold.
const (
	maxSessions = 10_000
	maxCookies  = 20
	maxCookie   = 4096
)

// sessions keeps cookies by session name, for one API server and one technical user. A cookie is an identity, so names
// must never be shared between callers.
type sessions struct {
	mu   sync.Mutex
	now  func() time.Time
	jars map[string]*jar
	// era counts drops: an answer to a request of an earlier era brings no session back.
	era int
}

type jar struct {
	used    time.Time
	cookies []*http.Cookie
}

func newSessions(now func() time.Time) *sessions {
	return &sessions{now: now, jars: map[string]*jar{}}
}

func (s *sessions) cookies(name string) (cookie string, era int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.jars[name]
	if name == "" || j == nil {
		return "", s.era
	}
	if s.now().Sub(j.used) >= sessionIdle {
		delete(s.jars, name)
		return "", s.era
	}
	j.used = s.now()
	var b strings.Builder
	for i, c := range j.cookies {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(c.Name + "=" + c.Value)
	}
	return b.String(), s.era
}

// forget drops one session: a server that refuses the request's head may be refusing its cookies.
func (s *sessions) forget(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.jars, name)
}

func (s *sessions) keep(name string, era int, set []*http.Cookie) {
	if name == "" || len(set) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if era != s.era {
		return
	}
	j := s.jars[name]
	if j == nil {
		s.room()
		j = &jar{}
		s.jars[name] = j
	}
	j.used = s.now()
	for _, c := range set {
		j.set(c, s.now())
	}
}

// room makes place for one more jar.
func (s *sessions) room() {
	if len(s.jars) < maxSessions {
		return
	}
	for name, j := range s.jars {
		if s.now().Sub(j.used) >= sessionIdle {
			delete(s.jars, name)
		}
	}
	for name := range s.jars {
		if len(s.jars) < maxSessions {
			return
		}
		delete(s.jars, name)
	}
}

func (j *jar) set(c *http.Cookie, now time.Time) {
	kept := j.cookies[:0]
	for _, old := range j.cookies {
		if old.Name != c.Name {
			kept = append(kept, old)
		}
	}
	j.cookies = kept
	gone := c.MaxAge < 0 || (c.MaxAge == 0 && !c.Expires.IsZero() && !c.Expires.After(now))
	if !gone && len(j.cookies) < maxCookies && len(c.Name)+len(c.Value) <= maxCookie {
		j.cookies = append(j.cookies, c)
	}
}

func (s *sessions) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.era++
	clear(s.jars)
}

func (s *sessions) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.jars)
}
