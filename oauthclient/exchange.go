package oauthclient

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

const jwtBearerAssertion = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" //nolint:gosec // a URN of RFC 7523, no credential

// Application is the IAS application in whose name tokens are asked for.
type Application struct {
	// TokenURL and ClientID must be set. Resource is RFC 8707's resource; empty
	// asks for none.
	TokenURL, ClientID, Resource string
	// Issuers are the values of iss accepted in AT2; a mismatch only warns. Empty
	// means the token URL's host, with or without https://.
	Issuers []string
}

// Exchange asks for a token in the application's name with the assertion as
// client authentication (RFC 7523 section 2.2): exactly one POST, no retry.
// token_format=jwt is always sent, because IAS's default differs per grant. A
// failure is an *Error. Reserve a try from the Guard first.
func Exchange(ctx context.Context, c *http.Client, app Application, a Assertion, now func() time.Time) (Response, error) {
	form := url.Values{
		"grant_type":            {"client_credentials"},
		"client_id":             {app.ClientID},
		"client_assertion_type": {jwtBearerAssertion},
		"client_assertion":      {a.Raw.Reveal()},
		"token_format":          {"jwt"},
	}
	if app.Resource != "" {
		form.Set("resource", app.Resource)
	}
	return PostForm(ctx, c, app.TokenURL, form, now)
}
