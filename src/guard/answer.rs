//! What a relay's request is answered with, before anything is sent, and when a relay that was let in gets its first
//! event. PURE. A relay takes most refusals for final, and one with automatic configuration ends itself because of some
//! (launchdarkly.md 7.1, 7.4, 9.1): so LaunchDarkly's own "this key is not known" is the only one that ever goes on, and
//! not lightly.

use std::time::Duration;

use crate::guard::keys::Vouch;

/// How long LaunchDarkly must have refused a key that worked before the refusal is passed on.
pub const REFUSED_FOR: Duration = Duration::from_secs(600);

/// How long a request waits for LaunchDarkly's word on a key for which nobody vouches.
pub const UNVOUCHED_PATIENCE: Duration = Duration::from_secs(12);

/// How long one waits whose key is named, before it gets what was kept.
pub const NAMED_PATIENCE: Duration = Duration::from_secs(1);

/// How long a relay waits for the `put` of a stream that has just opened, before it gets what was kept.
pub const PUT_PATIENCE: Duration = Duration::from_secs(2);

/// How long the stores may take to tell the overrides, while LaunchDarkly is away: what is kept is served then, and a relay
/// is ready within 3 s.
pub const OVERRIDES_PATIENCE_AWAY: Duration = Duration::from_millis(2_300);

/// The same while LaunchDarkly is there: its `put` could take an override back that is not known yet, so it is held back
/// for longer, and not for so long that a relay gives up (10 s by default).
pub const OVERRIDES_PATIENCE_UP: Duration = Duration::from_secs(8);

/// For so long after LaunchDarkly's stream has broken off, what it last said is as good as new: it ends streams now and then,
/// and they are open again at once.
pub const JUST_NOW: Duration = Duration::from_secs(3);

/// LaunchDarkly's stream, as far as answers depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upstream {
    /// It has been asked and has not answered yet, for so long.
    Asked(Duration),
    /// It is open.
    Up {
        /// Whether its `put` has come.
        put: bool,
    },
    /// It is away, for so long.
    Away(Duration),
    /// Its last answer was that it does not know the key, and it was LaunchDarkly that said so (verified TLS); for so long.
    Refused(Duration),
}

/// What a request is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// That cannot be said yet.
    Wait,
    /// The stream: 200.
    Stream,
    /// LaunchDarkly does not know the key: 401.
    Refuse,
    /// Not now: 503, which every relay tries again.
    Later,
}

/// What a request with a key is answered with after it has waited for so long. LaunchDarkly's refusal of a key that worked
/// is passed on when it has stood for `refused_for`: [`REFUSED_FOR`].
pub fn answer(vouch: Vouch, upstream: Upstream, waited: Duration, refused_for: Duration) -> Answer {
    match (vouch, upstream) {
        (Vouch::Worked, Upstream::Refused(since)) if since >= refused_for => Answer::Refuse,
        (Vouch::Worked, _) | (_, Upstream::Up { .. }) => Answer::Stream,
        (_, Upstream::Refused(_)) => Answer::Refuse,
        (Vouch::Named, Upstream::Away(_)) => Answer::Stream,
        (Vouch::Named, Upstream::Asked(_)) if waited >= NAMED_PATIENCE => Answer::Stream,
        (Vouch::Nobody, Upstream::Away(_)) => Answer::Later,
        (Vouch::Nobody, Upstream::Asked(_)) if waited >= UNVOUCHED_PATIENCE => Answer::Later,
        (_, Upstream::Asked(_)) => Answer::Wait,
    }
}

/// The same where the guard has no effect of its own: nothing that was kept is ever served.
pub fn answer_in_shadow(upstream: Upstream, waited: Duration) -> Answer {
    match upstream {
        Upstream::Up { .. } => Answer::Stream,
        Upstream::Refused(_) => Answer::Refuse,
        Upstream::Away(_) => Answer::Later,
        Upstream::Asked(_) if waited >= UNVOUCHED_PATIENCE => Answer::Later,
        Upstream::Asked(_) => Answer::Wait,
    }
}

/// What is known where a relay waits for its first event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Situation {
    /// LaunchDarkly's stream.
    pub upstream: Upstream,
    /// How long the relay has waited.
    pub waited: Duration,
    /// Whether the overrides are known; if not, for how long the stores have been asked.
    pub overrides: Overrides,
    /// Whether there is something to give that came over LaunchDarkly's stream while this guard ran.
    pub seen_live: bool,
    /// Whether the stores were read since LaunchDarkly went away, and not long ago.
    pub stores: StoresRead,
}

/// Whether the overrides are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overrides {
    /// The stores told them, or there is no store to ask.
    Known,
    /// They are known from this guard's own memory on disk, which is not old; the stores have been asked for so long.
    Remembered(Duration),
    /// They are not; the stores have been asked for so long.
    Unknown(Duration),
}

/// Whether the stores were read as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoresRead {
    /// Not lately.
    No,
    /// They are being read.
    Asked,
    /// They were.
    Yes,
}

/// What is done for a relay that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First {
    /// It gets what there is.
    Give,
    /// The stores are to be read first: what is served is never older than they are.
    ReadStores,
    /// It waits.
    Wait,
}

/// How long a relay waits for its automatic configuration where all there is was kept on disk: relays that have more
/// environments than that show themselves by asking for them.
pub const KEPT_CONFIGURATION_PATIENCE: Duration = Duration::from_millis(1_200);

/// What is known where a relay waits for its automatic configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfigurationSituation {
    /// LaunchDarkly's stream.
    pub upstream: Upstream,
    /// How long the relay has waited.
    pub waited: Duration,
    /// Whether there is one that came over LaunchDarkly's stream while this guard ran.
    pub seen_live: bool,
    /// Whether the relay uses a key that the one on disk does not have: if it got that one, it would drop the environment.
    pub leaves_out: bool,
}

/// Whether a relay that waits for its automatic configuration gets what there is.
pub fn gives_configuration(situation: ConfigurationSituation) -> bool {
    let kept = situation.seen_live || (situation.waited >= KEPT_CONFIGURATION_PATIENCE && !situation.leaves_out);
    match situation.upstream {
        Upstream::Up { put: true } => true,
        Upstream::Up { put: false } => kept && situation.waited >= PUT_PATIENCE,
        Upstream::Asked(asked) => kept && asked >= NAMED_PATIENCE,
        Upstream::Away(_) | Upstream::Refused(_) => kept,
    }
}

/// Decides for a relay that waits.
pub fn first(situation: Situation) -> First {
    let is_up = matches!(situation.upstream, Upstream::Up { .. });
    let stores_may_still_tell = match situation.overrides {
        Overrides::Known => false,
        Overrides::Remembered(asked) => asked < OVERRIDES_PATIENCE_AWAY,
        Overrides::Unknown(asked) if is_up => asked < OVERRIDES_PATIENCE_UP,
        Overrides::Unknown(asked) => asked < OVERRIDES_PATIENCE_AWAY,
    };
    let kept = match situation.stores {
        StoresRead::No => First::ReadStores,
        StoresRead::Asked => First::Wait,
        StoresRead::Yes => First::Give,
    };
    let first = match situation.upstream {
        Upstream::Up { put: true } => First::Give,
        Upstream::Up { put: false } if situation.waited < PUT_PATIENCE => First::Wait,
        Upstream::Asked(asked) if asked < NAMED_PATIENCE => First::Wait,
        Upstream::Away(away) if situation.seen_live && away < JUST_NOW => First::Give,
        Upstream::Up { put: false } | Upstream::Asked(_) | Upstream::Away(_) | Upstream::Refused(_) => kept,
    };
    match first {
        // The stores are read meanwhile.
        First::Give if stores_may_still_tell => First::Wait,
        first => first,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const NOW: Duration = Duration::ZERO;

    #[test]
    fn a_key_that_nobody_vouches_for_gets_launchdarklys_word_or_none() {
        let answers = |upstream, waited| answer(Vouch::Nobody, upstream, waited, REFUSED_FOR);
        assert_eq!(answers(Upstream::Up { put: false }, NOW), Answer::Stream);
        assert_eq!(answers(Upstream::Refused(NOW), NOW), Answer::Refuse);
        assert_eq!(answers(Upstream::Away(NOW), NOW), Answer::Later);
        assert_eq!(answers(Upstream::Asked(SECOND * 5), SECOND * 5), Answer::Wait);
        assert_eq!(answers(Upstream::Asked(SECOND * 12), SECOND * 12), Answer::Later);
    }

    #[test]
    fn a_named_key_gets_what_was_kept() {
        let answers = |upstream, waited| answer(Vouch::Named, upstream, waited, REFUSED_FOR);
        assert_eq!(answers(Upstream::Asked(NOW), NOW), Answer::Wait);
        assert_eq!(answers(Upstream::Asked(SECOND), SECOND), Answer::Stream);
        assert_eq!(answers(Upstream::Away(NOW), NOW), Answer::Stream);
        assert_eq!(answers(Upstream::Refused(NOW), NOW), Answer::Refuse, "it never worked");
    }

    #[test]
    fn a_key_that_worked_is_not_refused_lightly() {
        for upstream in [Upstream::Asked(NOW), Upstream::Up { put: false }, Upstream::Away(SECOND * 9_999)] {
            assert_eq!(answer(Vouch::Worked, upstream, NOW, REFUSED_FOR), Answer::Stream);
        }
        assert_eq!(answer(Vouch::Worked, Upstream::Refused(SECOND * 599), NOW, REFUSED_FOR), Answer::Stream);
        assert_eq!(answer(Vouch::Worked, Upstream::Refused(SECOND * 600), NOW, REFUSED_FOR), Answer::Refuse);
    }

    #[test]
    fn nothing_kept_is_served_in_shadow() {
        assert_eq!(answer_in_shadow(Upstream::Away(NOW), NOW), Answer::Later);
        assert_eq!(answer_in_shadow(Upstream::Asked(NOW), NOW), Answer::Wait);
        assert_eq!(answer_in_shadow(Upstream::Asked(SECOND * 12), SECOND * 12), Answer::Later);
        assert_eq!(answer_in_shadow(Upstream::Up { put: false }, NOW), Answer::Stream);
        assert_eq!(answer_in_shadow(Upstream::Refused(NOW), NOW), Answer::Refuse);
    }

    #[test]
    fn a_kept_configuration_is_given_only_if_it_takes_no_environment_away() {
        let away = ConfigurationSituation {
            upstream: Upstream::Away(NOW),
            waited: SECOND * 2,
            seen_live: false,
            leaves_out: false,
        };
        assert!(gives_configuration(away));
        assert!(!gives_configuration(ConfigurationSituation { waited: SECOND, ..away }));
        assert!(!gives_configuration(ConfigurationSituation { leaves_out: true, ..away }));
        assert!(gives_configuration(ConfigurationSituation { leaves_out: true, seen_live: true, waited: NOW, ..away }));
        let up = |put| ConfigurationSituation { upstream: Upstream::Up { put }, waited: SECOND, ..away };
        assert!(gives_configuration(up(true)) && !gives_configuration(up(false)));
        assert!(!gives_configuration(ConfigurationSituation { upstream: Upstream::Asked(NOW), ..away }));
    }

    fn situation(upstream: Upstream) -> Situation {
        Situation { upstream, waited: NOW, overrides: Overrides::Known, seen_live: false, stores: StoresRead::No }
    }

    #[test]
    fn nothing_is_given_before_the_overrides_are_known() {
        let up = situation(Upstream::Up { put: true });
        let with = |overrides| first(Situation { overrides, ..up });
        assert_eq!(with(Overrides::Known), First::Give);
        assert_eq!(with(Overrides::Unknown(SECOND * 7)), First::Wait);
        assert_eq!(with(Overrides::Unknown(SECOND * 8)), First::Give);
        assert_eq!(with(Overrides::Remembered(SECOND)), First::Wait);
        assert_eq!(with(Overrides::Remembered(SECOND * 3)), First::Give);
        let away = situation(Upstream::Away(NOW));
        let with = |overrides| first(Situation { overrides, stores: StoresRead::Yes, ..away });
        assert_eq!(with(Overrides::Unknown(SECOND)), First::Wait);
        assert_eq!(with(Overrides::Unknown(SECOND * 3)), First::Give);
        let early = Situation { overrides: Overrides::Unknown(NOW), stores: StoresRead::No, ..away };
        assert_eq!(first(early), First::ReadStores, "the stores are read while they are asked");
    }

    #[test]
    fn launchdarklys_put_is_waited_for_and_not_for_long() {
        assert_eq!(first(situation(Upstream::Up { put: false })), First::Wait);
        let late = Situation { waited: SECOND * 2, ..situation(Upstream::Up { put: false }) };
        assert_eq!(first(late), First::ReadStores);
        assert_eq!(first(situation(Upstream::Asked(NOW))), First::Wait);
        assert_eq!(first(situation(Upstream::Asked(SECOND))), First::ReadStores);
    }

    #[test]
    fn while_launchdarkly_is_away_the_stores_are_read_first() {
        let away = situation(Upstream::Away(SECOND * 4));
        assert_eq!(first(away), First::ReadStores);
        assert_eq!(first(Situation { seen_live: true, ..away }), First::ReadStores);
        assert_eq!(first(Situation { stores: StoresRead::Asked, ..away }), First::Wait);
        assert_eq!(first(Situation { stores: StoresRead::Yes, ..away }), First::Give);
        let just_now = situation(Upstream::Away(SECOND));
        assert_eq!(first(Situation { seen_live: true, ..just_now }), First::Give);
        assert_eq!(first(just_now), First::ReadStores);
    }
}
