package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"strings"
	"sync"
	"time"

	"github.com/launchdarkly/go-sdk-common/v3/ldcontext"
	"github.com/launchdarkly/go-sdk-common/v3/ldlog"
	"github.com/launchdarkly/go-sdk-common/v3/ldreason"
	"github.com/launchdarkly/go-sdk-common/v3/ldvalue"
	ldredis "github.com/launchdarkly/go-server-sdk-redis-redigo/v3"
	ld "github.com/launchdarkly/go-server-sdk/v7"
	"github.com/launchdarkly/go-server-sdk/v7/interfaces"
	"github.com/launchdarkly/go-server-sdk/v7/ldcomponents"
	"github.com/launchdarkly/go-server-sdk/v7/ldfiledata"
	"github.com/launchdarkly/go-server-sdk/v7/ldfilewatch"
)

// The pause before the first attempt to come back to a stream; the SDK doubles it up to 30 s. Its own is a second.
const reconnect = 100 * time.Millisecond

// The most lines of the SDK's own log that are kept.
const logLinesMax = 1000

// Where flags come from: exactly one of a stream, a file or (with neither) a store that others fill.
type options struct {
	SDKKey    string `json:"sdkKey"`
	StreamURI string `json:"streamUri"`
	Filter    string `json:"filter"`
	File      string `json:"file"`
	Redis     string `json:"redis"`
	Prefix    string `json:"prefix"`
	// How long the SDK keeps what it read from the store, in milliseconds.
	Cache int `json:"cache"`
}

type client struct {
	*ld.LDClient
	log     *kept
	watches watches
}

// What the SDK writes into its log.
type kept struct {
	mutex sync.Mutex
	lines []string
}

func (k *kept) Write(line []byte) (int, error) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	if len(k.lines) < logLinesMax {
		k.lines = append(k.lines, strings.TrimSpace(string(line)))
	}
	return len(line), nil
}

func (k *kept) taken() []string {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	lines := k.lines
	k.lines = nil
	return append([]string{}, lines...)
}

func open(options options, wait time.Duration) (*client, error) {
	lines := &kept{}
	loggers := ldlog.NewDefaultLoggers()
	loggers.SetBaseLogger(log.New(lines, "", 0))
	config := ld.Config{
		DiagnosticOptOut: true,
		Events:           ldcomponents.NoEvents(),
		Logging:          ldcomponents.Logging().Loggers(loggers),
	}
	switch {
	case options.StreamURI != "":
		stream := ldcomponents.StreamingDataSource().InitialReconnectDelay(reconnect)
		if options.Filter != "" {
			stream.PayloadFilter(options.Filter)
		}
		config.DataSource = stream
		config.ServiceEndpoints = interfaces.ServiceEndpoints{Streaming: options.StreamURI}.WithPartialSpecification()
	case options.File != "":
		config.DataSource = ldfiledata.DataSource().FilePaths(options.File).Reloader(ldfilewatch.WatchFiles)
	default:
		config.DataSource = ldcomponents.ExternalUpdatesOnly()
	}
	if options.Redis != "" {
		store := ldredis.DataStore().URL(options.Redis).Prefix(options.Prefix)
		cache := time.Duration(options.Cache) * time.Millisecond
		config.DataStore = ldcomponents.PersistentDataStore(store).CacheTime(cache)
	}
	sdk, err := ld.MakeCustomClient(options.SDKKey, config, wait)
	// Not yet initialised is an answer, and leaves a client that goes on trying; as the relay takes it.
	if sdk == nil || (err != nil && !errors.Is(err, ld.ErrInitializationTimeout) && !errors.Is(err, ld.ErrInitializationFailed)) {
		return nil, fmt.Errorf("the SDK could not be made: %w", err)
	}
	return &client{LDClient: sdk, log: lines}, nil
}

// What a flag gives a context.
type served struct {
	Value     ldvalue.Value             `json:"value"`
	Variation ldvalue.OptionalInt       `json:"variation"`
	Reason    ldreason.EvaluationReason `json:"reason"`
	// It was not what was waited for.
	Late bool `json:"late,omitempty"`
}

func (c *client) evaluate(flag string, context json.RawMessage) (served, error) {
	var who ldcontext.Context
	if err := json.Unmarshal(context, &who); err != nil {
		return served{}, err
	}
	// A flag that cannot be evaluated gives null; why stands in the reason, and the error says no more.
	value, detail, _ := c.JSONVariationDetail(flag, who, ldvalue.Null())
	return served{Value: value, Variation: detail.VariationIndex, Reason: detail.Reason}, nil
}

func (c *client) wait(asked request) (served, error) {
	var wanted ldvalue.Value
	if err := json.Unmarshal(asked.Value, &wanted); err != nil {
		return served{}, err
	}
	begun := time.Now()
	for {
		now, err := c.evaluate(asked.Flag, asked.Context)
		if err != nil {
			return served{}, err
		}
		if now.Value.Equal(wanted) {
			return now, nil
		}
		if time.Since(begun) > time.Duration(asked.Milliseconds)*time.Millisecond {
			now.Late = true
			return now, nil
		}
		time.Sleep(pause)
	}
}

// All flags for a context; null where the SDK cannot say, such as where one record cannot be read.
func (c *client) all(context json.RawMessage) (map[string]any, error) {
	var who ldcontext.Context
	if err := json.Unmarshal(context, &who); err != nil {
		return nil, err
	}
	state := c.AllFlagsState(who)
	if !state.IsValid() {
		return map[string]any{"values": nil}, nil
	}
	return map[string]any{"values": state.ToValuesMap()}, nil
}
