package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// batch is how many changes go into one transaction; etcd's default allows 128.
const batch = 100

// etcd speaks the JSON form of etcd's v3 API. []byte is base64 in JSON, as etcd wants it.
type etcd struct {
	server string
	client *http.Client
}

type pair struct {
	Key   []byte `json:"key"`
	Value []byte `json:"value,omitempty"`
}

// A change is one of the two.
type change struct {
	Put    *pair `json:"requestPut,omitempty"`
	Delete *pair `json:"requestDeleteRange,omitempty"`
}

func newEtcd(server string) *etcd {
	return &etcd{
		server: strings.TrimRight(server, "/"), client: &http.Client{Timeout: 10 * time.Second},
	}
}

// read returns every value below a prefix, by key.
func (e *etcd) read(ctx context.Context, prefix string) (map[string]string, error) {
	var answer struct {
		Pairs []pair `json:"kvs"`
	}
	first, last := prefix+"/", prefix+"0" // '0' is what follows '/'
	question := map[string][]byte{"key": []byte(first), "range_end": []byte(last)}
	if err := e.call(ctx, "range", question, &answer); err != nil {
		return nil, err
	}
	found := make(map[string]string, len(answer.Pairs))
	for _, pair := range answer.Pairs {
		found[string(pair.Key)] = string(pair.Value)
	}
	return found, nil
}

// write makes changes, many at a time.
func (e *etcd) write(ctx context.Context, changes []change) error {
	for len(changes) > 0 {
		count := min(batch, len(changes))
		question := map[string][]change{"success": changes[:count]}
		var answer struct {
			Succeeded bool `json:"succeeded"`
		}
		if err := e.call(ctx, "txn", question, &answer); err != nil {
			return err
		}
		if !answer.Succeeded {
			return fmt.Errorf("%s did not accept %d changes", e.server, count)
		}
		changes = changes[count:]
	}
	return nil
}

func (e *etcd) call(ctx context.Context, verb string, question, answer any) error {
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	at := e.server + "/v3/kv/" + verb
	request, err := http.NewRequestWithContext(ctx, "POST", at, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := e.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(response.Body, 500))
		return fmt.Errorf("%s: %s: %s", at, response.Status, strings.TrimSpace(string(said)))
	}
	if err := json.NewDecoder(response.Body).Decode(answer); err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	return nil
}
