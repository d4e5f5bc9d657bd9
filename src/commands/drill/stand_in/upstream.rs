//! LaunchDarkly's side of the stand-in: its stream `/all`, opened by HTTP as any relay opens it, read event by event, and
//! opened again when it ends. NETWORK. It must not know what is done with the events.
//!
//! A relay tries again after 1 s, then after 2, up to 30 s (launchdarkly.md 7.1). Here it is milliseconds, so that a
//! rehearsal does not wait; what is to be seen of a real relay's patience takes a real relay.

use std::io;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::TryStreamExt;
use http_body_util::BodyExt;
use http_body_util::Empty;
use hyper::Request;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper::header;
use hyper_util::rt::TokioIo;
use sse_stream::SseStream;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::timeout;

use super::event;
use super::event::Event;

/// How long LaunchDarkly may take to accept a connection, and to begin its answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// How long the stream may be silent; LaunchDarkly sends a comment every 3 minutes.
const SILENCE_MAX: Duration = Duration::from_secs(300);

/// The waits before the stream is opened again.
const FIRST_WAIT: Duration = Duration::from_millis(25);
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// The most bytes of one event.
const EVENT_LENGTH_MAX: usize = 64 * 1024 * 1024;

/// Where the stream is, and the key that opens it.
#[derive(Debug, Clone)]
pub struct Source {
    /// Host and port.
    pub authority: String,
    /// The SDK key, which opens nothing but the simulated LaunchDarkly.
    pub sdk_key: String,
}

/// What the stand-in hears of the stream.
#[derive(Debug)]
pub enum Heard {
    /// It said something.
    Event(Event),
    /// It is closed, or could not be opened.
    Lost(String),
}

/// Follows the stream until nobody hears any more.
pub async fn follow(source: &Source, heard: mpsc::Sender<Heard>) {
    let mut wait = FIRST_WAIT;
    loop {
        let opened = Instant::now();
        let lost = once(source, &heard).await.err().unwrap_or_else(|| "LaunchDarkly ended the stream".to_owned());
        if heard.send(Heard::Lost(lost)).await.is_err() {
            return;
        }
        // A stream that held for a while was a good one: the next attempt comes soon.
        wait = if opened.elapsed() > LONGEST_WAIT { FIRST_WAIT } else { (wait * 2).min(LONGEST_WAIT) };
        sleep(wait).await;
    }
}

/// Opens the stream and reads it to its end.
async fn once(source: &Source, heard: &mpsc::Sender<Heard>) -> Result<(), String> {
    let connected = timeout(ANSWER_WITHIN, TcpStream::connect(&source.authority)).await;
    let socket = connected.map_err(|_| "no connection in time".to_owned())?.map_err(|error| error.to_string())?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await;
    let (sender, connection) = handshake.map_err(|error| error.to_string())?;
    tokio::select! {
        ended = connection => ended.map_err(|error| error.to_string()),
        ended = read(source, sender, heard) => ended,
    }
}

async fn read(
    source: &Source,
    mut sender: SendRequest<Empty<Bytes>>,
    heard: &mpsc::Sender<Heard>,
) -> Result<(), String> {
    let request = Request::get("/all")
        .header(header::HOST, &source.authority)
        .header(header::ACCEPT, "text/event-stream")
        .header(header::AUTHORIZATION, &source.sdk_key)
        .body(Empty::new())
        .map_err(|error| error.to_string())?;
    let answer = timeout(ANSWER_WITHIN, sender.send_request(request)).await;
    let answer = answer.map_err(|_| "no answer in time".to_owned())?.map_err(|error| error.to_string())?;
    if answer.status() != StatusCode::OK {
        return Err(format!("LaunchDarkly answered {}", answer.status()));
    }
    let mut events = Box::pin(SseStream::from_bytes_stream(bounded(answer.into_body().into_data_stream())));
    while let Some(read) = events.next().await {
        let said = read.map_err(|error| error.to_string())?;
        let name = said.event.unwrap_or_default();
        if let Some(event) = event::read(&name, &said.data.unwrap_or_default())?
            && heard.send(Heard::Event(event)).await.is_err()
        {
            break;
        }
    }
    Ok(())
}

/// The bytes of the stream, with an end to silence, and to events that never end.
fn bounded<Failed: ToString + Send + 'static>(
    bytes: impl futures_util::Stream<Item = Result<Bytes, Failed>> + Send + Unpin + 'static,
) -> impl futures_util::Stream<Item = Result<Bytes, io::Error>> {
    let state = (bytes, 0_usize);
    futures_util::stream::try_unfold(state, |(mut bytes, mut length)| async move {
        let next = timeout(SILENCE_MAX, bytes.try_next()).await;
        let next = next.map_err(|_| io::Error::other("LaunchDarkly's stream is silent"))?;
        let Some(piece) = next.map_err(|error| io::Error::other(error.to_string()))? else { return Ok(None) };
        // An event ends with an empty line.
        let end = piece.windows(2).rposition(|pair| pair == b"\n\n");
        length = end.map_or(length.saturating_add(piece.len()), |end| piece.len() - end);
        if length > EVENT_LENGTH_MAX {
            return Err(io::Error::other("an event of LaunchDarkly's stream has no end"));
        }
        Ok(Some((piece, (bytes, length))))
    })
}
