package odata

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxErrorBody is as much of an error as is looked at; SuccessFactors' own are below 4 KiB.
	maxErrorBody    = 64 << 10
	maxErrorMessage = 512
	maxErrorCode    = 64
)

// ReadError finds code and message in an error that SuccessFactors sent: OData JSON (versions 2 and 4), OData XML, or
// plain text with a code in brackets. Both are empty when there is none; an HTML page gives at most a code. The
// message is at most 512 bytes of printable text on one line, and a JWT in it is taken out; it is for operators.
func ReadError(body []byte) (code, message string) {
	if len(body) > maxErrorBody {
		body = body[:maxErrorBody]
	}
	body = bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")))
	switch {
	case len(body) == 0:
		return "", ""
	case body[0] == '{':
		code, message = readJSONError(body)
	case body[0] == '<':
		code, message = readXMLError(body)
	case bracketCode(body, isUpper) != "":
		message = string(body)
	}
	if code == "" {
		code = bracketCode(body, isUpper)
	}
	return printable(code, maxErrorCode), printable(message, maxErrorMessage)
}

// LoginCode gives the login code ("LGN0022") that an error names as its code or in brackets where its message begins, or
// "". A code further on, or behind a quote, may be an echo of the request, and a caller must not be able to write one.
func LoginCode(body []byte) string {
	code, message := ReadError(body)
	if len(code) == 7 && strings.HasPrefix(code, "LGN") && allDigits(code[3:]) {
		return code
	}
	head := message[:min(len(message), loginCodeWithin)]
	if quote := strings.IndexAny(head, "'\"`"); quote >= 0 {
		head = head[:quote]
	}
	return bracketCode([]byte(head), func(letters []byte) bool { return string(letters) == "LGN" })
}

// loginCodeWithin is how far into a message its login code may stand.
const loginCodeWithin = 64

// bracketCode finds the first "[XXX0000]": letters of which accept approves and exactly four digits.
func bracketCode(body []byte, accept func(letters []byte) bool) string {
	for {
		open := bytes.IndexByte(body, '[')
		if open < 0 {
			return ""
		}
		body = body[open+1:]
		end := bytes.IndexByte(body[:min(len(body), 12)], ']')
		if end < 4+2 {
			continue
		}
		if code := body[:end]; accept(code[:end-4]) && allDigits(string(code[end-4:])) {
			return string(code)
		}
	}
}

func isUpper(letters []byte) bool {
	for _, c := range letters {
		if c < 'A' || c > 'Z' {
			return false
		}
	}
	return true
}

func allDigits(s string) bool {
	for i := 0; i < len(s); i++ {
		if !isDigit(s[i]) {
			return false
		}
	}
	return true
}

func readJSONError(body []byte) (code, message string) {
	var v struct {
		Error struct {
			Code    json.RawMessage `json:"code"`
			Message json.RawMessage `json:"message"`
		} `json:"error"`
	}
	if json.Unmarshal(body, &v) != nil {
		return "", ""
	}
	var inner struct {
		Value string `json:"value"`
	}
	// A code that is a number, or a message of another shape, is as good as none.
	if json.Unmarshal(v.Error.Code, &code) != nil {
		code = ""
	}
	if json.Unmarshal(v.Error.Message, &message) == nil {
		return code, message
	}
	if json.Unmarshal(v.Error.Message, &inner) != nil {
		return code, ""
	}
	return code, inner.Value
}

// readXMLError reads code and message directly below an error element of any namespace. Go's decoder expands no
// entities of a document's own.
func readXMLError(body []byte) (code, message string) {
	d := xml.NewDecoder(bytes.NewReader(body))
	var path []string
	for {
		token, err := d.RawToken()
		if err != nil {
			return code, message
		}
		switch t := token.(type) {
		case xml.StartElement:
			path = append(path, t.Name.Local)
			if path[0] != "error" {
				return "", ""
			}
		case xml.EndElement:
			if len(path) == 0 {
				return code, message
			}
			path = path[:len(path)-1]
		case xml.CharData:
			if len(path) != 2 {
				continue
			}
			switch path[1] {
			case "code":
				code += string(t)
			case "message":
				message += string(t)
			}
		}
	}
}

// printable makes text fit for a log line: one line, no control or formatting characters, no JWT, at most limit bytes.
func printable(text string, limit int) string {
	if len(text) > 4*limit {
		text = text[:4*limit]
	}
	text = strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError:
			return -1
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, text)
	fields := strings.Fields(text)
	for i, field := range fields {
		if at := strings.Index(field, "eyJ"); at >= 0 && len(field)-at > 20 {
			fields[i] = field[:at] + "[redacted]"
		}
	}
	text = strings.Join(fields, " ")
	if len(text) <= limit {
		return text
	}
	cut := limit
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut]
}
