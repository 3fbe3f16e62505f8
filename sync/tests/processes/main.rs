//! Real processes on loopback: masters, workers, and peers that misbehave.
#![allow(missing_docs, clippy::unwrap_used)]

mod failures;
mod hostile;
mod process;
mod proxy;
mod start;
mod stop;
