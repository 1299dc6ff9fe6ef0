package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// job is a provisioning job as thousands of them are: an address, a user name and a password.
type job struct {
	url, user, key string
	pageSize       int
	progress       func(result jobResult, total int, done bool)
}

// jobResult is what the job did.
type jobResult struct {
	EntitySet string `json:"entity_set"`
	Pages     int    `json:"pages"`
	Records   int    `json:"records"`
	Exchanges int64  `json:"exchanges"`
	took      time.Duration
}

type jobPage struct {
	D struct {
		Results []json.RawMessage `json:"results"`
		Next    string            `json:"__next"`
		Count   string            `json:"__count"`
	} `json:"d"`
}

// run reads PerPerson to its end, page by page.
func (j job) run(ctx context.Context) (jobResult, error) {
	result := jobResult{EntitySet: "PerPerson"}
	start := time.Now()
	client := &http.Client{Timeout: 5 * time.Minute}
	defer client.CloseIdleConnections()
	next := j.url + "/odata/v2/PerPerson?$format=json&$expand=personalInfoNav,emailNav&$inlinecount=allpages&customPageSize=" + strconv.Itoa(j.pageSize)
	total := 0
	for next != "" {
		page, err := j.page(ctx, client, next)
		if err != nil {
			return result, err
		}
		result.Pages++
		result.Records += len(page.D.Results)
		if n, err := strconv.Atoi(page.D.Count); err == nil {
			total = n
		}
		next = page.D.Next
		if next != "" && !strings.HasPrefix(next, j.url+"/") {
			return result, fmt.Errorf("page %d leads past the proxy", result.Pages+1)
		}
		j.progress(result, total, next == "")
	}
	result.took = time.Since(start)
	return result, nil
}

func (j job) page(ctx context.Context, client *http.Client, address string) (jobPage, error) {
	var page jobPage
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return page, err
	}
	req.SetBasicAuth(j.user, j.key)
	resp, err := client.Do(req)
	if err != nil {
		return page, err
	}
	defer func() { _ = resp.Body.Close() }() // it was read to its end
	if resp.StatusCode != http.StatusOK {
		return page, jobError(resp)
	}
	if err := json.NewDecoder(resp.Body).Decode(&page); err != nil {
		return page, fmt.Errorf("reading a page: %w", err)
	}
	return page, nil
}

// jobError is what a job's log would show: the status and the text of the OData error.
func jobError(resp *http.Response) error {
	var failure struct {
		Error struct {
			Code    string
			Message struct{ Value string }
		}
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err == nil {
		err = json.Unmarshal(b, &failure)
	}
	if err != nil {
		return fmt.Errorf("the proxy answers %s", resp.Status)
	}
	return fmt.Errorf("%s %s: %s", resp.Status, failure.Error.Code, failure.Error.Message.Value)
}
