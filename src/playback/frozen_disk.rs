//! A disk for tests that stops at a chosen step, and tells all that a power cut could leave of it.
//!
//! It is as nasty as the rules of `writing` allow for: what is not synced may be lost, whole or in part, in any
//! combination; a file's bytes may be cut anywhere, or come back as zeros. A rename is one step, durable when both
//! folders are synced.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;

use crate::playback::disk::Disk;
use crate::playback::disk::DiskFile;
use crate::playback::disk::Listed;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    File(usize),
    Folder,
}

type Names = BTreeMap<PathBuf, Node>;

#[derive(Debug, Clone)]
enum Naming {
    Create(PathBuf, Node),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

impl Naming {
    fn apply(&self, names: &mut Names) {
        match self {
            Naming::Create(path, node) => {
                names.insert(path.clone(), *node);
            }
            Naming::Rename(from, to) => {
                if let Some(node) = names.remove(from) {
                    names.insert(to.clone(), node);
                }
            }
            Naming::Remove(path) => {
                names.remove(path);
            }
        }
    }

    fn folders(&self) -> Vec<PathBuf> {
        let paths = match self {
            Naming::Create(path, _) | Naming::Remove(path) => vec![path],
            Naming::Rename(from, to) => vec![from, to],
        };
        paths.into_iter().map(|path| path.parent().unwrap().to_owned()).collect()
    }
}

#[derive(Debug, Clone)]
enum Filling {
    Append(Vec<u8>),
    Truncate(usize),
}

impl Filling {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Filling::Append(more) => bytes.extend_from_slice(more),
            Filling::Truncate(length) => bytes.truncate(*length),
        }
    }
}

#[derive(Debug, Clone, Default)]
struct Content {
    durable: Vec<u8>,
    pending: Vec<Filling>,
    locked_by: Option<u64>,
}

impl Content {
    fn now(&self) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        self.pending.iter().for_each(|filling| filling.apply(&mut bytes));
        bytes
    }

    /// All that a power cut may leave, the least first.
    fn remains(&self) -> Vec<Vec<u8>> {
        let mut bytes = self.durable.clone();
        let mut all = vec![bytes.clone()];
        for filling in &self.pending {
            if let Filling::Append(more) = filling {
                for cut in cuts(more.len()) {
                    let mut torn = bytes.clone();
                    torn.extend_from_slice(&more[..cut]);
                    all.push(torn);
                    let mut zeros = bytes.clone();
                    zeros.resize(bytes.len() + cut, 0);
                    all.push(zeros);
                }
            }
            filling.apply(&mut bytes);
            all.push(bytes.clone());
        }
        all
    }
}

/// Where an append may be cut: at every byte near its ends and around the sum, and here and there between.
fn cuts(length: usize) -> impl Iterator<Item = usize> {
    (1..length).filter(move |cut| *cut < 12 || (70..78).contains(cut) || *cut + 4 > length || cut % 97 == 0)
}

/// What happens at the chosen step, and to all steps after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// Nothing is done any more; whether the step itself was done is chosen.
    Freeze { step_done: bool },
    /// The step fails with this error, a half of an append done; later steps work.
    Fail(io::ErrorKind),
}

#[derive(Debug, Clone, Default)]
struct State {
    contents: Vec<Content>,
    names: Names,
    durable_names: Names,
    /// With the folders that are still to be synced for it.
    pending_names: Vec<(Naming, Vec<PathBuf>)>,
    steps: usize,
    stop: Option<(usize, Stop)>,
    frozen: bool,
    handles: u64,
}

/// The disk.
#[derive(Debug, Clone, Default)]
pub(super) struct FrozenDisk(Arc<Mutex<State>>);

#[derive(Debug)]
struct FrozenFile {
    disk: FrozenDisk,
    content: usize,
    handle: u64,
}

impl FrozenDisk {
    /// A disk with one folder, `/home`, that is empty.
    pub(super) fn new() -> Self {
        let names: Names = [(PathBuf::from("/home"), Node::Folder)].into();
        let state = State { durable_names: names.clone(), names, ..State::default() };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Stops at the step of this number, counted from 1.
    pub(super) fn stop_at(&self, step: usize, stop: Stop) {
        let mut state = self.state();
        state.stop = Some((state.steps + step, stop));
    }

    /// Whether the chosen step was reached.
    pub(super) fn was_stopped(&self) -> bool {
        let state = self.state();
        state.stop.is_some_and(|(at, _)| state.steps >= at)
    }

    /// Another process goes on where the first was killed: nothing is lost.
    pub(super) fn thaw(&self) {
        let mut state = self.state();
        state.stop = None;
        state.frozen = false;
        state.contents.iter_mut().for_each(|content| content.locked_by = None);
    }

    /// How many steps were made.
    pub(super) fn steps(&self) -> usize {
        self.state().steps
    }

    /// All that a power cut could leave.
    pub(super) fn after_power_cut(&self) -> Vec<FrozenDisk> {
        let state = self.state();
        let longest = state.contents.iter().map(|content| content.remains().len()).max().unwrap_or(1);
        let mut disks = Vec::new();
        for kept in 0..1_usize << state.pending_names.len() {
            let mut names = state.durable_names.clone();
            for (index, (naming, _)) in state.pending_names.iter().enumerate() {
                if kept >> index & 1 == 1 {
                    naming.apply(&mut names);
                }
            }
            // What is in a folder that is gone is gone.
            let folders = names.clone();
            names.retain(|path, _| {
                path.ancestors().skip(1).all(|above| above == Path::new("/") || folders.contains_key(above))
            });
            for remain in 0..longest {
                let contents = state.contents.iter().map(|content| {
                    let mut remains = content.remains();
                    let last = remains.len() - 1;
                    Content { durable: remains.swap_remove(remain.min(last)), ..Content::default() }
                });
                let contents = contents.collect();
                let (names, durable_names) = (names.clone(), names.clone());
                let left = State { contents, names, durable_names, ..State::default() };
                disks.push(Self(Arc::new(Mutex::new(left))));
            }
        }
        disks
    }

    /// Puts a file there, durably.
    pub(super) fn put(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.state();
        state.contents.push(Content { durable: bytes.to_vec(), ..Content::default() });
        let node = Node::File(state.contents.len() - 1);
        state.names.insert(path.to_owned(), node);
        state.durable_names.insert(path.to_owned(), node);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// A look at the disk: not counted, but not possible once it is frozen.
    fn look<T>(&self, look: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.state();
        if state.frozen { Err(frozen()) } else { look(&mut state) }
    }

    /// A step that changes the disk. `done` says how much of it is done where it fails.
    fn step<T>(&self, step: impl FnOnce(&mut State, bool) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.state();
        if state.frozen {
            return Err(frozen());
        }
        state.steps += 1;
        match state.stop {
            Some((at, Stop::Freeze { step_done })) if at == state.steps => {
                state.frozen = true;
                let undelivered = step_done.then(|| step(&mut state, true));
                // A handle in it lets go of its lock, which takes the state.
                drop(state);
                drop(undelivered);
                Err(frozen())
            }
            Some((at, Stop::Fail(kind))) if at == state.steps => {
                let undelivered = step(&mut state, false);
                drop(state);
                drop(undelivered);
                Err(kind.into())
            }
            _ => step(&mut state, true),
        }
    }

    fn file(&self, content: usize, state: &mut State) -> Box<dyn DiskFile> {
        state.handles += 1;
        Box::new(FrozenFile { disk: self.clone(), content, handle: state.handles })
    }
}

fn frozen() -> io::Error {
    io::Error::other("frozen")
}

impl State {
    fn name(&mut self, naming: Naming) {
        naming.apply(&mut self.names);
        let folders = naming.folders();
        self.pending_names.push((naming, folders));
    }

    fn check_free(&self, path: &Path) -> io::Result<()> {
        if self.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        match path.parent().and_then(|parent| self.names.get(parent)) {
            Some(Node::Folder) => Ok(()),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn content_of(&self, path: &Path) -> io::Result<usize> {
        match self.names.get(path) {
            Some(Node::File(content)) => Ok(*content),
            Some(Node::Folder) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl Disk for FrozenDisk {
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        self.step(|state, done| {
            state.check_free(folder)?;
            if done {
                state.name(Naming::Create(folder.to_owned(), Node::Folder));
            }
            Ok(())
        })
    }

    fn create_new(&self, file: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.step(|state, done| {
            state.check_free(file)?;
            let content = state.contents.len();
            if done {
                state.contents.push(Content::default());
                state.name(Naming::Create(file.to_owned(), Node::File(content)));
            }
            Ok(self.file(content, state))
        })
    }

    fn open(&self, file: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.look(|state| {
            let content = state.content_of(file)?;
            Ok(self.file(content, state))
        })
    }

    fn read(&self, file: &Path, _limit: u64) -> io::Result<Vec<u8>> {
        self.look(|state| Ok(state.contents[state.content_of(file)?].now()))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Listed>> {
        self.look(|state| {
            if !state.names.contains_key(folder) {
                return Err(io::ErrorKind::NotFound.into());
            }
            let inside = state.names.iter().filter(|(path, _)| path.parent() == Some(folder));
            let listed = inside.map(|(path, node)| Listed {
                name: path.file_name().unwrap().to_str().unwrap().to_owned(),
                is_file: matches!(node, Node::File(_)),
            });
            Ok(listed.collect())
        })
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.look(|state| match path.parent().and_then(|parent| state.names.get(parent)) {
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            _ => Ok(state.names.contains_key(path)),
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(|state, done| {
            state.content_of(from)?;
            if done {
                state.name(Naming::Rename(from.to_owned(), to.to_owned()));
            }
            Ok(())
        })
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        self.step(|state, done| {
            state.content_of(file)?;
            if done {
                state.name(Naming::Remove(file.to_owned()));
            }
            Ok(())
        })
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.step(|state, done| {
            if !done {
                return Ok(());
            }
            for (_, folders) in &mut state.pending_names {
                folders.retain(|waiting| waiting != folder);
            }
            let pending = std::mem::take(&mut state.pending_names);
            for (naming, folders) in pending {
                if folders.is_empty() {
                    naming.apply(&mut state.durable_names);
                } else {
                    state.pending_names.push((naming, folders));
                }
            }
            Ok(())
        })
    }
}

impl FrozenFile {
    fn fill(&self, filling: Filling) -> io::Result<()> {
        self.disk.step(|state, done| {
            let filling = match filling {
                Filling::Append(bytes) if !done => Filling::Append(bytes[..bytes.len() / 2].to_vec()),
                filling => filling,
            };
            state.contents[self.content].pending.push(filling);
            Ok(())
        })
    }
}

impl DiskFile for FrozenFile {
    fn length(&self) -> io::Result<u64> {
        self.disk.look(|state| Ok(state.contents[self.content].now().len() as u64))
    }

    fn read_all(&mut self, _limit: u64) -> io::Result<Vec<u8>> {
        self.disk.look(|state| Ok(state.contents[self.content].now()))
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.fill(Filling::Append(bytes.to_vec()))
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.fill(Filling::Truncate(usize::try_from(length).unwrap()))
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.step(|state, done| {
            let content = &mut state.contents[self.content];
            if done {
                content.durable = content.now();
            }
            // A sync that failed may well have dropped what it should have written; here it is kept as pending.
            if done {
                content.pending.clear();
            }
            Ok(())
        })
    }

    fn try_lock(&mut self) -> io::Result<bool> {
        self.disk.look(|state| {
            let lock = &mut state.contents[self.content].locked_by;
            let free = lock.is_none_or(|by| by == self.handle);
            if free {
                *lock = Some(self.handle);
            }
            Ok(free)
        })
    }
}

impl Drop for FrozenFile {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if let Some(content) = state.contents.get_mut(self.content) {
            content.locked_by = content.locked_by.filter(|by| *by != self.handle);
        }
    }
}
