//! Whether something may be sent that changes LaunchDarkly, asked right before each such request goes out: also before one
//! that waited for a rate limit, or that follows another in a row. It must not know who says so, nor why.

use std::fmt;
use std::sync::Arc;

use crate::flag::key::Environment;

type May = dyn Fn(&Environment) -> Result<(), String> + Send + Sync;

/// Asked before each request that changes something in an environment; its error says why not.
#[derive(Clone)]
pub struct Permit(Arc<May>);

impl Permit {
    /// Calls `may` before each such request; it must not block.
    pub fn new(may: impl Fn(&Environment) -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(may))
    }

    /// Asks.
    ///
    /// # Errors
    /// In words: why nothing may be sent.
    pub fn ask(&self, environment: &Environment) -> Result<(), String> {
        (self.0)(environment)
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Permit")
    }
}
