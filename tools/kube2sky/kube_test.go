package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestEventsChangeTheTable(t *testing.T) {
	into := newTable[service](make(chan struct{}, 1))
	object := func(name, version string) json.RawMessage {
		return fmt.Appendf(nil, `{"metadata":{"name":%q,"namespace":"a","resourceVersion":%q}}`, name, version)
	}
	steps := []struct{ kind, name, version, left string }{
		{"ADDED", "x", "1", "a/x"},
		{"MODIFIED", "y", "2", "a/x a/y"},
		{"BOOKMARK", "", "7", "a/x a/y"},
		{"DELETED", "x", "8", "a/y"},
	}
	for _, step := range steps {
		version, err := apply(step.kind, object(step.name, step.version), into)
		if err != nil || version != step.version {
			t.Fatalf("%v: version %q, error %v", step, version, err)
		}
		items, _ := into.all()
		var names []string
		for _, item := range items {
			names = append(names, item.metadata().name())
		}
		slices.Sort(names)
		if left := strings.Join(names, " "); left != step.left {
			t.Errorf("%v: left %q", step, left)
		}
	}
}

func TestAVersionThatIsTooOldIsToldApart(t *testing.T) {
	into := newTable[service](make(chan struct{}, 1))
	_, err := apply("ERROR", json.RawMessage(`{"code":410,"message":"too old"}`), into)
	if !errors.Is(err, errGone) {
		t.Errorf("got %v", err)
	}
	_, err = apply("ERROR", json.RawMessage(`{"code":500,"message":"oh"}`), into)
	if err == nil || errors.Is(err, errGone) {
		t.Errorf("got %v", err)
	}
}

// The server below is a stand-in for the API server: it knows two pages and one watch.
func TestFollowingListsAgainWhenItsVersionIsGone(t *testing.T) {
	var lists atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Query().Get("watch") == "true":
			w.WriteHeader(http.StatusGone)
		case r.URL.Query().Get("continue") == "":
			lists.Add(1)
			fmt.Fprint(w, `{"metadata":{"resourceVersion":"5","continue":"more"},
				"items":[{"metadata":{"name":"x","namespace":"a"}}]}`)
		default:
			fmt.Fprint(w, `{"metadata":{"resourceVersion":"5"},
				"items":[{"metadata":{"name":"y","namespace":"a"}}]}`)
		}
	}))
	defer server.Close()
	a, err := newAPI(server.URL, "", "")
	if err != nil {
		t.Fatal(err)
	}
	into := newTable[service](make(chan struct{}, 1))
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	go func() {
		for ctx.Err() == nil && lists.Load() < 2 {
			time.Sleep(10 * time.Millisecond)
		}
		cancel()
	}()
	follow(ctx, a, "/api/v1/services", into)
	if items, listed := into.all(); lists.Load() < 2 || !listed || len(items) != 2 {
		t.Errorf("%d lists, %d items", lists.Load(), len(items))
	}
}

func TestSettingsAreRefusedInWords(t *testing.T) {
	cases := map[string]string{
		"--domain=.":                       "--domain",
		"--kube_master_url=10.10.10.1":     "--kube_master_url",
		"--etcd-server=ftp://x":            "--etcd-server",
		"--healthz-port=70000":             "70000",
		"--repair-interval=0s":             "--repair-interval",
		"kube_master_url=https://10.0.0.1": "is no flag",
	}
	for argument, want := range cases {
		_, err := parse([]string{"--kube_master_url=https://10.10.10.1", argument})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", argument, err)
		}
	}
}
