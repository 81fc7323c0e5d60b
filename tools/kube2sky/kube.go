package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	pageSize     = 500
	watchSeconds = 300
)

// errGone says that the version we asked about is too old: everything has to be listed again.
var errGone = errors.New("the resource version is too old")

// api is the API server, asked with the token that the service account has at the moment.
type api struct {
	master    string
	tokenFile string
	client    *http.Client
}

func newAPI(master, tokenFile, caFile string) (*api, error) {
	transport := &http.Transport{
		ForceAttemptHTTP2:     true,
		ResponseHeaderTimeout: 30 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		// A watch on a connection that died without a word would wait for ever.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
	}
	if strings.HasPrefix(master, "https://") {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return nil, fmt.Errorf("--ca-file: %w", err)
		}
		trusted := x509.NewCertPool()
		if !trusted.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--ca-file: %s holds no certificate", caFile)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12}
	}
	return &api{
		master: strings.TrimRight(master, "/"), tokenFile: tokenFile,
		client: &http.Client{Transport: transport},
	}, nil
}

func (a *api) get(ctx context.Context, path string, query url.Values) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, "GET", a.master+path+"?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "kube2sky")
	if strings.HasPrefix(a.master, "https://") {
		token, err := os.ReadFile(a.tokenFile)
		if err != nil {
			return nil, fmt.Errorf("--token-file: %w", err)
		}
		request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	response, err := a.client.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode == http.StatusOK {
		return response.Body, nil
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusGone {
		return nil, errGone
	}
	said, _ := io.ReadAll(io.LimitReader(response.Body, 500))
	return nil, fmt.Errorf("%s: %s: %s", path, response.Status, strings.TrimSpace(string(said)))
}

// follow keeps a table equal to what the API server has, until the context ends.
func follow[T object](ctx context.Context, a *api, path string, into *table[T]) {
	wait := backoff{first: 500 * time.Millisecond, most: 30 * time.Second}
	version := ""
	for ctx.Err() == nil {
		err := step(ctx, a, path, into, &version)
		if err == nil {
			wait.reset()
			continue
		}
		if errors.Is(err, errGone) {
			slog.Info("listing again", "path", path, "reason", err.Error())
			version = ""
		} else if ctx.Err() == nil {
			slog.Warn("cannot follow, trying again", "path", path, "error", err.Error())
		}
		wait.sleep(ctx)
	}
}

// step lists when there is no version to go on from, and watches until the server ends it.
func step[T object](ctx context.Context, a *api, path string, into *table[T], version *string) error {
	if *version == "" {
		items, at, err := list[T](ctx, a, path)
		if err != nil {
			return err
		}
		into.replace(items)
		*version = at
		slog.Info("listed", "path", path, "items", len(items))
	}
	return watch(ctx, a, path, into, version)
}

func list[T object](ctx context.Context, a *api, path string) ([]T, string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var items []T
	next := ""
	for {
		query := url.Values{"limit": {strconv.Itoa(pageSize)}}
		if next != "" {
			query.Set("continue", next)
		}
		body, err := a.get(ctx, path, query)
		if err != nil {
			return nil, "", err
		}
		var page struct {
			Metadata struct {
				Version  string `json:"resourceVersion"`
				Continue string `json:"continue"`
			} `json:"metadata"`
			Items []T `json:"items"`
		}
		err = json.NewDecoder(body).Decode(&page)
		body.Close()
		if err != nil {
			return nil, "", fmt.Errorf("%s: %w", path, err)
		}
		items = append(items, page.Items...)
		if next = page.Metadata.Continue; next == "" {
			return items, page.Metadata.Version, nil
		}
	}
}

func watch[T object](ctx context.Context, a *api, path string, into *table[T], version *string) error {
	// Some earlier than others, so that all replicas do not come back in the same moment.
	seconds := watchSeconds - rand.IntN(watchSeconds/5)
	ctx, cancel := context.WithTimeout(ctx, time.Duration(seconds+30)*time.Second)
	defer cancel()
	body, err := a.get(ctx, path, url.Values{
		"watch": {"true"}, "allowWatchBookmarks": {"true"}, "resourceVersion": {*version},
		"timeoutSeconds": {strconv.Itoa(seconds)},
	})
	if err != nil {
		return err
	}
	defer body.Close()
	events := json.NewDecoder(body)
	started := time.Now()
	for {
		var event struct {
			Type   string          `json:"type"`
			Object json.RawMessage `json:"object"`
		}
		if err := events.Decode(&event); errors.Is(err, io.EOF) {
			if time.Since(started) < time.Second {
				return fmt.Errorf("%s: the watch ended as soon as it began", path)
			}
			return nil // its time was over
		} else if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		at, err := apply(event.Type, event.Object, into)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		*version = at
	}
}

// apply takes over one event and returns the version that it brought.
func apply[T object](kind string, body json.RawMessage, into *table[T]) (string, error) {
	if kind == "ERROR" {
		var status struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
		}
		if err := json.Unmarshal(body, &status); err != nil {
			return "", err
		}
		if status.Code == http.StatusGone {
			return "", errGone
		}
		return "", fmt.Errorf("the server ended the watch: %d %s", status.Code, status.Message)
	}
	var item T
	if err := json.Unmarshal(body, &item); err != nil {
		return "", err
	}
	switch kind {
	case "ADDED", "MODIFIED":
		into.set(item)
	case "DELETED":
		into.remove(item)
	}
	return item.metadata().Version, nil
}
