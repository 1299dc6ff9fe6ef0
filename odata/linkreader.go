package odata

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
)

const (
	linkBuffer = 32 << 10
	// maxLinkToken bounds what is held at once: a link, or a name with the blanks around its colon.
	maxLinkToken = 1 << 20
	maxLinkDepth = 1 << 10
	// maxReads bounds reads that bring nothing, as bufio does.
	maxReads = 100
)

// LinkReason says why an answer's links could not be rewritten.
type LinkReason string

// The reasons of a LinkError.
const (
	// LinkForeign: the link is absolute and not upstream's, so that a client that follows it walks past the broker.
	LinkForeign LinkReason = "link_foreign"
	// LinkTooLong: a link or a name in a link object is longer than 1 MiB.
	LinkTooLong LinkReason = "link_too_long"
	// LinkTooDeep: a link object holds more than 1,024 objects in each other.
	LinkTooDeep LinkReason = "link_too_deep"
	// LinkMapInvalid: the LinkMap given is none.
	LinkMapInvalid LinkReason = "link_map_invalid"
)

// LinkError ends an answer that must not reach the client whole. Member is the link's name ("__next", "uri").
type LinkError struct {
	Reason LinkReason
	Member string
}

// Error names the reason and the member, never the link.
func (e *LinkError) Error() string {
	return "odata: rewriting links: " + string(e.Reason) + " " + strconv.Quote(e.Member)
}

// LinkReader reads an OData version 2 JSON answer and gives it with its links turned from LinkMap.Upstream to
// LinkMap.Public, byte for byte the same otherwise. Links are the strings of
//
//   - members named __next, anywhere;
//   - members uri, media_src and edit_media of an object that is the value of a member __metadata or __deferred.
//
// Nothing else is touched: a name inside a string is data. Names are known in their plain spelling; links in any, and
// the slashes written are spelled as the link's first one was. An absolute link of a foreign origin, in whichever
// member, is a *LinkError, for a client that followed it would walk past the broker; relative ones stay.
//
// The answer is never tokenised as a whole: names are found first, structure is checked around them. Whether a document
// ends where it should is not checked, but io.EOF within a link object becomes io.ErrUnexpectedEOF. A LinkReader is for
// one goroutine.
type LinkReader struct {
	r        io.Reader
	upstream prefix
	public   string
	spelled  [len(slashes)][]byte // public with its slashes spelled so, made at first use
	ok       bool

	buf []byte
	// buf[start:pos] is to be given as it is. Then insert is due, buf[pos:resume] is left out, and buf[resume:after]
	// is to be given.
	start, pos, resume, after, end int
	insert                         []byte
	known, knownInsert             []byte // what the last link began with, and what came in its place
	stack                          []bool // the objects and arrays open from a link object on: is it one itself?
	scratch                        []byte
	links                          int
	err                            error
}

// slashes are the spellings of a slash in a JSON string (RFC 8259, 7).
var slashes = [...]string{"/", `\/`, `\u002f`, `\u002F`}

// NewLinkReader gives a reader of r with a buffer of 32 KiB.
func NewLinkReader(r io.Reader, m LinkMap) *LinkReader {
	l := &LinkReader{}
	l.Reset(r, m)
	return l
}

// Reset makes l read from r as if it were new, keeping its buffers.
func (l *LinkReader) Reset(r io.Reader, m LinkMap) {
	next := LinkReader{r: r, buf: l.buf, stack: l.stack[:0], scratch: l.scratch, known: l.known[:0]}
	if next.buf == nil {
		next.buf = make([]byte, linkBuffer)
	}
	_, publicOK := parsePrefix(m.Public)
	next.upstream, next.ok = parsePrefix(m.Upstream)
	next.public = strings.TrimSuffix(m.Public, "/")
	if next.ok = next.ok && publicOK; !next.ok {
		next.err = &LinkError{Reason: LinkMapInvalid}
	}
	if l.public == next.public {
		next.spelled = l.spelled
	}
	*l = next
}

// Links counts the links turned so far.
func (l *LinkReader) Links() int { return l.links }

// Read gives what is ready, and asks upstream only when nothing is.
func (l *LinkReader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		switch {
		case l.start < l.pos:
			c := copy(p[n:], l.buf[l.start:l.pos])
			l.start, n = l.start+c, n+c
		case len(l.insert) > 0:
			c := copy(p[n:], l.insert)
			l.insert, n = l.insert[c:], n+c
		case l.resume > l.pos:
			l.start, l.pos = l.resume, l.after
		case l.ok && l.scan():
		case n > 0:
			return n, nil
		case l.err != nil:
			return 0, l.err
		default:
			l.fill()
		}
	}
	return n, nil
}

// fill reads more. What was given is dropped, but for the two bytes that the check of a name looks back at.
func (l *LinkReader) fill() {
	if keep := l.start - 2; keep > 0 {
		copy(l.buf, l.buf[keep:l.end])
		l.start, l.pos, l.end, l.resume = l.start-keep, l.pos-keep, l.end-keep, 0
	}
	if l.end == len(l.buf) {
		if l.end >= maxLinkToken {
			l.fail(LinkTooLong, "")
			return
		}
		grown := make([]byte, 2*len(l.buf))
		copy(grown, l.buf)
		l.buf = grown
	}
	for range maxReads {
		n, err := l.r.Read(l.buf[l.end:])
		l.end += n
		l.err = err
		if n > 0 || err != nil {
			return
		}
	}
	l.err = io.ErrNoProgress
}

func (l *LinkReader) fail(reason LinkReason, member string) {
	l.err, l.ok = &LinkError{Reason: reason, Member: member}, false
}

// scan moves pos over what needs no change, up to the next link. It is false when it cannot move without more input.
func (l *LinkReader) scan() bool {
	from := l.pos
	for l.pos < l.end && l.ok {
		step := l.data
		if len(l.stack) > 0 {
			step = l.object
		}
		if !step() {
			break
		}
		if l.resume > l.pos {
			return true
		}
	}
	if len(l.stack) > 0 && l.pos == l.end {
		l.truncated()
	}
	return l.pos > from
}

// truncated: input that ends within a link object or a link is not whole.
func (l *LinkReader) truncated() {
	if errors.Is(l.err, io.EOF) {
		l.err = io.ErrUnexpectedEOF
	}
}

// data looks for the next name outside of link objects. An underscore is rarer than a quote, so it is looked for.
func (l *LinkReader) data() bool {
	i := bytes.IndexByte(l.buf[l.pos:l.end], '_')
	if i < 0 {
		l.pos = l.end
		return true
	}
	i += l.pos
	// A quote with a backslash in front is one within a string; in JSON no opening quote follows a backslash.
	if i == 0 || l.buf[i-1] != '"' || (i > 1 && l.buf[i-2] == '\\') {
		l.pos = i + 1
		return true
	}
	name, complete := linkName(l.buf[i:l.end])
	if !complete && l.err == nil {
		l.pos = i
		return false
	}
	if name == "" {
		l.pos = i + 1
		return true
	}
	return l.member(i, i+len(name)+1, name, false)
}

// linkName finds which of the three names b begins with, its closing quote included; complete is false when more
// bytes could still make it one.
func linkName(b []byte) (name string, complete bool) {
	for _, name := range [...]string{nameDeferred, nameMetadata, nameNext} {
		if len(b) > len(name) {
			if string(b[:len(name)]) == name && b[len(name)] == '"' {
				return name, true
			}
		} else if string(b) == name[:len(b)] {
			return "", false
		}
	}
	return "", true
}

const (
	nameNext     = "__next"
	nameMetadata = "__metadata"
	nameDeferred = "__deferred"
)

// member looks at what follows a string that ends before after: it is a member's name if a colon follows. Unless more
// input is needed pos moves on; else it stays at begin.
func (l *LinkReader) member(begin, after int, name string, inLinkObject bool) bool {
	l.pos = begin
	colon := l.skipBlank(after)
	if colon == l.end {
		if l.err != nil {
			l.pos = l.end
		}
		return l.err != nil
	}
	if l.buf[colon] != ':' {
		l.pos = after
		return true
	}
	value := l.skipBlank(colon + 1)
	if value == l.end {
		l.truncated()
		return false
	}
	switch c := l.buf[value]; {
	case c == '"' && (name == nameNext || (inLinkObject && isLinkMember(name))):
		return l.link(value, name)
	case c == '{' && (name == nameMetadata || name == nameDeferred):
		l.pos = value + 1
		l.push(true)
	default:
		l.pos = value
	}
	return true
}

func isLinkMember(name string) bool {
	return name == "uri" || name == "media_src" || name == "edit_media"
}

func (l *LinkReader) push(linkObject bool) {
	if len(l.stack) == maxLinkDepth {
		l.fail(LinkTooDeep, "")
		return
	}
	l.stack = append(l.stack, linkObject)
}

// object takes one token within a link object.
func (l *LinkReader) object() bool {
	i := l.skipBlank(l.pos)
	l.pos = i
	if i == l.end {
		return true
	}
	switch l.buf[i] {
	case '{', '[':
		l.push(false)
	case '}', ']':
		l.stack = l.stack[:len(l.stack)-1]
	case '"':
		end := l.stringEnd(i)
		if end < 0 {
			l.truncated()
			return false
		}
		return l.member(i, end, memberName(l.buf[i+1:end-1]), l.stack[len(l.stack)-1])
	}
	l.pos = i + 1
	return true
}

// memberName gives the names that matter as constants, so that none is allocated.
func memberName(b []byte) string {
	switch string(b) {
	case "uri":
		return "uri"
	case "media_src":
		return "media_src"
	case "edit_media":
		return "edit_media"
	case nameNext:
		return nameNext
	case nameMetadata:
		return nameMetadata
	case nameDeferred:
		return nameDeferred
	}
	return ""
}

// link turns the link whose string opens at quote, once all of it is there.
func (l *LinkReader) link(quote int, member string) bool {
	end := l.stringEnd(quote)
	if end < 0 {
		l.truncated()
		return false
	}
	raw := l.buf[quote+1 : end-1]
	if l.isKnown(raw) {
		l.turn(quote, len(l.known), end, l.knownInsert)
		return true
	}
	url := raw
	if bytes.IndexByte(raw, '\\') >= 0 {
		l.scratch = unescape(l.scratch[:0], raw)
		url = l.scratch
	}
	n, kind := l.upstream.match(url)
	switch kind {
	case linkForeign:
		l.fail(LinkForeign, member)
		return false
	case linkRelative:
		l.pos = end
		return true
	}
	n = rawLength(raw, n)
	l.known = append(l.known[:0], raw[:n]...)
	l.knownInsert = l.spell(raw[rawLength(raw, len(l.upstream.scheme)+1):])
	l.turn(quote, n, end, l.knownInsert)
	return true
}

// turn replaces the first n bytes of the string that opens at quote.
func (l *LinkReader) turn(quote, n, end int, insert []byte) {
	l.links++
	l.pos, l.resume, l.after, l.insert = quote+1, quote+1+n, end, insert
}

// isKnown tells whether raw begins as the last link did, up to the slash after: a server spells all of them alike.
func (l *LinkReader) isKnown(raw []byte) bool {
	n := len(l.known)
	if n == 0 || len(raw) <= n || !bytes.Equal(raw[:n], l.known) {
		return false
	}
	return raw[n] == '/' || (raw[n] == '\\' && len(raw) > n+1 && raw[n+1] == '/')
}

// spell gives the public prefix with its slashes as the link has its first one.
func (l *LinkReader) spell(raw []byte) []byte {
	for i, slash := range slashes {
		if len(raw) < len(slash) || string(raw[:len(slash)]) != slash {
			continue
		}
		if l.spelled[i] == nil {
			l.spelled[i] = []byte(strings.ReplaceAll(l.public, "/", slash))
		}
		return l.spelled[i]
	}
	return []byte(l.public)
}

// stringEnd gives the index after the string that opens at quote, or -1 when its end is not there yet.
func (l *LinkReader) stringEnd(quote int) int {
	for i := quote + 1; ; {
		n := bytes.IndexByte(l.buf[i:l.end], '"')
		if n < 0 {
			return -1
		}
		i += n + 1
		if !escapedQuote(l.buf[quote+1 : i-1]) {
			return i
		}
	}
}

// escapedQuote tells whether a quote after text belongs to text: after an odd number of backslashes.
func escapedQuote(text []byte) bool {
	n := len(text)
	for n > 0 && text[n-1] == '\\' {
		n--
	}
	return (len(text)-n)%2 == 1
}

func (l *LinkReader) skipBlank(i int) int {
	for i < l.end && (l.buf[i] == ' ' || l.buf[i] == '\t' || l.buf[i] == '\r' || l.buf[i] == '\n') {
		i++
	}
	return i
}
