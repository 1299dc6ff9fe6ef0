package broker

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"sfbroker/broker/diagnosis"
	"sfbroker/broker/upstream"
	"sfbroker/oauthclient"
	"sfbroker/odata"
)

// maxErrorBody bounds what is read of an error of SuccessFactors, to recognise it and to pass it on.
const maxErrorBody = 64 << 10

// answer is what came back from SuccessFactors. held is the whole body of an error, nil for an answer that streams.
type answer struct {
	*upstream.Response
	held []byte
	// echoes says that held repeats our token, as debugging pages do: it must not go on to the caller.
	echoes bool
}

// call sends req with token. Where SuccessFactors refuses the token, and refuses it to ourselves as well, the token is dropped
// and the request sent once more with a fresh one; it has no body, so that is safe. A refusal that we do not meet ourselves
// belongs to that request alone: its answer is passed on, and nobody else notices. The error is an *UpstreamError, the
// keeper's, or that of ctx.
func (c *Connection) call(ctx context.Context, req upstream.Request, token oauthclient.Token) (*answer, error) {
	anew := false // the request was sent again without the session that may have been to blame
	for attempt := 0; ; {
		req.Authorization = "Bearer " + token.AccessToken.Reveal()
		a, err := c.once(ctx, req)
		if err != nil || !a.tokenRefused() {
			return a, err
		}
		refused, err := c.refusedToUs(ctx, token)
		switch {
		case err != nil:
			_ = a.Body.Close() // the caller is gone
			return nil, err
		case !refused && a.Status == http.StatusUnauthorized && !anew && !req.Once:
			_ = a.Body.Close() // its session is forgotten
			anew = true
			continue
		case !refused:
			return a, nil
		}
		_ = a.Body.Close()                        // refused: what the answer said was read
		token, err = c.keeper.Refused(ctx, token) // drops the sessions too, if it is this token that they hang on
		if err != nil {
			return nil, err
		}
		if attempt++; attempt == 2 { // Refused has recorded that the fresh one is refused too, and handed out a still newer one
			return nil, &UpstreamError{Finding: find(diagnosis.TokenRefused)}
		}
	}
}

// verdict is what became of our own request with a token that a caller's request was refused with.
type verdict struct {
	mu      chan struct{} // holds one element while nobody asks
	token   oauthclient.Token
	refused bool
	at      time.Time
}

// verdictLife is how long a verdict on a token stands, verdictPatience how long the question may take.
const (
	verdictLife     = 10 * time.Second
	verdictPatience = 10 * time.Second
)

// refusedToUs asks for the metadata of an entity with token, once for all requests that were refused with it, and in the
// broker's own time: a caller that hangs up decides nothing. Where the question gets no answer, the token is not to blame.
// The error is that of ctx.
func (c *Connection) refusedToUs(ctx context.Context, token oauthclient.Token) (bool, error) {
	v := c.verdict
	select {
	case <-v.mu:
		defer func() { v.mu <- struct{}{} }()
	case <-ctx.Done():
		return false, fmt.Errorf("waiting for a verdict on AT2: %w", ctx.Err())
	}
	if current, ok := c.keeper.Current(); !ok || !current.AccessToken.Equal(token.AccessToken) {
		return true, nil // it was dropped or renewed meanwhile: its successor is the one to try
	}
	if now := c.cfg.Now(); v.token.AccessToken.Equal(token.AccessToken) && now.Sub(v.at) < verdictLife && !now.Before(v.at) {
		return v.refused, nil
	}
	ask, cancel := context.WithTimeout(c.recovery.life, verdictPatience)
	defer cancel()
	a, err := c.once(ask, upstream.Request{
		Method: http.MethodGet, Target: "/odata/v2/" + c.cfg.Probes[0] + "/$metadata", Header: http.Header{"Accept": {"application/xml"}},
		Authorization: "Bearer " + token.AccessToken.Reveal(), Once: true,
	})
	v.token, v.refused, v.at = token, false, c.cfg.Now()
	if err == nil {
		_ = a.Body.Close() // the status was asked for
		v.refused = a.tokenRefused()
	}
	return v.refused, nil
}

func (c *Connection) once(ctx context.Context, req upstream.Request) (*answer, error) {
	resp, err := c.upstream.Do(ctx, req)
	if err != nil {
		return nil, &UpstreamError{Finding: c.fromTransport(err), Err: err}
	}
	a := &answer{Response: resp}
	switch resp.Status {
	case http.StatusOK, http.StatusNoContent, http.StatusNotModified:
	default: // an error, a redirect, or a status that no whole answer to a read has
		held, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody+1))
		if err != nil {
			_ = resp.Body.Close() // the read error says more
			return nil, &UpstreamError{Finding: c.fromTransport(err), Err: err}
		}
		a.held = held
		a.echoes = bytes.Contains(held, []byte(strings.TrimPrefix(req.Authorization, "Bearer ")))
	}
	return a, nil
}

// tokenRefused tells a refused AT2 from other refusals: 401 but for a bad user, or 403 that names a token error (SAP KBA
// 2524436, 2872019).
func (a *answer) tokenRefused() bool {
	if a.address() {
		return false
	}
	code := odata.LoginCode(a.held)
	switch a.Status {
	case http.StatusUnauthorized:
		return code != "LGN0015"
	case http.StatusForbidden:
		return code == "LGN0006" || code == "LGN0007" || code == "LGN0022"
	}
	return false
}

// address reports whether the technical user is refused for the broker's network address (SAP KBA 2161058).
func (a *answer) address() bool {
	if a.Status != http.StatusUnauthorized && a.Status != http.StatusForbidden {
		return false
	}
	_, message := odata.ReadError(a.held)
	return strings.HasPrefix(message, "Authentication failed. Attempted login from unauthorized ip")
}
