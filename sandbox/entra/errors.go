package entra

import (
	"fmt"
	"net/http"
	"time"

	"sfbroker/sandbox/signing"
)

// refusal is an error answer in Microsoft's shape.
type refusal struct {
	status  int
	oauth   string
	code    int
	message string
}

func refuseTenant(tenant string) *refusal {
	return &refusal{http.StatusBadRequest, "invalid_request", 90002, fmt.Sprintf("Tenant '%.64s' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud.", printable(tenant))}
}

func refuseMethod(method string) *refusal {
	return &refusal{http.StatusMethodNotAllowed, "invalid_request", 900561, fmt.Sprintf("The endpoint only accepts POST requests. Received a %s request.", printable(method))}
}

func refuseMalformed(why string) *refusal {
	return &refusal{http.StatusBadRequest, "invalid_request", 9002313, "Invalid request. Request is malformed or invalid: " + why + "."}
}

func refuseMissing(parameter string) *refusal {
	return &refusal{http.StatusBadRequest, "invalid_request", 900144, fmt.Sprintf("The request body must contain the following parameter: '%s'.", parameter)}
}

func refuseGrant() *refusal {
	return &refusal{http.StatusBadRequest, "unsupported_grant_type", 70003, "The app requested an unsupported grant type."}
}

func refuseClient(clientID, tenant string) *refusal {
	return &refusal{http.StatusBadRequest, "unauthorized_client", 700016, fmt.Sprintf("Application with identifier '%.64s' was not found in the directory '%s'.", printable(clientID), tenant)}
}

func refuseNoCredential() *refusal {
	return &refusal{http.StatusUnauthorized, "invalid_client", 7000216, "'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant type."}
}

func refuseSecret(clientID string) *refusal {
	return &refusal{http.StatusUnauthorized, "invalid_client", 7000215, fmt.Sprintf("Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '%s'.", clientID)}
}

func refuseAssertion(code int, message string) *refusal {
	return &refusal{http.StatusUnauthorized, "invalid_client", code, message}
}

func refuseScope(scope string) *refusal {
	return &refusal{http.StatusBadRequest, "invalid_scope", 70011, fmt.Sprintf("The provided request must include a 'scope' input parameter. The provided value for the input parameter 'scope' is not valid. The scope %.200s is not valid.", printable(scope))}
}

func refuseResource(resource, tenant string) *refusal {
	return &refusal{http.StatusBadRequest, "invalid_resource", 50001, fmt.Sprintf("The application named %.200s was not found in the tenant named %s.", printable(resource), tenant)}
}

func refuseInternal() *refusal {
	return &refusal{http.StatusInternalServerError, "server_error", 50000, "There was an error issuing a token."}
}

func (s *Server) refuse(w http.ResponseWriter, r *refusal) {
	trace, correlation := signing.NewGUID(), signing.NewGUID()
	stamp := s.now().UTC().Format(time.DateTime) + "Z"
	w.Header().Set("Cache-Control", "no-store, no-cache")
	w.Header().Set("x-ms-request-id", trace)
	if r.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", http.MethodPost)
	}
	writeJSON(w, r.status, map[string]any{
		"error": r.oauth,
		"error_description": fmt.Sprintf("AADSTS%d: %s Trace ID: %s Correlation ID: %s Timestamp: %s",
			r.code, r.message, trace, correlation, stamp),
		"error_codes":    []int{r.code},
		"timestamp":      stamp,
		"trace_id":       trace,
		"correlation_id": correlation,
		"error_uri":      fmt.Sprintf("%s/error?code=%d", s.base, r.code),
	})
}

// printable keeps what a client sent from breaking out of the sentence.
func printable(s string) string {
	out := []rune(s)
	for i, r := range out {
		if r < ' ' || r > '~' {
			out[i] = '?'
		}
	}
	return string(out)
}
