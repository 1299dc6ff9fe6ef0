package diagnosis

import (
	"net/http"
	"slices"
)

// The codes, in the order of a request's way.
const (
	RequestMalformed   Code = "request_malformed"
	TargetTooLong      Code = "target_too_long"
	HostUnknown        Code = "host_unknown"
	PeerNotAllowed     Code = "peer_not_allowed"
	BrowserRefused     Code = "browser_refused"
	CredentialsMissing Code = "caller_credentials_missing"
	CredentialsWrong   Code = "caller_credentials_wrong"
	CallerThrottled    Code = "caller_throttled"
	NotAnalysed        Code = "request_not_analysed"
	PolicyDenied       Code = "policy_denied"
	FormatUnsupported  Code = "format_not_supported"
	AuditUnavailable   Code = "audit_unavailable"
	Overloaded         Code = "broker_overloaded"
	Internal           Code = "broker_internal"

	SourceMissing     Code = "at1_source_missing"
	SourceUnavailable Code = "at1_source_unavailable"
	SourceRefused     Code = "at1_source_refused"
	SourceGarbled     Code = "at1_source_garbled"

	TrustMalformed       Code = "trust_assertion_malformed"
	TrustIssuer          Code = "trust_issuer_unknown"
	TrustSubject         Code = "trust_subject_mismatch"
	TrustAudience        Code = "trust_audience_mismatch"
	TrustKeyUnknown      Code = "trust_key_unknown"
	TrustSignature       Code = "trust_signature_invalid"
	TrustExpired         Code = "trust_expired"
	TrustKeysUnreachable Code = "trust_keys_unreachable"
	TrustRefused         Code = "trust_refused"

	IASGuarded           Code = "ias_guarded"
	IASLocked            Code = "ias_locked"
	IASThrottled         Code = "ias_throttled"
	IASClientUnknown     Code = "ias_client_unknown"
	IASAssertionRejected Code = "ias_assertion_rejected"
	IASKeysUnreachable   Code = "ias_keys_unreachable"
	IASResourceUnknown   Code = "ias_resource_unknown"
	IASRequestRejected   Code = "ias_request_rejected"
	IASUnavailable       Code = "ias_unavailable"
	IASGarbled           Code = "ias_garbled"
	GuardState           Code = "lockout_state_unreadable"

	AT2Invalid Code = "at2_invalid"

	TokenRefused        Code = "successfactors_token_refused"
	ApplicationMap      Code = "successfactors_application_map"
	PermissionMissing   Code = "successfactors_permission_missing"
	Forbidden           Code = "successfactors_forbidden"
	IPNotAllowed        Code = "successfactors_ip_not_allowed"
	UserInvalid         Code = "successfactors_user_invalid"
	UpstreamUnavailable Code = "successfactors_unavailable"
	UpstreamThrottled   Code = "successfactors_throttled"
	UpstreamGarbled     Code = "successfactors_garbled"
	ForeignLink         Code = "successfactors_foreign_link"
	UpstreamError       Code = "successfactors_error"
)

const (
	iasTrust  = "IAS administration console > Applications & Resources > Applications > (application) > Trust > Application APIs > Client Authentication > JSON Web Tokens"
	iasRole   = "IAS administrator with the authorization Manage Applications"
	sfMap     = "Admin Center > Security Center > Manage OIDC OAuth Client Application > Application Map"
	sfMapRole = "SuccessFactors administrator with access to the Security Center"
	sfRBP     = "Admin Center > Manage Permission Roles (role-based permissions of the technical user)"
	entraRole = "Application Administrator in Microsoft Entra"
	entraApp  = "Microsoft Entra admin center > App registrations > (application) > Certificates & secrets"
)

func catalogue() []Entry {
	return slices.Concat(callerEntries(), brokerEntries(), sourceEntries(), trustEntries(), iasEntries(), successFactorsEntries())
}

func callerEntries() []Entry {
	job := func(code Code, status int, short, sentence, where string, causes ...string) Entry {
		return Entry{
			Code: code, Origin: FromCaller, Status: status, Short: short, Sentence: sentence, Owner: JobOwner, Where: where, Causes: causes,
			Words: "Our broker refused a request of your job (" + string(code) + "): " + sentence,
		}
	}
	return []Entry{
		job(RequestMalformed, http.StatusBadRequest, "malformed request", "The request cannot be understood in exactly one way, so it was not sent.", "the job's request address and headers",
			"an encoded separator, a dot segment or a double slash in the path", "a query option given twice", "two Authorization headers"),
		job(TargetTooLong, http.StatusRequestURITooLong, "address too long", "The request address is longer than the broker reads.", "the job's $filter and $expand", "a very long list in $filter"),
		job(HostUnknown, http.StatusMisdirectedRequest, "unknown host", "The request was addressed to a host under which this broker does not serve.", "proxy.public_urls of the broker, or the address in the job's settings",
			"the job uses a name that is not listed under proxy.public_urls"),
		job(PeerNotAllowed, http.StatusForbidden, "connection not from a terminator", "This listener takes plain HTTP only from the configured TLS terminators.", "proxy.tls_terminated_by of the broker",
			"the job reached the broker without passing the ingress or load balancer"),
		job(BrowserRefused, http.StatusForbidden, "browser refused", "The proxy serves jobs, not browsers.", "the client that sent Origin or Sec-Fetch-Site", "a web page called the proxy"),
		job(CredentialsMissing, http.StatusUnauthorized, "no credentials", "The request carries no caller key.", "the job's user and password settings",
			"the job waits for the challenge and will now send its key", "the job's password is empty"),
		job(CredentialsWrong, http.StatusUnauthorized, "wrong key", "The caller key was not recognised.", "the job's user and password settings",
			"the key was rotated", "the user name is not caller@company", "the key was cut when it was pasted"),
		job(CallerThrottled, http.StatusTooManyRequests, "too many failed logins", "Too many wrong keys came from this address; a right key is still accepted.", "the job's user and password settings", "a job repeats a wrong key"),
		job(NotAnalysed, http.StatusForbidden, "cannot be analysed", "The broker cannot tell what this request touches, so it was not sent.", "the job's request",
			"a write, $batch, a function import or a method override", "a query option that this version does not know"),
		job(PolicyDenied, http.StatusForbidden, "not allowed", "The caller's policy does not allow what this request touches.", "callers.<name>.allow of the broker's configuration",
			"an entity set or a navigation path is not listed; the broker's log prints the line that would allow it"),
		job(FormatUnsupported, http.StatusNotAcceptable, "format not supported", "SuccessFactors answered in a format whose links this version does not rewrite: ask for $format=json.", "the job's $format or Accept", "the job asked for Atom"),
	}
}

func brokerEntries() []Entry {
	own := func(code Code, status int, short, sentence, where string, retry bool, causes ...string) Entry {
		return Entry{
			Code: code, Origin: FromBroker, Status: status, Short: short, Sentence: sentence, Owner: Operator, Where: where, Causes: causes,
			RetrySafe: retry, Words: "sfbroker reports " + string(code) + ": " + sentence,
		}
	}
	return []Entry{
		own(AuditUnavailable, http.StatusServiceUnavailable, "audit log not writable", "The audit record could not be written, so nothing was sent.", "audit.file of the configuration", true, "the disk is full", "the file's folder is gone"),
		own(Overloaded, http.StatusServiceUnavailable, "overloaded", "The broker serves as many requests as it can at a time.", "the jobs' parallelism, or more replicas", true, "a job opens hundreds of connections", "callers read their answers very slowly"),
		own(Internal, http.StatusInternalServerError, "internal error", "The broker met a condition that it does not know.", "the broker's log, under the request ID", false, "a defect: please report it with the request ID"),
		own(GuardState, http.StatusServiceUnavailable, "lockout state unreadable", "The count of failed logons cannot be read or written, so IAS is not asked.", "state.dir of the configuration", false,
			"the state directory is not writable for the broker's user", "a state file was damaged: move it away and start again"),
	}
}

func sourceEntries() []Entry {
	src := func(code Code, short, sentence string, owner Owner, retry bool, causes ...string) Entry {
		e := Entry{
			Code: code, Step: AcquireAT1, Origin: FromSource, Status: http.StatusServiceUnavailable, Short: short, Sentence: sentence, Owner: owner,
			Where: "workload_identities.<name>.source of the configuration", Causes: causes, RetrySafe: retry,
			Words: "sfbroker cannot obtain the workload's own token: " + sentence + " Expected: {expected}. Received: {received}.",
		}
		if owner == EntraAdmin {
			e.Role, e.Where = entraRole, entraApp
		}
		return e
	}
	return []Entry{
		src(SourceMissing, "AT1 source is empty", "The workload identity's token is not where the configuration says.", Operator, true,
			"the file or variable does not exist", "the agent that writes the token has not run yet", "the broker's user may not read the file"),
		src(SourceUnavailable, "AT1 source unreachable", "The issuer of the workload identity cannot be reached.", Operator, true, "network, DNS or egress proxy", "the issuer is down"),
		src(SourceRefused, "AT1 refused by its issuer", "The issuer of the workload identity refuses to issue a token.", EntraAdmin, false,
			"the client secret expired or is wrong", "the certificate is not registered", "the scope or the application is wrong"),
		src(SourceGarbled, "AT1 is not a token", "What the workload identity's source gave is not a token.", Operator, false, "the file holds something else", "a proxy answered in the issuer's place"),
	}
}

func trustEntries() []Entry {
	rule := func(code Code, short, sentence string, owner Owner, where string, retry bool, causes ...string) Entry {
		return Entry{
			Code: code, Step: CheckTrust, Origin: FromSource, Status: http.StatusServiceUnavailable, Short: short, Sentence: sentence, Owner: owner, Where: where,
			Causes: causes, RetrySafe: retry,
			Words: "The token that our workload obtains does not match the agreed trust rule: " + sentence + " Expected: {expected}. Received: {received}.",
		}
	}
	const own = "workload_identities.<name>.trust_by_issuer of the configuration; it is the twin of the rule in IAS"
	admin := func(e Entry) Entry { e.Role = entraRole; return e }
	return []Entry{
		rule(TrustMalformed, "AT1 malformed", "The workload's token is not a well-formed signed JWT.", Operator, "workload_identities.<name>.source of the configuration", false, "the source holds something else than a JWT", "the token was cut"),
		rule(TrustIssuer, "AT1 issuer not trusted", "The workload's token has another issuer than the trust rule.", Operator, own, false, "v1 and v2 issuer of Entra are mixed up", "a trailing slash", "another tenant"),
		rule(TrustSubject, "AT1 subject differs", "The workload's token has another subject than the trust rule.", Operator, own, false, "the object ID of the application stands where that of its service principal belongs", "another workload's token is read"),
		rule(TrustAudience, "AT1 audience differs", "The workload's token has another audience than the trust rule.", Operator, own, false, "the client ID stands where api://<client ID> belongs, or the other way round", "the scope asks for another resource"),
		admin(rule(TrustKeyUnknown, "AT1 key not published", "The key that signed the workload's token is not among the keys that its issuer publishes.", EntraAdmin, "the key set (JWKS) of the issuer; signing keys of the tenant or application", true,
			"the key was withdrawn while tokens are still signed with it", "the issuer rotates its keys and publishes late", "the rule's jwks_uri belongs to another tenant")),
		admin(rule(TrustSignature, "AT1 signature invalid", "The signature of the workload's token is not valid.", EntraAdmin, "the key set (JWKS) of the issuer", false, "the token was altered", "the key set is another issuer's")),
		rule(TrustExpired, "AT1 expired", "The workload's token is outside its validity.", Operator, "workload_identities.<name>.source of the configuration, and this machine's clock", true, "the agent that renews the file has stopped", "this machine's clock is wrong"),
		rule(TrustKeysUnreachable, "issuer keys unreachable", "The keys of the token's issuer cannot be fetched.", Operator, "network path from the broker to the rule's jwks_uri", true, "network, DNS, TLS or egress rules", "the issuer is down", "the jwks_uri is wrong"),
		rule(TrustRefused, "AT1 refused", "The workload's token does not pass the trust rule's checks.", Operator, own, false, "an algorithm, type or lifetime that the rule does not accept"),
	}
}

func iasEntries() []Entry {
	ias := func(code Code, short, sentence string, owner Owner, where string, retry bool, causes ...string) Entry {
		e := Entry{
			Code: code, Step: ExchangeAT2, Origin: FromIAS, Status: http.StatusServiceUnavailable, Short: short, Sentence: sentence, Owner: owner,
			Where: where, Causes: causes, RetrySafe: retry,
			Words: "SAP Cloud Identity Services refuses our workload: " + sentence + " We present: {expected}. The answer: {received}. Please compare with " + where + ".",
		}
		if owner == IASAdmin {
			e.Role = iasRole
		} else {
			e.Words = "sfbroker cannot obtain a token from SAP Cloud Identity Services: " + sentence + " Expected: {expected}. Received: {received}."
		}
		return e
	}
	const lock = "IAS administration console > Applications & Resources > Applications > (application) > Client Authentication > Unlock, or switch off Client ID Lock for a client without secrets"
	return []Entry{
		ias(IASGuarded, "exchange held back", "The broker holds back the exchange, since another refusal could lock the client ID at IAS.", IASAdmin, iasTrust, true,
			"an earlier assertion of this workload was refused: mend the cause, then wait for the probe or unlock"),
		ias(IASLocked, "client ID locked", "IAS has locked the client ID after failed logons.", IASAdmin, lock, true,
			"five failed logons within the hour, of this broker or of another user of the client ID", "it opens by itself 60 minutes after the lock"),
		ias(IASThrottled, "throttled by IAS", "IAS limits the number of token requests.", Nobody, "IAS tenant: 1000 token requests a minute for all its clients", true, "another client of the tenant asks too often"),
		ias(IASClientUnknown, "client unknown in IAS", "IAS does not know the client ID.", IASAdmin, "IAS administration console > Applications & Resources > Applications", false, "ias.url is another tenant's", "ias.client_id was mistyped", "the application was deleted"),
		ias(IASAssertionRejected, "IAS refuses the assertion", "IAS refuses the workload's token although it matches the broker's own copy of the trust rule.", IASAdmin, iasTrust, false,
			"Subject of the rule in IAS differs", "Audience of the rule in IAS differs", "Issuer of the rule in IAS differs, or the rule is missing", "the client ID is locked (a terse IAS does not say so)", "IAS still has an older key set: it re-reads it every 12 or 24 hours; saving the rule again makes it read"),
		ias(IASKeysUnreachable, "IAS cannot check the signature", "IAS cannot verify the signature of the workload's token.", IASAdmin, iasTrust, true,
			"IAS has not yet read the issuer's new key: saving the rule again makes it read", "the JSON Web Key Set URI of the rule is wrong or not reachable from the Internet"),
		ias(IASResourceUnknown, "dependency unknown in IAS", "IAS does not know the dependency.", IASAdmin, "IAS administration console > Applications & Resources > Applications > (application) > Dependencies", false,
			"ias.dependency is not the dependency's name", "the dependency was made on another application"),
		ias(IASRequestRejected, "token request refused", "IAS refuses the token request.", IASAdmin, "IAS administration console > Monitoring & Reporting > Troubleshooting Logs", false, "a grant type is switched off for the application", "a parameter is not accepted"),
		ias(IASUnavailable, "IAS unreachable", "IAS cannot be reached or is out of order.", Operator, "network path from the broker to ias.url; SAP's status page", true, "network, DNS, TLS or egress rules", "an outage at SAP"),
		ias(IASGarbled, "IAS answer garbled", "IAS gave an answer that is not a token response.", Operator, "ias.url and what stands between it and the broker", true, "a proxy or login page answered", "ias.token_url is wrong", "an outage at SAP"),
		{
			Code: AT2Invalid, Step: CheckAT2, Origin: FromIAS, Status: http.StatusServiceUnavailable, Short: "AT2 not usable", Owner: IASAdmin, Role: iasRole,
			Sentence: "The token that IAS issued does not give technical access to SuccessFactors.",
			Where:    "IAS administration console > Applications & Resources > Applications > (application) > Dependencies: API sf_technical_access",
			Causes:   []string{"the dependency lacks the API sf_technical_access", "the token format is opaque", "the token belongs to another client"},
			Words:    "The token that IAS issues for our client is not usable. Expected: {expected}. Received: {received}.",
		},
	}
}

func successFactorsEntries() []Entry {
	sf := func(code Code, step Step, status int, short, sentence, where string, retry bool, causes ...string) Entry {
		return Entry{
			Code: code, Step: step, Origin: FromSuccessFactors, Status: status, Short: short, Sentence: sentence, Owner: SuccessFactorsAdmin, Role: sfMapRole,
			Where: where, Causes: causes, RetrySafe: retry,
			Words: "SuccessFactors refuses our technical access: " + sentence + " Expected: {expected}. Received: {received}. Please check " + where + ".",
		}
	}
	operator := func(e Entry) Entry { e.Owner, e.Role = Operator, ""; return e }
	return []Entry{
		sf(TokenRefused, CallOData, http.StatusServiceUnavailable, "SuccessFactors refuses AT2", "SuccessFactors refuses the access token, also a fresh one.", "Admin Center > Security Center > Manage OIDC OAuth Client Application, and the IAS tenant of the company", true,
			"the company trusts another IAS tenant", "the application type was removed", "clocks differ"),
		sf(ApplicationMap, CallOData, http.StatusForbidden, "SuccessFactors 403: application map", "SuccessFactors does not map the client ID to a technical user.", sfMap, false,
			"the client ID is not in the application map", "the entry has no \"Bind to User\"", "the mapped user is inactive"),
		sf(PermissionMissing, CheckTechnicalUser, http.StatusForbidden, "SuccessFactors 403: permissions", "The technical user lacks a permission.", sfRBP, false,
			"role-based permissions of the technical user do not include the entity", "the permission role has another target population"),
		sf(Forbidden, CallOData, http.StatusForbidden, "SuccessFactors 403", "SuccessFactors forbids the request: application map or permissions.", sfMap+"; "+sfRBP, false, "the client ID is not mapped", "the technical user lacks a permission"),
		sf(IPNotAllowed, CallOData, http.StatusBadGateway, "address not allowed", "SuccessFactors does not accept the broker's network address.", "Admin Center > Password & Login Policy Settings > Set API login exceptions", false, "the broker's egress address is not listed for the technical user"),
		sf(UserInvalid, CallOData, http.StatusBadGateway, "technical user invalid", "SuccessFactors refuses the technical user.", sfMap, false, "the mapped user is inactive, locked or misspelt"),
		operator(sf(UpstreamUnavailable, CallOData, http.StatusBadGateway, "SuccessFactors unreachable", "SuccessFactors cannot be reached or is out of order.", "network path from the broker to successfactors.api_url; SAP's status page", true, "maintenance", "network, DNS, TLS or egress rules")),
		sf(UpstreamThrottled, CallOData, http.StatusTooManyRequests, "throttled by SuccessFactors", "SuccessFactors limits the number of requests.", "the schedule of the jobs", true, "jobs run too often"),
		operator(sf(UpstreamGarbled, CallOData, http.StatusBadGateway, "answer garbled", "SuccessFactors gave an answer that is not an OData answer, or not a whole one.", "successfactors.api_url and what stands between it and the broker", true,
			"a login or maintenance page answered", "the connection broke off")),
		operator(sf(ForeignLink, CallOData, http.StatusBadGateway, "foreign link in answer", "An answer of SuccessFactors holds a link to another host, which would lead the job past the broker.", "successfactors.api_url: it must be the host that the links name", false, "api_url is an alias of the API server")),
		sf(UpstreamError, CallOData, http.StatusBadGateway, "SuccessFactors error", "SuccessFactors answered with an error.", "the error text of SuccessFactors in the log", false, "see the code and message of SuccessFactors"),
	}
}
