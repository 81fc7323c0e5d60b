package main

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

type object interface{ metadata() meta }

// A table is what is known of one kind of object. Whoever waits for changes hears of each, or of
// several at once.
type table[T object] struct {
	changed chan<- struct{}

	mutex  sync.Mutex
	items  map[string]T
	listed bool
}

func newTable[T object](changed chan<- struct{}) *table[T] {
	return &table[T]{changed: changed, items: map[string]T{}}
}

func (t *table[T]) replace(items []T) {
	t.mutex.Lock()
	t.items = make(map[string]T, len(items))
	for _, item := range items {
		t.items[item.metadata().name()] = item
	}
	t.listed = true
	t.mutex.Unlock()
	t.tell()
}

func (t *table[T]) set(item T) {
	t.mutex.Lock()
	t.items[item.metadata().name()] = item
	t.mutex.Unlock()
	t.tell()
}

func (t *table[T]) remove(item T) {
	t.mutex.Lock()
	delete(t.items, item.metadata().name())
	t.mutex.Unlock()
	t.tell()
}

// all returns what is there, and false as long as it was never listed completely.
func (t *table[T]) all() ([]T, bool) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	found := make([]T, 0, len(t.items))
	for _, item := range t.items {
		found = append(found, item)
	}
	return found, t.listed
}

func (t *table[T]) tell() {
	select {
	case t.changed <- struct{}{}:
	default: // somebody was told already and has not looked yet
	}
}

// A backoff waits longer after each failure, and not always equally long.
type backoff struct{ first, most, next time.Duration }

func (b *backoff) reset() { b.next = 0 }

func (b *backoff) sleep(ctx context.Context) {
	b.next = min(max(b.next*2, b.first), b.most)
	pause := time.NewTimer(b.next/2 + rand.N(b.next/2))
	defer pause.Stop()
	select {
	case <-ctx.Done():
	case <-pause.C:
	}
}
