package broker_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// benchPage is a page of about size bytes with the link density of people with some navigation: two links to 900 bytes.
func benchPage(origin string, size int) string {
	person := linked(origin, 1, "")
	person = person[len(`{"d":{"results":[`) : len(person)-len(`]}}`)]
	person = strings.TrimSuffix(person, "}") + `,"custom":"` + strings.Repeat("abcdefgh ", max(0, 900-len(person))/9) + `"}`
	n := max(1, size/len(person))
	return `{"d":{"results":[` + strings.TrimSuffix(strings.Repeat(person+",", n), ",") + `],"__next":"` + origin + `/odata/v2/User?$skiptoken=eyJzdGFydFJvdyI6IjEwMCJ9"}}`
}

// BenchmarkProxied is the whole way over loopback: caller, broker, SuccessFactors and back, all in this process. Compare
// with BenchmarkDirect, which leaves the broker out: the difference is what the broker costs.
func BenchmarkProxied(b *testing.B) { benchmark(b, true) }

// BenchmarkDirect is the neighbour of BenchmarkProxied without a broker.
func BenchmarkDirect(b *testing.B) { benchmark(b, false) }

func benchmark(b *testing.B, proxied bool) {
	for _, size := range []struct {
		name  string
		bytes int
	}{{"1KB", 1 << 10}, {"60KB", 60 << 10}, {"5MB", 5 << 20}} {
		for _, gz := range []bool{false, true} {
			b.Run(fmt.Sprintf("size=%s/gzip=%v", size.name, gz), func(b *testing.B) {
				h := build(b, setup{})
				h.rawAudit = true
				h.warm("one")
				h.log.set(func(l *lines) { l.discard = true })
				h.audit.set(func(l *lines) { l.discard = true })
				body := []byte(benchPage(h.sf.URL, size.bytes))
				length := int64(len(body))
				if gz {
					var z bytes.Buffer
					w, err := gzip.NewWriterLevel(&z, gzip.BestSpeed)
					h.must(err)
					_, err = w.Write(body)
					h.must(err)
					h.must(w.Close())
					body = z.Bytes()
				}
				h.sf.quiet.Store(true)
				h.sf.answer(func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", "application/json")
					if gz {
						w.Header().Set("Content-Encoding", "gzip")
					}
					_, _ = w.Write(body)
				})
				client, r := h.client, h.request(http.MethodGet, "/odata/v2/User", nil)
				if !proxied {
					client, r.Host, r.URL.Host = h.sf.Client(), "", strings.TrimPrefix(h.sf.URL, "http://")
					r.Header.Set("Accept-Encoding", "gzip")
				}
				buf := make([]byte, 64<<10)
				b.SetBytes(length)
				b.ReportAllocs()
				b.ResetTimer()
				for b.Loop() {
					resp, err := client.Do(r)
					if err != nil {
						b.Fatal(err)
					}
					_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, resp.Body, buf)
					_ = resp.Body.Close()
					if err != nil || resp.StatusCode != http.StatusOK {
						b.Fatal(resp.StatusCode, err)
					}
				}
			})
		}
	}
}
