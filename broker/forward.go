package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
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

// forward sends what was granted and passes the answer on.
func (x *exchange) forward(g granted) {
	ctx := x.r.Context()
	select {
	case x.conn.slots <- struct{}{}:
		defer func() { <-x.conn.slots }()
	default: // one connection that answers slowly must not take the slots of all
		x.b.cfg.Logger.Warn("request failed", x.attrs("code", string(diagnosis.Overloaded))...)
		x.fail(find(diagnosis.Overloaded))
		return
	}
	token, err := x.conn.Token(ctx)
	if err != nil {
		x.starved(err)
		return
	}
	x.sent = x.conn.cfg.Now()
	a, err := x.conn.call(ctx, upstream.Request{Method: g.request.Method, Target: g.request.Target, Header: upstreamHeader(x.r.Header, g.request), Session: x.caller.Name, Once: g.request.Snapshot}, token)
	if err != nil {
		x.starved(err)
		return
	}
	defer func() { _ = a.Body.Close() }() // nothing is left to be said about an answer that was passed on
	x.respond(a)
}

// starved answers for a connection that cannot deliver: 503 or the finding's own status, never an empty 200.
func (x *exchange) starved(err error) {
	if x.r.Context().Err() != nil {
		x.status, x.origin = 499, diagnosis.FromCaller // the caller hung up; nobody reads what we write
		panic(http.ErrAbortHandler)
	}
	f := x.conn.Diagnose(err)
	if f.Origin == diagnosis.FromSuccessFactors && f.Code != diagnosis.TokenRefused {
		x.judge(f)
	} else {
		x.conn.health.broken(f, x.caller.Name)
	}
	x.b.cfg.Logger.Warn("request failed", x.attrs("code", string(f.Code), "expected", f.Expected, "received", f.Received, "owner", string(f.Owner), "error", errorText(err))...)
	x.fail(f)
}

// errorText is an error for the operator's log. Leaf errors of this house hold neither secrets nor personal data.
func errorText(err error) string {
	var up *UpstreamError
	if errors.As(err, &up) && up.Err != nil {
		return cause(up.Err) // net/http quotes bytes of a malformed answer
	}
	return err.Error()
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

// upstreamHeader lists what a caller may say to SuccessFactors (facts: SAP's own adapter and KBA 3405898). Everything else,
// above all Authorization, Cookie, Forwarded and hop-by-hop headers, stays here.
func upstreamHeader(in http.Header, r *odata.Request) http.Header {
	out := http.Header{}
	for name, values := range in {
		if passesUp(name) {
			out[name] = values
		}
	}
	for _, name := range hopByHop(in) {
		out.Del(name)
	}
	if !r.Metadata && !r.Count && !namesFormat(out.Get("Accept")) {
		out.Set("Accept", "application/json") // SuccessFactors would answer in Atom
	}
	return out
}

// namesFormat reports whether an Accept header asks for a format of OData. What libraries send by themselves, such as */* or
// Java's list of pictures, does not.
func namesFormat(accept string) bool {
	accept = strings.ToLower(accept)
	return strings.Contains(accept, "json") || strings.Contains(accept, "xml")
}

// hopByHop lists the headers that the caller meant for this hop alone (RFC 9110 section 7.6.1).
func hopByHop(in http.Header) []string {
	var names []string
	for _, line := range in["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			names = append(names, strings.TrimSpace(name))
		}
	}
	return names
}

func passesUp(name string) bool {
	switch name {
	case "Accept", "Accept-Language", "Dataserviceversion", "Maxdataserviceversion", "Prefer", "X-Csrf-Token", "If-None-Match", "If-Modified-Since",
		"X-Agent-Name", "X-Sf-Correlation-Id", "X-Sf-Process-Name", "X-Sf-Execution-Id", "Successfactors-Sourcetype":
		return true
	}
	return false
}

func passesDown(name string) bool {
	switch name {
	case "Content-Type", "Content-Language", "Dataserviceversion", "Odata-Version", "Etag", "Last-Modified", "Retry-After", "X-Csrf-Token", "Cache-Control", "Expires", "Date", "Vary":
		return true
	}
	return strings.HasPrefix(name, "X-Sf-") || strings.HasPrefix(name, "Successfactors-")
}

// respond passes the answer on, or explains it.
func (x *exchange) respond(a *answer) {
	if a.held != nil {
		x.refusedBySuccessFactors(a)
		return
	}
	kind, ok := bodyKind(a.Header.Get("Content-Type"), x.request)
	if !ok {
		f := find(kind.code)
		f.Received = "Content-Type " + kind.mediaType
		x.judge(f)
		x.b.cfg.Logger.Warn("answer not passed on", x.attrs("code", string(f.Code), "received", f.Received)...)
		x.fail(f)
		return
	}
	if x.r.Method == http.MethodHead || a.Status == http.StatusNoContent || a.Status == http.StatusNotModified {
		x.deadline()
		x.begin(a)
		x.conn.health.ok(x.sent)
		return
	}
	var body io.Reader = a.Body
	if kind.links {
		turn := odata.LinkMap{Upstream: x.conn.origin(), Public: x.public}
		links, ok := x.b.links.Get().(*odata.LinkReader)
		if ok {
			links.Reset(a.Body, turn)
		} else {
			links = odata.NewLinkReader(a.Body, turn)
		}
		defer func() {
			x.b.cfg.Metrics.rewrote(x.conn.Name(), links.Links())
			links.Reset(nil, turn)
			x.b.links.Put(links)
		}()
		body = links
	}
	x.stream(a, body)
}

// begin sends status and headers of a. Until then the answer can still become an error of ours.
func (x *exchange) begin(a *answer) {
	for name, values := range a.Header {
		if passesDown(name) {
			x.w.Header()[name] = values
		}
	}
	x.status = a.Status
	x.w.WriteHeader(a.Status)
}

// judge records what a failure says of the connection. What only this request proves makes the broker look for itself: a
// caller must not be able to make a connection look broken for everybody. Only an answer that needed a working connection
// ends a failure; a 429 or a 500 says nothing.
func (x *exchange) judge(f diagnosis.Finding) {
	switch {
	case f.Code == diagnosis.ApplicationMap: // found by a request of our own
		x.conn.health.broken(f, x.caller.Name)
	case concernsConnection(f.Code):
		x.conn.health.suspect(x.caller.Name)
		x.conn.recovery.look()
	case f.Code == diagnosis.PermissionMissing || f.Code == diagnosis.FormatUnsupported:
		x.conn.health.ok(x.sent)
	}
}

type kindOfBody struct {
	links     bool
	code      diagnosis.Code
	mediaType string
}

// bodyKind says whether an answer may be passed on and whether it holds links. A login or maintenance page with status 200
// is no answer, and links in a format that is not rewritten would lead the caller past the broker.
func bodyKind(contentType string, r *odata.Request) (kindOfBody, bool) {
	mediaType, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		mediaType = "none"
	}
	k := kindOfBody{mediaType: mediaType, code: diagnosis.FormatUnsupported}
	switch {
	case mediaType == "application/json":
		k.links = true
		return k, true
	case mediaType == "text/html" || mediaType == "none":
		k.code = diagnosis.UpstreamGarbled
		return k, false
	case r.Metadata && (mediaType == "application/xml" || mediaType == "application/edmx+xml" || mediaType == "text/xml"):
		return k, true
	case (r.Count || r.Value) && !strings.HasSuffix(mediaType, "xml"):
		return k, true
	}
	return k, false
}

// origin is the API server's, as links name it.
func (c *Connection) origin() string { return c.cfg.API.Scheme + "://" + c.cfg.API.Host }

// stream copies the body. The status line waits for the first piece, so that an answer which breaks off at once is still an
// error of ours. After the first byte any error aborts the connection: an answer that did not arrive whole never ends well.
func (x *exchange) stream(a *answer, body io.Reader) {
	buf := x.b.buffers.Get().(*[]byte) //nolint:forcetypeassert,errcheck // the pool holds nothing else
	defer x.b.buffers.Put(buf)
	begun := false
	for {
		n, err := body.Read(*buf)
		if err != nil && !errors.Is(err, io.EOF) && !begun {
			x.starved(&UpstreamError{Finding: x.conn.fromTransport(err), Err: err})
			return
		}
		if n > 0 || err != nil {
			x.deadline()
		}
		if !begun && (n > 0 || err != nil) {
			x.begin(a)
			begun = true
		}
		if n > 0 {
			written, werr := x.w.Write((*buf)[:n])
			x.bytes += int64(written)
			if werr != nil {
				x.abort("caller gone", werr)
			}
		}
		if errors.Is(err, io.EOF) {
			x.conn.health.ok(x.sent)
			return
		}
		if err != nil {
			f := x.conn.fromTransport(err)
			x.judge(f)
			x.abort("answer broke off", &UpstreamError{Finding: f, Err: err})
		}
	}
}

// abort ends the connection without ending the answer: a handler that just returned would make net/http finish the
// chunking, and the short page would look complete.
func (x *exchange) abort(message string, err error) {
	x.b.cfg.Metrics.aborted(x.conn.Name())
	x.b.cfg.Logger.Warn(message, x.attrs("error", errorText(err), "bytes", x.bytes)...)
	panic(http.ErrAbortHandler)
}

// refusedBySuccessFactors passes an error of SuccessFactors on, marked as such, or answers with our own where its meaning for
// the caller would be another: a 401 of theirs says nothing about the caller's key.
func (x *exchange) refusedBySuccessFactors(a *answer) {
	f, own := x.conn.explain(x.r.Context(), a, x.request)
	code, _ := odata.ReadError(a.held)
	x.b.cfg.Logger.Warn("successfactors refused", x.attrs("code", string(f.Code), "status", a.Status, "successfactors_code", code)...)
	x.judge(f)
	if own || a.echoes || len(a.held) > maxErrorBody {
		x.fail(f)
		return
	}
	h := x.w.Header()
	h.Set("Sfbroker-Error-Origin", string(diagnosis.FromSuccessFactors))
	h.Set("Sfbroker-Error-Code", string(f.Code))
	x.origin = diagnosis.FromSuccessFactors
	x.deadline()
	x.begin(a)
	if x.r.Method == http.MethodHead {
		return
	}
	n, err := io.Copy(x.w, bytes.NewReader(a.held))
	x.bytes += n
	if err != nil {
		x.abort("caller gone", err)
	}
}

func concernsConnection(code diagnosis.Code) bool {
	switch code {
	case diagnosis.ApplicationMap, diagnosis.TokenRefused, diagnosis.IPNotAllowed, diagnosis.UserInvalid, diagnosis.UpstreamUnavailable, diagnosis.UpstreamGarbled:
		return true
	}
	return false
}
