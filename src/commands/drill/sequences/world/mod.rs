//! The world of one sequence: a simulated LaunchDarkly, stores, relays, homes with operators, and the wires between them.
//! It does what events say and tells how things are. It must not judge, and it knows nothing of the commands.

mod beginning;
pub mod colleague;
pub mod playback;
pub mod relay;
pub mod store;
pub mod wire;

use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Map;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::TryRecvError;
use tokio::sync::mpsc;

use self::beginning::seed;
use self::beginning::settle;
use self::relay::Relay;
use self::store::Content;
use self::store::Store;
use self::wire::Gate;
use self::wire::Stop;
use self::wire::To;
use self::wire::Wire;
use super::lane::Lane;
use super::steps::Cast;
use super::steps::Event;
use super::steps::FLAGS;
use super::steps::STORES;
use crate::commands::drill::operator::Operator;
use crate::commands::drill::raw::Trouble;
use crate::commands::drill::stage::flag_key;
use crate::drill::launchdarkly::Control;
use crate::drill::launchdarkly::Fault;
use crate::drill::launchdarkly::FaultKind;
use crate::drill::launchdarkly::FlagChange;
use crate::drill::launchdarkly::Limits;
use crate::drill::launchdarkly::Options;
use crate::drill::launchdarkly::Running;
use crate::drill::launchdarkly::SdkFlag;
use crate::drill::launchdarkly::SimulatedLaunchDarkly;
use crate::flag::key::Environment;

/// The token of all operators. It opens nothing but the simulated LaunchDarkly.
const TOKEN: &str = "api-drill";

/// How long commands wait for stores and for LaunchDarkly. What is away refuses at once, so nobody waits for that; and a
/// machine that is busy with other sequences must not look like an outage.
const PATIENCE: &str = "60s";

/// The paths that changes of flags go to.
const PATCHED: &str = "*/flags/*";

/// How slow LaunchDarkly is when it is slow.
const SLOW: Duration = Duration::from_millis(150);

/// Requests of a kind that LaunchDarkly takes in a window when it is limited, and how long a window is.
const LIMIT: u64 = 4;
const WINDOW: Duration = Duration::from_millis(300);

/// A flag that nobody touches.
const BYSTANDER: &str = "banner";

/// How many looks at a store are kept for a failover.
const PAST: usize = 4;

/// A store, as everybody finds it.
struct Shelf {
    store: Store,
    down: bool,
    /// What it held at the end of the last steps, the newest last.
    past: Vec<Content>,
}

/// The wires of one home.
struct Wires {
    stores: Vec<Wire>,
    launchdarkly: Wire,
    /// The stores that it is parted from.
    parted: Vec<bool>,
    parted_from_launchdarkly: bool,
}

/// The world.
pub struct World {
    /// Where messages stop.
    pub stops: mpsc::UnboundedReceiver<Stop>,
    /// What lets them pass.
    pub gate: Gate,
    /// The operators, by number.
    pub operators: Vec<Operator>,
    cast: Cast,
    environment: Environment,
    launchdarkly: Running,
    changes: broadcast::Receiver<FlagChange>,
    api_away: bool,
    stream: bool,
    shelves: Vec<Shelf>,
    relays: Vec<Relay>,
    wires: Vec<Wires>,
    // Last: everything above is closed before the folder goes.
    folder: TempDir,
}

impl World {
    /// Sets it up.
    ///
    /// # Errors
    /// Where this machine does not let us, in words.
    pub async fn new(lane: &Lane, cast: &Cast) -> Result<Self, Trouble> {
        let environment: Environment = "shop/production".parse().map_err(trouble)?;
        let options = Options { seed: seed()?, listener: None };
        let launchdarkly = SimulatedLaunchDarkly::start(options).await.map_err(trouble)?;
        let folder = tempfile::Builder::new().prefix("s").tempdir_in(lane.folder()).map_err(trouble)?;
        let (gate, stops) = Gate::new();
        let flags = launchdarkly.control.sdk_flags(&environment).map_err(trouble)?;
        let flags: Map<String, Value> = flags.into_iter().filter(|(key, _)| takes_part(cast, key)).collect();
        let mut shelves = Vec::new();
        for number in 0..cast.stores {
            let mut store = match lane.socket(number) {
                Some(socket) => Store::database(socket, lane.database()).await?,
                None => Store::File(folder.path().join("flags.json")),
            };
            store.put(&flags).await?;
            let now = store.content().await?;
            shelves.push(Shelf { store, down: false, past: vec![now] });
        }
        let mut wires = Vec::new();
        for number in 0..cast.home_count() {
            wires.push(lay(lane, cast, &gate, &launchdarkly, folder.path(), number).await?);
        }
        let operators = settle(lane, cast, &wires, folder.path())?;
        let changes = launchdarkly.control.changes();
        Ok(Self {
            stops,
            gate,
            operators,
            cast: cast.clone(),
            environment,
            launchdarkly,
            changes,
            api_away: false,
            stream: true,
            shelves,
            relays: cast.relays.iter().map(|store| Relay::new(*store)).collect(),
            wires,
            folder,
        })
    }

    /// Ends everything that runs.
    pub async fn end(self) {
        self.launchdarkly.stop().await;
    }

    /// The folder of everything, homes included.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The hand on LaunchDarkly.
    pub fn control(&self) -> &Control {
        &self.launchdarkly.control
    }

    /// How many approval requests about a flag, by number, are open.
    pub fn open_requests(&self, flag: usize) -> usize {
        let open = flag_key(key(flag)).map(|flag| self.control().open_approvals(&self.environment, &flag));
        open.map_or(0, |open| open.len())
    }

    /// Who takes part.
    pub fn cast(&self) -> &Cast {
        &self.cast
    }

    /// The home of an operator.
    pub fn home_of(&self, who: usize) -> usize {
        self.cast.homes.get(who).copied().unwrap_or(0)
    }

    /// Whether a home reaches each of the stores.
    pub fn reaches(&self, home: usize) -> Vec<bool> {
        let parted = |store| self.wires.get(home).and_then(|wires| wires.parted.get(store)).copied().unwrap_or(false);
        self.shelves.iter().enumerate().map(|(store, shelf)| !shelf.down && !parted(store)).collect()
    }

    /// Whether a home reaches LaunchDarkly's API.
    pub fn reaches_launchdarkly(&self, home: usize) -> bool {
        !self.api_away && !self.wires.get(home).is_some_and(|wires| wires.parted_from_launchdarkly)
    }

    /// Whether LaunchDarkly's API, to whoever reaches it, is as it should be, or slow.
    pub fn api_is_well(&self) -> bool {
        self.control().faults().iter().all(|fault| matches!(fault.kind, FaultKind::Slow { .. }))
    }

    /// The flags of the sequence as LaunchDarkly sends them to a relay that begins.
    pub fn flags(&self) -> Map<String, Value> {
        flags_of(self.control(), &self.environment, &self.cast)
    }

    /// A flag as LaunchDarkly sends it.
    pub fn sdk_flag(&self, flag: &str) -> Option<SdkFlag> {
        self.control().sdk_flag(&self.environment, &flag_key(flag).ok()?).ok()
    }

    /// The flags that changed in LaunchDarkly since the last call, in order, with their version.
    ///
    /// # Errors
    /// Some were missed.
    pub fn changed(&mut self) -> Result<Vec<(String, u64)>, Trouble> {
        let mut changed = Vec::new();
        loop {
            match self.changes.try_recv() {
                Ok(change) => changed.push((change.flag.to_string(), change.version)),
                Err(TryRecvError::Empty | TryRecvError::Closed) => return Ok(changed),
                Err(TryRecvError::Lagged(missed)) => {
                    return Err(format!("{missed} changes of LaunchDarkly were missed"));
                }
            }
        }
    }

    /// What every store holds.
    ///
    /// # Errors
    /// Where one cannot be read.
    pub async fn contents(&mut self) -> Result<Vec<Content>, Trouble> {
        let mut contents = Vec::with_capacity(self.shelves.len());
        for shelf in &mut self.shelves {
            contents.push(shelf.store.content().await?);
        }
        Ok(contents)
    }

    /// A step is over: what the stores hold now is what they can fail back to.
    pub fn remember(&mut self, contents: &[Content]) {
        for (shelf, content) in self.shelves.iter_mut().zip(contents) {
            shelf.past.push(content.clone());
            if shelf.past.len() > PAST {
                shelf.past.remove(0);
            }
        }
    }

    /// LaunchDarkly's stream tells every relay of a flag.
    pub fn relays_hear(&mut self, flag: &str, sent: &SdkFlag) {
        self.relays.iter_mut().for_each(|relay| relay.hears(flag, sent));
    }

    /// The relays that have something to write and are at least this fast.
    pub fn busy(&self, may: impl Fn(&Relay) -> bool) -> Vec<usize> {
        let busy = self.relays.iter().enumerate().filter(|(_, relay)| relay.has_something() && may(relay));
        busy.map(|(number, _)| number).collect()
    }

    /// Lets a relay write what it has heard. Returns what it did.
    ///
    /// # Errors
    /// Where its store fails.
    pub async fn relay_writes(&mut self, number: usize) -> Result<Vec<String>, Trouble> {
        let Some(relay) = self.relays.get_mut(number) else { return Ok(Vec::new()) };
        let Some(shelf) = self.shelves.get_mut(relay.store) else { return Ok(Vec::new()) };
        let (control, environment, cast) = (&self.launchdarkly.control, &self.environment, &self.cast);
        let did = relay.write(&mut shelf.store, shelf.down, || flags_of(control, environment, cast)).await?;
        let store = STORES.get(relay.store).copied().unwrap_or("?");
        Ok(did.into_iter().map(|what| format!("relay {} into {store}: {what}", number + 1)).collect())
    }

    /// Does what an event says. Returns what more there is to say of it.
    ///
    /// # Errors
    /// Where the world itself fails, in words.
    pub async fn happens(&mut self, event: &Event) -> Result<Vec<String>, Trouble> {
        match event {
            Event::ApiAway => {
                self.api_away = true;
                self.switch().await?;
            }
            Event::ApiFails { status, times } => {
                let fault = Fault::status(*status).times(*times);
                // LaunchDarkly's conflicts are for changes only.
                let fault = if *status == 409 { fault.on("PATCH", PATCHED) } else { fault };
                self.control().fault(fault).await.map_err(trouble)?;
            }
            Event::AnswersLost { times } => {
                let lost = Fault::new(FaultKind::Close).times(*times).after_applying();
                self.control().fault(lost.on("PATCH", PATCHED)).await.map_err(trouble)?;
            }
            Event::ApiSlow => {
                let milliseconds = u64::try_from(SLOW.as_millis()).unwrap_or(0);
                self.control().fault(Fault::new(FaultKind::Slow { milliseconds })).await.map_err(trouble)?;
            }
            Event::ApiLimited => {
                let window_milliseconds = u64::try_from(WINDOW.as_millis()).unwrap_or(0);
                self.control().limit(Limits { route: Some(LIMIT), window_milliseconds, ..Limits::default() });
            }
            Event::ApiBack => {
                self.api_away = false;
                self.control().clear_faults().await.map_err(trouble)?;
                self.control().limit(Limits::default());
                self.switch().await?;
            }
            Event::Colleague { flag, deed } => {
                let not = colleague::does(self.control(), &self.environment, key(*flag), *deed)?;
                return Ok(not.map(|why| format!("not done: {why}")).into_iter().collect());
            }
            Event::Approved(flag) => {
                return colleague::reviews(self.control(), &self.environment, key(*flag), true);
            }
            Event::Declined(flag) => {
                return colleague::reviews(self.control(), &self.environment, key(*flag), false);
            }
            Event::StoreDown(_)
            | Event::StoreUp(_)
            | Event::Parted { .. }
            | Event::PartedFromLaunchDarkly(_)
            | Event::Healed(_)
            | Event::Failover { .. }
            | Event::Flushed(_)
            | Event::Evicted(_) => self.store_event(event).await?,
            Event::StreamAway | Event::StreamBack => self.stream = *event == Event::StreamBack,
            Event::RelayCut(relay) => self.relay(*relay, |relay| relay.cut = true),
            Event::RelayJoined(relay) => self.relay(*relay, |relay| relay.cut = false),
            Event::RelayPace(relay, pace) => self.relay(*relay, |relay| relay.pace = *pace),
            Event::RelayCatchesUp(relay) => return self.relay_writes(*relay).await,
            Event::RelayRestarted(relay) => {
                let flags = self.flags();
                self.relay(*relay, |relay| relay.restart(|| flags));
            }
        }
        self.connect_relays();
        Ok(Vec::new())
    }

    fn relay(&mut self, number: usize, change: impl FnOnce(&mut Relay)) {
        if let Some(relay) = self.relays.get_mut(number) {
            change(relay);
        }
    }

    fn connect_relays(&mut self) {
        let (control, environment, cast) = (&self.launchdarkly.control, &self.environment, &self.cast);
        let stream = self.stream;
        for relay in &mut self.relays {
            relay.connect(stream, || flags_of(control, environment, cast));
        }
    }

    async fn store_event(&mut self, event: &Event) -> Result<(), Trouble> {
        match event {
            Event::StoreDown(store) | Event::StoreUp(store) => {
                if let Some(shelf) = self.shelves.get_mut(*store) {
                    shelf.down = matches!(event, Event::StoreDown(_));
                }
            }
            Event::Parted { home, store } => {
                if let Some(parted) = self.wires.get_mut(*home).and_then(|wires| wires.parted.get_mut(*store)) {
                    *parted = true;
                }
            }
            Event::PartedFromLaunchDarkly(home) | Event::Healed(home) => {
                let parted = matches!(event, Event::PartedFromLaunchDarkly(_));
                if let Some(wires) = self.wires.get_mut(*home) {
                    wires.parted_from_launchdarkly = parted;
                    wires.parted.iter_mut().for_each(|one| *one &= parted);
                }
            }
            Event::Failover { store, back } => {
                let Some(shelf) = self.shelves.get_mut(*store) else { return Ok(()) };
                let then = shelf.past.len().saturating_sub(back + 1);
                let content = shelf.past.get(then).cloned().unwrap_or_default();
                shelf.store.restore(&content).await?;
                self.break_connections(*store).await?;
            }
            Event::Flushed(store) => {
                if let Some(shelf) = self.shelves.get_mut(*store) {
                    shelf.store.restore(&Content::default()).await?;
                }
            }
            Event::Evicted(store) => {
                if let Some(shelf) = self.shelves.get_mut(*store) {
                    let content = shelf.store.content().await?;
                    shelf.store.restore(&Content { overrides: Default::default(), ..content }).await?;
                }
            }
            _ => {}
        }
        self.switch().await
    }

    /// Connections to a server that failed over break.
    async fn break_connections(&mut self, store: usize) -> Result<(), Trouble> {
        for wires in &mut self.wires {
            if let Some(wire) = wires.stores.get_mut(store) {
                wire.set(false).await.map_err(trouble)?;
            }
        }
        Ok(())
    }

    /// Opens and closes every wire as things stand.
    async fn switch(&mut self) -> Result<(), Trouble> {
        for wires in &mut self.wires {
            let up = !self.api_away && !wires.parted_from_launchdarkly;
            wires.launchdarkly.set(up).await.map_err(trouble)?;
            for ((wire, parted), shelf) in wires.stores.iter_mut().zip(&wires.parted).zip(&self.shelves) {
                wire.set(!shelf.down && !parted).await.map_err(trouble)?;
            }
        }
        Ok(())
    }
}

fn flags_of(control: &Control, environment: &Environment, cast: &Cast) -> Map<String, Value> {
    let flags = control.sdk_flags(environment).unwrap_or_default();
    flags.into_iter().filter(|(key, _)| takes_part(cast, key)).collect()
}

fn takes_part(cast: &Cast, key: &str) -> bool {
    key == BYSTANDER || FLAGS.iter().take(cast.flags).any(|flag| flag.key == key)
}

fn key(flag: usize) -> &'static str {
    FLAGS.get(flag).map_or("?", |flag| flag.key)
}

fn trouble(error: impl ToString) -> Trouble {
    error.to_string()
}

/// The wires of a home.
async fn lay(
    lane: &Lane,
    cast: &Cast,
    gate: &Gate,
    launchdarkly: &Running,
    folder: &Path,
    home: usize,
) -> Result<Wires, Trouble> {
    let mut stores = Vec::new();
    for (number, label) in STORES.iter().enumerate().take(cast.stores) {
        let Some(socket) = lane.socket(number) else { continue };
        let here = folder.join(format!("{home}{label}"));
        stores.push(Wire::to_socket(gate, To::Store(number), here, socket.into()).await.map_err(trouble)?);
    }
    let there = launchdarkly.base_url.trim_start_matches("http://");
    let there: SocketAddr = there.parse().map_err(|error| format!("LaunchDarkly is at {there}: {error}"))?;
    let launchdarkly = Wire::to_port(gate, To::LaunchDarkly, there).await.map_err(trouble)?;
    Ok(Wires { parted: vec![false; stores.len()], stores, launchdarkly, parted_from_launchdarkly: false })
}

/// The folder of a home.
pub fn home(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("home{}", number + 1))
}
