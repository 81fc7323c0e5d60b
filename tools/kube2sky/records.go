package main

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"
)

const (
	root = "/skydns"
	ttl  = 30 // seconds
	// headless is the cluster IP of a service that has none.
	headless = "None"
)

// A record is what SkyDNS keeps for a name. A host that is an address makes an A or AAAA record,
// one that is a name a CNAME (or under arpa a PTR); with a port it is an SRV record as well.
type record struct {
	Host     string `json:"host"`
	Port     int    `json:"port,omitempty"`
	Priority int    `json:"priority"`
	Weight   int    `json:"weight"`
	TTL      int    `json:"ttl"`
}

// prefixes are the parts of etcd that are ours alone: whatever else is there is deleted.
func prefixes(domain string) []string {
	return []string{key("svc." + domain), key("in-addr.arpa")}
}

// records works out everything that etcd should hold: value by key.
//
//	<service>.<namespace>.svc.<domain>                     its cluster IPs
//	_<port>._<protocol>.<service>.<namespace>.svc.<domain> the same with the port, for SRV
//	<host>.<service>.<namespace>.svc.<domain>              an endpoint of a headless service
//
// Each lies under a last label of its own (the endpoint's host name, else a hash of the address),
// so that several addresses stand beside each other. An SRV record holds the address and not the
// name of the A record: the server collects everything below a name, and would find aliases there.
func records(domain string, services []service, endpoints []endpointSlice) map[string]string {
	byService := map[string][]endpointSlice{}
	for _, slice := range endpoints {
		byService[slice.owner()] = append(byService[slice.owner()], slice)
	}
	found := map[string]string{}
	for _, service := range services {
		at := service.Metadata.Name + "." + service.Metadata.Namespace + ".svc." + domain
		switch {
		case service.Spec.Type == "ExternalName":
			put(found, hash(service.Spec.ExternalName)+"."+at, service.Spec.ExternalName, 0)
		case service.Spec.ClusterIP == headless:
			addEndpoints(found, at, service, byService[service.Metadata.name()])
		default:
			addClusterIPs(found, at, service)
		}
	}
	return found
}

func addClusterIPs(found map[string]string, at string, service service) {
	addresses := service.Spec.ClusterIPs
	if len(addresses) == 0 && service.Spec.ClusterIP != "" {
		addresses = []string{service.Spec.ClusterIP}
	}
	for _, address := range addresses {
		put(found, hash(address)+"."+at, address, 0)
		for _, port := range service.Spec.Ports {
			putPort(found, hash(address), at, address, port.Name, port.Protocol, port.Port)
		}
		putReverse(found, address, at)
	}
}

func addEndpoints(found map[string]string, at string, service service, all []endpointSlice) {
	for _, slice := range all {
		for _, endpoint := range slice.Endpoints {
			if !endpoint.isReady() && !service.Spec.PublishNotReady {
				continue
			}
			for _, address := range endpoint.Addresses {
				label := hash(address)
				if endpoint.Hostname != "" {
					label = strings.ToLower(endpoint.Hostname)
					putReverse(found, address, label+"."+at)
				}
				put(found, label+"."+at, address, 0)
				for _, port := range slice.Ports {
					putPort(found, label, at, address, port.Name, port.Protocol, port.Port)
				}
			}
		}
	}
}

// putPort writes what an SRV question about a named port finds; ports without a name have none.
func putPort(found map[string]string, label, at, address, name, protocol string, port int) {
	if name == "" {
		return
	}
	if protocol == "" {
		protocol = "TCP"
	}
	put(found, fmt.Sprintf("%s._%s._%s.%s", label, name, strings.ToLower(protocol), at), address, port)
}

// putReverse writes what a PTR question about an IPv4 address finds.
func putReverse(found map[string]string, address, name string) {
	ip, err := netip.ParseAddr(address)
	if err != nil || !ip.Is4() {
		return
	}
	b := ip.As4()
	put(found, fmt.Sprintf("%d.%d.%d.%d.in-addr.arpa", b[3], b[2], b[1], b[0]), name, 0)
}

func put(found map[string]string, name, host string, port int) {
	value, err := json.Marshal(record{Host: host, Port: port, Priority: 10, Weight: 10, TTL: ttl})
	if err != nil {
		panic(err) // a struct of strings and numbers
	}
	found[key(name)] = string(value)
}

// key is where SkyDNS looks for a name: its labels from the right, as a path.
func key(name string) string {
	labels := strings.Split(name, ".")
	slices.Reverse(labels)
	return root + "/" + strings.Join(labels, "/")
}

// hash is a label for an address: short, and the same each time.
func hash(text string) string {
	sum := fnv.New32a()
	sum.Write([]byte(text))
	return fmt.Sprintf("%08x", sum.Sum32())
}
