package broker_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
)

// benchPage is a page of about size bytes with the link density of people with some navigation: two links to 900 bytes.
func benchPage(origin string, size int) string {
	random := rand.New(rand.NewPCG(1, 2)) // the same page each time, as compressible as names and dates are
	var b strings.Builder
	b.WriteString(`{"d":{"results":[`)
	for i := 0; i == 0 || b.Len() < size-900; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"__metadata":{"uri":"%[1]s/odata/v2/User('%[2]d')","type":"SFOData.User"},"userId":"%[2]d","empInfo":{"__deferred":{"uri":"%[1]s/odata/v2/User('%[2]d')/empInfo"}}`, origin, i)
		for f := range 14 {
			fmt.Fprintf(&b, `,"customField%d":"%x %x"`, f, random.Uint64(), random.Uint32())
		}
		b.WriteByte('}')
	}
	return b.String() + `],"__next":"` + origin + `/odata/v2/User?$skiptoken=eyJzdGFydFJvdyI6IjEwMCJ9"}}`
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
					client, r.Host, r.URL.Host = h.sf.Client(), "", strings.TrimPrefix(h.sf.URL, "http://") // inflates by itself
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
