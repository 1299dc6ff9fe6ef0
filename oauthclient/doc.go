// Package oauthclient is the client side of OAuth 2.0 token endpoints: one
// round trip (PostForm), the exchange of a foreign assertion for an SAP Cloud
// Identity Services access token (Exchange, CheckToken), the guard that keeps a
// wrong setting from locking the client ID (Guard), and the keeper that holds
// one token and renews it before anyone waits (Keeper).
//
// Client authentication is always in the form (RFC 6749 section 2.3.1, RFC 7523
// section 2.2), never in an Authorization header, and one call is one request:
// trying a second authentication style would cost a second failed logon.
package oauthclient
