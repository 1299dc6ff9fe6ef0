package broker_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"sfbroker/broker/diagnosis"
)

// endless streams pieces until its client goes, and tells when that was.
func endless(piece string, gone chan<- struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		defer close(gone)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"d":{"results":[`)
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, piece); err != nil {
				return
			}
		}
	}
}

// TestCallerHangsUp: the request to SuccessFactors ends with the caller's, before and within an answer. goleak sees to the
// rest.
func TestCallerHangsUp(t *testing.T) {
	h := build(t, setup{})
	h.warm("one")
	t.Run("before the answer", func(t *testing.T) {
		gone, began := make(chan struct{}), make(chan struct{})
		h.sf.answer(func(_ http.ResponseWriter, r *http.Request) {
			close(began)
			<-r.Context().Done()
			close(gone)
		})
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-began; cancel() }()
		if _, err := h.send(h.request(http.MethodGet, "/odata/v2/User", nil).WithContext(ctx)); err == nil {
			t.Error("an answer")
		}
		wantClosed(t, "the request upstream", gone)
	})
	t.Run("within the answer", func(t *testing.T) {
		gone := make(chan struct{})
		h.sf.answer(endless(strings.Repeat(`"x",`, 1000), gone))
		resp, err := h.client.Do(h.request(http.MethodGet, "/odata/v2/User", nil))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, resp.Body, 100_000); err != nil {
			t.Error(err)
		}
		_ = resp.Body.Close()
		wantClosed(t, "the request upstream", gone)
	})
	h.sf.answer(nil)
	conn := h.warm("one")
	if a := h.get("/odata/v2/User", nil); a.status != http.StatusOK {
		t.Errorf("the next request: %d", a.status)
	}
	if s := conn.Status(); s.Finding != nil {
		t.Errorf("a caller that hung up broke the connection: %+v", s.Finding)
	}
}

func wantClosed(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("%s still lives", what)
	}
}

// TestSlowReaderIsCut: a caller that takes nothing more is let go, and holds up nobody meanwhile.
func TestSlowReaderIsCut(t *testing.T) {
	h := build(t, setup{stall: 300 * time.Millisecond})
	h.warm("one")
	gone := make(chan struct{})
	h.sf.answer(endless(strings.Repeat(`"x",`, 16<<10), gone))
	c, err := net.Dial("tcp", h.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(2 * patience))
	if _, err := fmt.Fprintf(c, "GET /odata/v2/User HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", strings.TrimPrefix(h.public, "http://"), h.keys["nightly"]); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(c)
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%v %v", resp, err)
	}
	h.sf.answer(nil)
	for range 3 {
		if a := h.get("/odata/v2/User", nil); a.status != http.StatusOK {
			t.Errorf("another caller gets %d", a.status)
		}
	}
	wantClosed(t, "the request upstream of a caller that reads nothing", gone)
	if _, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Error("the answer that was cut ends well")
	}
	_ = resp.Body.Close()
}

// TestPatientReaderIsNot is the neighbour: the deadline is for each piece, not for the answer.
func TestPatientReaderIsNot(t *testing.T) {
	h := build(t, setup{stall: 300 * time.Millisecond})
	h.warm("one")
	h.sf.answer(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"d":{"results":[1`)
		for range 8 { // longer in all than one deadline
			w.(http.Flusher).Flush()
			time.Sleep(60 * time.Millisecond)
			_, _ = io.WriteString(w, ",1")
		}
		_, _ = io.WriteString(w, `]}}`)
	})
	if a := h.get("/odata/v2/User", nil); a.status != http.StatusOK || !strings.HasSuffix(a.body, "]}}") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := h.get("/odata/v2/User", nil); a.status != http.StatusOK {
		t.Errorf("the next on the same connection: %d", a.status)
	}
}

// TestMemoryIsFlat streams 200 MB with links through the whole broker and looks at the heap on the way.
func TestMemoryIsFlat(t *testing.T) {
	if testing.Short() {
		t.Skip("streams 200 MB")
	}
	const total = 200 << 20
	h := build(t, setup{})
	h.warm("one")
	row := fmt.Sprintf(`{"__metadata":{"uri":"%s/odata/v2/User('1')"},"text":"%s"},`, h.sf.URL, strings.Repeat("x", 9000))
	block := strings.Repeat(row, 100)
	h.sf.answer(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"d":{"results":[`)
		for sent := 0; sent < total; sent += len(block) {
			if _, err := io.WriteString(w, block); err != nil {
				t.Error(err)
				return
			}
		}
		_, _ = io.WriteString(w, `{}]}}`)
	})
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	resp, err := h.client.Do(h.request(http.MethodGet, "/odata/v2/User", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var most, read uint64
	for {
		n, err := io.CopyN(io.Discard, resp.Body, 10<<20)
		read += uint64(n)
		runtime.ReadMemStats(&now)
		most = max(most, now.HeapInuse)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if read < total {
		t.Errorf("%d bytes, want at least %d", read, total)
	}
	if grown := int64(most) - int64(before.HeapInuse); grown > 32<<20 {
		t.Errorf("the heap grew by %d MB while %d MB passed", grown>>20, read>>20)
	}
}

// TestDraining: every answer asks its client to close, and what was begun is ended whole.
func TestDraining(t *testing.T) {
	h := build(t, setup{})
	h.warm("one")
	began, finish := make(chan struct{}), make(chan struct{})
	h.sf.answer(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"d":`)
		w.(http.Flusher).Flush()
		close(began)
		<-finish
		_, _ = io.WriteString(w, `{"results":[]}}`)
	})
	done := make(chan answered, 1)
	go func() {
		a, err := h.send(h.request(http.MethodGet, "/odata/v2/User", nil))
		if err != nil {
			t.Error(err)
		}
		done <- a
	}()
	<-began
	closes := func(header http.Header) bool {
		resp, err := h.client.Do(h.request(http.MethodGet, "/odata/v2/PerPerson", header))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		return resp.Close
	}
	h.sf.answer(nil)
	if closes(nil) {
		t.Error("connections are closed before the drain")
	}
	h.broker.Drain()
	if !h.broker.Draining() || !closes(nil) || !closes(http.Header{"Authorization": nil}) || !closes(http.Header{"Host": {"evil.example"}}) {
		t.Error("an answer while draining does not ask to close the connection")
	}
	close(finish)
	if a := <-done; a.status != http.StatusOK || a.body != `{"d":{"results":[]}}` {
		t.Errorf("what was begun before the drain: %d %s", a.status, a.body)
	}
}

// TestMetricsAreBounded: what a stranger sends makes no new series.
func TestMetricsAreBounded(t *testing.T) {
	h := build(t, setup{failures: 1 << 30})
	h.rawAudit = true // a flood is counted, not recorded line by line
	h.warm("one")
	series := func() (n int) {
		families, err := h.registry.Gather()
		h.must(err)
		for _, f := range families {
			n += len(f.GetMetric())
		}
		return n
	}
	send := func(i int) {
		h.get(fmt.Sprintf("/odata/v2/Set%d?$filter=a%d%%20eq%%201", i, i), nil)
		h.get(user(i), http.Header{"Authorization": {fmt.Sprintf("Bearer sfb_caller%d_x", i)}})
		h.get(user(i), http.Header{"Host": {fmt.Sprintf("host%d", i)}})
		h.get(user(i), nil)
		if a, err := h.send(h.request(fmt.Sprintf("METHOD%d", i), user(i), nil)); err != nil || a.code() != diagnosis.NotAnalysed {
			t.Errorf("%v %v", a, err)
		}
	}
	send(0)
	before := series()
	for i := 1; i < 50; i++ {
		send(i)
	}
	if after := series(); after != before {
		t.Errorf("%d series, then %d", before, after)
	}
}
