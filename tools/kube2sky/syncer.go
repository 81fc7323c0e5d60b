package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

// gather is how long changes are collected before they are written: a Service and its endpoints
// come as several events within milliseconds.
const gather = 20 * time.Millisecond

// A syncer makes etcd hold exactly the records that the tables ask for.
type syncer struct {
	domain   string
	etcd     *etcd
	repair   time.Duration
	services *table[service]
	slices   *table[endpointSlice]
	changed  <-chan struct{}

	mutex   sync.Mutex
	tried   time.Time
	written time.Time
	failure error
}

func (s *syncer) run(ctx context.Context) {
	wait := backoff{first: 200 * time.Millisecond, most: s.repair}
	for s.waitForWork(ctx) {
		if !s.listed() {
			continue
		}
		err := s.sync(ctx)
		if ctx.Err() != nil {
			return
		}
		s.note(err)
		for err != nil && ctx.Err() == nil {
			slog.Warn("cannot write records, trying again", "error", err.Error())
			wait.sleep(ctx)
			err = s.sync(ctx)
			s.note(err)
		}
		wait.reset()
	}
}

// waitForWork returns after a change, or when it is time to look whether etcd still has all.
func (s *syncer) waitForWork(ctx context.Context) bool {
	repair := time.NewTimer(s.repair)
	defer repair.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-repair.C:
	case <-s.changed:
		time.Sleep(gather)
	}
	return true
}

func (s *syncer) listed() bool {
	_, services := s.services.all()
	_, slices := s.slices.all()
	return services && slices
}

// sync reads what is there each time: another etcd may be running by now, without our records.
func (s *syncer) sync(ctx context.Context) error {
	services, _ := s.services.all()
	endpoints, _ := s.slices.all()
	wanted := records(s.domain, services, endpoints)
	present := map[string]string{}
	for _, prefix := range prefixes(s.domain) {
		found, err := s.etcd.read(ctx, prefix)
		if err != nil {
			return err
		}
		maps.Copy(present, found)
	}
	changes, puts, deletes := compare(present, wanted)
	if len(changes) == 0 {
		return nil
	}
	if err := s.etcd.write(ctx, changes); err != nil {
		return err
	}
	slog.Info("records written", "set", puts, "deleted", deletes, "all", len(wanted))
	return nil
}

// compare returns what has to be done, in the order of the keys.
func compare(present, wanted map[string]string) (changes []change, puts, deletes int) {
	for _, key := range slices.Sorted(maps.Keys(wanted)) {
		if value, there := present[key]; !there || value != wanted[key] {
			put := &pair{Key: []byte(key), Value: []byte(wanted[key])}
			changes = append(changes, change{Put: put})
			puts++
		}
	}
	for _, key := range slices.Sorted(maps.Keys(present)) {
		if _, stays := wanted[key]; !stays {
			changes = append(changes, change{Delete: &pair{Key: []byte(key)}})
			deletes++
		}
	}
	return changes, puts, deletes
}

func (s *syncer) note(err error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.tried, s.failure = time.Now(), err
	if err == nil {
		s.written = s.tried
	}
}

// ready: everything that was listed is in etcd, as far as we know.
func (s *syncer) ready() error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.written.IsZero() {
		return errors.Join(errors.New("no records were written yet"), s.failure)
	}
	return s.failure
}

// alive: the loop goes round. Whether others answer it, a restart of ours would not change.
func (s *syncer) alive() error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	limit := 3*s.repair + 30*time.Second
	if since := time.Since(s.tried); !s.tried.IsZero() && since > limit {
		return fmt.Errorf("nothing was tried for %s", since.Round(time.Second))
	}
	return nil
}
