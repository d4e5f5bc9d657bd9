//! How each module's error is explained: one conversion for each, in one file, so that the wording and the exit codes can
//! be read side by side.

use super::Failure;
use super::Kind;
use crate::flag::key::KeyError;
use crate::flag::patch::PatchError;
use crate::flag::record::RecordError;
use crate::flag::wish::ServeError;
use crate::launchdarkly::ApiError;
use crate::playback::PlaybackError;
use crate::relay::address::AddressError;
use crate::relay::client::RelayError;
use crate::relay::configuration::ConfigurationError;
use crate::settings::SettingsError;
use crate::store::StoreError;
use crate::ui::prompt::NotGiven;

/// The causes below an error, outermost first.
fn causes(error: &dyn std::error::Error) -> Vec<String> {
    std::iter::successors(error.source(), |cause| cause.source()).map(ToString::to_string).collect()
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<RecordError> for Failure {
    fn from(error: RecordError) -> Self {
        Self::refused(error.to_string())
    }
}

impl From<PatchError> for Failure {
    fn from(error: PatchError) -> Self {
        let failure = Self { causes: causes(&error), ..Self::refused(error.to_string()) };
        match error {
            PatchError::Tombstone { .. } => failure
                .hint("Only LaunchDarkly can bring a deleted flag back; nothing that is written here would serve it."),
            PatchError::Unreadable(_) => failure.hint("Look at it: rc doctor"),
            PatchError::NoSuchVariation { .. } => failure,
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let kind = match &error {
            StoreError::Unreachable { .. } | StoreError::Unknown { .. } => Kind::Unreachable,
            StoreError::Credentials { .. } | StoreError::Forbidden { .. } => Kind::Credentials,
            StoreError::ReadOnly { .. } | StoreError::Damaged { .. } => Kind::Refused,
            StoreError::Other { .. } => Kind::Other,
        };
        let failure = Self { causes: causes(&error), ..Self::new(kind, error.to_string()) };
        match error {
            StoreError::Forbidden { way_out, .. } => failure.hint(way_out),
            StoreError::ReadOnly { primary: Some(primary), .. } => {
                failure.hint(format!("Name its primary instead: REDIS_HOSTS={primary}"))
            }
            StoreError::Unknown { .. } => failure.hint("The same command again finds out, and finishes what is left."),
            StoreError::Credentials { .. } => failure.hint(
                "Set RC_REDIS_USER and RC_REDIS_PASSWORD (or RC_REDIS_PASSWORD_FILE), or RC_REDIS_CA for a private authority.",
            ),
            StoreError::Unreachable { .. }
            | StoreError::ReadOnly { .. }
            | StoreError::Damaged { .. }
            | StoreError::Other { .. } => failure,
        }
    }
}

impl From<NotGiven> for Failure {
    fn from(error: NotGiven) -> Self {
        let failure = Self::refused(error.to_string());
        match error {
            NotGiven::NobodyToAsk => failure.hint("To agree beforehand, add --yes"),
            NotGiven::Declined | NotGiven::Unreadable(_) => failure,
        }
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        let kind = if error == SettingsError::NoApiKey { Kind::Credentials } else { Kind::Usage };
        Self { causes: causes(&error), ..Self::new(kind, error.to_string()) }.hints(error.way_out())
    }
}

impl From<ServeError> for Failure {
    fn from(error: ServeError) -> Self {
        match error {
            ServeError::NotAValue { .. } => Self::usage(error.to_string()),
            ServeError::Tombstone { .. } | ServeError::Unreadable(_) => Self::refused(error.to_string()),
        }
    }
}

impl From<PlaybackError> for Failure {
    fn from(error: PlaybackError) -> Self {
        let kind = match &error {
            PlaybackError::NoSuchChange { .. } | PlaybackError::Ambiguous { .. } => Kind::Usage,
            _ => Kind::Other,
        };
        Self { causes: causes(&error), ..Self::new(kind, error.to_string()) }.hints(error.way_out())
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        let kind = match &error {
            ApiError::Configuration { .. } => Kind::Usage,
            ApiError::Unauthorized { .. } | ApiError::Forbidden { .. } => Kind::Credentials,
            ApiError::NotPermitted { .. } => Kind::Refused,
            ApiError::ApprovalRequired { .. } | ApiError::ScheduledConflict { .. } => Kind::Owed,
            ApiError::Unreachable { .. }
            | ApiError::Timeout { .. }
            | ApiError::Unknown { .. }
            | ApiError::Broken { .. }
            | ApiError::RateLimited { .. }
            | ApiError::Server { .. }
            | ApiError::NotJson { .. } => Kind::Unreachable,
            _ => Kind::Other,
        };
        Self { causes: causes(&error), ..Self::new(kind, error.to_string()) }.hints(error.way_out())
    }
}

impl From<AddressError> for Failure {
    fn from(error: AddressError) -> Self {
        let way_out = error.way_out.to_owned();
        Self::usage(error.to_string()).hint(way_out)
    }
}

impl From<ConfigurationError> for Failure {
    fn from(error: ConfigurationError) -> Self {
        let way_out = error.way_out.clone();
        Self::usage(format!("the relay's configuration cannot be read: {error}")).hint(way_out)
    }
}

impl From<RelayError> for Failure {
    fn from(error: RelayError) -> Self {
        let kind = match &error {
            RelayError::Unreachable { .. } | RelayError::TimedOut { .. } | RelayError::BrokenOff { .. } => {
                Kind::Unreachable
            }
            _ => Kind::Other,
        };
        Self { causes: causes(&error), ..Self::new(kind, error.to_string()) }
    }
}
