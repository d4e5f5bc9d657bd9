// LaunchDarkly's Go server SDK as a watcher: a process that does what it is told on standard input, one JSON line each,
// and answers on standard output, one JSON line each. tests/sdk/watcher.rs is the other end, and says what the lines mean.
//
// With the argument "read" it is LaunchDarkly's reader and writer of flag records alone (records.go).
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	ld "github.com/launchdarkly/go-server-sdk/v7"
)

// The pause between two looks while waiting for a value.
const pause = 2 * time.Millisecond

// A line of standard input.
type request struct {
	Do           string          `json:"do"`
	Flag         string          `json:"flag"`
	Context      json.RawMessage `json:"context"`
	Value        json.RawMessage `json:"value"`
	Milliseconds int             `json:"milliseconds"`
	options
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "read" {
		if err := readRecords(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	out := json.NewEncoder(os.Stdout)
	_ = out.Encode(map[string]string{
		"sdk":     "go-server-sdk",
		"version": ld.Version,
		"store":   "go-server-sdk-redis-redigo " + moduleVersion("github.com/launchdarkly/go-server-sdk-redis-redigo/v3"),
		"runtime": runtime.Version(),
	})
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64*1024*1024)
	var sdk *client
	for lines.Scan() {
		var asked request
		answer, err := any(nil), json.Unmarshal(lines.Bytes(), &asked)
		if err == nil {
			answer, err = carryOut(&sdk, asked)
		}
		if err != nil {
			answer = map[string]string{"error": err.Error()}
		}
		_ = out.Encode(answer)
	}
	if sdk != nil {
		_ = sdk.Close()
	}
}

func carryOut(sdk **client, asked request) (any, error) {
	if asked.Do == "open" {
		opened, err := open(asked.options, time.Duration(asked.Milliseconds)*time.Millisecond)
		if opened == nil {
			return nil, err
		}
		*sdk = opened
		return map[string]bool{"initialized": opened.Initialized()}, nil
	}
	if *sdk == nil {
		return nil, fmt.Errorf("%s before open", asked.Do)
	}
	switch asked.Do {
	case "evaluate":
		return (*sdk).evaluate(asked.Flag, asked.Context)
	case "wait":
		return (*sdk).wait(asked)
	case "all":
		return (*sdk).all(asked.Context)
	case "watch":
		return (*sdk).watch(asked.Flag, asked.Context)
	case "seen":
		return (*sdk).seen(asked.Flag)
	case "logs":
		return map[string][]string{"logs": (*sdk).log.taken()}, nil
	case "close":
		err := (*sdk).Close()
		*sdk = nil
		return map[string]bool{"closed": true}, err
	}
	return nil, fmt.Errorf("%q is nothing that a watcher does", asked.Do)
}

// The version of a module that this program was built with.
func moduleVersion(path string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if module.Path == path {
				return module.Version
			}
		}
	}
	return "of unknown version"
}
