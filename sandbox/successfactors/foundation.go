package successfactors

import (
	"fmt"
	"time"
)

type place struct{ code, name, street, city, zip, state, country, zone string }

var locations = []place{
	{"L100", "Walldorf", "Dietmar-Hopp-Allee 16", "Walldorf", "69190", "", "DEU", "Europe/Berlin"},
	{"L200", "Paris, La Défense", "1 Terrasse Bellini", "Puteaux", "92800", "", "FRA", "Europe/Paris"},
	{"L300", "Madrid", "Calle de Alcalá 45", "Madrid", "28014", "", "ESP", "Europe/Madrid"},
	{"L400", "Palo Alto", "3410 Hillview Ave", "Palo Alto", "94304", "CA", "USA", "America/Los_Angeles"},
	{"L500", "東京", "大手町 1-2-1", "千代田区", "100-0004", "", "JPN", "Asia/Tokyo"},
	{"L110", "München", "Hackerbrücke 6", "München", "80335", "", "DEU", "Europe/Berlin"},
	{"L210", "Lyon", "20 Rue de la République", "Lyon", "69002", "", "FRA", "Europe/Paris"},
	{"L310", "Barcelona", "Passeig de Gràcia 7", "Barcelona", "08007", "", "ESP", "Europe/Madrid"},
	{"L410", "Newtown Square", "3999 West Chester Pike", "Newtown Square", "19073", "PA", "USA", "America/New_York"},
	{"L510", "大阪", "北区梅田 3-1-3", "大阪市", "530-0001", "", "JPN", "Asia/Tokyo"},
}

type coded struct{ code, name string }

var companies = []coded{
	{"1000", "Deutschland GmbH"}, {"2000", "France S.A.S."}, {"3000", "España S.L."}, {"4000", "America Inc."}, {"5000", "日本株式会社"},
}

var companyCountry = []struct{ country, currency string }{{"DEU", "EUR"}, {"FRA", "EUR"}, {"ESP", "EUR"}, {"USA", "USD"}, {"JPN", "JPY"}}

var divisions = []coded{
	{"DIV_FIN", "Finance"}, {"DIV_RND", "Research & Development"}, {"DIV_SAL", "Sales"}, {"DIV_MFG", "Manufacturing"}, {"DIV_SVC", "Services"}, {"DIV_HR", "Human Resources"},
}

var businessUnits = []coded{{"BU_CORP", "Corporate"}, {"BU_IND", "Industries"}, {"BU_CONS", "Consumer"}, {"BU_PUB", "Public Sector"}}

var jobTitles = []string{
	"Chief Executive Officer", "Accountant", "Engineer", "Senior Engineer", "Architect", "Sales Representative", "Account Executive",
	"Production Planner", "Machine Operator", "Technician", "Consultant", "HR Business Partner", "Recruiter", "Data Analyst", "Controller",
	"Support Specialist", "Product Manager", "Designer", "Quality Inspector", "Assistant",
}

var jobFunctions = []coded{{"JF_MGT", "Management"}, {"JF_OPS", "Operations"}, {"JF_TEC", "Technology"}, {"JF_ADM", "Administration"}}

var locationGroups = []coded{{"EMEA", "Europe, Middle East and Africa"}, {"AMER", "Americas"}, {"APJ", "Asia, Pacific and Japan"}}

var eventReasons = []struct{ code, name, event, status string }{
	{"HIRNEW", "New Hire", "H", "A"}, {"JOBCHG", "Job Change", "5", "A"}, {"TERVOL", "Voluntary Termination", "26", "T"}, {"TERRET", "Retirement", "26", "R"},
}

var territories = []struct{ code, two, name string }{
	{"DEU", "DE", "Germany"},
	{"FRA", "FR", "France"},
	{"ESP", "ES", "Spain"},
	{"USA", "US", "United States"},
	{"JPN", "JP", "Japan"},
	{"GBR", "GB", "United Kingdom"},
	{"POL", "PL", "Poland"},
	{"TUR", "TR", "Türkiye"},
	{"IND", "IN", "India"},
	{"CIV", "CI", "Côte d'Ivoire"},
}

// options are picklist options: an employee's status, class and type, and the states of addresses.
var options = []struct {
	id          int64
	code, label string
}{
	{586, "A", "Active"},
	{587, "D", "Dormant"},
	{588, "U", "Unpaid Leave"},
	{589, "P", "Paid Leave"},
	{590, "S", "Suspended"},
	{591, "F", "Furlough"},
	{592, "O", "Discarded"},
	{593, "R", "Retired"},
	{594, "T", "Terminated"},
	{3630, "E", "Employee"},
	{3631, "C", "Contingent Worker"},
	{3640, "REG", "Regular"},
	{3641, "TMP", "Temporary"},
	{4401, "CA", "California"},
	{4402, "PA", "Pennsylvania"},
}

func optionOf(code string) int {
	for i, o := range options {
		if o.code == code {
			return i
		}
	}
	return -1
}

const (
	departmentCount = 40
	costCenterCount = 30
	payGradeCount   = 10
)

func departmentCode(i int) string {
	if i == 7 {
		return "R&D'7;50%" // every character that careless link handling trips over
	}
	return fmt.Sprintf("D%03d", i+1)
}

func departmentName(i int) string {
	teams := []string{"Accounts", "Platform", "Key Accounts", "Assembly", "Field Service", "Talent", "Treasury", "Research"}
	return teams[i%len(teams)] + " " + locations[i%len(locations)].city
}

func costCenterCode(i int) string { return fmt.Sprintf("CC%04d", 1000+i*10) }
func jobCode(i int) string        { return fmt.Sprintf("JC%03d", i+1) }
func payGrade(i int) string       { return fmt.Sprintf("GR-%02d", i+1) }

// versions: every fourth foundation object was changed once, on 1 January 2015.
func versions(_ *company, i int) int { return 1 + boolInt(i%4 == 1) }

func versionPeriod(_ *reader, r row) (start, end int64) {
	change := day(2015, time.January, 1)
	switch {
	case r.i%4 != 1:
		return dawn, endOfTime
	case r.j == 0:
		return dawn, change - dayMillis
	default:
		return change, endOfTime
	}
}

func foundationRows() map[string]rowSource {
	fixed := func(n int) func(*company) int { return func(*company) int { return n } }
	object := func(n int) rowSource {
		return rowSource{outer: fixed(n), inner: versions, period: versionPeriod, owner: anywhere}
	}
	plain := func(n int) rowSource { return rowSource{outer: fixed(n), inner: one, owner: anywhere} }
	return map[string]rowSource{
		"FOCompany": object(len(companies)), "FODepartment": object(departmentCount), "FODivision": object(len(divisions)),
		"FOBusinessUnit": object(len(businessUnits)), "FOCostCenter": object(costCenterCount), "FOJobCode": object(len(jobTitles)),
		"FOJobFunction": object(len(jobFunctions)), "FOPayGrade": object(payGradeCount), "FOLocation": object(len(locations)),
		"FOLocationGroup": object(len(locationGroups)), "FOEventReason": object(len(eventReasons)),
		"FOCorporateAddressDEFLT": plain(len(locations)), "Territory": plain(len(territories)), "PicklistOption": plain(len(options)),
	}
}

// named gives a foundation type the members that nearly all have.
func named(data map[string]accessor, t string, code, name func(i int) string, translated bool) {
	data[t+".externalCode"] = func(_ *reader, r row) value { return text(code(int(r.i))) }
	show := func(_ *reader, r row) value {
		if r.t.period != nil && r.i%4 == 1 && r.j == 0 {
			return text(name(int(r.i)) + " (old)")
		}
		return text(name(int(r.i)))
	}
	data[t+".name"] = show
	data[t+".description"] = func(x *reader, r row) value { return optional(r.i%3 != 2, show(x, r)) }
	data[t+".status"] = func(*reader, row) value { return text("A") }
	if translated {
		data[t+".name_defaultValue"], data[t+".name_en_US"], data[t+".name_localized"] = show, show, show
		data[t+".description_defaultValue"] = show
	}
}

func foundationData() map[string]accessor {
	data := make(map[string]accessor)
	of := func(list []coded) (code, name func(i int) string) {
		return func(i int) string { return list[i].code }, func(i int) string { return list[i].name }
	}
	for t, list := range map[string][]coded{
		"FOCompany": companies, "FODivision": divisions, "FOBusinessUnit": businessUnits, "FOJobFunction": jobFunctions, "FOLocationGroup": locationGroups,
	} {
		code, name := of(list)
		named(data, t, code, name, t != "FOLocationGroup")
	}
	named(data, "FODepartment", departmentCode, departmentName, true)
	named(data, "FOCostCenter", costCenterCode, func(i int) string { return "Cost center " + departmentName(i) }, true)
	named(data, "FOJobCode", jobCode, func(i int) string { return jobTitles[i] }, true)
	named(data, "FOPayGrade", payGrade, func(i int) string { return "Grade " + payGrade(i) }, false)
	named(data, "FOLocation", func(i int) string { return locations[i].code }, func(i int) string { return locations[i].name }, false)
	named(data, "FOEventReason", func(i int) string { return eventReasons[i].code }, func(i int) string { return eventReasons[i].name }, false)
	for name, get := range map[string]accessor{
		"FOCompany.country":            func(_ *reader, r row) value { return text(companyCountry[r.i].country) },
		"FOCompany.currency":           func(_ *reader, r row) value { return text(companyCountry[r.i].currency) },
		"FOCompany.defaultLocation":    func(_ *reader, r row) value { return text(locations[r.i].code) },
		"FOCompany.standardHours":      func(*reader, row) value { return fraction(38.5) },
		"FODepartment.costCenter":      func(_ *reader, r row) value { return text(costCenterCode(int(r.i) % costCenterCount)) },
		"FODepartment.headOfUnit":      func(x *reader, r row) value { return optional(int(r.i)*8 < x.workers, text(personID(int(r.i)*8))) },
		"FODepartment.parent":          func(_ *reader, r row) value { return optional(r.i > 0, text(departmentCode(int(r.i)/5))) },
		"FOJobCode.grade":              func(_ *reader, r row) value { return text(payGrade(int(r.i) % payGradeCount)) },
		"FOJobCode.isFulltimeEmployee": func(*reader, row) value { return boolean(true) },
		"FOJobCode.jobFunction":        func(_ *reader, r row) value { return text(jobFunctions[int(r.i)%len(jobFunctions)].code) },
		"FOJobCode.standardHours":      func(*reader, row) value { return fraction(40) },
		"FOPayGrade.paygradeLevel":     func(_ *reader, r row) value { return number(int64(r.i) + 1) },
		"FOLocation.locationGroup":     func(_ *reader, r row) value { return text(locationGroups[int(r.i)%len(locationGroups)].code) },
		"FOLocation.standardHours":     func(*reader, row) value { return fraction(40) },
		"FOLocation.timezone":          func(_ *reader, r row) value { return text(locations[r.i].zone) },
		"FOLocation.addressCity":       func(_ *reader, r row) value { return text(locations[r.i].city) },
		"FOLocation.addressCountry":    func(_ *reader, r row) value { return text(locations[r.i].country) },
		"FOLocation.addressAddress1":   func(_ *reader, r row) value { return text(locations[r.i].street) },
		"FOLocation.addressZipCode":    func(_ *reader, r row) value { return text(locations[r.i].zip) },

		"FOEventReason.event":      func(_ *reader, r row) value { return text(eventReasons[r.i].event) },
		"FOEventReason.emplStatus": func(_ *reader, r row) value { return text(eventReasons[r.i].status) },

		"FOCorporateAddressDEFLT.addressId": func(_ *reader, r row) value { return number(663469 + int64(r.i)) },
		"FOCorporateAddressDEFLT.address1":  func(_ *reader, r row) value { return text(locations[r.i].street) },
		"FOCorporateAddressDEFLT.city":      func(_ *reader, r row) value { return text(locations[r.i].city) },
		"FOCorporateAddressDEFLT.country":   func(_ *reader, r row) value { return text(locations[r.i].country) },
		"FOCorporateAddressDEFLT.state":     func(_ *reader, r row) value { return optionalText(locations[r.i].state) },
		"FOCorporateAddressDEFLT.zipCode":   func(_ *reader, r row) value { return text(locations[r.i].zip) },
		"FOCorporateAddressDEFLT.startDate": func(*reader, row) value { return instant(dawn) },
		"FOCorporateAddressDEFLT.endDate":   func(*reader, row) value { return instant(endOfTime) },

		"Territory.effectiveStartDate": func(*reader, row) value { return instant(dawn) },
		"Territory.status":             func(*reader, row) value { return text("A") },
		"Territory.territoryCode":      func(_ *reader, r row) value { return text(territories[r.i].code) },
		"Territory.territoryName":      func(_ *reader, r row) value { return text(territories[r.i].name) },
		"Territory.twoCharCountryCode": func(_ *reader, r row) value { return text(territories[r.i].two) },

		"PicklistOption.id":           func(_ *reader, r row) value { return number(options[r.i].id) },
		"PicklistOption.externalCode": func(_ *reader, r row) value { return text(options[r.i].code) },
		"PicklistOption.localeLabel":  func(_ *reader, r row) value { return text(options[r.i].label) },
		"PicklistOption.sortOrder":    func(_ *reader, r row) value { return number(int64(r.i)) },
		"PicklistOption.status":       func(*reader, row) value { return text("ACTIVE") },
	} {
		data[name] = get
	}
	return data
}

func foundationNavigation(m *model) map[string]follower {
	to := func(t string, index func(x *reader, i int) int) follower { return objects(m.byName[t], index) }
	territory := func(code string) int {
		for i, t := range territories {
			if t.code == code {
				return i
			}
		}
		return -1
	}
	country := func(_ *reader, i int) int { return territory(companyCountry[i].country) }
	return map[string]follower{
		"FOCompany.countryNav":               to("Territory", country),
		"FOCompany.countryOfRegistrationNav": to("Territory", country),
		"FOCompany.defaultLocationNav":       to("FOLocation", func(_ *reader, i int) int { return i }),
		"FODepartment.costCenterNav":         to("FOCostCenter", func(_ *reader, i int) int { return i % costCenterCount }),
		"FODepartment.parentNav": to("FODepartment", func(_ *reader, i int) int {
			if i == 0 {
				return -1
			}
			return i / 5
		}),
		"FODepartment.cust_toDivision":       to("FODivision", func(_ *reader, i int) int { return i % len(divisions) }),
		"FODivision.cust_toBusinessUnit":     to("FOBusinessUnit", func(_ *reader, i int) int { return i % len(businessUnits) }),
		"FOJobCode.gradeNav":                 to("FOPayGrade", func(_ *reader, i int) int { return i % payGradeCount }),
		"FOJobCode.jobFunctionNav":           to("FOJobFunction", func(_ *reader, i int) int { return i % len(jobFunctions) }),
		"FOLocation.addressNavDEFLT":         to("FOCorporateAddressDEFLT", func(_ *reader, i int) int { return i }),
		"FOLocation.locationGroupNav":        to("FOLocationGroup", func(_ *reader, i int) int { return i % len(locationGroups) }),
		"FOCorporateAddressDEFLT.countryNav": to("Territory", func(_ *reader, i int) int { return territory(locations[i].country) }),
		"FOCorporateAddressDEFLT.stateNav":   to("PicklistOption", func(_ *reader, i int) int { return optionOf(locations[i].state) }),
	}
}
