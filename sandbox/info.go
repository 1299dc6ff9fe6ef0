package sandbox

// Info is what somebody must know to use a running sandbox: what the three
// administrators would write down for each other.
type Info struct {
	EntraURL      string `json:"entra_url"`
	Issuer        string `json:"issuer"`
	JWKSURI       string `json:"jwks_uri"`
	EntraTokenURL string `json:"entra_token_url"`
	TenantID      string `json:"tenant_id"`
	// WorkloadClientID is the application (client) ID of the workload in Entra.
	WorkloadClientID string `json:"workload_client_id"`
	// WorkloadClientSecret is its client secret, random for each start.
	WorkloadClientSecret string `json:"workload_client_secret,omitempty"`
	// Scope is what the workload asks Entra for.
	Scope string `json:"scope"`
	// Subject is the object ID of the workload's service principal: `sub` of AT1.
	Subject string `json:"subject"`
	// Audience is the client ID of the resource application: `aud` of AT1.
	Audience string `json:"audience"`

	IASURL      string `json:"ias_url"`
	IASTokenURL string `json:"ias_token_url"`
	IASClientID string `json:"ias_client_id"`
	Dependency  string `json:"dependency"`

	// APIURL is the origin of the OData API, without /odata/v2.
	APIURL          string `json:"api_url"`
	CompanyID       string `json:"company_id"`
	TechnicalUser   string `json:"technical_user"`
	ApplicationType string `json:"application_type"`
	// Workers is how many people the company has.
	Workers int `json:"workers"`

	// Second is another company, on its own listener, that no fault of the
	// first one reaches unless a stand-in that both share is down.
	Second *Company `json:"second,omitempty"`

	ControlURL string `json:"control_url"`
	// ControlToken is the bearer token of the control server.
	ControlToken string `json:"control_token,omitempty"`
	// CAPEM is the certificate to trust; empty without TLS.
	CAPEM string `json:"ca_pem,omitempty"`
}

// Company is one way into one SuccessFactors company through the same Entra
// application and the same IAS tenant.
type Company struct {
	IASClientID     string `json:"ias_client_id"`
	Dependency      string `json:"dependency"`
	APIURL          string `json:"api_url"`
	CompanyID       string `json:"company_id"`
	TechnicalUser   string `json:"technical_user"`
	ApplicationType string `json:"application_type"`
}

// Public returns a copy without the client secret and the control token.
func (i Info) Public() Info {
	i.WorkloadClientSecret, i.ControlToken = "", ""
	return i
}

// First returns the first company in the shape of the second.
func (i Info) First() Company {
	return Company{
		IASClientID: i.IASClientID, Dependency: i.Dependency, APIURL: i.APIURL,
		CompanyID: i.CompanyID, TechnicalUser: i.TechnicalUser, ApplicationType: i.ApplicationType,
	}
}
