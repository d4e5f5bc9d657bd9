//! What the guard says of itself over HTTP: `/status` as JSON, `/metrics` for Prometheus. It only reads, and shows no key.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::Method;
use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header;
use hyper::header::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use jiff::Timestamp;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::guard::stream::body::GuardBody;
use crate::guard::stream::downstream::Stopping;
use crate::guard::stream::hub::Hub;
use crate::guard::stream::request::CONFIGURATION_PATH;
use crate::guard::stream::view::FeedView;

/// The most questions at one time.
const ASKING_MAX: usize = 64;

/// How long one may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// Waits after a connection could not be taken.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the guard says of itself.
pub struct Admin {
    /// Its streams.
    pub hub: Arc<Hub>,
    /// The relays' connections.
    pub connections: Arc<AtomicUsize>,
    /// Its name.
    pub name: String,
    /// Since when it runs.
    pub began: Timestamp,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    name: String,
    version: &'static str,
    since: String,
    shadow: bool,
    launchdarkly: String,
    connections: usize,
    streams: Vec<StreamStatus>,
    alarms: Vec<AlarmStatus>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct StreamStatus {
    environment: String,
    path: &'static str,
    /// `up`, `away`, `asked`.
    launchdarkly: &'static str,
    since: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    told: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of: Option<String>,
    items: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    environments: Option<usize>,
    overrides_known: bool,
    overrides: BTreeMap<String, &'static str>,
    relays: Vec<RelayStatus>,
}

#[derive(Debug, Serialize)]
struct RelayStatus {
    address: String,
    agent: String,
    since: String,
}

#[derive(Debug, Serialize)]
struct AlarmStatus {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flag: Option<String>,
    since: String,
    told: String,
}

impl Admin {
    /// Answers until the guard ends.
    pub async fn serve(self: Arc<Self>, listener: &TcpListener, mut stopping: Stopping) {
        let asking = Arc::new(Semaphore::new(ASKING_MAX));
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stopping.wait_for(|stopping| *stopping) => return,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let Ok(permit) = Arc::clone(&asking).try_acquire_owned() else { continue };
            let own = Arc::clone(&self);
            tokio::spawn(async move {
                let _permit = permit;
                let service = service_fn(|request| {
                    let answer = own.answer(&request);
                    async move { Ok::<_, std::io::Error>(answer) }
                });
                let mut builder = http1::Builder::new();
                builder.timer(TokioTimer::new()).header_read_timeout(DEADLINE).keep_alive(false);
                // How it ends is for the client to judge.
                let _ = tokio::time::timeout(DEADLINE, builder.serve_connection(TokioIo::new(stream), service)).await;
            });
        }
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<GuardBody> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return GuardBody::words(StatusCode::METHOD_NOT_ALLOWED, "only GET");
        }
        match request.uri().path() {
            "/status" => {
                let text = serde_json::to_string_pretty(&self.status()).unwrap_or_default();
                of_kind(&text, "application/json")
            }
            "/metrics" => of_kind(self.metrics().trim_end(), "text/plain; version=0.0.4; charset=utf-8"),
            _ => GuardBody::words(StatusCode::NOT_FOUND, "rc guard answers /status and /metrics"),
        }
    }

    fn status(&self) -> Status {
        let parts = self.hub.parts();
        let alarms = parts.alarms.standing().into_iter().map(|alarm| AlarmStatus {
            kind: alarm.name.kind.name(),
            environment: alarm.name.environment,
            flag: alarm.name.flag.map(|flag| flag.to_string()),
            since: time(alarm.since),
            told: alarm.told,
        });
        Status {
            name: self.name.clone(),
            version: env!("CARGO_PKG_VERSION"),
            since: time(self.began),
            shadow: parts.shadow,
            launchdarkly: parts.launchdarkly.shown(),
            connections: self.connections.load(Ordering::Acquire),
            streams: self.hub.views().into_iter().map(stream).collect(),
            alarms: alarms.collect(),
        }
    }

    fn metrics(&self) -> String {
        let views = self.hub.views();
        let parts = self.hub.parts();
        let mut text = String::new();
        let of_streams: [Metric; 8] = [
            ("up", "gauge", "whether LaunchDarkly's stream is up", |view| u64::from(view.up == Some(true))),
            ("relays", "gauge", "relays that are connected", |view| view.relays.len() as u64),
            ("items", "gauge", "flags and segments", |view| view.flags as u64),
            ("overrides", "gauge", "overridden flags", |view| view.overrides.len() as u64),
            ("launchdarkly_events_total", "counter", "events of LaunchDarkly's", |view| view.events),
            ("sent_total", "counter", "events and comments to relays, once for each", |view| view.counts.events),
            ("sent_bytes_total", "counter", "their bytes", |view| view.counts.bytes),
            ("cut_off_total", "counter", "relays cut off as too slow", |view| view.counts.cut_off),
        ];
        for (name, kind, help, value) in of_streams {
            head(&mut text, name, kind, help);
            let mut sums: BTreeMap<(&str, &str), u64> = BTreeMap::new();
            for view in &views {
                // Two keys of one environment are one line: names are what tells lines apart.
                *sums.entry((view.environment.as_str(), view.path)).or_default() += value(view);
            }
            for ((environment, path), sum) in sums {
                let labels = format!("environment=\"{}\",path=\"{path}\"", escaped(environment));
                line(&mut text, name, &labels, sum);
            }
        }
        head(&mut text, "connections", "gauge", "connections of relays");
        line(&mut text, "connections", "", self.connections.load(Ordering::Acquire) as u64);
        let mut standing: BTreeMap<&str, u64> = BTreeMap::new();
        for alarm in parts.alarms.standing() {
            *standing.entry(alarm.name.kind.name()).or_default() += 1;
        }
        let (counts, untold) = parts.alarms.counts();
        // Not `alarms`: OpenMetrics takes that for the family of the counter `alarms_total`.
        head(&mut text, "alarms_standing", "gauge", "alarms that stand");
        for kind in crate::guard::alarm::AlarmKind::ALL {
            let name = kind.name();
            let count = standing.get(name).copied().unwrap_or_default();
            line(&mut text, "alarms_standing", &format!("kind=\"{name}\""), count);
        }
        head(&mut text, "alarms_total", "counter", "alarms that were raised");
        for (kind, count) in counts {
            line(&mut text, "alarms_total", &format!("kind=\"{}\"", kind.name()), count);
        }
        head(
            &mut text,
            "alarms_untold_total",
            "counter",
            "what could not be told: too much at a time, or nobody reads standard error",
        );
        line(&mut text, "alarms_untold_total", "", untold);
        text
    }
}

type Metric = (&'static str, &'static str, &'static str, fn(&FeedView) -> u64);

fn stream(view: FeedView) -> StreamStatus {
    StreamStatus {
        environments: (view.path == CONFIGURATION_PATH).then_some(view.environments),
        environment: view.environment,
        path: view.path,
        launchdarkly: match view.up {
            Some(true) => "up",
            Some(false) => "away",
            None => "asked",
        },
        since: time(view.since),
        told: view.told,
        as_of: view.as_of.map(time),
        items: view.flags,
        overrides_known: view.overrides_known,
        overrides: view.overrides.into_iter().map(|(flag, reason)| (flag.to_string(), reason)).collect(),
        relays: view
            .relays
            .into_iter()
            .map(|(relay, since)| RelayStatus {
                address: relay.address.to_string(),
                agent: relay.agent,
                since: time(since),
            })
            .collect(),
    }
}

fn time(at: Timestamp) -> String {
    format!("{at:.0}")
}

fn of_kind(text: &str, kind: &'static str) -> Response<GuardBody> {
    let mut response = GuardBody::words(StatusCode::OK, text);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "# HELP rc_guard_{name} {help}\n# TYPE rc_guard_{name} {kind}");
}

fn line(text: &mut String, name: &str, labels: &str, value: u64) {
    let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
    let _ = writeln!(text, "rc_guard_{name}{labels} {value}");
}

/// A label's value, by the rules of Prometheus' text format.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
