//! The guard as a whole: what it is made of, how it begins to listen, and how it ends so that nobody notices but the relays,
//! which come back to the next one.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::guard::admin::Admin;
use crate::guard::stream::downstream::Downstream;
use crate::guard::stream::hub::Hub;
use crate::guard::stream::hub::HubParts;

/// How long connections may take to end.
const END_PATIENCE: Duration = Duration::from_secs(3);

/// What a guard is made of.
pub struct Guard {
    /// Its streams.
    pub parts: HubParts,
    /// Where relays come; `None` where it watches stores alone.
    pub listener: Option<TcpListener>,
    /// With which certificate, where they speak TLS.
    pub tls: Option<TlsAcceptor>,
    /// Where status and metrics are asked for.
    pub admin: Option<TcpListener>,
    /// Its own name.
    pub name: String,
}

/// A guard that runs. Dropped, it goes on: [`Running::stop`] ends it.
pub struct Running {
    hub: Arc<Hub>,
    stop: watch::Sender<bool>,
    connections: Arc<AtomicUsize>,
    /// Where relays come.
    pub address: Option<SocketAddr>,
    /// Where status and metrics are asked for.
    pub admin: Option<SocketAddr>,
}

/// As many file descriptors as the system lets this process have: one for each relay, and one for each stream.
fn raise_descriptors() {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    // With fewer it serves fewer, and says so when they run out.
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, limit);
}

impl Guard {
    /// Begins. Must be called inside a runtime.
    ///
    /// # Errors
    /// Where a listener is none any more.
    pub fn start(self) -> io::Result<Running> {
        raise_descriptors();
        let (stop, stopping) = watch::channel(false);
        let connections = Arc::new(AtomicUsize::new(0));
        let hub = Hub::new(self.parts);
        hub.follow_configured();
        let mut address = None;
        if let Some(listener) = self.listener {
            address = Some(listener.local_addr()?);
            let downstream = Downstream::new(Arc::clone(&hub), self.tls, Arc::clone(&connections), stopping.clone());
            tokio::spawn(async move { downstream.serve(&listener).await });
        }
        let mut admin = None;
        if let Some(listener) = self.admin {
            admin = Some(listener.local_addr()?);
            let own = Admin {
                hub: Arc::clone(&hub),
                connections: Arc::clone(&connections),
                name: self.name,
                began: Timestamp::now(),
            };
            tokio::spawn(async move { Arc::new(own).serve(&listener, stopping).await });
        }
        Ok(Running { hub, stop, connections, address, admin })
    }
}

impl Running {
    /// Ends: no new connections, every relay gets what was sent to it and is let go, and what is known is kept.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        self.hub.stop().await;
        let begun = Instant::now();
        while self.connections.load(Ordering::Acquire) > 0 && begun.elapsed() < END_PATIENCE {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
