package odata_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"testing"

	"sfbroker/odata"
)

func BenchmarkParse(b *testing.B) {
	for _, row := range []struct{ name, target string }{
		{"plain", "/odata/v2/User('nightly')?$format=json"},
		{"microsoft-full", microsoftFull},
		{"microsoft-incremental", microsoftIncremental()},
	} {
		b.Run(row.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := odata.Parse(http.MethodGet, row.target); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkLinks(b *testing.B) {
	for _, row := range []struct {
		name string
		size int
	}{{"1KB", 1 << 10}, {"60KB", 60 << 10}, {"5MB", 5 << 20}} {
		document := page(row.size)
		b.Run(row.name, func(b *testing.B) { benchmarkLinks(b, document) })
	}
	b.Run("5MB-without-links", func(b *testing.B) {
		benchmarkLinks(b, bytes.Repeat([]byte(`{"userId" : "1", "cust_field" : "some text of a_row"}, `), 5<<20/55))
	})
}

func benchmarkLinks(b *testing.B, document []byte) {
	source := bytes.NewReader(document)
	l := odata.NewLinkReader(source, testMap)
	p := make([]byte, 32<<10)
	b.SetBytes(int64(len(document)))
	b.ReportAllocs()
	for b.Loop() {
		source.Reset(document)
		l.Reset(source, testMap)
		for {
			if _, err := l.Read(p); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				b.Fatal(err)
			}
		}
	}
}
