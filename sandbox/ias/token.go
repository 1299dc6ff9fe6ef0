package ias

import (
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"sfbroker/sandbox/signing"
)

const (
	formLimit              = 64 << 10
	grantClientCredentials = "client_credentials"
	assertionType          = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	resourceByName         = "urn:sap:identity:application:provider:name:"
	resourceByClientID     = "urn:sap:identity:application:provider:clientid:"
)

// token answers client credentials requests authenticated by trust by issuer.
func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	s.tokenRequests.Add(1)
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
		return
	}
	if s.disturbed(w, r) {
		return
	}
	form, refused := readForm(w, r)
	if refused != nil {
		s.refuse(w, refused)
		return
	}
	app, refused := s.authenticate(r, form)
	if refused != nil {
		s.refuse(w, refused)
		return
	}
	target, refused := findTarget(app, form.Get("resource"))
	if refused != nil {
		s.refuse(w, refused)
		return
	}
	s.issue(w, app, target, form.Get("token_format"))
}

func readForm(w http.ResponseWriter, r *http.Request) (url.Values, *refusal) {
	if r.URL.RawQuery != "" {
		return nil, refuseParameter("parameters belong into the body")
	}
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/x-www-form-urlencoded" {
		return nil, refuseParameter("Content-Type")
	}
	r.Body = http.MaxBytesReader(w, r.Body, formLimit)
	if err := r.ParseForm(); err != nil {
		return nil, refuseParameter("the form cannot be read")
	}
	for name, values := range r.PostForm {
		if len(values) > 1 && name != "resource" {
			return nil, refuseParameter("a parameter is repeated")
		}
	}
	if len(r.PostForm["resource"]) > 1 {
		return nil, refuseResource()
	}
	switch grant := r.PostForm.Get("grant_type"); {
	case grant == "":
		return nil, refuseParameter("grant_type")
	case grant != grantClientCredentials:
		return nil, refuseGrant()
	}
	// Trust by issuer: the assertion does not name the client, the request must.
	if r.PostForm.Get("client_id") == "" {
		return nil, refuseParameter("client_id")
	}
	if format := r.PostForm.Get("token_format"); format != "" && format != "jwt" && format != "opaque" {
		return nil, refuseParameter("token_format")
	}
	return r.PostForm, nil
}

// authenticate returns a copy of the application that the request proved to be.
func (s *Server) authenticate(r *http.Request, form url.Values) (*Application, *refusal) {
	clientID := form.Get("client_id")
	s.mu.Lock()
	app := s.applications[clientID]
	state := s.logons[clientID].state(s.now())
	s.mu.Unlock()
	switch {
	case app == nil:
		return nil, refuseClient("Client not found")
	case state.Locked:
		return nil, refuseLocked()
	}
	refused := s.checkCredential(r, app, form)
	if refused != nil {
		s.logonFailed(clientID)
		return nil, refused
	}
	s.logonSucceeded(clientID)
	return app, nil
}

// checkCredential knows assertions only: no application here has a secret.
func (s *Server) checkCredential(r *http.Request, app *Application, form url.Values) *refusal {
	assertion := form.Get("client_assertion")
	switch {
	case r.Header.Get("Authorization") != "" || form.Has("client_secret"):
		return refuseClient("Bad credentials")
	case assertion == "":
		return refuseClient("Client authentication is missing")
	case form.Get("client_assertion_type") != assertionType:
		return refuseAssertion("client_assertion_type is not supported")
	}
	return s.checkAssertion(r.Context(), app, assertion)
}

// target is what a token is asked for.
type target struct {
	audience string
	apis     []string
}

// findTarget resolves `resource`: one dependency by its name, or everything
// granted at one provider by its client ID. Without it the token is for the
// application itself and grants no API.
func findTarget(app *Application, resource string) (target, *refusal) {
	if resource == "" {
		return target{audience: app.ClientID}, nil
	}
	if name, ok := strings.CutPrefix(resource, resourceByName); ok {
		if d, ok := app.Dependencies[name]; ok {
			return target{d.Provider, d.APIs}, nil
		}
		return target{}, refuseResource()
	}
	provider, ok := strings.CutPrefix(resource, resourceByClientID)
	if !ok {
		return target{}, refuseResource()
	}
	var apis []string
	found := false
	for _, name := range slices.Sorted(maps.Keys(app.Dependencies)) {
		if d := app.Dependencies[name]; d.Provider == provider {
			found = true
			apis = append(apis, d.APIs...)
		}
	}
	if !found {
		return target{}, refuseResource()
	}
	return target{provider, slices.Compact(slices.Sorted(slices.Values(apis)))}, nil
}

func (s *Server) issue(w http.ResponseWriter, app *Application, t target, format string) {
	now := s.now()
	expiry := now.Add(s.lifetime)
	id := signing.NewGUID()
	token := signing.NewOpaque(32)
	if format != "opaque" {
		claims := map[string]any{
			"iss":         s.Issuer(),
			"ias_iss":     s.Issuer(),
			"sub":         app.ClientID,
			"azp":         app.ClientID,
			"aud":         t.audience,
			"app_tid":     s.tenantID,
			"azp_app_tid": s.tenantID,
			"sap_id_type": "app",
			"jti":         id,
			"iat":         now.Unix(),
			"exp":         expiry.Unix(),
		}
		if len(t.apis) > 0 {
			claims["ias_apis"] = t.apis
		}
		var err error
		if token, err = s.key.Sign(claims); err != nil {
			http.Error(w, "Internal Server Error", http.StatusInternalServerError)
			return
		}
		s.remember(id, t.audience, expiry)
	}
	s.tokensIssued.Add(1)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Pragma", "no-cache")
	writeJSON(w, http.StatusOK, map[string]any{
		"access_token": token,
		"token_type":   "Bearer",
		"expires_in":   int64(s.lifetime / time.Second),
	})
}

// disturbed answers nonsense when the endpoint was told to.
func (s *Server) disturbed(w http.ResponseWriter, r *http.Request) bool {
	s.mu.Lock()
	d := s.disturbance
	s.mu.Unlock()
	switch d {
	case AnswerHTML:
		w.Header().Set("Content-Type", "text/html;charset=UTF-8")
		_, _ = w.Write([]byte("<!DOCTYPE html><html><head><title>Sign In</title></head><body>Please sign in.</body></html>\n"))
		return true
	case AnswerEndless:
		w.Header().Set("Content-Type", "application/json;charset=UTF-8")
		answerEndless(w, r)
		return true
	case Undisturbed:
	}
	return false
}

// answerEndless writes until the client or the server hangs up.
func answerEndless(w http.ResponseWriter, r *http.Request) {
	chunk := []byte(strings.Repeat("A", 16<<10))
	_, err := w.Write([]byte(`{"token_type":"Bearer","access_token":"`))
	for err == nil && r.Context().Err() == nil {
		_, err = w.Write(chunk)
	}
	panic(http.ErrAbortHandler) // it must not look complete
}
