package config

import (
	"fmt"
	"slices"
	"strings"
)

// callers checks the callers and what must be unique among them.
func (k *checker) callers() {
	users := map[[2]string]string{} // company and user name to path
	hashes := map[string]string{}
	anonymous := ""
	for _, name := range k.callersByPosition() {
		caller := k.c.Callers[name]
		path := join("callers", name)
		k.reference(path+".connection", caller.Connection, "connections", Names(k.c.Connections))
		k.starAlone(path+".allow.read", caller.Allow.Read)
		if caller.Anonymous {
			k.anonymous(path, caller, anonymous)
			anonymous = path
			continue
		}
		if caller.Key != nil && k.ok(path+".key.sha256") {
			k.once(hashes, caller.Key.SHA256, path+".key.sha256", "is the key of %s too: a key says who calls", "make a key of its own: sfbroker caller add "+name)
		}
		connection, defined := k.c.Connections[caller.Connection]
		if company := connection.SuccessFactors.CompanyID; defined && company != "" && !k.bad[path+".username"] {
			k.onceUser(users, [2]string{company, caller.effectiveUsername(name)}, path)
		}
	}
}

// callersByPosition puts the callers into the order of the file, so that the later one of two gets the problem.
func (k *checker) callersByPosition() []string {
	names := Names(k.c.Callers)
	slices.SortStableFunc(names, func(a, b string) int {
		p, q := k.at.find(join("callers", a)), k.at.find(join("callers", b))
		switch {
		case p.file.order != q.file.order:
			return p.file.order - q.file.order
		case p.line != q.line:
			return p.line - q.line
		}
		return p.column - q.column
	})
	return names
}

func (k *checker) starAlone(path string, read []string) {
	if i := slices.Index(read, "*"); i >= 0 && len(read) > 1 && !k.anyBad(path) {
		k.problem(fmt.Sprintf("%s[%d]", path, i), "* is everything, so the other entries mean nothing", `write ["*"] alone, or remove *`)
	}
}

func (k *checker) anonymous(path string, caller Caller, other string) {
	at := path + ".anonymous"
	switch {
	case !k.ok(at):
	case k.bad["proxy.listen"]:
	case !loopbackListen(k.c.Proxy.Listen):
		k.problem(at, "needs proxy.listen on a loopback address: anyone on the network would be this caller", "give the caller a key: sfbroker caller add, or listen on 127.0.0.1")
	case len(k.c.Proxy.TLSTerminatedBy) > 0:
		k.problem(at, "does not go with proxy.tls_terminated_by: whoever reaches the load balancer would be this caller", "give the caller a key: sfbroker caller add")
	case other != "":
		k.problem(at, "is set at "+other+" too: a request without a key can be one caller only", "give one of them a key")
	case caller.Username != "":
		k.problem(path+".username", "means nothing for an anonymous caller", "remove the line")
	}
}

func (k *checker) once(seen map[string]string, value, path, message, hint string) {
	if before, twice := seen[value]; twice {
		k.problem(path, fmt.Sprintf(message, before), hint)
		return
	}
	seen[value] = strings.TrimSuffix(path, ".key.sha256")
}

func (k *checker) onceUser(seen map[[2]string]string, user [2]string, path string) {
	if before, twice := seen[user]; twice {
		message := fmt.Sprintf("the user name %s for company %s is the one of %s too", show(user[1]), show(user[0]), before)
		k.problem(path+".username", message, "give one of them another username")
		return
	}
	seen[user] = path
}
