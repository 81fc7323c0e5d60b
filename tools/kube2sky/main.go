// Kube2sky writes the Services of a Kubernetes cluster as SkyDNS records into etcd, where a DNS
// server that knows the format (SkyDNS, or CoreDNS with its etcd plugin) answers from them.
//
// It watches Services and EndpointSlices, works out all records that should exist, and makes etcd
// agree: what differs is written, what is gone is deleted, also what went while it did not run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
)

const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount/"

type settings struct {
	domain      string
	master      string
	etcd        string
	tokenFile   string
	caFile      string
	healthzPort int
	repair      time.Duration
}

func main() {
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stderr, nil)))
	given, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "kube2sky: %v\n", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, given); err != nil {
		slog.Error("ended", "error", err)
		os.Exit(1)
	}
	slog.Info("stopped by a signal")
}

func parse(arguments []string) (settings, error) {
	var given settings
	flags := flag.NewFlagSet("kube2sky", flag.ContinueOnError)
	flags.StringVar(&given.domain, "domain", "cluster.local", "the cluster's domain")
	flags.StringVar(&given.master, "kube_master_url", inCluster(),
		"the API server; inside a pod its address is known")
	flags.StringVar(&given.etcd, "etcd-server", "http://127.0.0.1:4001", "where records go")
	flags.StringVar(&given.tokenFile, "token-file", serviceAccount+"token",
		"read again for each request, because it rotates; not sent over plain http")
	flags.StringVar(&given.caFile, "ca-file", serviceAccount+"ca.crt",
		"who may have signed the API server's certificate")
	flags.IntVar(&given.healthzPort, "healthz-port", 8081,
		"serves /healthz (alive) and /readiness (all records written); 0 for none")
	flags.DurationVar(&given.repair, "repair-interval", 10*time.Second,
		"how often etcd is read back, since it may have lost its data")
	if err := flags.Parse(arguments); err != nil {
		return given, err
	}
	given.domain = strings.ToLower(strings.Trim(given.domain, "."))
	return given, given.check(flags.Args())
}

func (s settings) check(rest []string) error {
	if len(rest) > 0 {
		return fmt.Errorf("%q is no flag; flags are written --name=value", rest[0])
	}
	if s.domain == "" {
		return errors.New("--domain: is empty; give the cluster's domain, such as cluster.local")
	}
	for name, value := range map[string]string{"kube_master_url": s.master, "etcd-server": s.etcd} {
		at, err := url.Parse(value)
		if err != nil || at.Host == "" || (at.Scheme != "http" && at.Scheme != "https") {
			return fmt.Errorf("--%s: %q must be a URL such as https://10.10.10.1", name, value)
		}
	}
	if s.healthzPort < 0 || s.healthzPort > 65535 {
		return fmt.Errorf("--healthz-port: %d must be from 0 to 65535", s.healthzPort)
	}
	if s.repair <= 0 {
		return fmt.Errorf("--repair-interval: %s must be above 0, such as 10s", s.repair)
	}
	return nil
}

// inCluster is where Kubernetes tells its pods that the API server is; empty outside of one.
func inCluster() string {
	host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return ""
	}
	return "https://" + net.JoinHostPort(host, port)
}

func run(ctx context.Context, given settings) error {
	api, err := newAPI(given.master, given.tokenFile, given.caFile)
	if err != nil {
		return err
	}
	changed := make(chan struct{}, 1)
	services := newTable[service](changed)
	slices := newTable[endpointSlice](changed)
	writer := &syncer{
		domain: given.domain, etcd: newEtcd(given.etcd), repair: given.repair,
		services: services, slices: slices, changed: changed,
	}
	if given.healthzPort != 0 {
		if err := serveHealth(ctx, given.healthzPort, writer); err != nil {
			return err
		}
	}
	slog.Info("starting", "domain", given.domain, "master", given.master, "etcd", given.etcd)
	var all sync.WaitGroup
	all.Go(func() { follow(ctx, api, "/api/v1/services", services) })
	all.Go(func() { follow(ctx, api, "/apis/discovery.k8s.io/v1/endpointslices", slices) })
	all.Go(func() { writer.run(ctx) })
	all.Wait()
	return nil
}

// serveHealth listens at once, so that a taken port is an error and not a silence.
func serveHealth(ctx context.Context, port int, writer *syncer) error {
	listener, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
	if err != nil {
		return fmt.Errorf("--healthz-port: %w", err)
	}
	answers := http.NewServeMux()
	answers.HandleFunc("GET /healthz", answer(writer.alive))
	answers.HandleFunc("GET /readiness", answer(writer.ready))
	server := &http.Server{Handler: answers, ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { server.Close() })
	go server.Serve(listener)
	return nil
}

func answer(question func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if err := question(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	}
}
