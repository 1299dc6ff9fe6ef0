package odata

import (
	"net/http"
	"strings"
)

const (
	// maxTarget is twice what Microsoft's incremental query needs when it is encoded without mercy, twice over.
	maxTarget  = 16 << 10
	maxDepth   = 16
	maxTouches = 256

	root = "/odata/v2"
)

// Verb is what a request does to what it touches.
type Verb string

// The verbs of a policy. Parse finds only Read in this version: whatever would be another is refused.
const (
	Read   Verb = "read"
	Create Verb = "create"
	Update Verb = "update"
	Upsert Verb = "upsert"
	Delete Verb = "delete"
	Call   Verb = "call"
)

// Touch is one thing a request reaches: an entity set ("PerPerson") or a navigation from it
// ("PerPerson/employmentNav/jobInfoNav"). Where is the first place that names it: "path", "$expand", "$select",
// "$filter", "$orderby" or "$metadata".
type Touch struct {
	Verb  Verb
	Path  string
	Where string
}

// Request is what Parse understood. It is complete: a request reaches what Touches lists and nothing else.
type Request struct {
	// Method is GET or HEAD.
	Method string
	// Target is the request target byte for byte as Parse got it. Send this one.
	Target string
	// Root is the service root, "/odata/v2"; Path is the target's path, raw.
	Root, Path string
	// EntitySet is the first segment's entity set; empty for the service document and for $metadata, also of a list.
	EntitySet string
	// HasKey says that the path's last entity is addressed by its key.
	HasKey bool
	// Touches is free of duplicates and holds each prefix of each navigation before the navigation itself. It is empty
	// for the service document and for the whole company's $metadata; a list before $metadata is touched "in $metadata".
	Touches []Touch
	// Metadata, Service and Count say that $metadata, the service document or $count is asked for; Value is $value.
	Metadata, Service, Count, Value bool
	// Format is "json" or "xml" (also Atom) as $format says, else empty.
	Format string
	// Shape names the request without a literal of it, for audit and for counting like with like:
	// "PerPerson?$expand=employmentNav/userNav&$filter&customPageSize". Names stand in a fixed order.
	Shape string
	// FirstPage says that there is no $skiptoken; Snapshot that paging=snapshot is asked for, which a proxy must never
	// ask twice for a first page (facts: 30 minutes of blocked user).
	FirstPage, Snapshot bool
}

// Parse reads the raw target of a request line in origin form. The error is always a *Refusal.
//
// The path is not cleaned and the query is split on '&' alone; percent encoding is undone once, for the analysis only.
// A navigation counts with each of its prefixes. Without a model, what follows an entity in the path counts as a
// navigation even if it is a property, with or without $value, since $value also reads the media of an entity reached
// by navigation; in $select, $filter and $orderby all but the last segment count, for the last alone gives no data of
// what it leads to.
//
// Read in two ways, and therefore refused: encoded separators, dot segments, empty segments, matrix parameters,
// doubled encodings, options given twice. A ';', and an escape that is none (a bare '%'), pass inside a quoted literal
// of $filter, where every reading gives the same touches.
func Parse(method, target string) (*Request, error) {
	if method != http.MethodGet && method != http.MethodHead {
		return nil, notAnalysed(ReasonMethodNotAnalysed, "only GET and HEAD are analysed by this version")
	}
	if refusal := checkTarget(target); refusal != nil {
		return nil, refusal
	}
	path, query, _ := strings.Cut(target, "?")
	a := analysis{request: &Request{Method: method, Target: target, Root: root, Path: path, FirstPage: true}}
	if refusal := a.path(path); refusal != nil {
		return nil, refusal
	}
	if refusal := a.query(query); refusal != nil {
		return nil, refusal
	}
	a.request.Shape = a.shape()
	return a.request, nil
}

// analysis is one Parse under way. base is what $expand and the other options start from: where the path leads.
type analysis struct {
	request  *Request
	base     string
	keyed    bool
	lists    bool
	expanded []string
	seen     [optionCount]bool
}

func checkTarget(target string) *Refusal {
	if len(target) > maxTarget {
		return &Refusal{Reason: ReasonTargetTooLong, Status: http.StatusRequestURITooLong, Detail: "the target is longer than 16 KiB"}
	}
	if target == "" || target[0] != '/' {
		return malformed(ReasonTargetForm, "the target is not in origin form: it must begin with '/'")
	}
	for i := 0; i < len(target); i++ {
		if c := target[i]; c <= ' ' || c == 0x7f || c == '#' {
			return malformed(ReasonTargetBytes, "the target holds a control character, a space or '#'")
		}
	}
	return nil
}

// touch adds base/navigation with each of its prefixes; without its last segment when whole is false.
func (a *analysis) touch(navigation, where string, whole bool) *Refusal {
	if !whole {
		last := strings.LastIndexByte(navigation, '/')
		if last < 0 {
			return nil
		}
		navigation = navigation[:last]
	}
	if strings.Count(navigation, "/") >= maxDepth {
		return malformed(ReasonPathTooDeep, "a navigation in "+where+" is longer than 16 segments")
	}
	if a.touched(navigation) {
		return nil // and so are its prefixes
	}
	full := a.base + "/" + navigation
	for i := len(a.base) + 1; i < len(full); i++ {
		if full[i] == '/' {
			a.add(full[:i], where)
		}
	}
	a.add(full, where)
	if len(a.request.Touches) > maxTouches {
		return malformed(ReasonTooManyTouches, "the request reaches more than 256 entity sets and navigations")
	}
	return nil
}

func (a *analysis) touched(navigation string) bool {
	for i := range a.request.Touches {
		path := a.request.Touches[i].Path
		if len(path) == len(a.base)+1+len(navigation) && path[len(a.base)] == '/' &&
			path[len(a.base)+1:] == navigation && path[:len(a.base)] == a.base {
			return true
		}
	}
	return false
}

func (a *analysis) add(path, where string) {
	for i := range a.request.Touches {
		if a.request.Touches[i].Path == path {
			return
		}
	}
	a.request.Touches = append(a.request.Touches, Touch{Verb: Read, Path: path, Where: where})
}
