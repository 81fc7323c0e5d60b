package main

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
)

// parsed reads an object the way the API server sends it.
func parsed[T any](t *testing.T, text string) T {
	t.Helper()
	var found T
	if err := json.Unmarshal([]byte(text), &found); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return found
}

// short writes a record as "name -> host[:port]", the name in its usual order.
func short(t *testing.T, key, value string) string {
	t.Helper()
	labels := strings.Split(strings.TrimPrefix(key, root+"/"), "/")
	slices.Reverse(labels)
	found := parsed[record](t, value)
	if found.TTL != 30 || found.Priority != 10 || found.Weight != 10 {
		t.Errorf("%s: odd record %s", key, value)
	}
	line := strings.Join(labels, ".") + " -> " + found.Host
	if found.Port != 0 {
		ports := map[int]string{53: "53", 80: "80", 443: "443", 8080: "8080"}
		line += ":" + ports[found.Port]
	}
	return line
}

func TestRecords(t *testing.T) {
	db := `{"metadata": {"name": "db", "namespace": "prod"}, "spec": {"clusterIP": "None"}}`
	dbSlice := `{"metadata": {"name": "db-1", "namespace": "prod",
			"labels": {"kubernetes.io/service-name": "db"}},
		"endpoints": [
			{"addresses": ["10.244.1.2"], "hostname": "DB-0", "conditions": {"ready": true}},
			{"addresses": ["10.244.2.3"], "conditions": {}},
			{"addresses": ["10.244.2.4"], "conditions": {"ready": false}}],
		"ports": [{"name": "http", "protocol": "TCP", "port": 8080}, {"port": 80}]}`
	cases := []struct {
		name     string
		services []string
		slices   []string
		want     []string
	}{
		{
			name: "a service with a named port is found by name, by port and by address",
			services: []string{`{"metadata": {"name": "kubernetes", "namespace": "default"},
				"spec": {"clusterIP": "10.10.10.1", "clusterIPs": ["10.10.10.1"],
				"ports": [{"name": "https", "protocol": "TCP", "port": 443}]}}`},
			want: []string{
				"1.10.10.10.in-addr.arpa -> kubernetes.default.svc.cluster.local",
				"H(10.10.10.1)._https._tcp.kubernetes.default.svc.cluster.local -> 10.10.10.1:443",
				"H(10.10.10.1).kubernetes.default.svc.cluster.local -> 10.10.10.1",
			},
		},
		{
			name: "a port without a name has no record, one without a protocol is TCP",
			services: []string{`{"metadata": {"name": "web", "namespace": "a"},
				"spec": {"clusterIP": "10.10.10.9",
				"ports": [{"port": 80}, {"name": "x", "port": 53}]}}`},
			want: []string{
				"9.10.10.10.in-addr.arpa -> web.a.svc.cluster.local",
				"H(10.10.10.9)._x._tcp.web.a.svc.cluster.local -> 10.10.10.9:53",
				"H(10.10.10.9).web.a.svc.cluster.local -> 10.10.10.9",
			},
		},
		{
			name: "a service of two families has an address of each",
			services: []string{`{"metadata": {"name": "both", "namespace": "a"},
				"spec": {"clusterIP": "10.10.10.8", "clusterIPs": ["10.10.10.8", "fd00::8"]}}`},
			want: []string{
				"8.10.10.10.in-addr.arpa -> both.a.svc.cluster.local",
				"H(10.10.10.8).both.a.svc.cluster.local -> 10.10.10.8",
				"H(fd00::8).both.a.svc.cluster.local -> fd00::8",
			},
		},
		{
			name:     "a headless service has its ready endpoints, by host name where they have one",
			services: []string{db},
			slices:   []string{dbSlice},
			want: []string{
				"2.1.244.10.in-addr.arpa -> db-0.db.prod.svc.cluster.local",
				"H(10.244.2.3)._http._tcp.db.prod.svc.cluster.local -> 10.244.2.3:8080",
				"H(10.244.2.3).db.prod.svc.cluster.local -> 10.244.2.3",
				"db-0._http._tcp.db.prod.svc.cluster.local -> 10.244.1.2:8080",
				"db-0.db.prod.svc.cluster.local -> 10.244.1.2",
			},
		},
		{
			name: "endpoints that are not ready are published when the service asks for it",
			services: []string{`{"metadata": {"name": "db", "namespace": "prod"},
				"spec": {"clusterIP": "None", "publishNotReadyAddresses": true}}`},
			slices: []string{`{"metadata": {"name": "db-1", "namespace": "prod",
				"labels": {"kubernetes.io/service-name": "db"}},
				"endpoints": [{"addresses": ["10.244.2.4"], "conditions": {"ready": false}}]}`},
			want: []string{"H(10.244.2.4).db.prod.svc.cluster.local -> 10.244.2.4"},
		},
		{
			name:     "a slice of another namespace's service of the same name is not taken",
			services: []string{db},
			slices:   []string{strings.ReplaceAll(dbSlice, `"prod"`, `"test"`)},
		},
		{
			name: "an external name is an alias",
			services: []string{`{"metadata": {"name": "shop", "namespace": "a"},
				"spec": {"type": "ExternalName", "externalName": "shop.example.org"}}`},
			want: []string{"H(shop.example.org).shop.a.svc.cluster.local -> shop.example.org"},
		},
		{
			name:     "a service that has no address yet has no record",
			services: []string{`{"metadata": {"name": "new", "namespace": "a"}, "spec": {}}`},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var services []service
			for _, text := range c.services {
				services = append(services, parsed[service](t, text))
			}
			var endpoints []endpointSlice
			for _, text := range c.slices {
				endpoints = append(endpoints, parsed[endpointSlice](t, text))
			}
			var got []string
			for key, value := range records("cluster.local", services, endpoints) {
				got = append(got, short(t, key, value))
			}
			slices.Sort(got)
			want := make([]string, 0, len(c.want))
			for _, line := range c.want {
				want = append(want, hashed(line))
			}
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
			}
		})
	}
}

// hashed replaces H(x) by the hash of x.
func hashed(line string) string {
	before, rest, there := strings.Cut(line, "H(")
	if !there {
		return line
	}
	inside, after, _ := strings.Cut(rest, ")")
	return before + hash(inside) + after
}

func TestKeysAreLabelsFromTheRight(t *testing.T) {
	got := key("kubernetes.default.svc.cluster.local")
	if want := "/skydns/local/cluster/svc/default/kubernetes"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestOnlyWhatDiffersIsWritten(t *testing.T) {
	present := map[string]string{"/a": "1", "/b": "old", "/gone": "x"}
	wanted := map[string]string{"/a": "1", "/b": "new", "/c": "3"}
	changes, puts, deletes := compare(present, wanted)
	if puts != 2 || deletes != 1 || len(changes) != 3 {
		t.Fatalf("%d puts, %d deletes, %d changes", puts, deletes, len(changes))
	}
	after := maps.Clone(present)
	for _, change := range changes {
		if change.Put != nil {
			after[string(change.Put.Key)] = string(change.Put.Value)
		} else {
			delete(after, string(change.Delete.Key))
		}
	}
	if !maps.Equal(after, wanted) {
		t.Errorf("got %v, want %v", after, wanted)
	}
}
