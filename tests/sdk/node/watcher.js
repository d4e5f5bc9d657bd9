// LaunchDarkly's Node server SDK as a watcher: a process that does what it is told on standard input, one JSON line each,
// and answers on standard output, one JSON line each. tests/sdk/watcher.rs is the other end, and says what the lines mean.
// Its packages are found by NODE_PATH.

const readline = require('node:readline');
const { isDeepStrictEqual } = require('node:util');
const { setTimeout: sleep } = require('node:timers/promises');
const { init, basicLogger } = require('@launchdarkly/node-server-sdk');
const { FileDataSourceFactory } = require('@launchdarkly/node-server-sdk/integrations');
const { RedisFeatureStore } = require('@launchdarkly/node-server-sdk-redis');

// The pause between two looks while waiting for a value, in milliseconds.
const PAUSE = 2;

// The pause before the first attempt to come back to a stream, in seconds; the SDK doubles it up to 30. Its own is one.
const RECONNECT = 0.1;

// The most lines of the SDK's own log that are kept.
const LOG_LINES_MAX = 1000;

// The pause between two looks at what is watched, in milliseconds, besides those when the SDK says that it may have changed:
// a store may change without a word of the SDK.
const WATCH_PAUSE = 5;

// The most changes of a watched flag that are kept.
const CHANGES_MAX = 10000;

let client;
let logs = [];
// By flag: every value that it had since it is watched, and when.
const watched = new Map();

function note(line) {
  if (logs.length < LOG_LINES_MAX) logs.push(line);
}

// Where flags come from: exactly one of a stream, a file or (with neither) a store that others fill.
async function open({ sdkKey, streamUri, filter, file, redis, prefix, cache, milliseconds }) {
  const options = { sendEvents: false, diagnosticOptOut: true, logger: basicLogger({ level: 'info', destination: note }) };
  if (streamUri) {
    // The SDK wants all addresses or none. Nothing is polled, and no events are sent.
    Object.assign(options, {
      streamUri, baseUri: streamUri, eventsUri: streamUri, streamInitialReconnectDelay: RECONNECT,
    });
    if (filter) options.payloadFilterKey = filter;
  } else if (file) {
    options.updateProcessor = new FileDataSourceFactory({ paths: [file], autoUpdate: true }).getFactory();
  } else {
    options.useLdd = true;
  }
  if (redis) {
    const { hostname, port } = new URL(redis);
    options.featureStore = RedisFeatureStore({
      redisOpts: { host: hostname, port: Number(port) }, prefix, cacheTTL: (cache ?? 0) / 1000,
    });
  }
  client = init(sdkKey, options);
  // Not yet initialised is an answer, and leaves a client that goes on trying.
  await client.waitForInitialization({ timeout: milliseconds / 1000 }).catch(() => {});
  return { initialized: client.initialized() };
}

async function evaluate({ flag, context }) {
  const detail = await client.variationDetail(flag, context, null);
  return { value: detail.value, variation: detail.variationIndex ?? null, reason: detail.reason };
}

async function wait(asked) {
  const begun = performance.now();
  for (;;) {
    const served = await evaluate(asked);
    if (isDeepStrictEqual(served.value, asked.value)) return served;
    if (performance.now() - begun > asked.milliseconds) return { ...served, late: true };
    await sleep(PAUSE);
  }
}

// All flags for a context; null where the SDK cannot say.
async function all({ context }) {
  const state = await client.allFlagsState(context);
  return { values: state.valid ? state.allValues() : null };
}

// Looks at the flag each time the SDK says that it may have changed, and every few milliseconds besides, until the end.
async function watch({ flag, context }) {
  const seen = [];
  const look = async () => {
    const { value } = await client.variationDetail(flag, context, null);
    if (seen.length > 0 && isDeepStrictEqual(seen.at(-1).value, value)) return;
    if (seen.length < CHANGES_MAX) seen.push({ value, at: Math.round((performance.timeOrigin + performance.now()) * 1000) });
  };
  await look();
  watched.set(flag, seen);
  client.on(`update:${flag}`, look);
  setInterval(look, WATCH_PAUSE).unref();
  return { watching: true };
}

function seen({ flag }) {
  if (!watched.has(flag)) throw new Error(`${flag} is not watched`);
  return { seen: watched.get(flag) };
}

async function carryOut(asked) {
  if (asked.do === 'open') return open(asked);
  if (!client) throw new Error(`${asked.do} before open`);
  switch (asked.do) {
    case 'evaluate': return evaluate(asked);
    case 'wait': return wait(asked);
    case 'all': return all(asked);
    case 'watch': return watch(asked);
    case 'seen': return seen(asked);
    case 'logs': return { logs: logs.splice(0) };
    case 'close':
      client.close();
      client = undefined;
      return { closed: true };
    default: throw new Error(`"${asked.do}" is nothing that a watcher does`);
  }
}

function say(answer) {
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}

function versionOf(name) {
  // The packages do not export their package.json.
  const path = require('node:path');
  const main = require.resolve(name);
  const folder = main.slice(0, main.lastIndexOf(name) + name.length);
  return JSON.parse(require('node:fs').readFileSync(path.join(folder, 'package.json'), 'utf8')).version;
}

async function main() {
  say({
    sdk: 'node-server-sdk',
    version: versionOf('@launchdarkly/node-server-sdk'),
    store: `node-server-sdk-redis ${versionOf('@launchdarkly/node-server-sdk-redis')}`,
    runtime: `Node ${process.version}`,
  });
  for await (const line of readline.createInterface({ input: process.stdin })) {
    try {
      say(await carryOut(JSON.parse(line)));
    } catch (error) {
      say({ error: String(error) });
    }
  }
  process.exit(0);
}

main();
