package odata_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"strings"
	"testing"

	"sfbroker/odata"
)

func TestWriteError(t *testing.T) {
	e := odata.ErrorBody{
		Code: "SFB_DENIED", Message: `no <read> of "User" & 'PerPerson'` + "\x01", RequestID: "r-1",
		InnerError: map[string]string{"owner": "operator", "not a name": "x"},
	}
	for format, want := range map[odata.Format]string{
		odata.V2JSON: `{"error":{"code":"SFB_DENIED","message":{"lang":"en-US","value":"no \u003cread\u003e of \"User\" \u0026 'PerPerson'\u0001"},"innererror":{"not a name":"x","owner":"operator","request_id":"r-1"}}}`,
		odata.V4JSON: `{"error":{"code":"SFB_DENIED","message":"no \u003cread\u003e of \"User\" \u0026 'PerPerson'\u0001","innererror":{"not a name":"x","owner":"operator","request_id":"r-1"}}}`,
		odata.V2XML: `<?xml version="1.0" encoding="utf-8"?><error xmlns="http://schemas.microsoft.com/ado/2007/08/dataservices/metadata"><code>SFB_DENIED</code>` +
			`<message xml:lang="en-US">no &lt;read&gt; of &#34;User&#34; &amp; &#39;PerPerson&#39;` + "\uFFFD" + `</message><innererror><owner>operator</owner><request_id>r-1</request_id></innererror></error>`,
	} {
		var b bytes.Buffer
		if err := odata.WriteError(&b, format, e); err != nil {
			t.Fatal(err)
		}
		if b.String() != want {
			t.Errorf("format %d:\n got %s\nwant %s", format, b.String(), want)
		}
		if format == odata.V2XML {
			if err := xml.Unmarshal(b.Bytes(), new(struct{})); err != nil {
				t.Errorf("not XML: %v", err)
			}
		} else if !json.Valid(b.Bytes()) {
			t.Errorf("not JSON: %s", b.Bytes())
		}
	}
	if len(e.InnerError) != 2 {
		t.Errorf("the caller's map was written to: %v", e.InnerError)
	}
	var b bytes.Buffer
	if err := odata.WriteError(&b, odata.V2JSON, odata.ErrorBody{Code: "A"}); err != nil || strings.Contains(b.String(), "innererror") {
		t.Errorf("without inner error: %s, %v", b.String(), err)
	}
	broken := errors.New("broken pipe")
	if err := odata.WriteError(writerFunc(func([]byte) (int, error) { return 0, broken }), odata.V2XML, e); !errors.Is(err, broken) {
		t.Errorf("error of the writer: %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestErrorFormat(t *testing.T) {
	for _, row := range []struct {
		accept, target string
		want           odata.Format
	}{
		{"", "/odata/v2/User", odata.V2JSON},
		{"*/*", "/odata/v2/User", odata.V2JSON},
		{"application/json", "/odata/v2/User", odata.V2JSON},
		{"application/xml", "/odata/v2/User", odata.V2XML},
		{"application/atom+xml,application/xml;q=0.9", "/odata/v2/User", odata.V2XML},
		{"application/xml;q=0.5, application/json", "/odata/v2/User", odata.V2JSON},
		{"application/json;q=0.5, application/xml;q=0.6", "/odata/v2/User", odata.V2XML},
		{"text/xml, application/json", "/odata/v2/User", odata.V2XML},
		{"application/json, text/xml", "/odata/v2/User", odata.V2JSON},
		{"application/xml;q=0", "/odata/v2/User", odata.V2JSON},
		{"application/xml;q=high", "/odata/v2/User", odata.V2JSON},
		{"application/xml", "/odata/v2/User?$format=json", odata.V2JSON},
		{"application/xml", "/odata/v2/User?%24format=json", odata.V2JSON},
		{"application/json", "/odata/v2/User?$top=1&$format=atom", odata.V2XML},
		{"application/xml", "/odata/v2/User?$format=%", odata.V2XML},
		{"application/xml", "/odatav4/x.svc/v1/Y", odata.V4JSON},
		{"application/xml", "", odata.V2XML},
	} {
		got, contentType := odata.ErrorFormat(row.accept, row.target)
		if got != row.want || contentType != row.want.ContentType() {
			t.Errorf("ErrorFormat(%q, %q) = %d, %q", row.accept, row.target, got, contentType)
		}
		if wantType := "application/json;charset=utf-8"; row.want != odata.V2XML && contentType != wantType {
			t.Errorf("content type %q, want %q", contentType, wantType)
		}
	}
}

func TestReadError(t *testing.T) {
	for name, row := range map[string]struct{ body, code, message, login string }{
		"JSON version 2":         {`{"error":{"code":"COE_PROPERTY_NOT_FOUND","message":{"lang":"en-US","value":"[COE0021]Invalid property names: x"}}}`, "COE_PROPERTY_NOT_FOUND", "[COE0021]Invalid property names: x", ""},
		"JSON with a login code": {`{"error":{"code":"x","message":{"value":"[LGN0022]access token is either rejected or expired"}}}`, "x", "[LGN0022]access token is either rejected or expired", "LGN0022"},
		"JSON code is a login":   {`{"error":{"code":"LGN0007","message":{"value":"TOKEN_INVALID"}}}`, "LGN0007", "TOKEN_INVALID", "LGN0007"},
		"JSON without a code":    {`{"error":{"message":{"value":"[COE0019][SNP]Snapshot lost"}}}`, "COE0019", "[COE0019][SNP]Snapshot lost", ""},
		"JSON version 4":         {`{"error":{"code":"400","message":"no"}}`, "400", "no", ""},
		"JSON of another shape":  {`{"error":"invalid_client"}`, "", "", ""},
		"JSON with odd members":  {`{"error":{"code":400,"message":[]}}`, "", "", ""},
		"JSON with a mark":       {"\xef\xbb\xbf" + `{"error":{"code":"A","message":"b"}}`, "A", "b", ""},
		"XML": {
			`<?xml version="1.0" encoding="UTF-8"?><error xmlns="http://schemas.microsoft.com/ado/2007/08/dataservices/metadata"><code>COE_ENTITY_NOT_FOUND</code><message xml:lang="en-US">a &lt; b</message><innererror><code>other</code></innererror></error>`,
			"COE_ENTITY_NOT_FOUND", "a < b", "",
		},
		"XML with a login code":   {`<m:error xmlns:m="x"><m:code/><m:message xml:lang="en-US">[LGN0006]expired</m:message></m:error>`, "LGN0006", "[LGN0006]expired", "LGN0006"},
		"XML cut":                 {`<error><code>A</code><message>b`, "A", "b", ""},
		"XML of something else":   {`<feed><code>A</code></feed>`, "", "", ""},
		"HTML":                    {"<!DOCTYPE html><html><body><p>secret page</p></body></html>", "", "", ""},
		"HTML with a login code":  {"<html><body>[LGN0022] rejected</body></html>", "LGN0022", "", "LGN0022"},
		"text with a login code":  {"[LGN0022]access token\nis either rejected\tor expired", "LGN0022", "[LGN0022]access token is either rejected or expired", "LGN0022"},
		"text without a code":     {"something else", "", "", ""},
		"login code of 3 digits":  {"[LGN022] x", "", "", ""},
		"login code of 5 digits":  {"[LGN00220] x", "", "", ""},
		"login code in lowercase": {"[lgn0022] x", "", "", ""},
		"login code unbracketed":  {"LGN0022 x", "", "", ""},
		"second code counts":      {"[COE0019] then [LGN0022]", "COE0019", "[COE0019] then [LGN0022]", "LGN0022"},
		"bracket that stays open": {"[[[[LGN0022", "", "", ""},
		"token in the message":    {`{"error":{"code":"A","message":"token eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJjIn0.c2ln refused"}}`, "A", "token [redacted] refused", ""},
		"empty":                   {"", "", "", ""},
		"blank":                   {" \r\n", "", "", ""},
		"control characters":      {`{"error":{"code":"A\u0000\u001b[31m","message":"a\u202eb\r\nSet-Cookie: x"}}`, "A[31m", "ab Set-Cookie: x", ""},
	} {
		t.Run(name, func(t *testing.T) {
			code, message := odata.ReadError([]byte(row.body))
			if code != row.code || message != row.message {
				t.Errorf("got %q, %q; want %q, %q", code, message, row.code, row.message)
			}
			if login := odata.LoginCode([]byte(row.body)); login != row.login {
				t.Errorf("login code %q, want %q", login, row.login)
			}
		})
	}
}

func TestReadErrorIsCapped(t *testing.T) {
	body := []byte(strings.Repeat(" ", 70<<10) + "[LGN0022]")
	if code, message := odata.ReadError(body); code != "" || message != "" || odata.LoginCode(body) != "" {
		t.Errorf("read beyond the cap: %q, %q", code, message)
	}
	long := []byte(`{"error":{"code":"` + strings.Repeat("C", 500) + `","message":"` + strings.Repeat("ü", 2000) + `"}}`)
	if code, message := odata.ReadError(long); len(code) != 64 || len(message) > 512 || len(message) < 500 || !strings.HasSuffix(message, "ü") {
		t.Errorf("%d, %d bytes: %q", len(code), len(message), message)
	}
}
