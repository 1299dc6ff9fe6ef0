package workload

import (
	"errors"
	"regexp"

	"sfbroker/oauthclient"
)

// entraAdvice is what to do about one of Entra's codes.
type entraAdvice struct {
	hint  string
	owner Owner
}

// adviceFor knows the codes that the client credentials grant meets.
// https://learn.microsoft.com/entra/identity-platform/reference-error-codes
func adviceFor(code string) entraAdvice {
	switch code {
	case "AADSTS70011", "AADSTS1002012":
		return entraAdvice{"the scope is not valid: it must be <resource>/.default, with the application ID URI or client ID of the resource application", OwnerOperator}
	case "AADSTS50001", "AADSTS500011":
		return entraAdvice{"the resource of the scope does not exist in this tenant: create its service principal (Enterprise applications), or correct the scope", OwnerEntraAdmin}
	case "AADSTS700016":
		return entraAdvice{"no application with this client ID in this tenant: compare client ID and tenant ID with the app registration", OwnerEntraAdmin}
	case "AADSTS90002", "AADSTS900023":
		return entraAdvice{"no such tenant: compare the tenant ID in the token URL", OwnerOperator}
	case "AADSTS7000215":
		return entraAdvice{"the client secret is wrong: take the secret's value, not its ID, from Certificates & secrets", OwnerEntraAdmin}
	case "AADSTS7000222":
		return entraAdvice{"the client secret has expired: create a new one under Certificates & secrets", OwnerEntraAdmin}
	case "AADSTS700027":
		return entraAdvice{"the certificate is not registered for this application, or has expired: upload it under Certificates & secrets", OwnerEntraAdmin}
	case "AADSTS7000112":
		return entraAdvice{"the application is disabled in this tenant: enable it under Enterprise applications", OwnerEntraAdmin}
	case "AADSTS501051":
		return entraAdvice{"the resource requires assignment and this application has none: assign it an application role", OwnerEntraAdmin}
	case "AADSTS53003":
		return entraAdvice{"a Conditional Access policy for workload identities blocks this application from here", OwnerEntraAdmin}
	case "AADSTS70021":
		return entraAdvice{"no federated identity credential matches: compare issuer, subject and audience; a new one takes minutes to take effect", OwnerEntraAdmin}
	case "AADSTS700211":
		return entraAdvice{"no federated identity credential has the issuer of the client assertion", OwnerEntraAdmin}
	case "AADSTS700213":
		return entraAdvice{"no federated identity credential has the subject of the client assertion", OwnerEntraAdmin}
	case "AADSTS7002138":
		return entraAdvice{"the subject of the federated identity credential differs in letter case alone", OwnerEntraAdmin}
	case "AADSTS700024":
		return entraAdvice{"the client assertion is outside its time of validity: check this machine's clock (NTP)", OwnerOperator}
	case "AADSTS90061":
		return entraAdvice{"Entra could not reach the external issuer's OpenID Connect endpoint: it must be public", OwnerEntraAdmin}
	}
	return entraAdvice{"look the code up at https://login.microsoftonline.com/error", OwnerEntraAdmin}
}

var aadsts = regexp.MustCompile(`AADSTS[0-9]{4,8}\b`)

// explain turns a failed round trip into an Error: who must do what.
func (e *Entra) explain(err error) error {
	failure := &Error{Source: e.Kind(), Cause: CauseUnavailable, Detail: "no answer from Entra", FixedBy: OwnerOperator, Err: err}
	var endpoint *oauthclient.Error
	if !errors.As(err, &endpoint) {
		return failure
	}
	failure.Code = aadsts.FindString(endpoint.Description)
	failure.Detail = endpoint.Error()
	switch endpoint.Kind {
	case oauthclient.KindUnavailable:
		failure.Hint = "check the network, DNS and proxy rules between here and the token URL"
		if endpoint.Status != 0 {
			failure.Hint = "Entra says that it is not available at the moment"
		}
	case oauthclient.KindThrottled:
		failure.Hint = "Entra throttles this application: it is asked too often, perhaps by others"
	case oauthclient.KindGarbled:
		failure.Cause = CauseGarbled
		failure.Hint = "the answer is none of a token endpoint: check the token URL, and for a proxy or portal in between"
	default:
		advice := adviceFor(failure.Code)
		failure.Cause, failure.Hint, failure.FixedBy = CauseRefused, advice.hint, advice.owner
		if failure.Code == "" {
			failure.Hint = "Entra refused the request and gave no code of its own: check token URL, client ID and credential"
		}
	}
	return failure
}
