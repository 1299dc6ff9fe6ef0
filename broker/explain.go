package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"sfbroker/broker/diagnosis"
	"sfbroker/broker/upstream"
	"sfbroker/oauthclient"
	"sfbroker/odata"
)

// explain says what an error of SuccessFactors means. own says that the caller must get our error instead of theirs.
func (c *Connection) explain(ctx context.Context, a *answer, r *odata.Request) (f diagnosis.Finding, own bool) {
	code, message := odata.ReadError(a.held)
	login := odata.LoginCode(a.held)
	switch {
	case a.Status >= 300 && a.Status < 400:
		f, own = find(diagnosis.UpstreamGarbled), true
		f.Expected, f.Received = "an OData answer", fmt.Sprintf("HTTP %d, a redirect", a.Status)
		return f, own
	case a.Status < 300:
		f, own = find(diagnosis.UpstreamGarbled), true
	case a.address():
		f, own = find(diagnosis.IPNotAllowed), a.Status == http.StatusUnauthorized
	case a.Status == http.StatusUnauthorized:
		f, own = find(diagnosis.UserInvalid), true
	case a.Status == http.StatusForbidden && login == "" && r != nil:
		f = c.forbidden(ctx, r.EntitySet)
	case a.Status == http.StatusForbidden:
		f = find(diagnosis.Forbidden)
	case a.Status == http.StatusTooManyRequests:
		f = find(diagnosis.UpstreamThrottled)
	case a.Status == http.StatusBadGateway || a.Status == http.StatusServiceUnavailable:
		f = find(diagnosis.UpstreamUnavailable)
	default:
		f = find(diagnosis.UpstreamError)
	}
	if f.Expected == "" {
		f.Expected = "technical user " + c.cfg.TechnicalUser + " bound to client ID " + c.cfg.Application.ClientID
	}
	f.Received = strings.TrimSpace(fmt.Sprintf("HTTP %d %s", a.Status, code))
	f.Detail = message
	if seconds, err := strconv.Atoi(a.Header.Get("Retry-After")); err == nil && seconds > 0 {
		f.RetryAfter = time.Duration(min(seconds, 86400)) * time.Second
	}
	return f, own
}

// forbidden tells a client that is not mapped from a user who lacks a permission, which SuccessFactors answers alike: the
// metadata of an entity needs a login but no permission on data. It asks at most once a minute.
func (c *Connection) forbidden(ctx context.Context, entitySet string) diagnosis.Finding {
	if h := c.health.state(); h.finding != nil && h.finding.Code == diagnosis.ApplicationMap {
		if !c.health.mayProbe() {
			return *h.finding
		}
	} else if entitySet == "" || !c.health.mayProbe() {
		return find(diagnosis.Forbidden)
	}
	return c.whyForbidden(ctx, entitySet)
}

func (c *Connection) whyForbidden(ctx context.Context, entitySet string) diagnosis.Finding {
	token, ok := c.keeper.Current()
	if !ok || entitySet == "" {
		return find(diagnosis.Forbidden)
	}
	status, err := c.metadataStatus(ctx, token, entitySet)
	switch {
	case err != nil:
		return find(diagnosis.Forbidden)
	case status == http.StatusForbidden:
		f := find(diagnosis.ApplicationMap)
		f.Expected = "client ID " + c.cfg.Application.ClientID + " mapped to user " + c.cfg.TechnicalUser + " with \"Bind to User\""
		return f
	case status == http.StatusOK:
		f := find(diagnosis.PermissionMissing)
		f.Expected = "user " + c.cfg.TechnicalUser + " may read " + entitySet
		return f
	}
	return find(diagnosis.Forbidden)
}

func (c *Connection) metadataStatus(ctx context.Context, token oauthclient.Token, entitySet string) (int, error) {
	resp, err := c.upstream.Do(ctx, upstream.Request{
		Method: http.MethodGet, Target: "/odata/v2/" + entitySet + "/$metadata", Session: probeSession,
		Header: http.Header{"Accept": {"application/xml"}}, Authorization: "Bearer " + token.AccessToken.Reveal(), Once: true,
	})
	if err != nil {
		return 0, fmt.Errorf("reading metadata of %s: %w", entitySet, err)
	}
	_ = resp.Body.Close() // the status is all that was asked for
	return resp.Status, nil
}

// probeSession is no caller's name: names hold no space.
const probeSession = "connection test"

// maxProbe bounds what is read of one row, with whatever a caller's policy lets SuccessFactors add to it.
const maxProbe = 1 << 20

// Probe reads one row of an entity set, as "test connection" does, and says what came of it. found is nil when the technical
// user may read the set.
func (c *Connection) Probe(ctx context.Context, entitySet string) (status int, found *diagnosis.Finding) {
	fail := func(f diagnosis.Finding) (int, *diagnosis.Finding) {
		if concernsConnection(f.Code) && !errors.Is(ctx.Err(), context.Canceled) { // who hangs up decides nothing
			c.health.broken(f, "")
		}
		return status, &f
	}
	token, err := c.keeper.Token(ctx)
	if err != nil {
		return fail(c.Diagnose(err))
	}
	sent := c.cfg.Now()
	a, err := c.call(ctx, upstream.Request{
		Method: http.MethodGet, Target: "/odata/v2/" + entitySet + "?$top=1&$format=json", Session: probeSession,
		Header: http.Header{"Accept": {"application/json"}},
	}, token)
	if err != nil {
		return fail(c.Diagnose(err))
	}
	defer func() { _ = a.Body.Close() }() // it was read as far as it counts
	status = a.Status
	if a.held == nil {
		if kind, ok := bodyKind(a.Header.Get("Content-Type"), &odata.Request{}); !ok {
			f := find(diagnosis.UpstreamGarbled)
			f.Expected, f.Received = "application/json", kind.mediaType
			return fail(f)
		}
		if _, err := io.Copy(io.Discard, io.LimitReader(a.Body, maxProbe)); err != nil {
			return fail(c.fromTransport(err))
		}
		c.health.ok(sent)
		return status, nil
	}
	f, _ := c.explain(ctx, a, nil)
	if a.Status == http.StatusForbidden && odata.LoginCode(a.held) == "" && f.Code != diagnosis.IPNotAllowed {
		why := c.whyForbidden(ctx, entitySet)
		why.Received, why.Detail = f.Received, f.Detail
		if why.Expected == "" {
			why.Expected = f.Expected
		}
		f = why
	}
	if code, _ := odata.ReadError(a.held); code != "" && (a.Status == http.StatusBadRequest || a.Status == http.StatusNotFound) {
		c.health.ok(sent) // SuccessFactors let us in to say so: this company has no such entity set
	}
	return fail(f)
}
