"""LaunchDarkly's Python server SDK as a watcher: a process that does what it is told on standard input, one JSON line
each, and answers on standard output, one JSON line each. tests/sdk/watcher.rs is the other end, and says what the lines
mean."""

import json
import logging
import platform
import sys
import threading
import time
from importlib.metadata import version

from ldclient import Context, LDClient
from ldclient.config import Config
from ldclient.feature_store import CacheConfig
from ldclient.integrations import Files, Redis

# The pause between two looks while waiting for a value, in seconds.
PAUSE = 0.002

# The pause before the first attempt to come back to a stream, in seconds; the SDK doubles it up to 30. Its own is one.
RECONNECT = 0.1

# The most lines of the SDK's own log that are kept.
LOG_LINES_MAX = 1000


# The pause between two looks at what is watched, in seconds, besides those when the SDK says that it may have changed: a
# store may change without a word of the SDK.
WATCH_PAUSE = 0.005

# The most changes of a watched flag that are kept.
CHANGES_MAX = 10000


class Kept(logging.Handler):
    """What the SDK writes into its log."""

    def __init__(self):
        super().__init__(logging.INFO)
        self.lines = []

    def emit(self, record):
        if len(self.lines) < LOG_LINES_MAX:
            self.lines.append(record.getMessage())

    def taken(self):
        lines, self.lines = self.lines, []
        return lines


class Watcher:
    """The SDK and what it can be told."""

    def __init__(self):
        self.client = None
        # By flag: every value that it had since it is watched, and when.
        self.watched = {}
        self.log = Kept()
        logging.getLogger("ldclient.util").addHandler(self.log)
        logging.getLogger("ldclient.util").setLevel(logging.INFO)

    def open(self, asked):
        """Where flags come from: exactly one of a stream, a file or (with neither) a store that others fill."""
        options = {"send_events": False, "diagnostic_opt_out": True}
        if asked.get("streamUri"):
            options.update(
                stream_uri=asked["streamUri"], base_uri=asked["streamUri"], initial_reconnect_delay=RECONNECT,
                payload_filter_key=asked.get("filter") or None,
            )
        elif asked.get("file"):
            options["update_processor_class"] = Files.new_data_source(paths=[asked["file"]], auto_update=True, poll_interval=0.05)
        else:
            options["use_ldd"] = True
        if asked.get("redis"):
            cache = asked.get("cache", 0) / 1000
            caching = CacheConfig(expiration=cache) if cache else CacheConfig.disabled()
            options["feature_store"] = Redis.new_feature_store(url=asked["redis"], prefix=asked["prefix"], caching=caching)
        # Not yet initialised is an answer, and leaves a client that goes on trying.
        self.client = LDClient(Config(asked["sdkKey"], **options), start_wait=asked["milliseconds"] / 1000)
        return {"initialized": self.client.is_initialized()}

    def evaluate(self, asked):
        detail = self.client.variation_detail(asked["flag"], Context.from_dict(asked["context"]), None)
        return {"value": detail.value, "variation": detail.variation_index, "reason": detail.reason}

    def wait(self, asked):
        begun = time.monotonic()
        while True:
            served = self.evaluate(asked)
            # True is 1 to Python.
            if json.dumps(served["value"], sort_keys=True) == json.dumps(asked["value"], sort_keys=True):
                return served
            if (time.monotonic() - begun) * 1000 > asked["milliseconds"]:
                return {**served, "late": True}
            time.sleep(PAUSE)

    def all(self, asked):
        """All flags for a context; null where the SDK cannot say."""
        state = self.client.all_flags_state(Context.from_dict(asked["context"]))
        return {"values": state.to_values_map() if state.valid else None}

    def watch(self, asked):
        """Looks at the flag each time the SDK says that it may have changed, and every few milliseconds besides."""
        seen = self.watched[asked["flag"]] = []
        one_at_a_time = threading.Lock()

        def look():
            with one_at_a_time:
                value = self.evaluate(asked)["value"]
                if not seen or json.dumps(seen[-1]["value"], sort_keys=True) != json.dumps(value, sort_keys=True):
                    if len(seen) < CHANGES_MAX:
                        seen.append({"value": value, "at": time.time_ns() // 1000})

        def look_again():
            while True:
                time.sleep(WATCH_PAUSE)
                look()

        look()
        self.client.flag_tracker.add_listener(lambda changed: look() if changed.key == asked["flag"] else None)
        threading.Thread(target=look_again, daemon=True).start()
        return {"watching": True}

    def seen(self, asked):
        """Every value that the flag had since it is watched, in order."""
        return {"seen": self.watched[asked["flag"]]}

    def logs(self, _asked):
        return {"logs": self.log.taken()}

    def close(self, _asked):
        self.client.close()
        self.client = None
        return {"closed": True}

    def carry_out(self, asked):
        if asked["do"] not in ("open", "evaluate", "wait", "all", "watch", "seen", "logs", "close"):
            raise ValueError(f"{asked['do']!r} is nothing that a watcher does")
        if asked["do"] != "open" and self.client is None:
            raise ValueError(f"{asked['do']} before open")
        return getattr(self, asked["do"])(asked)


def say(answer):
    print(json.dumps(answer), flush=True)


def main():
    watcher = Watcher()
    say({
        "sdk": "python-server-sdk",
        "version": version("launchdarkly-server-sdk"),
        "store": f"redis (Python) {version('redis')}",
        "runtime": f"Python {platform.python_version()}",
    })
    for line in sys.stdin:
        try:
            say(watcher.carry_out(json.loads(line)))
        except Exception as error:  # Whatever the SDK throws is an answer.
            say({"error": f"{type(error).__name__}: {error}"})
    if watcher.client is not None:
        watcher.client.close()


main()
