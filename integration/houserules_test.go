package integration_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"slices"
	"strings"
	"testing"
)

// houseRule forbids names in code that ships. Test files are free of it.
type houseRule struct {
	name  string
	rooms []string // folders it holds in, with what is below them; none means everywhere
	why   string

	packageNames map[string][]string // import path -> names that may not be used of it
	methods      []string            // names that may not be called on anything
	init         bool                // no function named init
}

func houseRules() []houseRule {
	return []houseRule{
		{
			name: "no init",
			why:  "work at start belongs to a constructor that takes its dependencies",
			init: true,
		},
		{
			name: "no shared HTTP client",
			why:  "http.DefaultClient has no time limit, follows redirects and takes a proxy from the environment",
			packageNames: map[string][]string{
				"net/http": {"DefaultClient", "Get", "Head", "Post", "PostForm"},
			},
		},
		{
			name:  "the request line is never re-encoded",
			rooms: []string{"broker", "odata"},
			why:   "Go drops a query parameter that holds a semicolon and cleans paths: the policy would decide on another request than the one sent",
			packageNames: map[string][]string{
				"net/http/httputil": {"ReverseProxy", "NewSingleHostReverseProxy", "ProxyRequest"},
				"net/url":           {"ParseQuery"},
				"net/http":          {"ServeMux", "NewServeMux", "DefaultServeMux", "Handle", "HandleFunc"},
			},
			methods: []string{"Query", "ParseForm", "ParseMultipartForm", "FormValue", "PostFormValue"},
		},
	}
}

// holdsIn reports whether the rule is about files of this folder.
func (r houseRule) holdsIn(folder string) bool {
	if len(r.rooms) == 0 {
		return true
	}
	return slices.ContainsFunc(r.rooms, func(room string) bool {
		return folder == room || strings.HasPrefix(folder, room+"/")
	})
}

// offences returns the places where the file breaks the rule.
func (r houseRule) offences(file *ast.File) []token.Pos {
	imported := map[string]string{} // name in this file -> import path
	var found []token.Pos
	for _, spec := range file.Imports {
		of := importPath(spec)
		name := path.Base(of)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		if name == "." && r.packageNames[of] != nil {
			found = append(found, spec.Pos()) // names of a dot import cannot be told from our own
		}
		imported[name] = of
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if r.init && n.Recv == nil && n.Name.Name == "init" {
				found = append(found, n.Pos())
			}
		case *ast.SelectorExpr:
			if qualifier, plain := n.X.(*ast.Ident); plain && slices.Contains(r.packageNames[imported[qualifier.Name]], n.Sel.Name) {
				found = append(found, n.Pos())
			}
		case *ast.CallExpr:
			if called, selected := n.Fun.(*ast.SelectorExpr); selected && slices.Contains(r.methods, called.Sel.Name) {
				found = append(found, n.Pos())
			}
		}
		return true
	})
	return found
}

func TestHouseRules(t *testing.T) {
	for _, src := range sources(t) {
		if src.test {
			continue
		}
		for _, rule := range houseRules() {
			if !rule.holdsIn(src.folder) {
				continue
			}
			for _, pos := range rule.offences(src.file) {
				t.Errorf("%s: %s: %s", src.fset.Position(pos), rule.name, rule.why)
			}
		}
	}
}

// TestHouseRulesAreFound shows that each breach is seen, beside a line that differs in one thing and is allowed.
func TestHouseRulesAreFound(t *testing.T) {
	const ok, denied = 0, 1
	for _, row := range []struct {
		what, folder, imports, body string
		want                        int
	}{
		{"init", "trust", ``, `func init() {}`, denied},
		{"a method named init", "trust", ``, `type T struct{}; func (T) init() {}`, ok},
		{"the default client", "oauthclient", `import "net/http"`, `var c = http.DefaultClient`, denied},
		{"the default client under another name", "oauthclient", `import web "net/http"`, `var c = web.DefaultClient`, denied},
		{"a package of ours with that name", "oauthclient", `import "example.test/http"`, `var c = http.DefaultClient`, ok},
		{"a client of one's own", "oauthclient", `import "net/http"`, `var c = http.Client{}`, ok},
		{"a dot import", "oauthclient", `import . "net/http"`, `var c = Client{}`, denied},
		{"http.Get", "workload", `import "net/http"`, `var g = http.Get`, denied},
		{"the reverse proxy", "broker/upstream", `import "net/http/httputil"`, `var p httputil.ReverseProxy`, denied},
		{"a chunked reader", "broker/upstream", `import "net/http/httputil"`, `var r = httputil.NewChunkedReader`, ok},
		{"url.ParseQuery on the data path", "odata", `import "net/url"`, `var p = url.ParseQuery`, denied},
		{"url.ParseQuery off the data path", "sandbox/successfactors", `import "net/url"`, `var p = url.ParseQuery`, ok},
		{"URL.Query on the data path", "broker", `import "net/http"`, `func f(r *http.Request) { r.URL.Query() }`, denied},
		{"URL.RawQuery on the data path", "broker", `import "net/http"`, `func f(r *http.Request) { _ = r.URL.RawQuery }`, ok},
		{"FormValue on the data path", "broker/policy", `import "net/http"`, `func f(r *http.Request) { r.FormValue("a") }`, denied},
		{"a mux on the data path", "broker", `import "net/http"`, `var m http.ServeMux`, denied},
		{"a mux in admin", "admin", `import "net/http"`, `var m http.ServeMux`, ok},
		{"a folder that only begins like one", "brokerage", `import "net/http"`, `var m http.ServeMux`, ok},
	} {
		t.Run(row.what, func(t *testing.T) {
			text := "package p\n" + row.imports + "\n" + row.body + "\n"
			file, err := parser.ParseFile(token.NewFileSet(), "p.go", text, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			got := 0
			for _, rule := range houseRules() {
				if rule.holdsIn(row.folder) {
					got += len(rule.offences(file))
				}
			}
			if got != row.want {
				t.Errorf("got %d offences, want %d in:\n%s", got, row.want, text)
			}
		})
	}
}
