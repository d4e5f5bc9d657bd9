package main

import (
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/launchdarkly/go-sdk-common/v3/ldvalue"
)

// The pause between two looks at what is watched, besides those when the SDK says that something may have changed: a store
// may change without a word of the SDK.
const watchPause = 5 * time.Millisecond

// The most changes that are kept.
const changesMax = 10000

// A value that a flag came to have, and when, in microseconds of the epoch.
type change struct {
	Value ldvalue.Value `json:"value"`
	At    int64         `json:"at"`
}

// What is watched, by flag.
type watches struct {
	mutex sync.Mutex
	seen  map[string][]change
}

// Looks at the flag each time the SDK says that it may have changed, and every few milliseconds besides, until the end.
func (c *client) watch(flag string, context json.RawMessage) (any, error) {
	if err := c.look(flag, context); err != nil {
		return nil, err
	}
	told := c.GetFlagTracker().AddFlagChangeListener()
	go func() {
		ticks := time.NewTicker(watchPause)
		defer ticks.Stop()
		for {
			select {
			case _, open := <-told:
				if !open {
					return
				}
			case <-ticks.C:
			}
			_ = c.look(flag, context)
		}
	}()
	return map[string]bool{"watching": true}, nil
}

// Keeps the value if it is another one than the last.
func (c *client) look(flag string, context json.RawMessage) error {
	now, err := c.evaluate(flag, context)
	if err != nil {
		return err
	}
	c.watches.mutex.Lock()
	defer c.watches.mutex.Unlock()
	seen := c.watches.seen[flag]
	if len(seen) > 0 && seen[len(seen)-1].Value.Equal(now.Value) || len(seen) == changesMax {
		return nil
	}
	if c.watches.seen == nil {
		c.watches.seen = map[string][]change{}
	}
	c.watches.seen[flag] = append(seen, change{now.Value, time.Now().UnixMicro()})
	return nil
}

// Every value that the flag had since it is watched, in order.
func (c *client) seen(flag string) (any, error) {
	c.watches.mutex.Lock()
	defer c.watches.mutex.Unlock()
	seen, watched := c.watches.seen[flag]
	if !watched {
		return nil, fmt.Errorf("%s is not watched", flag)
	}
	return map[string][]change{"seen": seen}, nil
}
