//! The whole of `settings/` through `Settings::resolve`.
