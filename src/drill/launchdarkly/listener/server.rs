//! The socket of a listener: accepts connections, and refuses them while that fault is set. Owns every connection, so
//! that it can break them. Must not know what a request means.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::net::TcpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Board;
use super::connection::Endpoints;
use super::connection::connection;

/// The most connections at once; more wait in the socket's queue.
const CONNECTIONS_MAX: usize = 20_000;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1_024;

/// How often, and how far apart, a socket that could not be had is tried again.
const TRIES: u32 = 100;
const TRY_PAUSE: Duration = Duration::from_millis(20);

/// Serves until the stop signal, and refuses connections while that fault is set.
pub async fn serve(
    board: Arc<Board>,
    mut stop: watch::Receiver<bool>,
    listener: TcpListener,
    endpoints: Endpoints,
) -> io::Result<()> {
    let address = listener.local_addr()?;
    let mut refusing = board.faults.refusing();
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    // Once round for each outage.
    while !*stop.borrow() {
        if let Some(open) = listener.take() {
            tokio::select! {
                () = accept(&board, &open, &endpoints, &mut connections) => {}
                _ = refusing.wait_for(|&refuse| refuse) => {}
                _ = stop.wait_for(|&stop| stop) => {}
            }
        }
        connections.shutdown().await;
        if *stop.borrow() {
            return Ok(());
        }
        let reserved = reserve(address).await?;
        board.listening.send_replace(false);
        tokio::select! {
            _ = refusing.wait_for(|&refuse| !refuse) => {}
            _ = stop.wait_for(|&stop| stop) => {}
        }
        listener = Some(reserved.listen(BACKLOG)?);
        board.listening.send_replace(true);
    }
    connections.shutdown().await;
    Ok(())
}

/// Holds the port without listening on it: connections are refused, and nobody else gets it meanwhile.
async fn reserve(address: SocketAddr) -> io::Result<TcpSocket> {
    let mut tries = 0;
    loop {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        match socket.bind(address) {
            Ok(()) => return Ok(socket),
            Err(error) if tries == TRIES => return Err(error),
            Err(_) => tries += 1,
        }
        sleep(TRY_PAUSE).await;
    }
}

async fn accept(board: &Arc<Board>, listener: &TcpListener, endpoints: &Endpoints, connections: &mut JoinSet<()>) {
    loop {
        while connections.try_join_next().is_some() {}
        if connections.len() >= CONNECTIONS_MAX {
            connections.join_next().await;
        }
        match listener.accept().await {
            Ok((stream, peer)) => {
                connections.spawn(connection(Arc::clone(board), stream, peer, endpoints.clone()));
            }
            // Out of file descriptors, or the connection went away: the next one may come through.
            Err(_) => sleep(TRY_PAUSE).await,
        }
    }
}
