// Package odata knows what a SuccessFactors request is and what comes back.
//
// Parse reads a raw request target and says what it touches, without changing a byte of it: whoever decides on a
// Request sends Request.Target, so that what was decided on is what upstream gets. What Parse cannot read in exactly
// one way it refuses, with a *Refusal that says why.
//
// LinkReader rewrites the link members of an OData version 2 JSON answer while it streams, so that a client that
// follows a link comes back to the broker. WriteError writes errors in the shape an OData client expects, ReadError
// and LoginCode read those of SuccessFactors.
//
// The package knows no policy, no configuration and no company's model: without one, a name is what it looks like.
package odata
