package successfactors

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"net/http"
)

// fault is an answer that refuses. Where the facts name a code it is that one; the codes of faultForbidden and faultMissing are
// this stand-in's own, since no published text gives them.
type fault struct {
	status  int
	code    string
	message string
}

func (f *fault) Error() string { return f.code + ": " + f.message }

const (
	codeEntityNotFound   = "COE_ENTITY_NOT_FOUND"
	codePropertyNotFound = "COE_PROPERTY_NOT_FOUND"
	codeBadRequest       = "BadRequestException"
	codeNotFound         = "NotFoundException"
	codeForbidden        = "COE_PERMISSION_DENIED"
	codeNotHere          = "NOT_IN_THIS_STAND_IN"
)

func badRequest(format string, args ...any) *fault {
	return &fault{http.StatusBadRequest, codeBadRequest, fmt.Sprintf(format, args...)}
}

func notHere(what string) *fault {
	return &fault{http.StatusBadRequest, codeNotHere, what + " is not in this stand-in."}
}

func noEntity(name string) *fault {
	return &fault{http.StatusBadRequest, codeEntityNotFound, fmt.Sprintf(
		"[COE0018]Entity %s is not found. Please check the entity name and perform an entity metadata refresh in OData API Metadata Refresh and Export.", name)}
}

func noProperty(t *entityType, name string) *fault {
	return &fault{http.StatusBadRequest, codePropertyNotFound, fmt.Sprintf(
		"[COE0021]Invalid property names: %s/%s. Please check the property name and perform an entity metadata refresh in OData API Metadata Refresh and Export.", t.name, name)}
}

func noRow(what string) *fault {
	return &fault{http.StatusNotFound, codeNotFound, "No entity was found for " + what + "."}
}

func forbidden(t *entityType, user string) *fault {
	return &fault{http.StatusForbidden, codeForbidden, fmt.Sprintf(
		"[COE0020]User %s has no permission to read the entity %s. Please check the role-based permissions.", user, t.name)}
}

// body writes the fault in the form that the request asked for.
func (f *fault) body(asJSON bool) (body []byte, contentType string) {
	var b bytes.Buffer
	if asJSON {
		b.WriteString(`{"error":{"code":`)
		writeString(&b, f.code)
		b.WriteString(`,"message":{"lang":"en-US","value":`)
		writeString(&b, f.message)
		b.WriteString(`}}}`)
		return b.Bytes(), "application/json;charset=utf-8"
	}
	b.WriteString(`<?xml version="1.0" encoding="utf-8"?><error xmlns="http://schemas.microsoft.com/ado/2007/08/dataservices/metadata"><code>`)
	_ = xml.EscapeText(&b, []byte(f.code))
	b.WriteString(`</code><message xml:lang="en-US">`)
	_ = xml.EscapeText(&b, []byte(f.message))
	b.WriteString(`</message></error>`)
	return b.Bytes(), "application/xml;charset=utf-8"
}
