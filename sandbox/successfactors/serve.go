package successfactors

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.stats.Requests++
	latency, maintenance := s.latency, s.maintenance
	s.mu.Unlock()
	if !wait(r, latency) {
		return
	}
	uri := r.RequestURI
	if !strings.HasPrefix(uri, "/") {
		uri = r.URL.RequestURI()
	}
	isJSON := wantsJSON(uri, r.Header.Values("Accept"))
	out, f := s.serve(w, r, uri, isJSON, maintenance)
	if f != nil {
		out = answer{status: f.status}
		out.body, out.contentType = f.body(isJSON)
	}
	s.set(func() {
		s.stats.ByStatus[out.status]++
		if out.entitySet != "" {
			s.stats.ByEntitySet[out.entitySet]++
		}
	})
	out.send(w, r)
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, uri string, isJSON, maintenance bool) (answer, *fault) {
	if maintenance {
		return answer{}, &fault{http.StatusServiceUnavailable, "COE_SERVICE_UNAVAILABLE", "The system is currently under maintenance. Please try again later."}
	}
	t, inside, malformed := parseTarget(uri)
	if !inside {
		return answer{}, refused(http.StatusNotFound, "LGN0001", "The endpoint is invalid.")
	}
	clientID, user, f := s.authenticate(r)
	if f != nil {
		return answer{}, f
	}
	for _, c := range s.sessionOf(r, clientID, user) {
		http.SetCookie(w, c)
	}
	if missing := missingHeaders(r.Header); missing != "" {
		w.Header().Set("successfactors-message", missing)
	}
	switch {
	case r.Method != http.MethodGet:
		w.Header().Set("Allow", http.MethodGet)
		return answer{}, &fault{http.StatusMethodNotAllowed, "MethodNotAllowedException", "The method " + r.Method + " is not in this stand-in."}
	case malformed != nil:
		return answer{}, malformed
	}
	return s.read(t, s.asker(user, isJSON))
}

// missingHeaders is the reminder of KBA 3405898.
func missingHeaders(h http.Header) string {
	var missing []string
	for _, name := range []string{"X-SF-Correlation-Id", "successfactors-sourcetype"} {
		if h.Get(name) == "" {
			missing = append(missing, name)
		}
	}
	switch len(missing) {
	case 0:
		return ""
	case 1:
		return missing[0] + " is missing in request headers"
	default:
		return strings.Join(missing, ", ") + " are missing in request headers"
	}
}

// wait holds a request back; false when its client left.
func wait(r *http.Request, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

func (a answer) send(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", a.contentType)
	h.Set("DataServiceVersion", "2.0")
	h.Set("Vary", "Accept-Encoding")
	body := a.body
	if acceptsGzip(r.Header.Values("Accept-Encoding")) {
		if packed, err := pack(body); err == nil {
			h.Set("Content-Encoding", "gzip")
			body = packed
		}
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(a.status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

func pack(body []byte) ([]byte, error) {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(body); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func acceptsGzip(headers []string) bool {
	for _, part := range strings.Split(strings.Join(headers, ","), ",") {
		coding, params, _ := strings.Cut(part, ";")
		if strings.EqualFold(strings.TrimSpace(coding), "gzip") {
			q, found := strings.CutPrefix(strings.ReplaceAll(params, " ", ""), "q=")
			weight, err := strconv.ParseFloat(q, 64)
			return !found || err == nil && weight > 0
		}
	}
	return false
}
