package broker

import (
	"mime"
	"net/http"
	"strings"

	"sfbroker/broker/diagnosis"
	"sfbroker/odata"
)

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
