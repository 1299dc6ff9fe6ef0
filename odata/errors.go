package odata

import (
	"encoding/json"
	"encoding/xml"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Format is the form of an error.
type Format int

// The forms of an error: OData version 2 in JSON and XML, version 4 in JSON.
const (
	V2JSON Format = iota
	V2XML
	V4JSON
)

// ContentType is the media type that goes with the form.
func (f Format) ContentType() string {
	if f == V2XML {
		return "application/xml;charset=utf-8"
	}
	return "application/json;charset=utf-8"
}

// ErrorBody is an error for a caller. InnerError and RequestID ("request_id") become members of innererror; a key that
// is not a plain name is left out of XML.
type ErrorBody struct {
	Code, Message, RequestID string
	InnerError               map[string]string
}

// ErrorFormat picks the form of an error for a request: $format decides, then the Accept header, then JSON.
// SuccessFactors itself answers XML unless asked for JSON; the broker's own errors are read by people who debug a
// script that sends "*/*" or nothing, and are JSON unless XML is asked for by name.
func ErrorFormat(accept, target string) (Format, string) {
	f := V2JSON
	path, query, _ := strings.Cut(target, "?")
	wants := formatOption(query)
	switch {
	case strings.HasPrefix(path, "/odatav4") || strings.HasPrefix(path, "/odata/v4"):
		f = V4JSON
	case wants == "xml" || (wants == "" && prefersXML(accept)):
		f = V2XML
	}
	return f, f.ContentType()
}

// formatOption finds $format in a query that may be anything; the last one counts, for nothing rests on it.
func formatOption(query string) string {
	format := ""
	for pair := range strings.SplitSeq(query, "&") {
		rawName, value, _ := strings.Cut(pair, "=")
		name, _, _ := decode(rawName, true)
		if name != "$format" {
			continue
		}
		text, _, _ := decode(value, true)
		switch text = strings.ToLower(text); {
		case strings.Contains(text, "json"):
			format = "json"
		case strings.Contains(text, "xml"), strings.Contains(text, "atom"):
			format = "xml"
		}
	}
	return format
}

// prefersXML tells whether XML or Atom is named with a higher weight than JSON, or the same and earlier.
func prefersXML(accept string) bool {
	bestXML, bestJSON := 0.0, 0.0
	first := ""
	for item := range strings.SplitSeq(strings.ToLower(accept), ",") {
		mediaType, parameters, _ := strings.Cut(item, ";")
		weight := acceptWeight(parameters)
		switch mediaType = strings.TrimSpace(mediaType); {
		case mediaType == "application/json" || mediaType == "text/json" || strings.HasSuffix(mediaType, "+json"):
			bestJSON = max(bestJSON, weight)
			if first == "" {
				first = "json"
			}
		case mediaType == "application/xml" || mediaType == "text/xml" || strings.HasSuffix(mediaType, "+xml"):
			bestXML = max(bestXML, weight)
			if first == "" {
				first = "xml"
			}
		}
	}
	return bestXML > bestJSON || (bestXML > 0 && bestXML == bestJSON && first == "xml")
}

func acceptWeight(parameters string) float64 {
	for parameter := range strings.SplitSeq(parameters, ";") {
		if q, ok := strings.CutPrefix(strings.TrimSpace(parameter), "q="); ok {
			if weight, err := strconv.ParseFloat(q, 64); err == nil && weight >= 0 && weight <= 1 {
				return weight
			}
			return 0
		}
	}
	return 1
}

type v2Error struct {
	Error struct {
		Code       string            `json:"code"`
		Message    v2Message         `json:"message"`
		InnerError map[string]string `json:"innererror,omitempty"`
	} `json:"error"`
}

type v2Message struct {
	Lang  string `json:"lang"`
	Value string `json:"value"`
}

type v4Error struct {
	Error struct {
		Code       string            `json:"code"`
		Message    string            `json:"message"`
		InnerError map[string]string `json:"innererror,omitempty"`
	} `json:"error"`
}

// WriteError writes e in one Write.
func WriteError(w io.Writer, f Format, e ErrorBody) error {
	inner := maps.Clone(e.InnerError)
	if e.RequestID != "" {
		if inner == nil {
			inner = make(map[string]string, 1)
		}
		inner["request_id"] = e.RequestID
	}
	var body []byte
	var err error
	switch f {
	case V2XML:
		body = xmlError(e, inner)
	case V4JSON:
		var v v4Error
		v.Error.Code, v.Error.Message, v.Error.InnerError = e.Code, e.Message, inner
		body, err = json.Marshal(v)
	default:
		var v v2Error
		v.Error.Code, v.Error.Message, v.Error.InnerError = e.Code, v2Message{"en-US", e.Message}, inner
		body, err = json.Marshal(v)
	}
	if err != nil {
		return err
	}
	_, err = w.Write(body)
	return err
}

func xmlError(e ErrorBody, inner map[string]string) []byte {
	var b strings.Builder
	b.WriteString(`<?xml version="1.0" encoding="utf-8"?><error xmlns="http://schemas.microsoft.com/ado/2007/08/dataservices/metadata"><code>`)
	escapeXML(&b, e.Code)
	b.WriteString(`</code><message xml:lang="en-US">`)
	escapeXML(&b, e.Message)
	b.WriteString(`</message>`)
	if len(inner) > 0 {
		b.WriteString(`<innererror>`)
		for _, key := range slices.Sorted(maps.Keys(inner)) {
			if key == "" || nameEnd(key, 0) != len(key) {
				continue
			}
			b.WriteString("<" + key + ">")
			escapeXML(&b, inner[key])
			b.WriteString("</" + key + ">")
		}
		b.WriteString(`</innererror>`)
	}
	b.WriteString(`</error>`)
	return []byte(b.String())
}

func escapeXML(b *strings.Builder, s string) {
	// A strings.Builder does not fail.
	_ = xml.EscapeText(b, []byte(s))
}
