//! Placeholder.

pub mod bundle;
pub mod config;
