//! NETWORK. Telling people, where they already look, what they have to know: a webhook of their own, Slack, Teams, PagerDuty.
//! One small sender: a bounded queue for each place, a deadline for each attempt, few attempts, no redirects, and nobody who
//! has something to tell ever waits for it. It must not know what happened, only what is said of it.

pub mod message;
pub mod notice;
pub mod place;
pub mod sender;

pub use notice::Notice;
pub use notice::Severity;
pub use place::Place;
pub use place::PlaceKind;
pub use sender::Sender;
