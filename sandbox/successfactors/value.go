package successfactors

import (
	"cmp"
	"math"
	"strconv"
	"strings"
	"time"
)

// kind is the class of a value: values of different kinds are never compared.
type kind uint8

const (
	kindNull kind = iota
	kindString
	kindBool
	kindNumber
	kindTime // milliseconds since 1970
	kindGUID
	kindBinary
)

func (k kind) String() string {
	return [...]string{"null", "string", "boolean", "number", "date", "guid", "binary"}[k]
}

// value is one primitive value. The zero value is null.
type value struct {
	kind  kind
	whole bool // a number whose n is exact; else n holds the bits of a float64
	n     int64
	s     string
}

func text(s string) value         { return value{kind: kindString, s: s} }
func number(n int64) value        { return value{kind: kindNumber, whole: true, n: n} }
func instant(ms int64) value      { return value{kind: kindTime, n: ms} }
func boolean(b bool) value        { return value{kind: kindBool, n: int64(boolInt(b))} }
func fraction(f float64) value    { return value{kind: kindNumber, n: int64(math.Float64bits(f))} }
func (v value) isTrue() bool      { return v.kind == kindBool && v.n != 0 }
func (v value) float() float64    { return floatOf(v) }
func (v value) time() time.Time   { return time.UnixMilli(v.n).UTC() }
func optionalText(s string) value { return optional(s != "", text(s)) }

func optional(there bool, v value) value {
	if there {
		return v
	}
	return value{}
}

func floatOf(v value) float64 {
	if v.whole {
		return float64(v.n)
	}
	return math.Float64frombits(uint64(v.n))
}

// compare orders two values of one kind; nulls come first.
func compare(a, b value) int {
	switch {
	case a.kind == kindNull || b.kind == kindNull:
		return cmp.Compare(boolInt(a.kind != kindNull), boolInt(b.kind != kindNull))
	case a.kind == kindString:
		return strings.Compare(a.s, b.s)
	case a.kind == kindNumber && (!a.whole || !b.whole):
		return cmp.Compare(a.float(), b.float())
	case a.kind == kindGUID || a.kind == kindBinary:
		return strings.Compare(strings.ToLower(a.s), strings.ToLower(b.s))
	default:
		return cmp.Compare(a.n, b.n)
	}
}

// plain is the value as it stands in $value and in key predicates, without quotes.
func (v value) plain() string {
	switch v.kind {
	case kindString, kindGUID, kindBinary:
		return v.s
	case kindBool:
		return strconv.FormatBool(v.n != 0)
	case kindNumber:
		if v.whole {
			return strconv.FormatInt(v.n, 10)
		}
		return strconv.FormatFloat(v.float(), 'f', -1, 64)
	case kindTime:
		return v.time().Format("2006-01-02T15:04:05")
	default:
		return ""
	}
}

const (
	dayMillis = int64(24 * time.Hour / time.Millisecond)
	endOfTime = int64(253402214400000) // 31 Dec 9999
	dawn      = int64(-2208988800000)  // 1 Jan 1900
)

// day is midnight of a date in milliseconds.
func day(year int, month time.Month, d int) int64 {
	return time.Date(year, month, d, 0, 0, 0, 0, time.UTC).UnixMilli()
}

func startOfDay(ms int64) int64 {
	d := ms / dayMillis
	if ms%dayMillis < 0 {
		d--
	}
	return d * dayMillis
}

// parseInstant reads the inside of datetime'..', datetimeoffset'..' and the date options.
func parseInstant(s string) (int64, bool) {
	for _, layout := range []string{
		"2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05", "2006-01-02T15:04Z07:00", "2006-01-02T15:04", "2006-01-02",
	} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UnixMilli(), true
		}
	}
	return 0, false
}
