package successfactors

import (
	"strconv"
	"strings"
	"time"
)

// company is a company that nobody stores: every value is computed from the seed, the number of the worker and the name of
// what is asked for, so that 50,000 workers cost nothing to start and the same request has the same answer for ever.
type company struct {
	seed    uint64
	domain  string
	workers int
	// dependents are persons without an employment. They follow the workers, and their personEmpTerminationInfoNav is null.
	dependents int
}

// row names one row: the owner it belongs to (a worker, a department ...) and its place among the owner's rows.
type row struct {
	t    *entityType
	i, j int32
}

// reader is one request's sight of the company: the days it looks at and the origin it sees in data.
type reader struct {
	*company
	base     string
	from, to int64
}

// visible tells whether a row of an effective dated type is in force in the days that are looked at.
func (x *reader) visible(r row) bool {
	if r.t.period == nil {
		return true
	}
	start, end := r.t.period(x, r)
	return start <= x.to && end >= x.from
}

// follow appends what a navigation leads to: one row at most where it is not a collection.
func (x *reader) follow(n *navigation, r row, out []row) []row {
	if n.follow == nil {
		return out
	}
	before := len(out)
	out = n.follow(x, r, out)
	kept := out[:before]
	for _, to := range out[before:] {
		if x.visible(to) {
			kept = append(kept, to)
		}
	}
	if !n.many && len(kept) > before+1 {
		kept = append(kept[:before], kept[len(kept)-1])
	}
	return kept
}

func (x *reader) get(p *property, r row) value {
	if p.get == nil {
		return value{}
	}
	return p.get(x, r)
}

// Salts keep the questions about one worker apart.
const (
	saltHire = iota + 1000
	saltBirth
	saltGender
	saltFirst
	saltLast
	saltJobs
	saltTermination
	saltRename
	saltPlace
	saltPhone
	saltMail
	saltTime
	saltMisc
)

func (c *company) hash(i int, salt uint64) uint64 {
	z := c.seed + uint64(i+1)*0x9e3779b97f4a7c15 + salt*0xd1342543de82ef95
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb
	return z ^ (z >> 31)
}

func (c *company) pick(i int, salt uint64, n int) int {
	return int(c.hash(i, salt) % uint64(n))
}

func (c *company) persons() int { return c.workers + c.dependents }

// today is the last day that the company's records know of; what is dated later was planned.
var today = day(2026, time.June, 1)

// preHire: hired, and first at work after today.
func preHire(i int) bool { return i%101 == 100 }

func (c *company) hire(i int) int64 {
	switch {
	case i >= c.workers:
		return day(2015, time.January, 1)
	case preHire(i):
		return day(2027, time.January, 1) + int64(c.pick(i, saltHire, 90))*dayMillis
	}
	first := day(1990, time.January, 1)
	return first + int64(c.pick(i, saltHire, int((today-first)/dayMillis)-30))*dayMillis
}

func (c *company) birth(i int) int64 {
	if i >= c.workers {
		return day(2012, time.March, 1) + int64(c.pick(i, saltBirth, 3000))*dayMillis
	}
	return c.hire(i) - int64(18*365+c.pick(i, saltBirth, 25*365))*dayMillis
}

// terminated tells the last day of a worker who left.
func (c *company) terminated(i int) (int64, bool) {
	if i < 9 || i >= c.workers || preHire(i) || c.hash(i, saltTermination)%33 != 0 {
		return 0, false
	}
	hire := c.hire(i)
	days := int((today - hire) / dayMillis)
	return hire + int64(20+c.pick(i, saltTermination+100, days-19))*dayMillis - 10*dayMillis, true
}

// second tells whether a worker has two employments at once.
func (c *company) second(i int) bool {
	if i%50 != 49 || i >= c.workers || preHire(i) {
		return false
	}
	_, gone := c.terminated(i)
	return !gone
}

func (c *company) employments(i int) int { return 1 + boolInt(c.second(i)) }

// jobs counts the records of the first employment's history, the leaving included.
func (c *company) jobs(i int) int {
	_, gone := c.terminated(i)
	return c.positions(i) + boolInt(gone)
}

func (c *company) positions(i int) int {
	end := today
	if last, gone := c.terminated(i); gone {
		end = last
	}
	if end-c.hire(i) < 400*dayMillis {
		return 1
	}
	return 1 + c.pick(i, saltJobs, 3)
}

// jobPeriod tells when record j of a worker's EmpJob is in force. The record after the first employment's last is the second's.
func (c *company) jobPeriod(i, j int) (start, end int64) {
	jobs, positions := c.jobs(i), c.positions(i)
	hire, limit := c.hire(i), today
	last, gone := c.terminated(i)
	if gone {
		limit = last
	}
	begin := func(k int) int64 {
		if k == positions {
			return limit + dayMillis
		}
		return startOfDay(hire + int64(k)*(limit-hire)/int64(positions))
	}
	switch {
	case j >= jobs:
		return hire, endOfTime
	case j == jobs-1:
		return begin(j), endOfTime
	default:
		return begin(j), begin(j+1) - dayMillis
	}
}

// renamed tells the day from which a person bears another last name.
func (c *company) renamed(i int) (int64, bool) {
	if i >= c.workers || preHire(i) || c.hash(i, saltRename)%7 != 0 {
		return 0, false
	}
	hire := c.hire(i)
	return startOfDay(hire + (today-hire)/2), today-hire > 60*dayMillis
}

// boss is the manager in a tree in which everyone leads eight; the first worker has none.
func boss(i int) (int, bool) { return (i - 1) / 8, i > 0 }

func (c *company) female(i int) bool { return c.hash(i, saltGender)%2 == 0 }

func (c *company) firstName(i int) string {
	if c.female(i) {
		return femaleNames[c.pick(i, saltFirst, len(femaleNames))]
	}
	return maleNames[c.pick(i, saltFirst, len(maleNames))]
}

func (c *company) lastName(i int, later bool) string {
	return lastNames[c.pick(i, saltLast+uint64(boolInt(later))*100, len(lastNames))]
}

// currentName is the last name as of today.
func (c *company) currentName(i int) string {
	_, later := c.renamed(i)
	return c.lastName(i, later)
}

func (c *company) userName(i, j int) string {
	name := asciiOnly(strings.ToLower(c.firstName(i) + "." + c.currentName(i)))
	return name + "." + userID(i, j)
}

func asciiOnly(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r == '.' || r == '-' {
			return r
		}
		return -1
	}, s)
}

func (c *company) placeOf(i int) int      { return c.pick(i, saltPlace, len(locations)) }
func (c *company) companyOf(i int) int    { return c.placeOf(i) % len(companies) }
func (c *company) departmentOf(i int) int { return (i / 8) % departmentCount }
func (c *company) divisionOf(i int) int   { return c.departmentOf(i) % len(divisions) }
func (c *company) unitOf(i int) int       { return c.divisionOf(i) % len(businessUnits) }
func (c *company) costCenterOf(i int) int { return c.departmentOf(i) % costCenterCount }

// jobCodeOf is the trade of a worker in record j of the history.
func (c *company) jobCodeOf(i, j int) int {
	if i == 0 {
		return 0
	}
	return 1 + c.pick(i, saltMisc+uint64(j), len(jobTitles)-1)
}

func personID(i int) string { return strconv.Itoa(i + 1) }

func userID(i, j int) string {
	if j == 0 {
		return strconv.Itoa(i + 1)
	}
	return strconv.Itoa(i+1) + "-" + strconv.Itoa(j+1)
}

// workerOf is the way back from a person's or user's ID.
func workerOf(id string) (int, bool) {
	id, _, _ = strings.Cut(id, "-")
	n, err := strconv.Atoi(id)
	return n - 1, err == nil && n > 0
}

var femaleNames = []string{
	"Anna", "Maria", "Zoë", "Ingrid", "Chloé", "Sofía", "Aïcha", "Małgorzata", "Nadia", "Emma", "Olivia", "Yuki", "Mei", "Priya",
	"Fatma", "Élodie", "Anja", "Carmen", "Lucía", "Ольга", "Greta", "Siobhán", "Jana", "Noor", "Hannah", "Eva", "Thị Hương",
}

var maleNames = []string{
	"Jürgen", "Thomas", "José", "Liam", "Noah", "Łukasz", "Søren", "Åke", "Mehmet", "Arjun", "Kenji", "Wei", "François", "Иван",
	"Giovanni", "Peter", "Robert \"Bob\"", "Seán", "Omar", "David", "Björn", "Jean-Luc", "Matteo", "Kwame", "Paul", "Tomáš", "Nguyên",
}

var lastNames = []string{
	"Müller", "Schmidt", "O'Brien", "García López", "Nowak", "Çelik", "Nguyễn", "Tanaka", "王", "李", "Иванов", "D'Angelo", "Smith",
	"Jones", "Okafor", "Kowalski", "Weiß", "Dvořák", "Sørensen", "Åkesson", "Rossi", "Bianchi", "Dubois", "Lefèvre", "Silva", "Sousa",
	"van der Berg", "de Vries", "Patel", "Singh", "Kim", "Park", "Yılmaz", "Papadopoulos", "Öztürk", "Huber", "Meier", "Fischer-Lang",
	"Ó Conaill", "Brown", "Taylor", "Martin", "Bernard", "Petit", "Moreau", "Fernández", "Ruiz", "Costa", "Ferreira", "Haddad",
}
