// Package config reads what an operator writes: one YAML file and the files that it includes.
//
// Loading is strict and complete: unknown keys are refused, every problem is found in one pass, and each names file, line,
// column, path, what is wrong and what to do. The keys, their kinds, defaults and documentation stand once, in the tags of the
// types of this file; strict decoding, the hints and the JSON Schema are read from there. What a version does not enforce it
// does not accept.
//
// Tags: yaml is the key; doc describes it; required and default say what absence means; enum lists the accepted values;
// format names an entry of the table in format.go; min and max bound a duration; included marks the keys that an included
// file may hold. On a blank field: oneof and atmostone list keys that exclude each other, later lists keys that later
// versions know and this one does not enforce.
package config

import (
	"net/netip"
	"slices"
	"time"
)

// Config is a validated configuration with its defaults filled in. It is made only by Load and Parse and is read-only.
// File paths in it are joined with the folder of the file that they were written in.
type Config struct {
	_ struct{} `later:"store events landscape systems formations destinations integration_tokens certificates console tracing policies"`

	Version               int      `yaml:"version" required:"true" enum:"1" doc:"Version of the file format. This program reads version 1."`
	Include               []string `yaml:"include" included:"true" format:"path" doc:"More files to read, relative to this one. They may hold workload_identities, connections, callers and include."`
	AllowInsecureLoopback bool     `yaml:"allow_insecure_loopback" doc:"Allow outgoing plain http to issuers, IAS and SuccessFactors on a loopback address. For a sandbox and for tests."`
	AllowHosts            []string `yaml:"allow_hosts" format:"host" doc:"Hosts that ias.url and api_url may name besides SAP's own domains, such as a custom domain of an IAS tenant. A host, or host:port."`

	Proxy  Proxy  `yaml:"proxy" doc:"Where jobs reach the broker."`
	Admin  Admin  `yaml:"admin" doc:"Where operators reach the broker."`
	Egress Egress `yaml:"egress" doc:"How the broker reaches its peers."`
	State  State  `yaml:"state" doc:"What lasts over a restart."`
	Audit  Audit  `yaml:"audit" doc:"Where decisions are recorded."`
	Log    Log    `yaml:"log" doc:"What the daemon logs, on standard error."`

	WorkloadIdentities map[string]WorkloadIdentity `yaml:"workload_identities" included:"true" doc:"Where the workload's own signed JWT comes from and what it must say."`
	Connections        map[string]Connection       `yaml:"connections" included:"true" doc:"Ways into SuccessFactors companies."`
	Callers            map[string]Caller           `yaml:"callers" included:"true" doc:"Jobs that call the proxy."`

	at    positions
	risks []Problem
}

// Proxy is the listener that jobs call.
type Proxy struct {
	_ struct{} `atmostone:"tls tls_terminated_by" later:"unix socket mtls spiffe read_ahead budget fair_share max_body"`

	Listen string `yaml:"listen" default:"127.0.0.1:8020" format:"listen" doc:"Address and port. An address other than loopback needs tls or tls_terminated_by."`
	// PublicURLs have no trailing slash. They are empty when none are written and the port is 0: the caller of Listen then knows them.
	PublicURLs      []string       `yaml:"public_urls" format:"url" doc:"How jobs reach the proxy. Without it http://<listen>, on loopback."`
	TLS             *TLS           `yaml:"tls" doc:"Certificate of the proxy."`
	TLSTerminatedBy []netip.Prefix `yaml:"tls_terminated_by" doc:"Networks of the load balancers that terminate TLS in front of the proxy; nobody else may connect."`
	Drain           Drain          `yaml:"drain" doc:"How the proxy stops."`
}

// TLS is a certificate and its key, as PEM files.
type TLS struct {
	CertFile string `yaml:"cert_file" required:"true" format:"path" doc:"Certificate chain in PEM."`
	KeyFile  string `yaml:"key_file" required:"true" format:"path" doc:"Private key in PEM."`
}

// Drain is how the proxy stops.
type Drain struct {
	LameDuck time.Duration `yaml:"lame_duck" default:"5s" min:"0s" max:"10m" doc:"How long answers go on after the broker has said that it is not ready."`
	Timeout  time.Duration `yaml:"timeout" default:"30s" min:"1s" max:"1h" doc:"How long requests in flight may take after that."`
}

// Admin is the listener of operators.
type Admin struct {
	_ struct{} `later:"roles oidc login operators"`

	Listen    string  `yaml:"listen" default:"127.0.0.1:8021" format:"listen" doc:"Address and port. An address other than loopback needs tls."`
	Socket    string  `yaml:"socket" format:"path" doc:"Unix socket that serves the same, to the users that the daemon runs as."`
	TokenFile string  `yaml:"token_file" format:"path" doc:"File with the bearer token, made at start when it is missing."`
	TLS       *TLS    `yaml:"tls" doc:"Certificate of the admin listener."`
	Metrics   Metrics `yaml:"metrics" doc:"A second listener for probes and metrics alone."`
}

// Metrics is a listener that serves probes and metrics alone, without a token; it may be open on any address.
type Metrics struct {
	Listen string `yaml:"listen" format:"listen" doc:"Address and port for probes and metrics alone. Any address will do: it serves nothing else."`
}

// Egress is how the broker reaches its peers.
type Egress struct {
	_ struct{} `later:"proxy no_proxy client_certificate"`

	CAFile string `yaml:"ca_file" format:"path" doc:"Certificates in PEM to trust besides those of the system."`
}

// State is what lasts over a restart.
type State struct {
	_ struct{} `later:"keys nats cluster isolation_grace"`

	Dir string `yaml:"dir" format:"path" doc:"Folder for what must outlast a restart, such as the count of failed logons."`
}

// Audit is where decisions are recorded.
type Audit struct {
	_ struct{} `later:"sinks syslog chain sign retention"`

	File string `yaml:"file" format:"path" doc:"File that decisions are appended to, one JSON record a line."`
}

// Log is what the daemon logs.
type Log struct {
	Level  string `yaml:"level" default:"info" enum:"debug info warn error" doc:"The least level that is logged."`
	Format string `yaml:"format" default:"text" enum:"text json" doc:"One line of text or of JSON a record."`
}

// WorkloadIdentity is a source of AT1 and the rule that AT1 must match.
type WorkloadIdentity struct {
	Source        Source        `yaml:"source" required:"true" doc:"Where the workload's signed JWT comes from."`
	TrustByIssuer TrustByIssuer `yaml:"trust_by_issuer" required:"true" doc:"What the JWT must say: the twin of the rule in IAS."`
}

// Source is where AT1 comes from. Exactly one field is set.
type Source struct {
	_ struct{} `oneof:"file env entra" later:"http exec static kubernetes kubernetes_token kubernetes_file github gitlab terraform gcp aws aws_sts spiffe vault oci teleport azure azure_mi azure_wi azure_pipelines managed_identity"`

	File  *FileSource  `yaml:"file" doc:"A file that something else keeps fresh."`
	Env   *EnvSource   `yaml:"env" doc:"An environment variable of the daemon."`
	Entra *EntraSource `yaml:"entra" doc:"Microsoft Entra, by client credentials."`
}

// FileSource is a file that holds AT1.
type FileSource struct {
	Path string `yaml:"path" required:"true" format:"path" doc:"The file. It is read again at each use."`
}

// EnvSource is an environment variable that holds AT1.
type EnvSource struct {
	Name string `yaml:"name" required:"true" format:"envname" doc:"Name of the environment variable."`
}

// EntraSource gets AT1 from Microsoft Entra by client credentials. Exactly one of ClientSecret and Certificate is set.
type EntraSource struct {
	_ struct{} `oneof:"client_secret certificate" atmostone:"authority token_url" later:"federated managed_identity fmi_path"`

	TenantID     string       `yaml:"tenant_id" required:"true" format:"tenant" doc:"Directory (tenant) ID, or one of the tenant's domains."`
	ClientID     string       `yaml:"client_id" required:"true" format:"word" doc:"Application (client) ID of the workload's app registration."`
	Scope        string       `yaml:"scope" required:"true" format:"scope" doc:"Scope of the resource application, ending in /.default."`
	Authority    string       `yaml:"authority" default:"https://login.microsoftonline.com" format:"url" doc:"Login host of the cloud."`
	TokenURL     string       `yaml:"token_url" format:"url" doc:"Token endpoint. Without it <authority>/<tenant_id>/oauth2/v2.0/token."`
	ClientSecret Secret       `yaml:"client_secret" doc:"Client secret, as file:/path or ${VARIABLE}."`
	Certificate  *Certificate `yaml:"certificate" doc:"Certificate that signs the request."`
}

// Certificate is a certificate and its key that sign client assertions, as PEM files.
type Certificate struct {
	CertFile string `yaml:"cert_file" required:"true" format:"path" doc:"Certificate chain in PEM, as registered at the application."`
	KeyFile  string `yaml:"key_file" required:"true" format:"path" doc:"Private key in PEM."`
}

// TrustByIssuer is what AT1 must say: the twin of the rule in IAS, in IAS's own words. Values are compared byte for byte.
type TrustByIssuer struct {
	_ struct{} `atmostone:"jwks_uri jwks_file" later:"mode max_lifetime skew claims audiences"`

	Issuer     string   `yaml:"issuer" required:"true" format:"text" doc:"Issuer (iss), exactly as the JWT has it."`
	JWKSURI    string   `yaml:"jwks_uri" format:"url" doc:"Address of the issuer's keys. Without it and jwks_file the issuer's discovery document names it."`
	JWKSFile   string   `yaml:"jwks_file" format:"path" doc:"File with the issuer's keys."`
	Subject    string   `yaml:"subject" required:"true" format:"text" doc:"Subject (sub), exactly as the JWT has it."`
	Audience   string   `yaml:"audience" required:"true" format:"text" why:"IAS leaves the audience optional, this broker does not: without it a JWT that the same workload got for another service would be accepted too" doc:"Audience (aud), exactly as the JWT has it."`
	Types      []string `yaml:"types" format:"jwttype" doc:"Values of typ that are accepted besides JWT, such as at+jwt."`
	Algorithms []string `yaml:"algorithms" default:"RS256" enum:"RS256 PS256 ES256 ES384 EdDSA" doc:"Signature algorithms that are accepted."`
}

// Connection is one way into one company.
type Connection struct {
	_ struct{} `later:"propagate paging retry limits sessions guards candidate"`

	WorkloadIdentity string         `yaml:"workload_identity" required:"true" format:"name" doc:"Name of an entry of workload_identities."`
	IAS              IAS            `yaml:"ias" required:"true" doc:"The application in SAP Cloud Identity Services."`
	SuccessFactors   SuccessFactors `yaml:"successfactors" required:"true" doc:"The company in SAP SuccessFactors."`
}

// IAS is an application in SAP Cloud Identity Services.
type IAS struct {
	_ struct{} `later:"client_secret certificate grant saml resource"`

	// URL has no trailing slash.
	URL      string `yaml:"url" required:"true" format:"url" doc:"The tenant, such as https://acme.accounts.ondemand.com."`
	TokenURL string `yaml:"token_url" format:"url" doc:"Token endpoint on the same host. Without it <url>/oauth2/token."`
	// Issuer is empty when it is not written: the host of TokenURL, with or without https://, is then expected.
	Issuer     string `yaml:"issuer" format:"text" doc:"Issuer of the tokens of this tenant, where it is not its URL."`
	ClientID   string `yaml:"client_id" required:"true" format:"word" doc:"Client ID of the application."`
	Dependency string `yaml:"dependency" required:"true" format:"dependency" doc:"Name of the dependency on the SuccessFactors application, not the whole resource."`
}

// SuccessFactors is a company and the user that the connection acts as.
type SuccessFactors struct {
	_ struct{} `later:"services mtls company_credentials"`

	// APIURL has no trailing slash.
	APIURL          string `yaml:"api_url" required:"true" format:"url" doc:"API server of the data centre, such as https://api012.successfactors.eu."`
	CompanyID       string `yaml:"company_id" required:"true" format:"company" doc:"Company ID."`
	TechnicalUser   string `yaml:"technical_user" required:"true" format:"text" doc:"User that the application map binds the client ID to."`
	ApplicationType string `yaml:"application_type" format:"text" doc:"Application type in Manage OIDC OAuth Client Application, for diagnosis."`
}

// Caller is a job that calls the proxy. Exactly one of Key and Anonymous is set.
type Caller struct {
	_ struct{} `oneof:"key anonymous" later:"jwt mtls spiffe unix oidc certificate keys tokens rate limits priority"`

	Connection string `yaml:"connection" required:"true" format:"name" doc:"Name of an entry of connections."`
	// Username is empty when it is not written: the caller's own name counts.
	Username  string `yaml:"username" format:"username" doc:"User name before @company that the job sends with Basic. Without it the caller's own name."`
	Key       *Key   `yaml:"key" doc:"The caller's key, as a hash."`
	Anonymous bool   `yaml:"anonymous" enum:"true" doc:"Whoever reaches the proxy on loopback is this caller."`
	Allow     Allow  `yaml:"allow" required:"true" doc:"What the caller may do. What is not listed is denied."`
}

// Key is a caller's key, as a hash.
type Key struct {
	// SHA256 is 64 lower-case hexadecimal digits.
	SHA256 string `yaml:"sha256" required:"true" format:"sha256" doc:"SHA-256 of the key in hexadecimal, as sfbroker caller add prints it."`
}

// Allow is what a caller may do. What is not listed is denied.
type Allow struct {
	_ struct{} `later:"create update upsert delete call propagate"`

	Read []string `yaml:"read" required:"true" format:"entity" doc:"Entity sets and navigation paths that may be read, such as PerPerson or PerPerson/employmentNav. * is all of them."`
}

// Names returns the sorted names of a section, such as Names(c.Connections).
func Names[T any](section map[string]T) []string {
	names := make([]string, 0, len(section))
	for name := range section {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// effectiveUsername returns the user name that a job of this caller sends before @company: Username, or the caller's own name.
func (c Caller) effectiveUsername(name string) string {
	if c.Username != "" {
		return c.Username
	}
	return name
}
