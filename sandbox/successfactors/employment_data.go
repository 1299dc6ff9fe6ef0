package successfactors

import "time"

// employmentOfJob tells which employment record j of EmpJob belongs to.
func (x *reader) employmentOfJob(r row) int { return boolInt(int(r.j) >= x.jobs(int(r.i))) }

// leaving tells whether a record of EmpJob is the one that ends the employment.
func (x *reader) leaving(r row) bool {
	_, gone := x.terminated(int(r.i))
	return gone && int(r.j) == x.jobs(int(r.i))-1
}

// jobStatus is the picklist code of a record's emplStatus.
func (x *reader) jobStatus(r row) string {
	switch {
	case x.leaving(r) && r.i%5 == 0:
		return "R"
	case x.leaving(r):
		return "T"
	case r.i%61 == 30:
		return "P"
	default:
		return "A"
	}
}

func (x *reader) jobEvent(r row) int {
	switch {
	case x.leaving(r) && r.i%5 == 0:
		return 3
	case x.leaving(r):
		return 2
	case r.j == 0 || x.employmentOfJob(r) == 1:
		return 0
	default:
		return 1
	}
}

// managerID is NO_MANAGER at the top, as the field has it.
func managerID(i int) string {
	if b, ok := boss(i); ok {
		return userID(b, 0)
	}
	return "NO_MANAGER"
}

func employmentType(i int) string {
	if i%12 == 5 {
		return "TMP"
	}
	return "REG"
}

func employeeClass(i int) string {
	if i%40 == 11 {
		return "C"
	}
	return "E"
}

func optionID(code string) value { return text(number(options[optionOf(code)].id).plain()) }

func employmentData() map[string]accessor {
	data := map[string]accessor{
		"EmpEmployment.userId": func(_ *reader, r row) value { return text(userID(int(r.i), int(r.j))) },
		"EmpEmployment.endDate": func(x *reader, r row) value {
			last, gone := x.terminated(int(r.i))
			return optional(gone, instant(last))
		},
		"EmpEmployment.assignmentClass":    func(_ *reader, _ row) value { return text("ST") },
		"EmpEmployment.firstDateWorked":    func(x *reader, r row) value { return instant(x.hire(int(r.i))) },
		"EmpEmployment.originalStartDate":  func(x *reader, r row) value { return instant(x.hire(int(r.i))) },
		"EmpEmployment.seniorityDate":      func(x *reader, r row) value { return optional(r.i%6 != 5, instant(x.hire(int(r.i)))) },
		"EmpEmployment.isContingentWorker": func(_ *reader, r row) value { return boolean(employeeClass(int(r.i)) == "C") },
		"EmpEmployment.isECRecord":         func(*reader, row) value { return boolean(true) },
		"EmpEmployment.lastDateWorked": func(x *reader, r row) value {
			last, gone := x.terminated(int(r.i))
			return optional(gone, instant(last))
		},
		"EmpEmployment.employeeFirstEmployment": func(_ *reader, r row) value { return boolean(r.j == 0) },

		"EmpEmploymentTermination.endDate": func(x *reader, r row) value {
			last, _ := x.terminated(int(r.i))
			return instant(last)
		},
		"EmpEmploymentTermination.eventReason": func(_ *reader, r row) value {
			return text(eventReasons[2+boolInt(r.i%5 == 0)].code)
		},
		"EmpEmploymentTermination.okToRehire": func(_ *reader, r row) value { return boolean(r.i%3 != 0) },

		"EmpJobRelationships.relationshipType": func(*reader, row) value { return text("11515") },
		"EmpJobRelationships.relUserId":        func(_ *reader, r row) value { return text(userID(int(r.i)/2, 0)) },

		"Position.code":                      func(_ *reader, r row) value { return text(positionCode(int(r.i))) },
		"Position.positionId":                func(_ *reader, r row) value { return number(500000 + int64(r.i)) },
		"Position.effectiveStartDate":        func(*reader, row) value { return instant(dawn) },
		"Position.effectiveEndDate":          func(*reader, row) value { return instant(endOfTime) },
		"Position.effectiveStatus":           func(*reader, row) value { return text("A") },
		"Position.company":                   func(x *reader, r row) value { return text(companies[x.companyOf(int(r.i))].code) },
		"Position.department":                func(x *reader, r row) value { return text(departmentCode(x.departmentOf(int(r.i)))) },
		"Position.jobCode":                   func(x *reader, r row) value { return text(jobCode(x.jobCodeOf(int(r.i), 0))) },
		"Position.jobTitle":                  func(x *reader, r row) value { return text(jobTitles[x.jobCodeOf(int(r.i), 0)]) },
		"Position.externalName_defaultValue": func(x *reader, r row) value { return text(jobTitles[x.jobCodeOf(int(r.i), 0)]) },
	}
	for _, more := range []map[string]accessor{jobData(), userData()} {
		for name, get := range more {
			data[name] = get
		}
	}
	return data
}

func positionCode(i int) string { return "POS" + personID(i) }

func jobData() map[string]accessor {
	hired := func(x *reader, r row) value { return instant(x.hire(int(r.i))) }
	return map[string]accessor{
		"EmpJob.userId":       func(x *reader, r row) value { return text(userID(int(r.i), x.employmentOfJob(r))) },
		"EmpJob.seqNumber":    func(*reader, row) value { return number(1) },
		"EmpJob.company":      func(x *reader, r row) value { return text(companies[x.companyOf(int(r.i))].code) },
		"EmpJob.department":   func(x *reader, r row) value { return text(departmentCode(x.departmentOf(int(r.i)))) },
		"EmpJob.division":     func(x *reader, r row) value { return text(divisions[x.divisionOf(int(r.i))].code) },
		"EmpJob.businessUnit": func(x *reader, r row) value { return text(businessUnits[x.unitOf(int(r.i))].code) },
		"EmpJob.costCenter": func(x *reader, r row) value {
			return optional(r.i%17 != 8, text(costCenterCode(x.costCenterOf(int(r.i)))))
		},
		"EmpJob.location":            func(x *reader, r row) value { return text(locations[x.placeOf(int(r.i))].code) },
		"EmpJob.timezone":            func(x *reader, r row) value { return text(locations[x.placeOf(int(r.i))].zone) },
		"EmpJob.countryOfCompany":    func(x *reader, r row) value { return text(companyCountry[x.companyOf(int(r.i))].country) },
		"EmpJob.jobCode":             func(x *reader, r row) value { return text(jobCode(x.jobCodeOf(int(r.i), int(r.j)))) },
		"EmpJob.jobTitle":            func(x *reader, r row) value { return text(jobTitles[x.jobCodeOf(int(r.i), int(r.j))]) },
		"EmpJob.managerId":           func(_ *reader, r row) value { return text(managerID(int(r.i))) },
		"EmpJob.position":            func(_ *reader, r row) value { return text(positionCode(int(r.i))) },
		"EmpJob.emplStatus":          func(x *reader, r row) value { return optionID(x.jobStatus(r)) },
		"EmpJob.employeeClass":       func(_ *reader, r row) value { return optionID(employeeClass(int(r.i))) },
		"EmpJob.employmentType":      func(_ *reader, r row) value { return optionID(employmentType(int(r.i))) },
		"EmpJob.event":               func(x *reader, r row) value { return text(eventReasons[x.jobEvent(r)].event) },
		"EmpJob.eventReason":         func(x *reader, r row) value { return text(eventReasons[x.jobEvent(r)].code) },
		"EmpJob.fte":                 func(_ *reader, r row) value { return fraction([]float64{1, 1, 1, 0.8, 0.5}[r.i%5]) },
		"EmpJob.isFulltimeEmployee":  func(_ *reader, r row) value { return boolean(r.i%5 < 3) },
		"EmpJob.hireDate":            hired,
		"EmpJob.companyEntryDate":    hired,
		"EmpJob.departmentEntryDate": hired,
		"EmpJob.contractEndDate": func(x *reader, r row) value {
			return optional(employmentType(int(r.i)) == "TMP", instant(day(2028, time.December, 31)))
		},
		"EmpJob.terminationDate": func(x *reader, r row) value {
			last, _ := x.terminated(int(r.i))
			return optional(x.leaving(r), instant(last))
		},
		"EmpJob.customString9": func(x *reader, r row) value { return optional(r.i%23 == 4, text(x.ownLink("EmpJob", int(r.i)))) },
	}
}

// ownLink is an address of the server itself that stands in data, where nobody may rewrite it.
func (x *reader) ownLink(set string, i int) string {
	return x.base + "/odata/v2/" + set + "('" + personID(i) + "')"
}

func userData() map[string]accessor {
	hired := func(x *reader, r row) value { return instant(x.hire(int(r.i))) }
	return map[string]accessor{
		"User.userId":          func(_ *reader, r row) value { return text(userID(int(r.i), int(r.j))) },
		"User.username":        func(x *reader, r row) value { return text(x.userName(int(r.i), int(r.j))) },
		"User.firstName":       func(x *reader, r row) value { return text(x.firstName(int(r.i))) },
		"User.lastName":        func(x *reader, r row) value { return text(x.currentName(int(r.i))) },
		"User.defaultFullName": func(x *reader, r row) value { return text(x.firstName(int(r.i)) + " " + x.currentName(int(r.i))) },
		"User.nickname":        func(x *reader, r row) value { return optional(r.i%29 == 2, text(`the "`+x.firstName(int(r.i))+`"`)) },
		"User.email":           func(x *reader, r row) value { return text(x.mail(int(r.i), 0)) },
		"User.empId":           func(_ *reader, r row) value { return text(personID(int(r.i))) },
		"User.gender": func(x *reader, r row) value {
			if x.female(int(r.i)) {
				return text("F")
			}
			return text("M")
		},
		"User.status": func(x *reader, r row) value {
			if _, gone := x.terminated(int(r.i)); gone {
				return text("f")
			}
			return text([]string{"t", "e"}[boolInt(r.i%400 == 399)])
		},
		"User.dateOfBirth":  func(x *reader, r row) value { return instant(x.birth(int(r.i))) },
		"User.hireDate":     hired,
		"User.origHireDate": hired,
		"User.serviceDate":  func(x *reader, r row) value { return optional(r.i%6 != 5, instant(x.hire(int(r.i)))) },
		"User.department": func(x *reader, r row) value {
			return text(labelled(departmentName, departmentCode, x.departmentOf(int(r.i))))
		},
		"User.division": func(x *reader, r row) value { return text(divisions[x.divisionOf(int(r.i))].name) },
		"User.location": func(x *reader, r row) value { return text(locations[x.placeOf(int(r.i))].name) },
		"User.city":     func(x *reader, r row) value { return text(locations[x.placeOf(int(r.i))].city) },
		"User.country":  func(x *reader, r row) value { return text(locations[x.placeOf(int(r.i))].country) },
		"User.state":    func(x *reader, r row) value { return optionalText(locations[x.placeOf(int(r.i))].state) },
		"User.zipCode":  func(x *reader, r row) value { return text(locations[x.placeOf(int(r.i))].zip) },
		"User.jobCode":  func(x *reader, r row) value { return text(jobCode(x.jobCodeOf(int(r.i), 0))) },
		"User.title":    func(x *reader, r row) value { return text(jobTitles[x.jobCodeOf(int(r.i), 0)]) },
		"User.jobTitle": func(x *reader, r row) value { return text(jobTitles[x.jobCodeOf(int(r.i), 0)]) },
		"User.defaultLocale": func(x *reader, r row) value {
			return text([]string{"de_DE", "fr_FR", "es_ES", "en_US", "ja_JP"}[x.companyOf(int(r.i))])
		},
		"User.timeZone": func(x *reader, r row) value {
			return text([]string{"CET", "CET", "CET", "PST", "JST"}[x.companyOf(int(r.i))])
		},
		"User.businessPhone": func(x *reader, r row) value {
			return optional(phones(x.company, int(r.i)) > 0, text(x.phone(int(r.i), 0)))
		},
		"User.cellPhone": func(x *reader, r row) value {
			return optional(phones(x.company, int(r.i)) > 1, text(x.phone(int(r.i), 1)))
		},
		"User.totalTeamSize": func(x *reader, r row) value { return number(int64(len(x.reports(int(r.i))))) },
		"User.custom14": func(x *reader, r row) value {
			return optional(r.i%11 == 5, text(`{"__deferred" : {"uri" : "`+x.ownLink("User", int(r.i))+`"}}, "__next" : "`+x.base+`/odata/v2/User"`))
		},
		"User.custom15":           func(x *reader, r row) value { return optional(r.i%7 == 3, text(x.ownLink("User", int(r.i)))) },
		"User.lastModified":       func(x *reader, r row) value { return instant(x.modified(r)) },
		"User.lastModifiedWithTZ": func(x *reader, r row) value { return instant(x.modified(r)) },
		"User.sysSource":          func(*reader, row) value { return number(0) },
		"User.competency":         func(_ *reader, r row) value { return optional(r.i%4 == 1, fraction(3.5)) },
		"User.salary": func(x *reader, r row) value {
			return optional(r.i%4 == 2, fraction(float64(40000+x.pick(int(r.i), 13, 60000))+0.25))
		},
	}
}

func labelled(name, code func(int) string, i int) string { return name(i) + " (" + code(i) + ")" }

// reports are the workers right below one.
func (x *reader) reports(i int) []int {
	var out []int
	for k := 8*i + 1; k <= 8*i+8 && k < x.workers; k++ {
		out = append(out, k)
	}
	return out
}

func employmentNavigation(m *model) map[string]follower {
	job, employment, user := m.byName["EmpJob"], m.byName["EmpEmployment"], m.byName["User"]
	object := func(t string, index func(x *reader, i int) int) follower { return objects(m.byName[t], index) }
	at := func(t *entityType, i, j int, out []row) []row {
		return append(out, row{t: t, i: int32(i), j: int32(j)})
	}
	option := func(code func(x *reader, r row) string) follower {
		target := m.byName["PicklistOption"]
		return func(x *reader, r row, out []row) []row { return at(target, optionOf(code(x, r)), 0, out) }
	}
	manager := func(x *reader, r row, out []row) []row {
		b, ok := boss(int(r.i))
		if !ok {
			return out
		}
		return at(user, b, 0, out)
	}
	ofJob := func(t *entityType) follower {
		return func(x *reader, r row, out []row) []row { return at(t, int(r.i), x.employmentOfJob(r), out) }
	}
	jobs := func(x *reader, r row, out []row) []row {
		before := len(out)
		out = allOf(job, x, int(r.i), out)
		kept := out[:before]
		for _, record := range out[before:] {
			if x.employmentOfJob(record) == int(r.j) {
				kept = append(kept, record)
			}
		}
		return kept
	}
	same := func(t *entityType) follower {
		return func(x *reader, r row, out []row) []row { return at(t, int(r.i), int(r.j), out) }
	}
	first := func(t *entityType) follower {
		return func(x *reader, r row, out []row) []row { return at(t, int(r.i), 0, out) }
	}
	return map[string]follower{
		"EmpEmployment.jobInfoNav": jobs,
		"EmpEmployment.userNav":    same(user),
		"EmpEmployment.empJobRelationshipNav": func(x *reader, r row, out []row) []row {
			if r.j > 0 {
				return out
			}
			return allOf(m.byName["EmpJobRelationships"], x, int(r.i), out)
		},
		"EmpEmploymentTermination.employmentNav": first(employment),
		"EmpEmploymentTermination.jobInfoNav": func(x *reader, r row, out []row) []row {
			return at(job, int(r.i), x.jobs(int(r.i))-1, out)
		},
		"EmpJobRelationships.employmentNav": first(employment),
		"EmpJobRelationships.relEmploymentNav": func(x *reader, r row, out []row) []row {
			return at(employment, int(r.i)/2, 0, out)
		},
		"EmpJob.employmentNav":     ofJob(employment),
		"EmpJob.userNav":           ofJob(user),
		"EmpJob.managerUserNav":    manager,
		"EmpJob.companyNav":        object("FOCompany", func(x *reader, i int) int { return x.companyOf(i) }),
		"EmpJob.departmentNav":     object("FODepartment", func(x *reader, i int) int { return x.departmentOf(i) }),
		"EmpJob.divisionNav":       object("FODivision", func(x *reader, i int) int { return x.divisionOf(i) }),
		"EmpJob.businessUnitNav":   object("FOBusinessUnit", func(x *reader, i int) int { return x.unitOf(i) }),
		"EmpJob.locationNav":       object("FOLocation", func(x *reader, i int) int { return x.placeOf(i) }),
		"EmpJob.positionNav":       object("Position", func(_ *reader, i int) int { return i }),
		"EmpJob.emplStatusNav":     option(func(x *reader, r row) string { return x.jobStatus(r) }),
		"EmpJob.employeeClassNav":  option(func(_ *reader, r row) string { return employeeClass(int(r.i)) }),
		"EmpJob.employmentTypeNav": option(func(_ *reader, r row) string { return employmentType(int(r.i)) }),
		"EmpJob.costCenterNav": object("FOCostCenter", func(x *reader, i int) int {
			if i%17 == 8 {
				return -1
			}
			return x.costCenterOf(i)
		}),
		"EmpJob.jobCodeNav": func(x *reader, r row, out []row) []row {
			return allOf(m.byName["FOJobCode"], x, x.jobCodeOf(int(r.i), int(r.j)), out)
		},
		"EmpJob.payGradeNav": func(x *reader, r row, out []row) []row {
			return allOf(m.byName["FOPayGrade"], x, x.jobCodeOf(int(r.i), int(r.j))%payGradeCount, out)
		},
		"EmpJob.eventReasonNav": func(x *reader, r row, out []row) []row {
			return allOf(m.byName["FOEventReason"], x, x.jobEvent(r), out)
		},
		"User.manager": manager,
		"User.hr": func(x *reader, r row, out []row) []row {
			if x.workers < 6 || r.i%10 == 9 {
				return out
			}
			return at(user, 5, 0, out)
		},
		"User.empInfo": same(employment),
		"User.directReports": func(x *reader, r row, out []row) []row {
			for _, i := range x.reports(int(r.i)) {
				out = at(user, i, 0, out)
			}
			return out
		},
	}
}
