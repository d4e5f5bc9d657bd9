//! The relays: connections that count the events that come, and say when they have had so many.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::LONG;
use crate::Outcome;
use crate::SDK_KEY;
use crate::chunks::Chunks;

/// Read at a time.
const BUFFER: usize = 256 * 1024;

/// Connections that are opened at the same time.
const OPENING: usize = 50;

thread_local! {
    /// What is read is looked at and forgotten: all connections of a thread share the room for it.
    static ROOM: RefCell<Vec<u8>> = RefCell::new(vec![0; BUFFER]);
}

/// What a relay says.
enum Said {
    /// It is on the stream.
    Open,
    /// It has had as many events as are waited for.
    Arrived(usize, SystemTime),
    /// Something went wrong.
    Failed(String),
}

/// Relays on a stream. They are gone with the value.
pub struct Relays {
    count: usize,
    goal: Arc<AtomicUsize>,
    said: mpsc::UnboundedReceiver<Said>,
    /// Those who have had what is waited for: how many, and when the last had.
    arrived: usize,
    last: SystemTime,
    says: mpsc::UnboundedSender<Said>,
    address: SocketAddr,
    opening: Arc<Semaphore>,
    tasks: JoinSet<()>,
}

impl Relays {
    /// Nobody yet; whoever comes, comes here.
    pub fn at(address: SocketAddr) -> Self {
        let (says, said) = mpsc::unbounded_channel();
        let goal = Arc::new(AtomicUsize::new(usize::MAX));
        Self {
            count: 0,
            goal,
            said,
            arrived: 0,
            last: SystemTime::UNIX_EPOCH,
            says,
            address,
            opening: Arc::new(Semaphore::new(OPENING)),
            tasks: JoinSet::new(),
        }
    }

    /// So many more come; they are on the stream when this is done.
    pub async fn come(&mut self, count: usize) -> Outcome<()> {
        for _ in 0..count {
            let (address, goal, says) = (self.address, Arc::clone(&self.goal), self.says.clone());
            let opening = Arc::clone(&self.opening);
            self.tasks.spawn(async move {
                if let Err(error) = read(address, &goal, &says, &opening).await {
                    // Nobody may be interested any more.
                    let _ = says.send(Said::Failed(error.to_string()));
                }
            });
        }
        self.count += count;
        let mut open = 0;
        while open < count {
            open += usize::from(self.next().await?);
        }
        Ok(())
    }

    /// From now on this many events are waited for, counted from the beginning of each.
    pub fn expect(&mut self, events: usize) {
        (self.arrived, self.last) = (0, SystemTime::UNIX_EPOCH);
        self.goal.store(events, Ordering::SeqCst);
    }

    /// Waits until all have had them; when the last had.
    pub async fn all_have(&mut self) -> Outcome<SystemTime> {
        while self.arrived < self.count {
            self.next().await?;
        }
        Ok(self.last)
    }

    /// The next that one of them says; whether it is that it has come.
    async fn next(&mut self) -> Outcome<bool> {
        let said = timeout(LONG, self.said.recv()).await.map_err(|_| "not everything arrived")?;
        match said.ok_or("nobody is there")? {
            Said::Open => return Ok(true),
            Said::Arrived(events, at) if events == self.goal.load(Ordering::SeqCst) => {
                (self.arrived, self.last) = (self.arrived + 1, self.last.max(at));
            }
            // Of what was waited for before.
            Said::Arrived(..) => {}
            Said::Failed(error) => return Err(error.into()),
        }
        Ok(false)
    }
}

/// One relay. It must have been told what to expect before that comes.
async fn read(
    address: SocketAddr,
    goal: &AtomicUsize,
    says: &mpsc::UnboundedSender<Said>,
    opening: &Semaphore,
) -> Outcome<()> {
    let mut place = Some(opening.acquire().await?);
    let mut stream = TcpStream::connect(address).await?;
    let request = format!(
        "GET /all HTTP/1.1\r\nHost: {address}\r\nAuthorization: {SDK_KEY}\r\nUser-Agent: GoClient/7.6.0 LDRelay/8.10.1\r\n\
         Accept: text/event-stream\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut chunks = Chunks::new();
    let mut arrived = 0;
    loop {
        stream.readable().await?;
        let read = ROOM.with_borrow_mut(|room| {
            let length = match stream.try_read(room) {
                Ok(0) => return Err("the connection ended".to_owned()),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.to_string()),
            };
            chunks.push(room.get(..length).unwrap_or_default(), |_| {})
        });
        read?;
        if chunks.is_open() && place.take().is_some() {
            says.send(Said::Open)?;
        }
        let wanted = goal.load(Ordering::SeqCst);
        if chunks.events >= wanted && arrived != wanted {
            if chunks.events > wanted {
                return Err(format!("{} events instead of {wanted}", chunks.events).into());
            }
            arrived = wanted;
            says.send(Said::Arrived(wanted, SystemTime::now()))?;
        }
    }
}

/// One relay that keeps what comes: each event with the time at which its last byte was there.
pub struct Listener {
    heard: mpsc::UnboundedReceiver<(SystemTime, String)>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Listener {
    /// Comes, and listens.
    pub fn at(address: SocketAddr) -> Self {
        let (tells, heard) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            // What went wrong shows in that nothing more is heard.
            let _ = listen(address, &tells).await;
        });
        Self { heard, task }
    }

    /// The next event that is the right one.
    pub async fn next(&mut self, is_right: impl Fn(&str) -> bool) -> Outcome<SystemTime> {
        loop {
            let heard = timeout(LONG, self.heard.recv()).await.map_err(|_| "the event did not come")?;
            let (at, event) = heard.ok_or("the relay was let go")?;
            if is_right(&event) {
                return Ok(at);
            }
        }
    }
}

async fn listen(address: SocketAddr, tells: &mpsc::UnboundedSender<(SystemTime, String)>) -> Outcome<()> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!(
        "GET /all HTTP/1.1\r\nHost: {address}\r\nAuthorization: {SDK_KEY}\r\nUser-Agent: GoClient/7.6.0 LDRelay/8.10.1\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let (mut chunks, mut room, mut kept) = (Chunks::new(), vec![0; BUFFER], Vec::new());
    loop {
        stream.readable().await?;
        let length = match stream.try_read(&mut room) {
            Ok(0) => return Err("the connection ended".into()),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error.into()),
        };
        let at = SystemTime::now();
        chunks.push(room.get(..length).unwrap_or_default(), |part| kept.extend_from_slice(part))?;
        let mut taken = 0;
        while let Some(end) = memchr::memmem::find(kept.get(taken..).unwrap_or_default(), b"\n\n") {
            let event = kept.get(taken..taken + end).unwrap_or_default();
            tells.send((at, String::from_utf8_lossy(event).into_owned()))?;
            taken += end + 2;
        }
        kept.drain(..taken);
    }
}
