package successfactors

import "fmt"

const (
	businessMail  = "8448"
	privateMail   = "8447"
	businessPhone = "10605"
	cellPhone     = "10606"
)

// awkwardTitle holds what a query string or a link finder could stumble over, in plain data.
const awkwardTitle = `Dr.; 100% "hon." a&b=c+d|e\f`

func personData() map[string]accessor {
	name := func(x *reader, r row) string { return x.lastName(int(r.i), r.j == 1) }
	return map[string]accessor{
		"PerPerson.personId": func(_ *reader, r row) value { return number(100000 + int64(r.i)) },
		"PerPerson.userId":   func(x *reader, r row) value { return optional(int(r.i) < x.workers, text(userID(int(r.i), 0))) },
		"PerPerson.perPersonUuid": func(x *reader, r row) value {
			return text(fmt.Sprintf("%016X%016X", x.hash(int(r.i), 7), x.hash(int(r.i), 8)))
		},
		"PerPerson.dateOfBirth": func(x *reader, r row) value { return instant(x.birth(int(r.i))) },
		"PerPerson.countryOfBirth": func(x *reader, r row) value {
			return optional(r.i%9 != 4, text(territories[x.pick(int(r.i), 9, len(territories))].code))
		},
		"PerPerson.birthName": func(x *reader, r row) value {
			_, changed := x.renamed(int(r.i))
			return optional(changed, text(x.lastName(int(r.i), false)))
		},

		"PerPersonal.firstName":   func(x *reader, r row) value { return text(x.firstName(int(r.i))) },
		"PerPersonal.lastName":    func(x *reader, r row) value { return text(name(x, r)) },
		"PerPersonal.displayName": func(x *reader, r row) value { return text(x.firstName(int(r.i)) + " " + name(x, r)) },
		"PerPersonal.middleName":  func(x *reader, r row) value { return optional(r.i%13 == 6, text(x.firstName(int(r.i)+1))) },
		"PerPersonal.preferredName": func(x *reader, r row) value {
			return optional(r.i%5 == 2, text(x.firstName(int(r.i))))
		},
		"PerPersonal.gender": func(x *reader, r row) value {
			if x.female(int(r.i)) {
				return text("F")
			}
			return text("M")
		},
		"PerPersonal.maritalStatus": func(x *reader, r row) value {
			return optional(r.i%8 != 3, text([]string{"10819", "10820", "10821"}[x.pick(int(r.i), 10, 3)]))
		},
		"PerPersonal.nationality":         func(x *reader, r row) value { return text(companyCountry[x.companyOf(int(r.i))].country) },
		"PerPersonal.nativePreferredLang": func(*reader, row) value { return text("10249") },
		"PerPersonal.salutation":          func(_ *reader, r row) value { return optional(r.i%2 == 0, text("2522")) },
		"PerPersonal.title":               func(_ *reader, r row) value { return optional(r.i%50 == 3, text(awkwardTitle)) },

		"PerEmail.emailType":    func(_ *reader, r row) value { return text([]string{businessMail, privateMail}[r.j]) },
		"PerEmail.isPrimary":    func(_ *reader, r row) value { return boolean(r.j == 0) },
		"PerEmail.emailAddress": func(x *reader, r row) value { return text(x.mail(int(r.i), int(r.j))) },

		"PerPhone.phoneType": func(_ *reader, r row) value { return text([]string{businessPhone, cellPhone}[r.j]) },
		"PerPhone.isPrimary": func(_ *reader, r row) value { return boolean(r.j == 0) },
		"PerPhone.countryCode": func(x *reader, r row) value {
			return text([]string{"49", "33", "34", "1", "81"}[x.companyOf(int(r.i))])
		},
		"PerPhone.areaCode": func(x *reader, r row) value {
			return optional(r.j == 0, text(fmt.Sprintf("%d", 100+x.pick(int(r.i), saltPhone+1, 800))))
		},
		"PerPhone.phoneNumber": func(x *reader, r row) value { return text(x.phone(int(r.i), int(r.j))) },

		"PerNationalId.cardType":   func(*reader, row) value { return text("ssn") },
		"PerNationalId.country":    func(x *reader, r row) value { return text(companyCountry[x.companyOf(int(r.i))].country) },
		"PerNationalId.isPrimary":  func(*reader, row) value { return boolean(true) },
		"PerNationalId.nationalId": func(x *reader, r row) value { return text(fmt.Sprintf("%011d", x.hash(int(r.i), 11)%100000000000)) },

		"PerAddressDEFLT.addressType": func(*reader, row) value { return text("home") },
		"PerAddressDEFLT.address1":    func(x *reader, r row) value { return text(fmt.Sprintf("Hauptstraße %d", 1+x.pick(int(r.i), 12, 200))) },
		"PerAddressDEFLT.city":        func(x *reader, r row) value { return text(locations[x.placeOf(int(r.i))].city) },
		"PerAddressDEFLT.country":     func(x *reader, r row) value { return text(locations[x.placeOf(int(r.i))].country) },
		"PerAddressDEFLT.state":       func(x *reader, r row) value { return optionalText(locations[x.placeOf(int(r.i))].state) },
		"PerAddressDEFLT.zipCode":     func(x *reader, r row) value { return text(locations[x.placeOf(int(r.i))].zip) },

		"PerEmergencyContacts.name":         func(x *reader, r row) value { return text(x.firstName(int(r.i)+3) + " " + x.currentName(int(r.i))) },
		"PerEmergencyContacts.relationship": func(*reader, row) value { return text("spouse") },
		"PerEmergencyContacts.phone":        func(x *reader, r row) value { return text(x.phone(int(r.i), 2)) },
		"PerEmergencyContacts.primaryFlag":  func(*reader, row) value { return text("Y") },

		"PersonEmpTerminationInfo.activeEmploymentsCount": func(x *reader, r row) value {
			if _, gone := x.terminated(int(r.i)); gone {
				return number(0)
			}
			return number(int64(x.employments(int(r.i))))
		},
		"PersonEmpTerminationInfo.latestTerminationDate": func(x *reader, r row) value {
			last, gone := x.terminated(int(r.i))
			return optional(gone, instant(last))
		},
	}
}

func (c *company) mail(i, j int) string {
	if j == 0 {
		return c.userName(i, 0) + "@" + c.domain
	}
	return c.userName(i, 0) + "@private.example"
}

func (c *company) phone(i, j int) string {
	return fmt.Sprintf("%07d", c.hash(i, saltPhone+2+uint64(j))%10000000)
}

func personNavigation(m *model) map[string]follower {
	own := func(t string) follower {
		target := m.byName[t]
		return func(x *reader, r row, out []row) []row { return allOf(target, x, int(r.i), out) }
	}
	data := map[string]follower{
		"PerPerson.emailNav":                    own("PerEmail"),
		"PerPerson.emergencyContactNav":         own("PerEmergencyContacts"),
		"PerPerson.homeAddressNavDEFLT":         own("PerAddressDEFLT"),
		"PerPerson.nationalIdNav":               own("PerNationalId"),
		"PerPerson.personalInfoNav":             own("PerPersonal"),
		"PerPerson.phoneNav":                    own("PerPhone"),
		"PerPerson.employmentNav":               own("EmpEmployment"),
		"PerPerson.personEmpTerminationInfoNav": own("PersonEmpTerminationInfo"),
	}
	for _, t := range []string{"PerPersonal", "PerEmail", "PerPhone", "PerNationalId", "PerAddressDEFLT", "PerEmergencyContacts", "EmpEmployment"} {
		data[t+".personNav"] = own("PerPerson")
	}
	return data
}
