package odata_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"sfbroker/odata"
)

var testMap = odata.LinkMap{Upstream: "https://api012.successfactors.eu", Public: "http://127.0.0.1:8020"}

// rewrite reads document in every way that could matter and wants the same answer from each.
func rewrite(t *testing.T, m odata.LinkMap, document string) (string, int, error) {
	t.Helper()
	l := odata.NewLinkReader(strings.NewReader(document), m)
	want, wantErr := io.ReadAll(l)
	links := l.Links()
	for name, r := range map[string]io.Reader{
		"one byte": iotest.OneByteReader(strings.NewReader(document)),
		"half":     iotest.HalfReader(strings.NewReader(document)),
		"data+EOF": iotest.DataErrReader(strings.NewReader(document)),
	} {
		got, err := io.ReadAll(odata.NewLinkReader(r, m))
		if !bytes.Equal(got, want) || fmt.Sprint(err) != fmt.Sprint(wantErr) {
			t.Errorf("%s: %q, %v; want %q, %v", name, got, err, want, wantErr)
		}
	}
	l.Reset(strings.NewReader(document), m)
	got, err := io.ReadAll(iotest.OneByteReader(l))
	if !bytes.Equal(got, want) || fmt.Sprint(err) != fmt.Sprint(wantErr) || l.Links() != links {
		t.Errorf("reset, read by one byte: %q, %v; want %q, %v", got, err, want, wantErr)
	}
	return string(want), links, wantErr
}

func TestLinksRewritten(t *testing.T) {
	for name, row := range map[string][2]string{
		"next": {
			`{"d" : {"results" : [], "__next" : "https://api012.successfactors.eu/odata/v2/User?$skiptoken=x;y%20'"}}`,
			`{"d" : {"results" : [], "__next" : "http://127.0.0.1:8020/odata/v2/User?$skiptoken=x;y%20'"}}`,
		},
		"default port": {
			`{"__next":"https://api012.successfactors.eu:443/odata/v2/User"}`,
			`{"__next":"http://127.0.0.1:8020/odata/v2/User"}`,
		},
		"upper case": {
			`{"__next":"HTTPS://API012.SuccessFactors.EU/odata/v2/User"}`,
			`{"__next":"http://127.0.0.1:8020/odata/v2/User"}`,
		},
		"no path": {
			`{"__next":"https://api012.successfactors.eu"}`,
			`{"__next":"http://127.0.0.1:8020"}`,
		},
		"empty port and query": {
			`{"__next":"https://api012.successfactors.eu:?x"}`,
			`{"__next":"http://127.0.0.1:8020?x"}`,
		},
		"metadata with type first": {
			`{"__metadata":{"type":"SFOData.User","uri":"https://api012.successfactors.eu/odata/v2/User('a')"},"x":1}`,
			`{"__metadata":{"type":"SFOData.User","uri":"http://127.0.0.1:8020/odata/v2/User('a')"},"x":1}`,
		},
		"media links": {
			`{"__metadata" : {"uri" : "https://api012.successfactors.eu/a", "media_src" : "https://api012.successfactors.eu/b", "edit_media" : "https://api012.successfactors.eu/c", "content_type" : "https://api012.successfactors.eu/d", "n" : -1.5e3, "t" : true, "z" : null}}`,
			`{"__metadata" : {"uri" : "http://127.0.0.1:8020/a", "media_src" : "http://127.0.0.1:8020/b", "edit_media" : "http://127.0.0.1:8020/c", "content_type" : "https://api012.successfactors.eu/d", "n" : -1.5e3, "t" : true, "z" : null}}`,
		},
		"deferred": {
			"{\"userNav\"\t:\r\n{ \"__deferred\"\n:\n {\n\"uri\" \t: \n\"https://api012.successfactors.eu/odata/v2/EmpJob(seqNumber=1L,startDate=datetime'2017-03-13T00:00:00',userId='a')/userNav\" } } }",
			"{\"userNav\"\t:\r\n{ \"__deferred\"\n:\n {\n\"uri\" \t: \n\"http://127.0.0.1:8020/odata/v2/EmpJob(seqNumber=1L,startDate=datetime'2017-03-13T00:00:00',userId='a')/userNav\" } } }",
		},
		"escaped slashes": {
			`{"__next":"https:\/\/api012.successfactors.eu:443\/odata\/v2\/User"}`,
			`{"__next":"http:\/\/127.0.0.1:8020\/odata\/v2\/User"}`,
		},
		"slashes escaped in the path alone": {
			`{"__next":"https://api012.successfactors.eu\/odata\/v2\/User"}`,
			`{"__next":"http://127.0.0.1:8020\/odata\/v2\/User"}`,
		},
		"slashes as code points": {
			`{"__next":"https:\u002f\u002fapi012.successfactors.eu\u002fodata","a":[{"__next":"https:\u002F\u002Fapi012.successfactors.eu"}]}`,
			`{"__next":"http:\u002f\u002f127.0.0.1:8020\u002fodata","a":[{"__next":"http:\u002F\u002F127.0.0.1:8020"}]}`,
		},
		"letters as code points": {
			`{"__next":"\u0068ttps://\u0061pi012.successfactors.eu\u003a443/x\u0022"}`,
			`{"__next":"http://127.0.0.1:8020/x\u0022"}`,
		},
		"quotes in a link": {
			`{"__metadata":{"uri":"https://api012.successfactors.eu/User('\"\\')"},"v":"\\"}`,
			`{"__metadata":{"uri":"http://127.0.0.1:8020/User('\"\\')"},"v":"\\"}`,
		},
		"backslash before a closing quote": {
			`{"__metadata":{"type":"a\\","uri":"https://api012.successfactors.eu/x\\"},"b":"\\","__next":"https://api012.successfactors.eu/y"}`,
			`{"__metadata":{"type":"a\\","uri":"http://127.0.0.1:8020/x\\"},"b":"\\","__next":"http://127.0.0.1:8020/y"}`,
		},
		"links of nested objects": {
			`{"__metadata":{"a":{"uri":"https://api012.successfactors.eu/data","__deferred":{"uri":"https://api012.successfactors.eu/l"},"b":[{"uri":"x"},["uri"]]},"uri":"https://api012.successfactors.eu/m"},"uri":"https://api012.successfactors.eu/data"}`,
			`{"__metadata":{"a":{"uri":"https://api012.successfactors.eu/data","__deferred":{"uri":"http://127.0.0.1:8020/l"},"b":[{"uri":"x"},["uri"]]},"uri":"http://127.0.0.1:8020/m"},"uri":"https://api012.successfactors.eu/data"}`,
		},
		"next after an expanded list": {
			`{"emailNav":{"results":[{"__metadata":{"uri":"https://api012.successfactors.eu/e"}}],"__next":"https://api012.successfactors.eu/n"}}`,
			`{"emailNav":{"results":[{"__metadata":{"uri":"http://127.0.0.1:8020/e"}}],"__next":"http://127.0.0.1:8020/n"}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, links, err := rewrite(t, testMap, row[0])
			if err != nil || got != row[1] || links == 0 {
				t.Errorf("%d links, %v\n got %s\nwant %s", links, err, got, row[1])
			}
		})
	}
}

// Each row is a neighbour of one above and holds nothing that may be changed.
func TestDataNeverRewritten(t *testing.T) {
	for name, document := range map[string]string{
		"empty":                         ``,
		"scalar":                        `"__next"`,
		"name in a string":              `{"a":"\"__next\" : \"https://api012.successfactors.eu/x\""}`,
		"name ends a string":            `{"a":"\"__next","b":"https://api012.successfactors.eu/x"}`,
		"name ends a string before :":   `{"a\"__next":"https://api012.successfactors.eu/x"}`,
		"name after backslashes":        `{"a":"\\\"__next\":\"https://api012.successfactors.eu/x\""}`,
		"object in a string":            `{"a":"{\"__metadata\":{\"uri\":\"https://api012.successfactors.eu/x\"}}"}`,
		"name as a value":               `{"a":"__next","b":["__next","https://api012.successfactors.eu/x"]}`,
		"uri outside of link objects":   `{"uri":"https://api012.successfactors.eu/x"}`,
		"uri after a link object":       `{"__metadata":{"type":"x"},"uri":"https://api012.successfactors.eu/x"}`,
		"uri as a value":                `{"__metadata":{"type":"uri","a":["uri","https://api012.successfactors.eu/x"]}}`,
		"braces in strings":             `{"__metadata":{"type":"}"},"uri":"https://api012.successfactors.eu/}"}`,
		"link members of other types":   `{"__next":null,"__metadata":{"uri":["https://api012.successfactors.eu/x"]},"__deferred":"https://api012.successfactors.eu/x"}`,
		"longer names":                  `{"__nextLink":"https://api012.successfactors.eu/x","___next":"https://api012.successfactors.eu/x"}`,
		"other case":                    `{"__Next":"https://api012.successfactors.eu/x","__metadata":{"URI":"https://api012.successfactors.eu/x"}}`,
		"relative":                      `{"__next":"User?$skiptoken=x","__metadata":{"uri":"PerEmail(emailType='8448',personIdExternal='108729')"},"__deferred":{"uri":"\/odata\/v2\/User"}}`,
		"relative with colon in key":    `{"__metadata":{"uri":"User('https://evil.example')"}}`,
		"empty link":                    `{"__next":""}`,
		"date":                          `{"__metadata":{"type":"a"},"lastModified":"\/Date(1651153849000+0000)\/"}`,
		"not JSON":                      `<html>"__next" is not "uri": here_</html>`,
		"underscores":                   `"_` + strings.Repeat(`_`, 100) + `"__nex"__met"__`,
		"foreign address that is data":  `{"__metadata":{"type":"https://evil.example/x"},"uri":"https://evil.example/x"}`,
		"upstream address in the query": `{"__next":"User?x=https://api012.successfactors.eu/x"}`,
	} {
		t.Run(name, func(t *testing.T) {
			got, links, err := rewrite(t, testMap, document)
			if err != nil || got != document || links != 0 {
				t.Errorf("%d links, %v\n got %s\nwant %s", links, err, got, document)
			}
		})
	}
}

func TestForeignLinksEndTheAnswer(t *testing.T) {
	for name, link := range map[string]string{
		"other host":            "https://evil.example/odata/v2/User",
		"longer host":           "https://api012.successfactors.eu.evil.example/x",
		"trailing dot":          "https://api012.successfactors.eu./x",
		"user information":      "https://api012.successfactors.eu@evil.example/x",
		"user information, own": "https://u@api012.successfactors.eu/x",
		"other port":            "https://api012.successfactors.eu:8443/x",
		"port of longer digits": "https://api012.successfactors.eu:4430/x",
		"other scheme":          "http://api012.successfactors.eu/x",
		"network path":          "//api012.successfactors.eu/x",
		"network path escaped":  `\/\/evil.example/x`,
		"backslash":             `https://api012.successfactors.eu\\.evil.example/x`,
		"backslashes first":     `\\\\evil.example/x`,
		"slash and backslash":   `/\\evil.example/x`,
		"blank first":           ` https://evil.example/x`,
		"tab inside":            `ht\ttps://evil.example/x`,
		"script":                "javascript:alert(1)",
		"scheme without slash":  "https:api012.successfactors.eu/x",
		"encoded host":          `https://api012%2esuccessfactors.eu/x`,
		"letters as code point": `https://\u0065vil.example/x`,
	} {
		for _, document := range []string{
			`{"d":{"results":[{"a":1}],"__next":"%s"}}`,
			`{"d":{"results":[{"a":1},{"__metadata":{"type":"a","uri":"%s"}}]}}`,
			`{"d":{"results":[{"a":1},{"__metadata":{"media_src":"%s"}}]}}`,
			`{"d":{"results":[{"a":1},{"b":{"__deferred":{"uri":"%s"}}}]}}`,
		} {
			got, _, err := rewrite(t, testMap, fmt.Sprintf(document, link))
			var linkErr *odata.LinkError
			if !errors.As(err, &linkErr) || linkErr.Reason != odata.LinkForeign || linkErr.Member == "" {
				t.Errorf("%s: %v\n%s", name, err, got)
				continue
			}
			if !strings.HasPrefix(got, `{"d":{"results":[{"a":1}`) || strings.Contains(got, "x\"") || strings.Contains(err.Error(), "evil") {
				t.Errorf("%s: got %s, %v", name, got, err)
			}
		}
	}
}

func TestBasePaths(t *testing.T) {
	m := odata.LinkMap{Upstream: "http://[::1]:8080/base/", Public: "https://broker.example/sf/"}
	for link, want := range map[string]string{
		"http://[::1]:8080/base/odata/v2/User": "https://broker.example/sf/odata/v2/User",
		`http:\/\/[::1]:8080\/base\/x`:         `https:\/\/broker.example\/sf\/x`,
		"http://[::1]:8080/base":               "https://broker.example/sf",
		"http://[::1]:8080/base?x":             "https://broker.example/sf?x",
		"http://[::1]:8080/basement/x":         "",
		"http://[::1]:8080/odata/v2/User":      "",
		"http://[::1]/base/odata/v2/User":      "",
		"http://[::1]:8080":                    "",
	} {
		got, _, err := rewrite(t, m, `{"__next":"`+link+`"}`)
		if want == "" {
			var linkErr *odata.LinkError
			if !errors.As(err, &linkErr) || linkErr.Reason != odata.LinkForeign {
				t.Errorf("%s: %s, %v; want it to be foreign", link, got, err)
			}
			continue
		}
		if err != nil || got != `{"__next":"`+want+`"}` {
			t.Errorf("%s: %s, %v", link, got, err)
		}
	}
}

func TestLinkMap(t *testing.T) {
	for url, want := range map[string]string{
		"https://api012.successfactors.eu/odata/v2/User('a%2Fb')?x=;": "http://127.0.0.1:8020/odata/v2/User('a%2Fb')?x=;",
		"https://API012.successfactors.eu:443/x":                      "http://127.0.0.1:8020/x",
		"User('a')":                                                   "User('a')",
		"/odata/v2/User":                                              "/odata/v2/User",
	} {
		if got, ok := testMap.ToPublic(url); !ok || got != want {
			t.Errorf("ToPublic(%q) = %q, %v", url, got, ok)
		}
	}
	for _, url := range []string{"https://evil.example/", "//evil.example/", "http://127.0.0.1:8020/x"} {
		if got, ok := testMap.ToPublic(url); ok || got != "" {
			t.Errorf("ToPublic(%q) = %q, %v", url, got, ok)
		}
	}
	const url = "https://api012.successfactors.eu/odata/v2/User?$skiptoken=eyJ%2B="
	public, _ := testMap.ToPublic(url)
	if back, ok := testMap.ToUpstream(public); !ok || back != url {
		t.Errorf("there and back: %q, %v", back, ok)
	}
	if got, ok := testMap.ToUpstream("http://127.0.0.1:8021/x"); ok {
		t.Errorf("ToUpstream of another port: %q", got)
	}
}

func TestInvalidLinkMapGivesNothing(t *testing.T) {
	for _, m := range []odata.LinkMap{
		{},
		{Upstream: "https://a.example"},
		{Public: "https://a.example"},
		{Upstream: "a.example", Public: "https://b.example"},
		{Upstream: "ftp://a.example", Public: "https://b.example"},
		{Upstream: "https://a.example?x", Public: "https://b.example"},
		{Upstream: "https://u@a.example", Public: "https://b.example"},
		{Upstream: "https://a.example", Public: `https://b.example"`},
	} {
		got, _, err := rewrite(t, m, `{"a":1}`)
		var linkErr *odata.LinkError
		if !errors.As(err, &linkErr) || linkErr.Reason != odata.LinkMapInvalid || got != "" {
			t.Errorf("%+v: %q, %v", m, got, err)
		}
	}
}

// What a reader learned of one upstream must not serve for the next.
func TestResetForgetsTheMap(t *testing.T) {
	const document = `{"__next":"https://api012.successfactors.eu/x"}`
	l := odata.NewLinkReader(strings.NewReader(document), testMap)
	if _, err := io.ReadAll(l); err != nil {
		t.Fatal(err)
	}
	l.Reset(strings.NewReader(document), odata.LinkMap{Upstream: testMap.Upstream, Public: "https://broker.example"})
	if got, err := io.ReadAll(l); err != nil || string(got) != `{"__next":"https://broker.example/x"}` {
		t.Errorf("other public address: %s, %v", got, err)
	}
	l.Reset(strings.NewReader(document), odata.LinkMap{Upstream: "https://api4.successfactors.com", Public: testMap.Public})
	var linkErr *odata.LinkError
	if got, err := io.ReadAll(l); !errors.As(err, &linkErr) || linkErr.Reason != odata.LinkForeign {
		t.Errorf("other upstream: %s, %v", got, err)
	}
}

// A link may lie across the border of the reader's buffer at any byte.
func TestLinkAtEveryBufferOffset(t *testing.T) {
	const link = `"__metadata" : {"type" : "T", "uri" : "https://api012.successfactors.eu/odata/v2/U('1')"}`
	const want = `"__metadata" : {"type" : "T", "uri" : "http://127.0.0.1:8020/odata/v2/U('1')"}`
	for pad := 32<<10 - len(link) - 20; pad < 32<<10+5; pad++ {
		head := `{"p" : "` + strings.Repeat("x", pad) + `", `
		got, err := io.ReadAll(odata.NewLinkReader(strings.NewReader(head+link+"}"), testMap))
		if err != nil || string(got) != head+want+"}" {
			t.Fatalf("pad %d: %v, ... %s", pad, err, got[max(0, len(got)-120):])
		}
	}
}

func TestLongLink(t *testing.T) {
	link := func(n int) string {
		return `{"__next":"https://api012.successfactors.eu/` + strings.Repeat("x", n) + `"}`
	}
	got, err := io.ReadAll(odata.NewLinkReader(strings.NewReader(link(500<<10)), testMap))
	if err != nil || !strings.HasPrefix(string(got), `{"__next":"http://127.0.0.1:8020/xxx`) {
		t.Errorf("500 KiB: %v, %.60s", err, got)
	}
	_, err = io.ReadAll(odata.NewLinkReader(strings.NewReader(link(2<<20)), testMap))
	var linkErr *odata.LinkError
	if !errors.As(err, &linkErr) || linkErr.Reason != odata.LinkTooLong {
		t.Errorf("2 MiB: %v", err)
	}
	deep := `{"__metadata":` + strings.Repeat(`{"a":`, 2000) + `1` + strings.Repeat(`}`, 2001)
	_, err = io.ReadAll(odata.NewLinkReader(strings.NewReader(deep), testMap))
	if !errors.As(err, &linkErr) || linkErr.Reason != odata.LinkTooDeep {
		t.Errorf("deep: %v", err)
	}
}

// An answer cut within a link must not look as if it ended there; upstream's own error is passed on.
func TestCutAnswer(t *testing.T) {
	const document = `{"d":{"results":[{"__metadata":{"uri":"https://api012.successfactors.eu/odata/v2/U('1')","type":"T"}}],"__next":"https://api012.successfactors.eu/n"}}`
	reset := errors.New("connection reset")
	whole, _, _ := rewrite(t, testMap, document)
	object := strings.Index(document, `{"uri"`)
	objectEnd := strings.Index(document, `}}]`)
	for cut := range document {
		got, err := io.ReadAll(odata.NewLinkReader(io.MultiReader(strings.NewReader(document[:cut]), iotest.ErrReader(reset)), testMap))
		if !errors.Is(err, reset) || !strings.HasPrefix(whole, string(got)) {
			t.Errorf("cut at %d: %q, %v", cut, got, err)
		}
		got, err = io.ReadAll(odata.NewLinkReader(strings.NewReader(document[:cut]), testMap))
		if inside := cut > object && cut <= objectEnd; inside && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("ended at %d: %v", cut, err)
		}
		if !strings.HasPrefix(whole, string(got)) {
			t.Errorf("ended at %d: %q", cut, got)
		}
	}
	stuck := odata.NewLinkReader(readerFunc(func([]byte) (int, error) { return 0, nil }), testMap)
	if _, err := io.ReadAll(stuck); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("a reader without progress: %v", err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestLinkReaderDoesNotAllocate(t *testing.T) {
	document := page(60 << 10)
	source := bytes.NewReader(document)
	l := odata.NewLinkReader(source, testMap)
	p := make([]byte, 32<<10)
	allocations := testing.AllocsPerRun(20, func() {
		source.Reset(document)
		l.Reset(source, testMap)
		for {
			if _, err := l.Read(p); err != nil {
				return
			}
		}
	})
	if allocations > 0 {
		t.Errorf("%v allocations for a page, want none", allocations)
	}
}

// page is an answer in the wire form of SuccessFactors, of at least size bytes.
func page(size int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"d" : {"results" : [`)
	for i := 0; b.Len() < size; i++ {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, `{"__metadata" : {"uri" : "https://api012.successfactors.eu:443/odata/v2/PerPerson('%d')", "type" : "SFOData.PerPerson"}, `+
			`"personIdExternal" : "%d", "lastModifiedDateTime" : "\/Date(1651153849000+0000)\/", "createdBy" : "v4admin", "perPersonUuid" : "%032X", "countryOfBirth" : null`, i, i, i)
		for _, nav := range []string{"personalInfoNav", "emailNav", "phoneNav", "employmentNav"} {
			fmt.Fprintf(&b, `, "%s" : {"__deferred" : {"uri" : "https://api012.successfactors.eu:443/odata/v2/PerPerson('%d')/%s"}}`, nav, i, nav)
		}
		b.WriteString("}")
	}
	b.WriteString(`], "__next" : "https://api012.successfactors.eu:443/odata/v2/PerPerson?$skiptoken=eyJzdGFydFJvdyI6MTAwfQ=="}}`)
	return b.Bytes()
}
