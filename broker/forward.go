package broker

import (
	"bytes"
	"errors"
	"io"
	"net/http"

	"sfbroker/broker/diagnosis"
	"sfbroker/broker/upstream"
	"sfbroker/odata"
)

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

// respond passes the answer on, or explains it.
func (x *exchange) respond(a *answer) {
	if a.held != nil {
		x.refusedBySuccessFactors(a)
		return
	}
	if a.Status == http.StatusNoContent || a.Status == http.StatusNotModified {
		x.headers(a)
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
	if x.r.Method == http.MethodHead {
		x.headers(a)
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

// headers answers without a body.
func (x *exchange) headers(a *answer) {
	x.deadline()
	x.begin(a)
	x.conn.health.ok(x.sent)
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
			if x.r.Context().Err() != nil {
				x.abort("caller gone", err)
			}
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
