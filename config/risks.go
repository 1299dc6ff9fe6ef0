package config

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
)

// Risks are things that are accepted and deserve a second look, in the order of the files: everything readable for a caller,
// anonymous callers, plain http, hosts beyond SAP's own, secret files that other users can read (as they were at load).
func (c *Config) Risks() []Problem { return slices.Clone(c.risks) }

// assess finds the risks.
func (k *checker) assess(env Env) []Problem {
	r := &report{}
	risk := func(path, message, hint string) { r.add(k.at.find(path), path, message, hint) }
	c := k.c
	if c.AllowInsecureLoopback {
		risk("allow_insecure_loopback", "tokens may travel in plain http on this machine", "remove it where no sandbox runs")
	}
	for i, host := range c.AllowHosts {
		risk(fmt.Sprintf("allow_hosts[%d]", i), "tokens may be sent to "+show(host)+", which is not a domain of SAP", "make sure that it is yours")
	}
	for i, u := range c.Proxy.PublicURLs {
		if parsed, message, _ := parseURL(u); message == "" && parsed.Scheme == "http" && !isLoopback(parsed.Hostname()) {
			risk(fmt.Sprintf("proxy.public_urls[%d]", i), "jobs send their keys in plain http to whatever stands in front of the proxy", "write https where it terminates TLS")
		}
	}
	for _, name := range Names(c.Callers) {
		caller, path := c.Callers[name], join("callers", name)
		if caller.Anonymous {
			risk(path+".anonymous", "every process of this machine is this caller", "give the caller a key: sfbroker caller add")
		}
		if slices.Contains(caller.Allow.Read, "*") {
			risk(path+".allow.read", "the caller may read everything that the technical user may read", "list the entity sets that the job needs")
		}
	}
	for path, file := range k.secretFiles() {
		if others, ok := readableByOthers(env, file); ok {
			risk(path, "the file can be read by "+others, "chmod 0600 "+file)
		}
	}
	return r.problems()
}

// secretFiles are the files that hold secrets, by path.
func (k *checker) secretFiles() map[string]string {
	files := map[string]string{}
	if t := k.c.Proxy.TLS; t != nil {
		files["proxy.tls.key_file"] = t.KeyFile
	}
	if t := k.c.Admin.TLS; t != nil {
		files["admin.tls.key_file"] = t.KeyFile
	}
	for _, name := range Names(k.c.WorkloadIdentities) {
		source, path := k.c.WorkloadIdentities[name].Source, join("workload_identities", name)+".source"
		if source.File != nil {
			files[path+".file.path"] = source.File.Path
		}
		if e := source.Entra; e != nil && e.ClientSecret.file != "" {
			files[path+".entra.client_secret"] = e.ClientSecret.file
		}
		if e := source.Entra; e != nil && e.Certificate != nil {
			files[path+".entra.certificate.key_file"] = e.Certificate.KeyFile
		}
	}
	return files
}

// readableByOthers looks at the mode of a file. A file that is not there yet is no risk, and Windows has no such modes.
func readableByOthers(env Env, file string) (others string, yes bool) {
	info, err := env.stat(file)
	if err != nil || runtime.GOOS == "windows" {
		return "", false
	}
	var who []string
	if info.Mode().Perm()&0o040 != 0 {
		who = append(who, "its group")
	}
	if info.Mode().Perm()&0o004 != 0 {
		who = append(who, "every user")
	}
	return strings.Join(who, " and "), len(who) > 0
}
