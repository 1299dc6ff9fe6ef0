package workload

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"sfbroker/oauthclient"
)

// clientAssertionLifetime is within the 5 to 10 minutes that Microsoft
// recommends ("certificate credentials").
const clientAssertionLifetime = 5 * time.Minute

const clientAssertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// EntraConfig describes an application in Microsoft Entra that gets AT1 by the
// client credentials grant. Exactly one of ClientSecret and Certificate is
// given; it is called at each use, so that a rotated credential takes effect.
type EntraConfig struct {
	// TokenURL is https://login.microsoftonline.com/<tenant>/oauth2/v2.0/token
	// or that of another cloud. Plain http is refused but toward loopback.
	TokenURL string
	// ClientID is the application (client) ID.
	ClientID string
	// Scope is "<resource>/.default".
	Scope string
	// ClientSecret returns the secret's value, not its ID.
	ClientSecret func() (oauthclient.Secret, error)
	// Certificate returns what authenticates with PS256.
	Certificate func() (Certificate, error)
	// HTTPClient nil means oauthclient.NewHTTPClient with the system's roots.
	HTTPClient *http.Client
	// Now nil means time.Now.
	Now func() time.Time
}

// Entra asks Microsoft Entra for AT1.
type Entra struct {
	config EntraConfig
}

// NewEntra checks the configuration and asks for nothing. The error joins all
// that is wrong.
func NewEntra(config EntraConfig) (*Entra, error) {
	var problems []error
	problem := func(bad bool, text string) {
		if bad {
			problems = append(problems, errors.New(text))
		}
	}
	problem(!secureURL(config.TokenURL), "token URL: must be an https URL (plain http only toward loopback)")
	problem(config.ClientID == "", "client ID: missing")
	problem(!strings.HasSuffix(config.Scope, "/.default") || strings.ContainsAny(config.Scope, " \t"),
		"scope: must be one resource with /.default, such as api://<application ID>/.default")
	problem((config.ClientSecret == nil) == (config.Certificate == nil), "credential: give exactly one of secret and certificate")
	if len(problems) > 0 {
		return nil, fmt.Errorf("entra source: %w", errors.Join(problems...))
	}
	if config.HTTPClient == nil {
		config.HTTPClient = oauthclient.NewHTTPClient(nil)
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	return &Entra{config: config}, nil
}

func secureURL(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
		return false
	}
	if u.Scheme == "https" {
		return true
	}
	ip := net.ParseIP(u.Hostname())
	return u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback())
}

// Kind is "entra".
func (e *Entra) Kind() string { return "entra" }

// Assertion makes one token request.
func (e *Entra) Assertion(ctx context.Context) (oauthclient.Secret, error) {
	form := url.Values{
		"grant_type": {"client_credentials"},
		"client_id":  {e.config.ClientID},
		"scope":      {e.config.Scope},
	}
	if err := e.authenticate(form); err != nil {
		return oauthclient.Secret{}, err
	}
	response, err := oauthclient.PostForm(ctx, e.config.HTTPClient, e.config.TokenURL, form, e.config.Now)
	if err != nil {
		return oauthclient.Secret{}, e.explain(err)
	}
	return response.AccessToken, nil
}

func (e *Entra) authenticate(form url.Values) error {
	if e.config.Certificate == nil {
		secret, err := e.config.ClientSecret()
		if err == nil && secret.IsZero() {
			err = errors.New("it is empty")
		}
		if err != nil {
			return e.noCredential("client secret", err)
		}
		form.Set("client_secret", secret.Reveal())
		return nil
	}
	certificate, err := e.config.Certificate()
	if err == nil && certificate.key == nil {
		err = errors.New("it is empty")
	}
	if err != nil {
		return e.noCredential("certificate", err)
	}
	assertion, err := e.clientAssertion(certificate)
	if err != nil {
		return e.noCredential("certificate", err)
	}
	form.Set("client_assertion_type", clientAssertionType)
	form.Set("client_assertion", assertion)
	return nil
}

func (e *Entra) noCredential(what string, err error) error {
	return &Error{
		Source: e.Kind(), Cause: CauseMissing, Detail: "no " + what + ": " + err.Error(),
		Hint: "check the file or variable that holds the " + what, FixedBy: OwnerOperator, Err: err,
	}
}

// clientAssertion is RFC 7523 section 2.2 as Entra wants it: PS256, and the
// certificate named by x5t#S256.
func (e *Entra) clientAssertion(certificate Certificate) (string, error) {
	now := e.config.Now()
	token := jwt.NewWithClaims(jwt.SigningMethodPS256, jwt.MapClaims{
		"aud": e.config.TokenURL,
		"iss": e.config.ClientID,
		"sub": e.config.ClientID,
		"jti": rand.Text(),
		"nbf": now.Unix(),
		"iat": now.Unix(),
		"exp": now.Add(clientAssertionLifetime).Unix(),
	})
	token.Header["x5t#S256"] = certificate.Thumbprint()
	signed, err := token.SignedString(certificate.key)
	if err != nil {
		return "", fmt.Errorf("signing the client assertion: %w", err)
	}
	return signed, nil
}
