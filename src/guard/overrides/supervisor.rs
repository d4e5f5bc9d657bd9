//! Begins to follow the stores of environments, keeps the tasks alive that do it, and ends them. It must not know what they
//! do.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::hash::DefaultHasher;
use std::hash::Hash;
use std::hash::Hasher;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::change::id::Actor;
use crate::change::signing::Keys;
use crate::change::target::Target;
use crate::guard::alarm::Alarms;
use crate::guard::environment::GuardedEnvironment;
use crate::guard::environment::StreamView;
use crate::guard::overrides::Follow;
use crate::guard::overrides::Followed;
use crate::guard::overrides::OnExpiry;
use crate::guard::overrides::announcer;
use crate::guard::overrides::environment::Handle;
use crate::guard::overrides::environment::Shared;
use crate::guard::overrides::record_book::RecordBook;
use crate::guard::overrides::upkeep::Upkeep;
use crate::guard::overrides::watcher::Watcher;
use crate::guard::presence::Itself;
use crate::guard::stream::channel::StoresWord;
use crate::playback::Playback;
use crate::playback::PlaybackError;
use crate::playback::RealDisk;
use crate::store::Store;

/// How long to wait before a task that ended by itself is begun again.
const PAUSE: Duration = Duration::from_secs(1);

/// How much later than others a guard copies an override, at most.
const PATIENCE_MAX_MS: u64 = 1_000;

/// How long ending may take.
const ENDS_WITHIN: Duration = Duration::from_secs(2);

/// By what stores are followed.
pub struct Parts {
    /// The stores, by their labels.
    pub stores: Vec<Arc<dyn Store>>,
    /// In whose name it writes.
    pub actor: Actor,
    /// Which guard this is.
    pub itself: Itself,
    /// What is done about an override whose time has come.
    pub on_expiry: OnExpiry,
    /// Where alarms go.
    pub alarms: Alarms,
    /// What it signs with where it writes an override that others signed and that is another one now.
    pub keys: Option<Keys>,
}

/// Everything that is followed.
#[derive(Debug)]
pub struct Following {
    ending: watch::Sender<bool>,
    /// Dropped by the last environment that has ended.
    ended: mpsc::Receiver<()>,
}

impl Following {
    /// Ends it: announcements are taken back.
    pub async fn end(mut self) {
        self.ending.send_replace(true);
        // What is not taken back in time expires by itself.
        let _ = tokio::time::timeout(ENDS_WITHIN, self.ended.recv()).await;
    }
}

/// How stores are followed from now on. What the guard writes to them it writes down below `folder` first. Blocks.
///
/// # Errors
/// The folder cannot be used.
pub fn following(parts: Parts, folder: &Path) -> Result<(Follow, Following), PlaybackError> {
    let playback = Playback::open(folder, Arc::new(RealDisk))?;
    let book = Arc::new(Mutex::new(RecordBook::begin(playback)?));
    let (ending, ends) = watch::channel(false);
    let (alive, ended) = mpsc::channel(1);
    let follow = move |environment: &GuardedEnvironment, view: watch::Receiver<StreamView>| {
        let store = |label: &str| parts.stores.iter().find(|store| store.label() == label).cloned();
        let with_store = |target: &Target| Some((target.clone(), store(&target.store)?));
        let stores: BTreeMap<Target, Arc<dyn Store>> = environment.targets.iter().filter_map(with_store).collect();
        let upkeep = Upkeep {
            actor: parts.actor.clone(),
            on_conflict: parts.itself.on_conflict,
            on_expiry: parts.on_expiry,
            patience: patience(&parts.itself.name),
            keys: parts.keys.clone(),
        };
        let means = (upkeep, Arc::clone(&book), parts.alarms.clone());
        let shared = Arc::new(Shared::new(environment.clone(), stores, means, view));
        let (told, words) = mpsc::channel(1);
        let work = Work { shared: Arc::clone(&shared), itself: parts.itself.clone() };
        tokio::spawn(work.run(told, ends.clone(), alive.clone()));
        Followed { words, stores: Arc::new(Handle(shared)) }
    };
    Ok((Arc::new(follow), Following { ending, ended }))
}

/// Of all guards one copies first, and the others find that it is done.
fn patience(name: &str) -> Duration {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    Duration::from_millis(hasher.finish() % PATIENCE_MAX_MS)
}

/// What is done for one environment.
struct Work {
    shared: Arc<Shared>,
    itself: Itself,
}

/// One task of it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Job {
    Watch(Target),
    Announce,
    Tidy,
}

impl Work {
    /// Goes on until nobody listens any more, or the guard ends.
    async fn run(self, told: mpsc::Sender<StoresWord>, mut ends: watch::Receiver<bool>, alive: mpsc::Sender<()>) {
        let mut tasks = JoinSet::new();
        let mut running: HashMap<tokio::task::Id, Job> = HashMap::new();
        let watch = self.shared.stores.keys().cloned().map(Job::Watch);
        for job in watch.chain([Job::Announce, Job::Tidy]) {
            self.begin(job, Duration::ZERO, &mut tasks, &mut running);
        }
        {
            let telling = self.shared.tell(told);
            tokio::pin!(telling);
            loop {
                tokio::select! {
                    () = &mut telling => break,
                    _ = ends.wait_for(|ends| *ends) => break,
                    Some(ended) = tasks.join_next_with_id() => {
                        // None of them ends by itself: it has failed, and goes on anew.
                        let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
                        if let Some(job) = running.remove(&id) {
                            self.begin(job, PAUSE, &mut tasks, &mut running);
                        }
                    }
                }
            }
        }
        tasks.shutdown().await;
        announcer::withdraw(&self.shared, &self.itself).await;
        drop(alive);
    }

    fn begin(&self, job: Job, after: Duration, tasks: &mut JoinSet<()>, running: &mut HashMap<tokio::task::Id, Job>) {
        let (shared, itself, doing) = (Arc::clone(&self.shared), self.itself.clone(), job.clone());
        let handle = tasks.spawn(async move {
            tokio::time::sleep(after).await;
            match doing {
                Job::Watch(target) => {
                    if let Some(store) = shared.stores.get(&target).cloned() {
                        Watcher::new(shared, target, store).run().await;
                    }
                }
                Job::Announce => announcer::run(shared, itself).await,
                Job::Tidy => shared.tidy().await,
            }
        });
        running.insert(handle.id(), job);
    }
}
