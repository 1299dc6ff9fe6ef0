package broker

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"sfbroker/audit"
	"sfbroker/broker/caller"
	"sfbroker/broker/diagnosis"
	"sfbroker/odata"
)

// exchange is one request on its way through the proxy.
type exchange struct {
	b       *Broker
	w       http.ResponseWriter
	r       *http.Request
	id      string
	start   time.Time
	remote  netip.Addr
	public  string // the public URL by which the caller came
	target  string // origin-form, byte for byte
	caller  *caller.Caller
	conn    *Connection
	request *odata.Request
	status  int
	origin  diagnosis.Origin
	bytes   int64
	sent    time.Time // when the request was sent, on the connection's clock
}

func newExchange(b *Broker, w http.ResponseWriter, r *http.Request) *exchange {
	x := &exchange{b: b, w: w, r: r, id: rand.Text(), start: time.Now()}
	if addr, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		x.remote = addr.Addr().Unmap()
	}
	w.Header().Set("Sfbroker-Request-Id", x.id)
	if b.Draining() {
		w.Header().Set("Connection", "close")
	}
	b.cfg.Metrics.began()
	return x
}

// admitted takes one of the slots: requests are bounded, over all callers.
func (x *exchange) admitted() bool {
	select {
	case x.b.slots <- struct{}{}:
		return true
	default:
		return x.deny(find(diagnosis.Overloaded), "in_flight")
	}
}

func (x *exchange) leave() { <-x.b.slots }

// recovered turns a panic into an answer and an error line. Its value is not logged, since it may hold what a peer sent.
func (x *exchange) recovered() {
	r := recover()
	if r == nil {
		return
	}
	if r == http.ErrAbortHandler { //nolint:errorlint // net/http compares it like this
		panic(r)
	}
	x.b.cfg.Metrics.panicked()
	x.b.cfg.Logger.Error("panic", x.attrs("type", fmt.Sprintf("%T", r), "stack", string(debug.Stack()))...)
	if x.status != 0 {
		panic(http.ErrAbortHandler) // an answer was begun; it must not end well
	}
	x.fail(find(diagnosis.Internal))
}

func (x *exchange) finish() {
	x.b.cfg.Metrics.ended(x)
	if x.b.cfg.Logger.Enabled(x.r.Context(), slog.LevelDebug) {
		x.b.cfg.Logger.Debug("request served", x.attrs("status", x.status, "bytes", x.bytes, "duration", time.Since(x.start))...)
	}
}

func (x *exchange) attrs(more ...any) []any {
	attrs := []any{"request_id", x.id}
	if x.caller != nil {
		attrs = append(attrs, "caller", x.caller.Name, "connection", x.caller.Connection)
	}
	if x.request != nil {
		attrs = append(attrs, "entity_set", x.request.EntitySet)
	}
	return append(attrs, more...)
}

// recognise finds out who calls.
func (x *exchange) recognise() bool {
	c, err := x.b.cfg.Callers.Authenticate(x.r.Header, x.remote)
	if err == nil {
		x.caller = c
		x.conn = x.b.connections[c.Connection]
		if x.conn != nil {
			return true
		}
		return x.deny(find(diagnosis.Internal), "connection_missing")
	}
	var failed *caller.Error
	if !errors.As(err, &failed) {
		return x.deny(find(diagnosis.Internal), "authentication")
	}
	x.b.cfg.Metrics.loginFailed(string(failed.Reason))
	code := diagnosis.CredentialsWrong
	switch failed.Reason {
	case caller.Missing:
		code = diagnosis.CredentialsMissing
	case caller.Ambiguous:
		code = diagnosis.RequestMalformed
	case caller.Throttled:
		code = diagnosis.CallerThrottled
	}
	f := find(code)
	f.RetryAfter = failed.RetryAfter
	if f.Status == http.StatusUnauthorized {
		// .NET, PowerShell, Java and urllib send nothing until they are challenged (RFC 7617 section 2).
		x.w.Header().Set("WWW-Authenticate", `Basic realm="sfbroker", charset="UTF-8"`)
	}
	if failed.Claimed != "" {
		f.Detail = "claimed caller " + failed.Claimed
	}
	return x.deny(f, string(failed.Reason))
}

// parse finds out what is asked.
func (x *exchange) parse() bool {
	if name := methodOverride(x.r.Header); name != "" {
		return x.deny(with(diagnosis.NotAnalysed, "header "+name), "method_override")
	}
	if x.r.ContentLength != 0 || len(x.r.TransferEncoding) > 0 {
		return x.deny(with(diagnosis.NotAnalysed, "a request body"), "request_body")
	}
	req, err := odata.Parse(x.r.Method, x.target)
	if err == nil {
		x.request = req
		return true
	}
	var refusal *odata.Refusal
	if !errors.As(err, &refusal) {
		return x.deny(find(diagnosis.RequestMalformed), "parse")
	}
	code := diagnosis.NotAnalysed
	switch refusal.Status {
	case http.StatusBadRequest:
		code = diagnosis.RequestMalformed
	case http.StatusRequestURITooLong:
		code = diagnosis.TargetTooLong
	}
	return x.deny(with(code, refusal.Detail), string(refusal.Reason))
}

func with(code diagnosis.Code, detail string) diagnosis.Finding {
	f := find(code)
	f.Detail = detail
	return f
}

func methodOverride(h http.Header) string {
	for _, name := range []string{"X-Http-Method", "X-Http-Method-Override", "X-Method-Override", "X-Method"} {
		if len(h[name]) > 0 {
			return name
		}
	}
	return ""
}

// granted is a request that was authorised and recorded. Only authorise makes one, and forward takes nothing else.
type granted struct{ request *odata.Request }

// authorise decides and records, in one call. What cannot be recorded is not done.
func (x *exchange) authorise() (granted, bool) {
	p := x.b.cfg.Policies[x.caller.Name]
	if p == nil {
		return granted{}, x.deny(find(diagnosis.PolicyDenied), "no_policy")
	}
	d := p.Decide(x.request)
	if !d.Allowed {
		f := find(diagnosis.PolicyDenied)
		f.Expected = d.Grant()
		for _, t := range d.Missing {
			f.Hints = append(f.Hints, string(t.Verb)+" "+t.Path+" ("+t.Where+")")
		}
		return granted{}, x.deny(f, string(d.Reason))
	}
	if err := x.b.cfg.Audit.Write(x.record(audit.Allow, "", string(d.Reason))); err != nil {
		x.b.cfg.Logger.Error("audit record not written", x.attrs("error", err)...)
		x.fail(find(diagnosis.AuditUnavailable))
		return granted{}, false
	}
	return granted{request: x.request}, true
}

func (x *exchange) record(d audit.Decision, code diagnosis.Code, reason string) audit.Record {
	r := audit.Record{
		Time: x.b.cfg.Now(), Event: "request", Decision: d, Code: string(code), Reason: reason, RequestID: x.id,
		Revision: x.b.cfg.Revision, Remote: x.remote.String(), Method: bounded(x.r.Method),
	}
	if x.caller != nil {
		r.Caller, r.Connection = x.caller.Name, x.caller.Connection
	}
	if x.conn != nil && d == audit.Allow {
		r.Subject = x.conn.cfg.TechnicalUser
	}
	if x.request != nil {
		r.Shape, r.EntitySet = x.request.Shape, x.request.EntitySet
		for _, t := range x.request.Touches {
			r.Touches = append(r.Touches, string(t.Verb)+" "+t.Path)
		}
	}
	return r
}

func bounded(s string) string { return s[:min(len(s), 32)] }

// deny records and answers a refusal. It returns false, so that a step can end with it.
func (x *exchange) deny(f diagnosis.Finding, reason string) bool {
	record := x.record(audit.Deny, f.Code, reason)
	if x.caller == nil { // anybody can make these, without any key
		worth, suppressed := x.b.flood.Worth(x.remote)
		if !worth {
			x.b.cfg.Metrics.denied(f.Code)
			x.fail(f)
			return false
		}
		record.Suppressed = suppressed
	}
	if err := x.b.cfg.Audit.Write(record); err != nil {
		x.b.cfg.Logger.Error("audit record not written", x.attrs("error", err)...)
		f = find(diagnosis.AuditUnavailable)
	}
	x.b.cfg.Metrics.denied(f.Code)
	x.b.cfg.Logger.Info("request denied", x.attrs("code", string(f.Code), "reason", reason, "detail", f.Detail, "touches", strings.Join(f.Hints, ", "), "would_allow", f.Expected)...)
	x.fail(f)
	return false
}

// fail answers with an OData error: code, sentence, owner, whether a retry is safe, request ID. What was expected and
// received stays with the operator.
func (x *exchange) fail(f diagnosis.Finding) {
	format, contentType := odata.ErrorFormat(x.r.Header.Get("Accept"), x.target)
	h := x.w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Sfbroker-Error-Origin", string(f.Origin))
	h.Set("Sfbroker-Error-Code", string(f.Code))
	if f.Status == http.StatusServiceUnavailable || f.Status == http.StatusTooManyRequests {
		h.Set("Retry-After", retryAfter(f.RetryAfter))
	}
	if x.r.ContentLength != 0 || len(x.r.TransferEncoding) > 0 {
		h.Set("Connection", "close") // the body was not read, so the connection cannot be used again
	}
	x.status, x.origin = f.Status, f.Origin
	x.deadline()
	x.w.WriteHeader(f.Status)
	if x.r.Method == http.MethodHead {
		return
	}
	retry := "no"
	if f.RetrySafe {
		retry = "yes"
	}
	body := odata.ErrorBody{Code: string(f.Code), Message: f.Sentence, RequestID: x.id, InnerError: map[string]string{
		"origin": string(f.Origin), "owner": string(f.Owner), "retry_safe": retry, "documentation": f.Anchor(),
	}}
	if err := odata.WriteError(x.w, format, body); err != nil {
		x.b.cfg.Logger.Debug("error answer not delivered", x.attrs("error", err)...)
	}
}

// retryAfter is in whole seconds, rounded up; without a better number, 30.
func retryAfter(d time.Duration) string {
	if d <= 0 {
		d = 30 * time.Second
	}
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}
