//! The relays on one stream: those that wait for their first event, and those that have it. What is sent goes to all of the
//! latter; one that does not take it is cut off, and the others do not notice. It must not know what is sent.

use std::net::IpAddr;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use jiff::Timestamp;

use crate::guard::environment::AttachedRelay;
use crate::guard::stream::event::HEARTBEAT;
use crate::guard::stream::line::Line;
use crate::guard::stream::line::LineError;

/// A relay that has heard nothing for so long gets a comment. It would give the connection up after five minutes
/// (launchdarkly.md 7.1), and a connection that is dead is noticed by it.
const HEARTBEAT_AFTER: Duration = Duration::from_secs(45);

/// How long a relay is held without anything to give to it; then it may try elsewhere.
const HELD_MAX: Duration = Duration::from_secs(90);

/// One relay on the stream.
#[derive(Debug)]
struct Seat {
    relay: AttachedRelay,
    line: Line,
    since: Instant,
    attached: Timestamp,
    heard: Instant,
    fed: bool,
}

/// What was sent, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events, once for each relay.
    pub events: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Relays that were cut off because they did not take what they were sent.
    pub cut_off: u64,
}

/// A relay that was cut off, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutOff {
    /// Which.
    pub relay: AttachedRelay,
    /// Why.
    pub why: LineError,
}

/// All relays on the stream.
#[derive(Debug, Default)]
pub struct Relays {
    seats: Vec<Seat>,
    counts: Counts,
    cut_off: Vec<CutOff>,
}

impl Relays {
    /// A relay comes. It is sent nothing before [`Relays::give_first`].
    pub fn attach(&mut self, relay: AttachedRelay, line: Line, now: Instant) {
        let attached = Timestamp::now();
        self.seats.push(Seat { relay, line, since: now, attached, heard: now, fed: false });
    }

    /// How long the relay has waited that waits longest for its first event.
    pub fn waiting(&self, now: Instant) -> Option<Duration> {
        self.seats.iter().filter(|seat| !seat.fed).map(|seat| now.saturating_duration_since(seat.since)).max()
    }

    /// Whether there is anybody.
    pub fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    /// Those who wait, and for whom it is right (by their address, and how long they have waited), get their first event, and
    /// everything from now on.
    pub fn give_first(&mut self, first: &Bytes, now: Instant, is_right: impl Fn(IpAddr, Duration) -> bool) {
        self.each(now, |seat| {
            if seat.fed || !is_right(seat.relay.address, now.saturating_duration_since(seat.since)) {
                return &[];
            }
            seat.fed = true;
            std::slice::from_ref(first)
        });
    }

    /// Sends events to all who have their first.
    pub fn send(&mut self, events: &[Bytes], now: Instant) {
        if !events.is_empty() {
            self.each(now, |seat| if seat.fed { events } else { &[] });
        }
    }

    /// Passes a comment on, to all.
    pub fn comment(&mut self, comment: &Bytes, now: Instant) {
        self.each(now, |_| std::slice::from_ref(comment));
    }

    /// What is to be done from time to time: comments for those who have heard nothing for long; those who are gone go, and
    /// those who have waited for too long.
    pub fn look_after(&mut self, now: Instant) {
        self.seats
            .retain(|seat| seat.line.is_open() && (seat.fed || now.saturating_duration_since(seat.since) < HELD_MAX));
        let heartbeat = Bytes::from_static(HEARTBEAT);
        self.each(now, |seat| {
            let is_due = now.saturating_duration_since(seat.heard) >= HEARTBEAT_AFTER;
            if is_due { std::slice::from_ref(&heartbeat) } else { &[] }
        });
    }

    /// Ends all connections, each when it has what was sent to it.
    pub fn end_all(&mut self) {
        self.seats.clear();
    }

    /// Those who are there, and since when.
    pub fn list(&self) -> Vec<(AttachedRelay, Timestamp)> {
        self.seats.iter().map(|seat| (seat.relay.clone(), seat.attached)).collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.seats.len()
    }

    /// What was sent.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Those who were cut off since this was asked last.
    pub fn cut_off(&mut self) -> Vec<CutOff> {
        std::mem::take(&mut self.cut_off)
    }

    fn each<'e>(&mut self, now: Instant, mut events_for: impl FnMut(&mut Seat) -> &'e [Bytes]) {
        let Self { seats, counts, cut_off } = self;
        seats.retain_mut(|seat| {
            let events = events_for(seat);
            if events.is_empty() {
                return true;
            }
            match seat.line.push_all(events, now) {
                Ok(()) => {
                    counts.events += events.len() as u64;
                    counts.bytes += events.iter().map(|event| event.len() as u64).sum::<u64>();
                    seat.heard = now;
                    true
                }
                Err(LineError::Gone) => false,
                Err(why) => {
                    seat.line.cut();
                    counts.cut_off += 1;
                    cut_off.push(CutOff { relay: seat.relay.clone(), why });
                    false
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    use super::*;
    use crate::guard::stream::line::LineBody;
    use crate::guard::stream::line::line;

    fn relay() -> AttachedRelay {
        AttachedRelay { address: Ipv4Addr::LOCALHOST.into(), agent: "LDRelay/8.10.1".to_owned() }
    }

    fn attach(relays: &mut Relays, now: Instant) -> LineBody {
        let (line, body) = line(Arc::default());
        relays.attach(relay(), line, now);
        body
    }

    #[test]
    fn who_has_no_first_event_gets_no_other() {
        let mut relays = Relays::default();
        let begun = Instant::now();
        let _early = attach(&mut relays, begun);
        let now = begun + Duration::from_secs(2);
        let _late = attach(&mut relays, now);
        assert_eq!(relays.waiting(now), Some(Duration::from_secs(2)));
        relays.give_first(&Bytes::from_static(b"put"), now, |_, waited| waited >= Duration::from_secs(1));
        relays.send(&[Bytes::from_static(b"patch")], now);
        assert_eq!(relays.counts(), Counts { events: 2, bytes: 8, cut_off: 0 });
        assert_eq!(relays.waiting(now), Some(Duration::ZERO));
        relays.give_first(&Bytes::from_static(b"put"), now, |_, _| true);
        assert_eq!(relays.waiting(now), None);
    }

    #[test]
    fn one_that_takes_nothing_is_cut_off_and_the_others_go_on() {
        let mut relays = Relays::default();
        let now = Instant::now();
        let _stalled = attach(&mut relays, now);
        let gone = attach(&mut relays, now);
        relays.give_first(&Bytes::from_static(b"put"), now, |_, _| true);
        drop(gone);
        let later = now + Duration::from_secs(40);
        let _fresh = attach(&mut relays, later);
        relays.send(&[Bytes::from_static(b"patch")], later);
        assert_eq!(relays.len(), 1);
        let cut_off = relays.cut_off();
        assert_eq!((cut_off.len(), cut_off[0].why), (1, LineError::Stalled));
        assert_eq!(relays.counts().cut_off, 1);
    }

    #[test]
    fn comments_keep_quiet_connections_alive() {
        let mut relays = Relays::default();
        let begun = Instant::now();
        let body = attach(&mut relays, begun);
        relays.look_after(begun + Duration::from_secs(44));
        assert_eq!(relays.counts().events, 0);
        relays.look_after(begun + Duration::from_secs(45));
        assert_eq!(relays.counts().events, 1, "one that waits for its first event hears comments too");
        relays.look_after(begun + Duration::from_secs(46));
        assert_eq!(relays.counts().events, 1);
        relays.look_after(begun + HELD_MAX);
        assert!(relays.is_empty(), "there was nothing to give to it");
        drop(body);
    }
}
