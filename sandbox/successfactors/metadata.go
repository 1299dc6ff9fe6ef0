package successfactors

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// serviceDocument lists the entity sets.
func (s *Server) serviceDocument(a asker) answer {
	var b bytes.Buffer
	if a.isJSON {
		b.WriteString(`{"d" : {"EntitySets" : [`)
		for i, t := range s.model.types {
			if i > 0 {
				b.WriteString(", ")
			}
			writeString(&b, t.name)
		}
		b.WriteString(`]}}`)
		return answer{status: http.StatusOK, contentType: "application/json;charset=utf-8", body: b.Bytes()}
	}
	fmt.Fprintf(&b, `<?xml version="1.0" encoding="utf-8"?><service xmlns="http://www.w3.org/2007/app" xmlns:atom="http://www.w3.org/2005/Atom" xml:base="%s/odata/v2/"><workspace><atom:title>Default</atom:title>`, a.base)
	for _, t := range s.model.types {
		fmt.Fprintf(&b, `<collection href="%s"><atom:title>%s</atom:title></collection>`, t.name, t.name)
	}
	b.WriteString(`</workspace></service>`)
	return answer{status: http.StatusOK, contentType: "application/atomsvc+xml;charset=utf-8", body: b.Bytes()}
}

// metadata answers $metadata of the service, of one entity set, or of a comma list of them.
func (s *Server) metadata(path []segment) (answer, *fault) {
	out := answer{status: http.StatusOK, contentType: "application/xml;charset=utf-8", entitySet: "$metadata"}
	switch {
	case len(path) == 1:
		out.body = s.fullMetadata()
		return out, nil
	case len(path) > 2 || path[0].hasKey:
		return answer{}, badRequest("$metadata follows the service root or a list of entity sets.")
	}
	var asked []*entityType
	for _, name := range strings.Split(path[0].name, ",") {
		t := s.model.byName[strings.TrimSpace(name)]
		if t == nil {
			return answer{}, noEntity(name)
		}
		asked = append(asked, t)
	}
	out.body = edmx(s.model.closure(asked))
	return out, nil
}

// closure adds the types that navigation of the asked ones leads to, in the model's order; only those links are kept.
func (m *model) closure(asked []*entityType) (types []*entityType, keep func(*navigation) bool) {
	in := make(map[*entityType]bool)
	for _, t := range asked {
		in[t] = true
		for _, n := range t.navs {
			in[n.target] = true
		}
	}
	for _, t := range m.types {
		if in[t] {
			types = append(types, t)
		}
	}
	return types, func(n *navigation) bool { return in[n.target] }
}

// edmx writes an EDMX document of version 2.0 in the namespaces of SuccessFactors.
func edmx(types []*entityType, keep func(*navigation) bool) []byte {
	var b bytes.Buffer
	b.WriteString(`<?xml version="1.0" encoding="utf-8"?>` + "\n" +
		`<edmx:Edmx Version="1.0" xmlns:edmx="http://schemas.microsoft.com/ado/2007/06/edmx">` +
		`<edmx:DataServices m:DataServiceVersion="2.0" xmlns:m="http://schemas.microsoft.com/ado/2007/08/dataservices/metadata">` + "\n" +
		`<Schema Namespace="SFODataSet" xmlns="http://schemas.microsoft.com/ado/2008/09/edm" xmlns:sf="http://www.successfactors.com/edm/sf" xmlns:sap="http://www.successfactors.com/edm/sap">` +
		`<EntityContainer Name="EntityContainer" m:IsDefaultEntityContainer="true">` + "\n")
	for _, t := range types {
		fmt.Fprintf(&b, `<EntitySet Name="%s" EntityType="SFOData.%s" sap:label="%s" sap:creatable="%t" sap:updatable="%t" sap:upsertable="%t" sap:deletable="%t"/>`+"\n",
			t.name, t.name, t.name, t.can("creatable"), t.can("updatable"), t.can("upsertable"), t.can("deletable"))
	}
	for _, t := range types {
		for _, n := range t.navs {
			if keep(n) {
				fmt.Fprintf(&b, `<AssociationSet Name="%sSet" Association="SFOData.%s"><End EntitySet="%s" Role="%s"/><End EntitySet="%s" Role="%s"/></AssociationSet>`+"\n",
					n.association(t), n.association(t), t.name, n.fromRole(t), n.target.name, n.toRole())
			}
		}
	}
	b.WriteString("</EntityContainer></Schema>\n" +
		`<Schema Namespace="SFOData" xmlns="http://schemas.microsoft.com/ado/2008/09/edm" xmlns:sf="http://www.successfactors.com/edm/sf" xmlns:sap="http://www.successfactors.com/edm/sap">` + "\n")
	for _, t := range types {
		t.edmx(&b, keep)
	}
	for _, t := range types {
		for _, n := range t.navs {
			if keep(n) {
				fmt.Fprintf(&b, `<Association Name="%s"><End Type="SFOData.%s" Multiplicity="*" Role="%s"/><End Type="SFOData.%s" Multiplicity="%s" Role="%s"/></Association>`+"\n",
					n.association(t), t.name, n.fromRole(t), n.target.name, n.mult, n.toRole())
			}
		}
	}
	b.WriteString("</Schema></edmx:DataServices></edmx:Edmx>\n")
	return b.Bytes()
}

func (t *entityType) can(verb string) bool { return slices.Contains(strings.Split(t.verbs, ","), verb) }

func (n *navigation) association(t *entityType) string { return t.name + "_" + n.name }

func (n *navigation) fromRole(t *entityType) string { return t.name + "_" + n.name + "_from" }

func (n *navigation) toRole() string { return n.target.name + "_" + n.name + "_to" }

func (t *entityType) edmx(b *bytes.Buffer, keep func(*navigation) bool) {
	fmt.Fprintf(b, `<EntityType Name="%s"><Key>`, t.name)
	for _, k := range t.keys {
		fmt.Fprintf(b, `<PropertyRef Name="%s"/>`, k.name)
	}
	b.WriteString("</Key>\n")
	for _, p := range t.props {
		p.edmx(b)
	}
	for _, n := range t.navs {
		if keep(n) {
			fmt.Fprintf(b, `<NavigationProperty Name="%s" sap:required="false" sap:creatable="false" sap:updatable="false" sap:upsertable="false" sap:visible="true" sap:sortable="false" sap:filterable="false" Relationship="SFOData.%s" FromRole="%s" ToRole="%s" sap:label="%s"/>`+"\n",
				n.name, n.association(t), n.fromRole(t), n.toRole(), n.name)
		}
	}
	b.WriteString("</EntityType>\n")
}

func (p *property) edmx(b *bytes.Buffer) {
	has := func(flag string) bool { return strings.Contains(p.flags, flag) }
	fmt.Fprintf(b, `<Property Name="%s" Type="Edm.%s" Nullable="%t"`, p.name, p.typ, has("n"))
	switch {
	case p.typ == edmString && p.detail != "":
		fmt.Fprintf(b, ` MaxLength="%s"`, p.detail)
	case p.detail != "":
		fmt.Fprintf(b, ` sap:display-format="%s"`, p.detail)
	}
	fmt.Fprintf(b, ` sap:required="%t" sap:creatable="false" sap:updatable="false" sap:upsertable="%t" sap:visible="true" sap:sortable="%t" sap:filterable="%t" sap:label="%s"/>`+"\n",
		has("r"), has("u"), has("s"), has("f"), p.name)
}

func (t edmType) String() string {
	for name, typ := range edmNames {
		if typ == t {
			return name
		}
	}
	return "String"
}
