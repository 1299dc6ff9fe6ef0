package successfactors_test

import (
	"encoding/xml"
	"net/http"
	"strings"
	"testing"
)

func TestMetadataDescribesTheModel(t *testing.T) {
	s := newServer(t, nil)
	type schema struct {
		Namespace string `xml:"Namespace,attr"`
		Sets      []struct {
			Name string `xml:"Name,attr"`
			Type string `xml:"EntityType,attr"`
		} `xml:"EntityContainer>EntitySet"`
		Types []struct {
			Name string `xml:"Name,attr"`
			Keys []struct {
				Name string `xml:"Name,attr"`
			} `xml:"Key>PropertyRef"`
			Properties []struct {
				Name       string `xml:"Name,attr"`
				Type       string `xml:"Type,attr"`
				Filterable string `xml:"http://www.successfactors.com/edm/sap filterable,attr"`
			} `xml:"Property"`
			Navs []struct {
				Name         string `xml:"Name,attr"`
				Relationship string `xml:"Relationship,attr"`
			} `xml:"NavigationProperty"`
		} `xml:"EntityType"`
		Associations []struct {
			Name string `xml:"Name,attr"`
		} `xml:"Association"`
	}
	read := func(uri string) (container, types schema) {
		r := get(t, s, uri, nil)
		var doc struct {
			Schemas []schema `xml:"DataServices>Schema"`
		}
		if err := xml.Unmarshal([]byte(body(t, r)), &doc); err != nil || len(doc.Schemas) != 2 {
			t.Fatalf("%s: %v, %d schemas", uri, err, len(doc.Schemas))
		}
		return doc.Schemas[0], doc.Schemas[1]
	}
	container, types := read("/odata/v2/$metadata")
	if container.Namespace != "SFODataSet" || types.Namespace != "SFOData" || len(container.Sets) != len(s.EntitySets()) || len(types.Types) != len(container.Sets) {
		t.Errorf("%s %s, %d sets, %d types", container.Namespace, types.Namespace, len(container.Sets), len(types.Types))
	}
	known := make(map[string]bool)
	for _, a := range types.Associations {
		known["SFOData."+a.Name] = true
	}
	members := make(map[string]bool)
	for _, typ := range types.Types {
		if len(typ.Keys) == 0 {
			t.Errorf("%s has no key", typ.Name)
		}
		for _, p := range typ.Properties {
			members[typ.Name+"/"+p.Name+" "+p.Type+" "+p.Filterable] = true
		}
		for _, n := range typ.Navs {
			members[typ.Name+"/"+n.Name] = true
			if !known[n.Relationship] {
				t.Errorf("%s/%s has no association", typ.Name, n.Name)
			}
		}
	}
	for _, want := range []string{
		"PerPerson/personId Edm.Int64 true", "PerPerson/birthName Edm.String false", "PerPerson/employmentNav", "EmpJob/managerUserNav",
		"FOCompany/countryOfRegistrationNav", "FOCorporateAddressDEFLT/stateNav", "User/empInfo", "PerPersonal/localNavUSA",
	} {
		if !members[want] {
			t.Errorf("no %s", want)
		}
	}
	if container, _ = read("/odata/v2/User,PerPerson/$metadata"); len(container.Sets) < 2 || len(container.Sets) > 20 {
		t.Errorf("the list of two has %d sets", len(container.Sets))
	}
	if status, text := ask(t, s, "/odata/v2/User,Nothing/$metadata"); status != http.StatusBadRequest || !strings.Contains(text, "COE_ENTITY_NOT_FOUND") {
		t.Errorf("%d %s", status, text)
	}
	if status, text := ask(t, s, "/odata/v2/"); status != http.StatusOK || !strings.HasPrefix(text, `{"d" : {"EntitySets" : ["PerPerson", `) {
		t.Errorf("service document: %d %.100s", status, text)
	}
}
