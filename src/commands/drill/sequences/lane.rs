//! What sequences are played on, one after the other: a database of each of a few Redis servers that were started once,
//! or flag files where there is no redis-server. Many lanes share the servers. It must not know what is played.

use std::path::Path;
use std::path::PathBuf;

/// A place for one sequence at a time.
#[derive(Debug, Clone)]
pub struct Lane {
    folder: PathBuf,
    /// The unix sockets of the servers, one for each store; none: flag files.
    sockets: Vec<String>,
    database: usize,
}

impl Lane {
    /// A lane of its own: no two at once may have the same database of the same servers.
    pub fn new(folder: &Path, sockets: &[String], database: usize) -> Self {
        Self { folder: folder.to_owned(), sockets: sockets.to_vec(), database }
    }

    /// Where the folders of its sequences are made.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The socket of a store's server.
    pub fn socket(&self, store: usize) -> Option<&str> {
        self.sockets.get(store).map(String::as_str)
    }

    /// Which database of each server.
    pub fn database(&self) -> usize {
        self.database
    }
}
