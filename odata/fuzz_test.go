package odata_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"unicode"
	"unicode/utf8"

	"sfbroker/odata"
)

var (
	quotedLiteral  = regexp.MustCompile(`'(?:[^']|'')*'`)
	expressionPath = regexp.MustCompile(`[A-Za-z_]\w*(?:/[A-Za-z_]\w*)+`)
)

// FuzzParse: what is accepted is sent as it came, gives the same answer again, and everything that a naive reader
// with net/url's decoding finds in it is among the touches.
func FuzzParse(f *testing.F) {
	for _, target := range []string{
		microsoftFull, microsoftIncremental(), "/odata/v2/User('a')/manager?$select=hr/x,*&$orderby=hr/x", "/odata/v2/User,PerPerson/$metadata",
	} {
		f.Add(target)
	}
	f.Fuzz(func(t *testing.T, target string) {
		r, err := odata.Parse(http.MethodGet, target)
		if err != nil {
			var refusal *odata.Refusal
			if !errors.As(err, &refusal) || refusal.Reason == "" || refusal.Detail == "" ||
				!slices.Contains([]int{400, 403, 414}, refusal.Status) {
				t.Fatalf("%q: a refusal without cause: %v", target, err)
			}
			return
		}
		if r.Target != target {
			t.Fatalf("target %q became %q", target, r.Target)
		}
		if again, err := odata.Parse(http.MethodGet, r.Target); err != nil || !reflect.DeepEqual(r, again) {
			t.Fatalf("%q: %+v, then %+v, %v", target, r, again, err)
		}
		touched := paths(r)
		if unique := slices.Compact(slices.Clone(touched)); len(unique) != len(touched) {
			t.Fatalf("%q: touches are doubled: %q", target, touched)
		}
		for _, want := range naiveTouches(t, target) {
			if !slices.Contains(touched, want) {
				t.Fatalf("%q: %q is not among the touches %q", target, want, touched)
			}
		}
	})
}

func naiveTouches(t *testing.T, target string) []string {
	path, query, _ := strings.Cut(target, "?")
	var found []string
	base := ""
	for _, raw := range strings.Split(strings.TrimPrefix(path, "/odata/v2"), "/") {
		segment, err := url.PathUnescape(raw)
		if err != nil {
			t.Fatalf("path of %q: %v", target, err)
		}
		name, _, _ := strings.Cut(segment, "(")
		if name == "" || name[0] == '$' {
			continue
		}
		if base == "" {
			found = append(found, strings.Split(name, ",")...)
			base = name
			continue
		}
		base += "/" + name
		found = append(found, base)
	}
	for _, pair := range strings.Split(query, "&") {
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, _ := url.QueryUnescape(rawName)
		value, err := url.QueryUnescape(rawValue)
		if err != nil {
			value = strings.NewReplacer("+", " ", "%20", " ").Replace(rawValue)
		}
		switch name {
		case "$expand", "$select":
			for _, item := range strings.Split(value, ",") {
				found = append(found, prefixes(base, strings.TrimSpace(item), name == "$expand")...)
			}
		case "$filter", "$orderby":
			for _, item := range expressionPath.FindAllString(quotedLiteral.ReplaceAllString(value, " "), -1) {
				found = append(found, prefixes(base, item, false)...)
			}
		}
	}
	return found
}

func prefixes(base, path string, whole bool) []string {
	names := strings.Split(path, "/")
	if !whole {
		names = names[:len(names)-1]
	}
	var out []string
	for _, name := range names {
		if name == "" {
			continue
		}
		base += "/" + name
		out = append(out, base)
	}
	return out
}

// FuzzLinks: against encoding/json as an oracle, exactly the link strings of a document change, and they change as
// net/url says they must; a foreign one ends the answer; how the bytes arrive makes no difference.
func FuzzLinks(f *testing.F) {
	f.Add(page(600), byte(1))
	f.Add([]byte(`{"a":"\"__next\" : \"https://api012.successfactors.eu/x\"","__next":"https:\/\/api012.successfactors.eu:443\/x"}`), byte(3))
	f.Add([]byte(`{"__metadata":{"a":[{"uri":"x"}],"uri":"https://evil.example"}}`), byte(7))
	f.Fuzz(func(t *testing.T, document []byte, chunk byte) {
		got, err := io.ReadAll(odata.NewLinkReader(bytes.NewReader(document), testMap))
		slow, slowErr := io.ReadAll(odata.NewLinkReader(&chunkReader{bytes.NewReader(document), int(chunk) + 1}, testMap))
		if !bytes.Equal(got, slow) || (err == nil) != (slowErr == nil) {
			t.Fatalf("in chunks of %d: %q, %v; at once %q, %v", int(chunk)+1, slow, slowErr, got, err)
		}
		if !json.Valid(document) {
			return
		}
		in := tokens(t, document)
		if foreign := slices.IndexFunc(in, func(token jsonToken) bool { return token.link && verdict(token.raw) == "foreign" }); foreign >= 0 {
			var linkErr *odata.LinkError
			if !errors.As(err, &linkErr) {
				t.Fatalf("%q: a foreign link passed: %q, %v", document, got, err)
			}
			return
		}
		if slices.ContainsFunc(in, func(token jsonToken) bool { return token.link && verdict(token.raw) == "odd" }) || tooDeep(err) {
			return
		}
		if err != nil {
			t.Fatalf("%q: %v", document, err)
		}
		out := tokens(t, got)
		if len(in) != len(out) {
			t.Fatalf("%q became %q", document, got)
		}
		for i := range in {
			want := in[i].raw
			if in[i].link && verdict(want) == "ours" {
				if decoded(out[i].raw) != turned(decoded(want)) {
					t.Fatalf("%q: link %q became %q", document, want, out[i].raw)
				}
				want = out[i].raw
			}
			if want != out[i].raw || in[i].before != out[i].before {
				t.Fatalf("%q: %q%q became %q%q", document, in[i].before, in[i].raw, out[i].before, out[i].raw)
			}
		}
	})
}

type chunkReader struct {
	r    io.Reader
	size int
}

func (c *chunkReader) Read(p []byte) (int, error) { return c.r.Read(p[:min(len(p), c.size)]) }

func tooDeep(err error) bool {
	var linkErr *odata.LinkError
	return errors.As(err, &linkErr) && linkErr.Reason == odata.LinkTooDeep
}

// jsonToken is a token as encoding/json sees it, with what stands before it; link says that it is one by the rule.
type jsonToken struct {
	before, raw string
	link        bool
}

func tokens(t *testing.T, document []byte) []jsonToken {
	t.Helper()
	type frame struct {
		object, linkObject, haveKey bool
		key                         string
	}
	var out []jsonToken
	var stack []frame
	d := json.NewDecoder(bytes.NewReader(document))
	d.UseNumber()
	for last := 0; ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return append(out, jsonToken{before: string(document[last:])})
		}
		if err != nil {
			t.Fatalf("%q: %v", document, err)
		}
		end := int(d.InputOffset())
		start := last
		for strings.IndexByte(" \t\r\n,:", document[start]) >= 0 {
			start++
		}
		raw := string(document[start:end])
		next := jsonToken{before: string(document[last:start]), raw: raw}
		last = end
		top := &frame{}
		if len(stack) > 0 {
			top = &stack[len(stack)-1]
		}
		isKey := top.object && !top.haveKey && raw != "}"
		if _, isString := token.(string); isString && !isKey && top.haveKey {
			next.link = top.key == `"__next"` || (top.linkObject && slices.Contains([]string{`"uri"`, `"media_src"`, `"edit_media"`}, top.key))
		}
		out = append(out, next)
		switch {
		case isKey:
			top.key, top.haveKey = raw, true
		case raw == "{" || raw == "[":
			link := raw == "{" && top.haveKey && (top.key == `"__metadata"` || top.key == `"__deferred"`)
			top.haveKey = false
			stack = append(stack, frame{object: raw == "{", linkObject: link})
		case raw == "}" || raw == "]":
			stack = stack[:len(stack)-1]
		default:
			top.haveKey = false
		}
	}
}

func decoded(raw string) string {
	var s string
	_ = json.Unmarshal([]byte(raw), &s)
	return s
}

// verdict is net/url's; "odd" is what clients do not agree about, which may be refused or left alone.
func verdict(raw string) string {
	link := decoded(raw)
	if strings.ContainsFunc(link, func(r rune) bool { return r <= ' ' || r == '\\' }) {
		return "odd"
	}
	u, err := url.Parse(link)
	switch {
	case strings.HasPrefix(link, "//"):
		return "foreign"
	case err != nil:
		return "odd"
	case u.Scheme == "":
		return "relative"
	case u.Scheme == "https" && u.User == nil && strings.Map(asciiLower, u.Hostname()) == "api012.successfactors.eu" && (u.Port() == "" || u.Port() == "443"):
		return "ours"
	}
	return "foreign"
}

func asciiLower(r rune) rune {
	if 'A' <= r && r <= 'Z' {
		return unicode.ToLower(r)
	}
	return r
}

func turned(link string) string {
	after := link[len("https://"):]
	if at := strings.IndexAny(after, "/?#"); at >= 0 {
		return testMap.Public + after[at:]
	}
	return testMap.Public
}

// FuzzReadError: whatever comes, what is read is short, printable and on one line, and a login code is one.
func FuzzReadError(f *testing.F) {
	f.Add([]byte(`{"error":{"code":"COE0021","message":{"lang":"en-US","value":"[COE0021]Invalid property"}}}`))
	f.Add([]byte(`<error xmlns="http://schemas.microsoft.com/ado/2007/08/dataservices/metadata"><code>x</code><message xml:lang="en-US">[LGN0022]</message></error>`))
	f.Add([]byte("[LGN0007] token invalid\x00"))
	login := regexp.MustCompile(`^(LGN[0-9]{4})?$`)
	f.Fuzz(func(t *testing.T, body []byte) {
		code, message := odata.ReadError(body)
		for _, text := range []string{code, message} {
			if len(text) > 512 || !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Fatalf("%q: unfit for a log: %q", body, text)
			}
		}
		if len(code) > 64 || !login.MatchString(odata.LoginCode(body)) {
			t.Fatalf("%q: code %q, login code %q", body, code, odata.LoginCode(body))
		}
		for _, format := range []odata.Format{odata.V2JSON, odata.V2XML, odata.V4JSON} {
			var b bytes.Buffer
			if err := odata.WriteError(&b, format, odata.ErrorBody{Code: code, Message: message}); err != nil {
				t.Fatal(err)
			}
			if gotCode, gotMessage := odata.ReadError(b.Bytes()); gotMessage != message || (code != "" && gotCode != code) {
				t.Fatalf("%q, %q came back as %q, %q from %s", code, message, gotCode, gotMessage, b.Bytes())
			}
		}
		if _, err := io.ReadAll(odata.NewLinkReader(iotest.OneByteReader(bytes.NewReader(body)), testMap)); err != nil {
			var linkErr *odata.LinkError
			if !errors.As(err, &linkErr) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("%q: %v", body, err)
			}
		}
	})
}
