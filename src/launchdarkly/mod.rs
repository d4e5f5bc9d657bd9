//! LaunchDarkly's REST API. NETWORK. It reads flags, environments and the audit log, sends semantic patches and approval
//! requests, and keeps to LaunchDarkly's rate limits. It decides nothing about overrides: what to send, and whether to
//! send again after an answer that never came, is for the replay. It must not know about stores, relays, the playback
//! or who is sitting at the terminal. Beside the API, it asks what LaunchDarkly delivers to SDKs (`delivery`).
//!
//! The token goes to one origin only: no redirect is followed, links in answers are used only if they stay on the same
//! origin and path, and plain HTTP is for loopback. Facts about the API: LaunchDarkly's OpenAPI description.

pub mod address;
pub mod api_error;
pub mod approval;
pub mod audit;
pub mod client;
pub mod comment;
pub mod courier;
pub mod delivery;
pub mod environment;
mod exchange;
pub mod flag;
pub mod identity;
pub mod pacing;
pub mod patch;
pub mod permit;
mod sender;
pub mod token;
mod wire;

pub use api_error::ApiError;
pub use client::Client;
pub use client::ClientOptions;
pub use courier::Courier;
pub use delivery::Delivery;
pub use delivery::DeliveryError;
pub use permit::Permit;
pub use sender::Observer;
pub use sender::Waiting;
pub use token::Token;
