package config_test

import "strings"

func iasRules() []rule {
	const p = "connections.hr.ias."
	url := func(u string) string { return `url: §"` + u + `", c` }
	good := `url: "https://acme.accounts.cloud.sap/", c`
	return []rule{
		{"a host that begins like SAP's", oldURL, url("https://x.accounts.ondemand.com.evil.tld"), good, p + "url", `only looks like one of accounts.ondemand.com: it is in "evil.tld"`, "somebody else"},
		{"a host that ends like SAP's but for a dot", oldURL, url("https://evilaccounts.ondemand.com"), good, p + "url", "only looks like one of accounts.ondemand.com", "somebody else"},
		{"a user before the host", oldURL, url("https://acme.accounts.ondemand.com@evil.tld"), good, p + "url", "holds a user before the @", "between // and @"},
		{"a backslash before the host", oldURL, `url: §'https://evil.tld\@acme.accounts.ondemand.com', c`, good, p + "url", "a backslash", "ASCII"},
		{"a port at SAP", oldURL, url("https://acme.accounts.ondemand.com:444"), good, p + "url", "names a port", "remove :444"},
		{"a letter that is not ASCII", oldURL, url("https://аcme.accounts.ondemand.com"), good, p + "url", "beyond ASCII", "xn--"},
		{"a dot at the end", oldURL, url("https://acme.accounts.ondemand.com."), good, p + "url", "ends in a dot", "remove the dot"},
		{"two dots", oldURL, url("https://acme..accounts.ondemand.com"), good, p + "url", "an empty label", "https://host"},
		{"a percent in the host", oldURL, url("https://acme%2eaccounts.ondemand.com"), good, p + "url", "is not a URL", "https://host"},
		{"the domain without a tenant", oldURL, url("https://accounts.ondemand.com"), good, p + "url", "names the domain, not a host", "<tenant>.accounts.ondemand.com"},
		{"a tenant in plain http", oldURL, url("http://acme.accounts.ondemand.com"), good, p + "url", "is plain http", "write https"},
		{"a tenant with a path", oldURL, url("https://acme.accounts.ondemand.com/oauth2/token"), good, p + "url", "has a path", "write only https://acme.accounts.ondemand.com"},
		{"a tenant without a scheme", oldURL, url("acme.accounts.ondemand.com"), good, p + "url", "not an absolute http or https URL", "https://"},
		{"a tenant on this machine", oldURL, url("https://127.0.0.1"), good, p + "url", "is on this machine", "allow_insecure_loopback: true"},
		{"a host of one's own", oldURL, url("https://sso.example.com"), good, p + "url", "none of SAP's domains: accounts.ondemand.com, accounts.cloud.sap", "allow_hosts: [sso.example.com]"},
		{"a token URL elsewhere", oldURL, `token_url: §"https://other.accounts.ondemand.com/oauth2/token", ` + oldURL, `token_url: "https://acme.accounts.ondemand.com/oauth2/t", ` + oldURL, p + "token_url", "on another host than ias.url", "https://acme.accounts.ondemand.com/oauth2/token"},
		{"a token URL without a path", oldURL, `token_url: §"https://acme.accounts.ondemand.com/", ` + oldURL, `token_url: "https://acme.accounts.ondemand.com/t", ` + oldURL, p + "token_url", "has no path", "that is the default"},
		{"an IAS issuer with a user", oldURL, `issuer: §"https://u@x", ` + oldURL, `issuer: "acme.accounts.ondemand.com", ` + oldURL, p + "issuer", "holds a user", "between // and @"},
		{"a client ID with a blank", "client_id: c1", "client_id: §'c 1'", "client_id: c-1", p + "client_id", "holds a blank", "without blanks"},
		{"a client secret at IAS", "client_id: c1", "client_id: c1, §client_secret: hunter2", "client_id: c1", p + "client_secret", "does not enforce", "remove it"},
		{"a whole resource", oldDep, "dependency: §'urn:sap:identity:application:provider:name:SF-EC-TA'", oldDep, p + "dependency", "is a resource, not the name", "write dependency: SF-EC-TA"},
		{"a part of the resource", oldDep, "dependency: §'provider:name:SF-EC-TA'", oldDep, p + "dependency", "is a resource, not the name", "write dependency: SF-EC-TA"},
		{"a resource with an emoji", oldDep, "dependency: §'urn:sap:identity:application:provider📛SF-EC-TA'", oldDep, p + "dependency", "it is :name: turned into an emoji", "write dependency: SF-EC-TA; the resource that is asked for is urn:sap:identity:application:provider:name:SF-EC-TA"},
		{"a name with an emoji", oldDep, "dependency: §📛SF-EC-TA", oldDep, p + "dependency", "it is :name: turned into an emoji", "write dependency: SF-EC-TA"},
		{"an emoji with a variation selector", oldDep, "dependency: §'provider🏷️SF-EC-TA'", oldDep, p + "dependency", "it is :name: turned into an emoji", "write dependency: SF-EC-TA"},
		{"a resource by client ID", oldDep, "dependency: §'urn:sap:identity:application:provider:clientid:x'", oldDep, p + "dependency", "by client ID", "short name"},
		{"a dependency of 51 characters", oldDep, "dependency: §aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeef", "dependency: aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeee", p + "dependency", "at most 50", "copy the name"},
		{"a dependency with a blank", oldDep, "dependency: §SF EC", "dependency: SF_EC~1.0:x", p + "dependency", "not a dependency name", "copy the name"},
		{"an unknown workload identity", "workload_identity: vm", "workload_identity: §wm", "workload_identity: vm", "connections.hr.workload_identity", `"wm" is not defined in workload_identities`, `did you mean "vm"?`},
		{"a key of IAS beside it", "workload_identity: vm", "workload_identity: vm\n    §token_url: x", "workload_identity: vm", "connections.hr.token_url", "unknown key", `"token_url" belongs under "ias"`},
	}
}

func successFactorsRules() []rule {
	const p = "connections.hr.successfactors."
	oldSF := "successfactors: {" + oldAPI + ", " + oldCompany + ", " + oldUser + "}"
	api := func(u string) string { return `api_url: §"` + u + `"` }
	return []rule{
		{"an API host that begins like SAP's", oldAPI, api("https://api4.successfactors.com.evil.tld"), `api_url: "https://api4.successfactors.com"`, p + "api_url", `it is in "evil.tld"`, "somebody else"},
		{"an API host that ends like SAP's but for a dot", oldAPI, api("https://api4successfactors.com"), `api_url: "https://api4.sapsf.eu"`, p + "api_url", "only looks like", "somebody else"},
		{"an API host with its port", oldAPI, api("https://api4.successfactors.com:443"), `api_url: "https://api4.sapsf.com"`, p + "api_url", "names a port", "remove :443"},
		{"an API URL with the service root", oldAPI, api("https://api4.successfactors.com/odata/v2"), `api_url: "https://api4preview.sapsf.com/"`, p + "api_url", "has a path", "write only https://api4.successfactors.com"},
		{"an IAS host as the API", oldAPI, api("https://acme.accounts.ondemand.com"), `api_url: "https://api4.cert.successfactors.com"`, p + "api_url", "none of SAP's domains", "allow_hosts"},
		{"an API in plain http", oldAPI, api("http://api4.successfactors.com"), `api_url: "https://api4.sapsf.cn"`, p + "api_url", "is plain http", "write https"},
		{"a company is required", oldSF, "§successfactors: {" + oldAPI + ", " + oldUser + "}", oldSF, p + "company_id", "is required", "Company ID"},
		{"a company with a host", oldCompany, "company_id: §ACME@x", "company_id: ACME-T1", p + "company_id", "not a company ID", "copy the company ID"},
		{"a user with its company", oldUser, "technical_user: §sfapi@ACME", "technical_user: sfapi@OTHER", p + "technical_user", "ends in the company ID", `write only the user: "sfapi"`},
		{"a control character in a user", oldUser, "technical_user: §\"a\\u0007\"", "technical_user: a b", p + "technical_user", "U+0007", "on one line"},
		{"a text over several lines", oldUser + "}", "technical_user: §\"a\\nb\"}", oldUser + "}", p + "technical_user", "U+000A", "on one line"},
		{"a password", oldUser, "technical_user: u, §password: hunter2", "technical_user: u", p + "password", "unknown key", "the broker keeps no passwords"},
		{"true is no text", oldUser, "technical_user: §true", "technical_user: 'true'", p + "technical_user", "true or false where text belongs", "in quotes"},
	}
}

func callerRules() []rule {
	const p = "callers.nightly."
	oldCallerWhole := "nightly:\n    connection: hr\n    " + oldKey + "\n    allow: {read: [PerPerson]}"
	return []rule{
		{"a caller needs a key", "nightly:\n    connection: hr\n    " + oldKey, "§nightly:\n    connection: hr", "nightly:\n    connection: hr\n    " + oldKey, "callers.nightly", "needs one of: key, anonymous", "exactly one"},
		{"a caller with a key is not anonymous", oldKey, oldKey + "\n    §anonymous: true", oldKey, p + "anonymous", "key, anonymous exclude each other", "keep one"},
		{"anonymous is spelled out", oldKey, "anonymous: §false", "anonymous: true", p + "anonymous", "can only be true", "write true"},
		{"anonymous has no user name", oldKey, "anonymous: true\n    username: §x", "anonymous: true", p + "username", "means nothing", "remove the line"},
		{"a workload's JWT comes later", oldKey, oldKey + "\n    §jwt: {}", oldKey, p + "jwt", `this version does not enforce "jwt", so it does not accept it`, "remove it"},
		{"a client certificate comes later", oldKey, "§mtls: {}", oldKey, p + "mtls", `this version does not enforce "mtls"`, "remove it"},
		{"a hash is 64 digits", oldKey, "key: {sha256: §7f83}", oldKey, p + "key.sha256", "is not a SHA-256 hash", "sfbroker caller add"},
		{"a key where its hash belongs", oldKey, "key: {sha256: §sfb_abc_0123456789}", oldKey, p + "key.sha256", "is a caller's key itself", "rotate the key"},
		{"a user name with a company", oldCaller, oldCaller + "    username: §SFAPI@ACME\n", oldCaller + "    username: SFAPI\n", p + "username", "holds a blank, : or @", "before @company"},
		{"a user name with a colon", oldCaller, oldCaller + "    username: §'a:b'\n", oldCaller + "    username: a-b\n", p + "username", "holds a blank, : or @", "before @company"},
		{"an unknown connection", oldCaller, "    connection: §hr-x\n", oldCaller, p + "connection", `"hr-x" is not defined in connections`, "known are: hr"},
		{"a caller is allowed something", oldCallerWhole, "§nightly: {connection: hr, " + oldKey + "}", oldCallerWhole, p + "allow", "is required", "What is not listed is denied"},
		{"allow says what", "allow: {read: [PerPerson]}", "§allow: {}", "allow: {read: [User]}", p + "allow.read", "is required", "Entity sets"},
		{"allow is not empty", oldRead, "read: §[]", "read: [A]", p + "allow.read", "is empty", "list what is meant"},
		{"writing comes later", oldRead, oldRead + ", §upsert: [PerEmail]", oldRead, p + "allow.upsert", `this version does not enforce "upsert", so it does not accept it`, "known keys here: read"},
		{"a star alone", oldRead, "read: [A, §'*']", "read: ['*']", p + "allow.read[1]", "* is everything", "alone"},
		{"a star is not a pattern", oldRead, "read: [§'Per*']", "read: [Per]", p + "allow.read[0]", "not an entity set", "* alone is everything"},
		{"a path with a leading slash", oldRead, "read: [§/PerPerson]", "read: [PerPerson/x]", p + "allow.read[0]", "not an entity set", "without a leading slash"},
		{"a path with a key", oldRead, "read: [§\"User('a')\"]", "read: [User]", p + "allow.read[0]", "not an entity set", "keys or options"},
		{"an entity set twice", oldRead, "read: [A, §A]", "read: [A, B]", p + "allow.read[1]", "stands twice", "keep one"},
		{"a key of two callers", "", strings.ReplaceAll(secondUser, `"`+otherHash+`"`, "§7F83B1657FF1FC53B92DC18148A1D65DFC2D4B1FA3D677284ADDD200126D9069"), secondUser, "callers.weekly.key.sha256", "is the key of callers.nightly too", "sfbroker caller add weekly"},
		{"a user name of two callers", "", secondUser + "    username: §nightly\n", secondUser + "    username: other\n", "callers.weekly.username", `the user name "nightly" for company "ACME" is the one of callers.nightly too`, "another username"},
	}
}

func textRules() []rule {
	const p = "connections.hr.successfactors."
	user := func(v string) string { return "technical_user: " + v }
	return []rule{
		{"a variable where no secret belongs", oldUser, user("§'${USER}'"), user("USER"), p + "technical_user", "this value is not a secret", "only where a secret belongs"},
		{"a file where no secret belongs", oldUser, user("§'file:/x'"), user("x"), p + "technical_user", "this value is not a secret", "only where a secret belongs"},
		{"a badge anywhere", oldUser, user("§'a📛b'"), user("'a:name:b'"), p + "technical_user", "an emoji badge", `write "a:name:b"`},
		{"another badge anywhere", oldUser, user("§'a🪪b'"), user("a-b"), p + "technical_user", "an emoji badge", "where it is no emoji"},
		{"an invisible character", oldUser, user("§\"a\u200bb\""), user("ab"), p + "technical_user", "U+200B, which cannot be seen", "instead of pasting"},
		{"a blank that is none", oldUser, user("§\"a\u00a0b\""), user("a b"), p + "technical_user", "U+00A0", "instead of pasting"},
		{"a blank that is none in a key", oldUser, oldUser + ",§\u00a0application_type: x", oldUser + ", application_type: x", p + `"\u00a0application_type"`, "unknown key", `did you mean "application_type"?`},
		{"a placeholder", oldUser, user("§'<user>'"), user("user"), p + "technical_user", "is still a placeholder", "your own landscape"},
		{"dots as a placeholder", oldUser, user("§..."), user("a...b"), p + "technical_user", "is still a placeholder", "your own landscape"},
		{"a key in the file", oldUser, user("§'-----BEGIN PRIVATE KEY-----'"), user("BEGIN"), p + "technical_user", "holds a key", "into a file"},
		{"an infinite number", oldUser, user("§.inf"), user("inf"), p + "technical_user", "a special value where text belongs", "in quotes"},
	}
}
