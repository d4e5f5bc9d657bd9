//! A relay that answers what a test tells it to.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::Mutex;

use axum::Router;
use axum::body::Body;
use axum::body::Bytes;
use axum::extract::Path;
use axum::extract::Request;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::response::Response;
use axum::routing::get;
use relay_commander::relay::address::RelayAddress;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// What an endpoint answers.
#[derive(Clone)]
pub enum Answer {
    /// A status, a `Location`, a body.
    Whole(u16, Option<String>, String),
    /// The connection stays open without a word.
    Never,
}

impl Answer {
    pub fn ok(body: impl Into<String>) -> Self {
        Self::Whole(200, None, body.into())
    }

    pub fn status(status: u16) -> Self {
        Self::Whole(status, None, String::new())
    }

    pub fn redirect(to: &str) -> Self {
        Self::Whole(302, Some(to.to_owned()), String::new())
    }

    async fn give(self) -> Response {
        match self {
            Self::Never => std::future::pending().await,
            Self::Whole(status, to, body) => {
                let mut response = Response::builder().status(status);
                if let Some(to) = to {
                    response = response.header("location", to);
                }
                response.body(Body::from(body)).unwrap()
            }
        }
    }
}

/// One request that came.
#[derive(Clone)]
pub struct Seen {
    pub path: String,
    pub query: String,
    pub authorization: Option<String>,
}

#[derive(Default)]
struct Script {
    status: Option<Answer>,
    all: Option<Answer>,
    streams: VecDeque<mpsc::UnboundedReceiver<Bytes>>,
    flag: Option<(u64, String)>,
    requests: Vec<Seen>,
}

type Shared = Arc<Mutex<Script>>;

/// The other end of one stream; the stream ends when this is dropped.
pub struct StreamEnd(mpsc::UnboundedSender<Bytes>);

impl StreamEnd {
    pub fn send(&self, text: impl Into<String>) {
        // A reader that gave up is no failure of the sender.
        let _ = self.0.send(Bytes::from(text.into()));
    }
}

/// A `put` with these flags, as JSON.
pub fn put(flags: &str) -> String {
    format!("event: put\ndata: {{\"path\":\"/\",\"data\":{{\"flags\":{flags},\"segments\":{{}}}}}}\n\n")
}

pub struct SimulatedRelay {
    pub address: RelayAddress,
    script: Shared,
    server: JoinHandle<()>,
}

impl Drop for SimulatedRelay {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl SimulatedRelay {
    pub async fn start() -> Self {
        let script = Shared::default();
        let router = Router::new()
            .route("/status", get(status))
            .route("/all", get(all))
            .route("/sdk/flags/{key}", get(flag))
            .with_state(Arc::clone(&script));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = RelayAddress::labelled("sim", &format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, script, server }
    }

    pub fn on_status(&self, answer: Answer) {
        self.script.lock().unwrap().status = Some(answer);
    }

    pub fn on_all(&self, answer: Answer) {
        self.script.lock().unwrap().all = Some(answer);
    }

    pub fn on_flag(&self, version: u64, record: &str) {
        self.script.lock().unwrap().flag = Some((version, record.to_owned()));
    }

    /// The next connection to `/all` gets what is sent here.
    pub fn expect_stream(&self) -> StreamEnd {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.script.lock().unwrap().streams.push_back(receiver);
        StreamEnd(sender)
    }

    pub fn requests(&self) -> Vec<Seen> {
        self.script.lock().unwrap().requests.clone()
    }
}

fn note(script: &Shared, request: &Request) {
    script.lock().unwrap().requests.push(Seen {
        path: request.uri().path().to_owned(),
        query: request.uri().query().unwrap_or_default().to_owned(),
        authorization: request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned()),
    });
}

async fn status(State(script): State<Shared>, request: Request) -> Response {
    note(&script, &request);
    let answer = script.lock().unwrap().status.clone();
    answer.unwrap_or_else(|| Answer::status(404)).give().await
}

async fn all(State(script): State<Shared>, request: Request) -> Response {
    note(&script, &request);
    let (answer, stream) = {
        let mut script = script.lock().unwrap();
        (script.all.clone(), script.streams.pop_front())
    };
    if let Some(answer) = answer {
        return answer.give().await;
    }
    let Some(receiver) = stream else { return Answer::status(503).give().await };
    let pieces = futures_util::stream::unfold(receiver, |mut receiver| async {
        let piece = receiver.recv().await?;
        Some((Ok::<_, Infallible>(piece), receiver))
    });
    ([("content-type", "text/event-stream")], Body::from_stream(pieces)).into_response()
}

/// As the real one does it: the ETag is the version's (ld-relay, `writeCacheableJSONResponse`).
async fn flag(State(script): State<Shared>, Path(key): Path<String>, headers: HeaderMap) -> Response {
    let flag = script.lock().unwrap().flag.clone();
    let Some((version, record)) = flag.filter(|_| key == "checkout") else { return Answer::status(404).give().await };
    let tag = format!("relay-{version}");
    if headers.get("if-none-match").is_some_and(|held| held.to_str().unwrap() == tag) {
        return Answer::status(304).give().await;
    }
    ([("etag", tag)], record).into_response()
}
