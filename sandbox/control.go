package sandbox

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"sfbroker/sandbox/signing"
)

const controlBodyLimit = 4 << 10

func (s *Sandbox) startControl() {
	s.Info.ControlURL = s.endpoints.control.url()
	s.Info.ControlToken = signing.NewOpaque(32)
	mux := http.NewServeMux()
	routes := []struct {
		path    string
		methods map[string]http.HandlerFunc
	}{
		{"/info", map[string]http.HandlerFunc{http.MethodGet: s.getInfo}},
		{"/stats", map[string]http.HandlerFunc{http.MethodGet: s.getStats}},
		{"/faults", map[string]http.HandlerFunc{http.MethodGet: s.getFaults}},
		{"/faults/{name}", map[string]http.HandlerFunc{http.MethodPut: s.putFault, http.MethodDelete: s.deleteFault}},
		{"/clock", map[string]http.HandlerFunc{http.MethodGet: s.getClock, http.MethodPut: s.putClock}},
	}
	for _, route := range routes {
		mux.HandleFunc(route.path, byMethod(route.methods))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		controlError(w, http.StatusNotFound, "not_found", "no such path")
	})
	s.endpoints.control.serve(requireToken(s.Info.ControlToken, mux))
}

func byMethod(methods map[string]http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if handler := methods[r.Method]; handler != nil {
			handler(w, r)
			return
		}
		controlError(w, http.StatusMethodNotAllowed, "method_not_allowed", "no such method here")
	}
}

// requireToken compares hashes, so that neither content nor length shows in the time.
func requireToken(token string, next http.Handler) http.Handler {
	want := sha256.Sum256([]byte(token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		got := sha256.Sum256([]byte(given))
		if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			w.Header().Set("WWW-Authenticate", `Bearer realm="sandbox"`)
			controlError(w, http.StatusUnauthorized, "unauthorized", "the control token is required")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Sandbox) getInfo(w http.ResponseWriter, _ *http.Request) {
	controlJSON(w, http.StatusOK, s.Info.Public())
}

func (s *Sandbox) getStats(w http.ResponseWriter, _ *http.Request) {
	controlJSON(w, http.StatusOK, s.Stats())
}

func (s *Sandbox) getFaults(w http.ResponseWriter, _ *http.Request) {
	controlJSON(w, http.StatusOK, map[string]any{"known": s.Faults(), "active": s.ActiveFaults()})
}

func (s *Sandbox) putFault(w http.ResponseWriter, r *http.Request)    { s.switchFault(w, r, true) }
func (s *Sandbox) deleteFault(w http.ResponseWriter, r *http.Request) { s.switchFault(w, r, false) }

func (s *Sandbox) switchFault(w http.ResponseWriter, r *http.Request, on bool) {
	err := s.SetFault(r.PathValue("name"), on)
	switch {
	case errors.Is(err, ErrUnknownFault):
		controlError(w, http.StatusNotFound, "unknown_fault", "known are: "+strings.Join(s.Faults(), ", "))
	case err != nil:
		controlError(w, http.StatusInternalServerError, "fault_failed", err.Error())
	default:
		s.getFaults(w, r)
	}
}

func (s *Sandbox) getClock(w http.ResponseWriter, _ *http.Request) {
	controlJSON(w, http.StatusOK, map[string]any{"offset": s.ClockOffset().String(), "now": s.Now().UTC()})
}

// putClock sets the offset to the base clock: the same request twice changes nothing.
func (s *Sandbox) putClock(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Offset *string `json:"offset"`
	}
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, controlBodyLimit))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&body); err != nil || body.Offset == nil || decoder.More() {
		controlError(w, http.StatusBadRequest, "bad_request", `the body must be {"offset": "50m"}`)
		return
	}
	offset, err := time.ParseDuration(*body.Offset)
	if err != nil {
		controlError(w, http.StatusBadRequest, "bad_request", `offset must be a duration such as "50m" or "-1h30m"`)
		return
	}
	s.SetClockOffset(offset)
	s.getClock(w, r)
}

func controlError(w http.ResponseWriter, status int, code, message string) {
	controlJSON(w, status, map[string]any{"error": map[string]string{"code": code, "message": message}})
}

func controlJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client is gone: nobody to tell
}
