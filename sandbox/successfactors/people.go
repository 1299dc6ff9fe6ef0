package successfactors

import "time"

type (
	accessor = func(x *reader, r row) value
	follower = func(x *reader, r row, out []row) []row
)

// rowSource says which rows a type has; model.go explains the members.
type rowSource struct {
	outer  func(c *company) int
	inner  func(c *company, i int) int
	period func(x *reader, r row) (start, end int64)
	owner  func(c *company, keys []value) (int, bool)
}

func one(*company, int) int { return 1 }

func anywhere(*company, []value) (int, bool) { return 0, true }

// byID finds the worker in the key member at place k.
func byID(k int) func(*company, []value) (int, bool) {
	return func(_ *company, keys []value) (int, bool) {
		i, ok := workerOf(keys[k].s)
		if !ok {
			return -1, false
		}
		return i, false
	}
}

// objects leads to all versions of a foundation object; -1 leads nowhere.
func objects(t *entityType, index func(x *reader, i int) int) follower {
	return func(x *reader, r row, out []row) []row { return allOf(t, x, index(x, int(r.i)), out) }
}

// allOf appends every row that owner i has in a type.
func allOf(t *entityType, x *reader, i int, out []row) []row {
	if i < 0 || t.outer == nil || i >= t.outer(x.company) {
		return out
	}
	for j := range t.inner(x.company, i) {
		out = append(out, row{t: t, i: int32(i), j: int32(j)})
	}
	return out
}

func rowData() map[string]rowSource {
	workers := func(c *company) int { return c.workers }
	persons := func(c *company) int { return c.persons() }
	data := map[string]rowSource{
		"PerPerson":                {outer: persons, inner: one, owner: byID(0)},
		"PerPersonal":              {outer: persons, inner: names, period: namePeriod, owner: byID(0)},
		"PerEmail":                 {outer: workers, inner: mails, owner: byID(1)},
		"PerPhone":                 {outer: workers, inner: phones, owner: byID(0)},
		"PerNationalId":            {outer: workers, inner: one, owner: byID(2)},
		"PerAddressDEFLT":          {outer: workers, inner: one, period: sinceHire, owner: byID(1)},
		"PerEmergencyContacts":     {outer: workers, inner: contacts, owner: byID(1)},
		"PersonEmpTerminationInfo": {outer: workers, inner: one, owner: byID(0)},
		"EmpEmployment":            {outer: workers, inner: func(c *company, i int) int { return c.employments(i) }, owner: byID(0)},
		"EmpEmploymentTermination": {outer: workers, inner: leavings, owner: byID(1)},
		"EmpJob":                   {outer: workers, inner: jobRecords, period: jobPeriod, owner: byID(2)},
		"EmpJobRelationships":      {outer: workers, inner: relations, period: sinceHire, owner: byID(2)},
		"User":                     {outer: workers, inner: func(c *company, i int) int { return c.employments(i) }, owner: byID(0)},
		"Position":                 {outer: workers, inner: one, owner: anywhere},
	}
	for name, s := range foundationRows() {
		data[name] = s
	}
	return data
}

func names(c *company, i int) int {
	_, changed := c.renamed(i)
	return 1 + boolInt(changed)
}

func mails(c *company, i int) int { return 1 + boolInt(c.hash(i, saltMail)%3 == 0) }

func phones(c *company, i int) int { return c.pick(i, saltPhone, 3) }

func contacts(c *company, i int) int { return boolInt(c.hash(i, saltMisc)%4 == 0) }

func relations(_ *company, i int) int { return boolInt(i%20 == 7) }

func leavings(c *company, i int) int {
	_, gone := c.terminated(i)
	return boolInt(gone)
}

func jobRecords(c *company, i int) int { return c.jobs(i) + boolInt(c.second(i)) }

func jobPeriod(x *reader, r row) (start, end int64) { return x.jobPeriod(int(r.i), int(r.j)) }

func sinceHire(x *reader, r row) (start, end int64) { return x.hire(int(r.i)), endOfTime }

func namePeriod(x *reader, r row) (start, end int64) {
	i := int(r.i)
	change, changed := x.renamed(i)
	switch {
	case !changed:
		return x.hire(i), endOfTime
	case r.j == 0:
		return x.hire(i), change - dayMillis
	default:
		return change, endOfTime
	}
}

// created and modified date a row's record itself: never after today, and never the first after the second.
func (x *reader) created(r row) int64 {
	h := x.hash(int(r.i), saltTime+r.t.ord*16+uint64(r.j))
	at := day(2010, time.January, 1)
	if r.t.period == nil || r.t.outer(x.company) >= x.workers {
		at = min(x.hire(int(r.i)), today-40*dayMillis)
	}
	return at + int64(h%uint64(dayMillis/1000))*1000
}

func (x *reader) modified(r row) int64 {
	h := x.hash(int(r.i), saltTime+r.t.ord*16+8+uint64(r.j))
	at := x.created(r)
	return at + int64(h%uint64((today-at)/1000))*1000
}

// commonData are the members that mean the same in every type.
func commonData() map[string]accessor {
	started := func(x *reader, r row) value {
		if r.t.period == nil {
			return instant(x.hire(int(r.i)))
		}
		start, _ := r.t.period(x, r)
		return instant(start)
	}
	ended := func(x *reader, r row) value {
		if r.t.period == nil {
			return value{}
		}
		_, end := r.t.period(x, r)
		return instant(end)
	}
	created := func(x *reader, r row) value { return instant(x.created(r)) }
	modified := func(x *reader, r row) value { return instant(x.modified(r)) }
	return map[string]accessor{
		"createdBy": func(*reader, row) value { return text("sfadmin") },
		"lastModifiedBy": func(x *reader, r row) value {
			return text([]string{"sfadmin", "v4admin", "1"}[x.pick(int(r.i), r.t.ord, 3)])
		},
		"createdDateTime": created, "createdOn": created, "lastModifiedDateTime": modified, "lastModifiedOn": modified,
		"startDate": started, "endDate": ended,
		"personIdExternal": func(_ *reader, r row) value { return text(personID(int(r.i))) },
		"userId":           func(_ *reader, r row) value { return text(userID(int(r.i), 0)) },
	}
}

func propertyData() map[string]accessor {
	data := personData()
	for _, more := range []map[string]accessor{employmentData(), foundationData()} {
		for name, get := range more {
			data[name] = get
		}
	}
	return data
}

func navigationData(m *model) map[string]follower {
	data := personNavigation(m)
	for _, more := range []map[string]follower{employmentNavigation(m), foundationNavigation(m)} {
		for name, follow := range more {
			data[name] = follow
		}
	}
	return data
}
