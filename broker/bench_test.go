package broker_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// benchPage is a page of about size bytes in the wire form of SuccessFactors, with its density of links: a row of 1.6 KB has a
// uri of its own and ten deferred navigations.
func benchPage(origin string, size int) string {
	random := rand.New(rand.NewPCG(1, 2)) // the same page each time, as compressible as names and dates are
	var b strings.Builder
	b.WriteString(`{"d" : {"results" : [`)
	for i := 0; i == 0 || b.Len() < size-1600; i++ {
		if i > 0 {
			b.WriteString(", ")
		}
		uri := fmt.Sprintf("%s/odata/v2/PerPerson('%d')", origin, 90013300+i)
		fmt.Fprintf(&b, `{"__metadata" : {"uri" : "%s", "type" : "SFOData.PerPerson"}, "personIdExternal" : "%d"`, uri, 90013300+i)
		for f := range 9 {
			fmt.Fprintf(&b, `, "custom%d" : "%x"`, f, random.Uint64())
		}
		for _, nav := range []string{"employmentNav", "personalInfoNav", "emailNav", "phoneNav", "nationalIdNav", "homeAddressNavDEFLT", "socialAccountNav", "emergencyContactNav", "personEmpTerminationInfoNav", "personRerlationshipNav"} {
			fmt.Fprintf(&b, `, "%[1]s" : {"__deferred" : {"uri" : "%[2]s/%[1]s"}}`, nav, uri)
		}
		b.WriteByte('}')
	}
	return b.String() + `], "__next" : "` + origin + `/odata/v2/PerPerson?$skiptoken=eyJzdGFydFJvdyI6IjEwMCJ9"}}`
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
				start := cpu(b)
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
				b.ReportMetric(float64(cpu(b)-start)/float64(b.N), "cpu-ns/op")
			})
		}
	}
}

// cpu is the processor time that this process has used, in nanoseconds: what a request costs, however busy the machine is.
func cpu(b *testing.B) int64 {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return usage.Utime.Nano() + usage.Stime.Nano()
}
