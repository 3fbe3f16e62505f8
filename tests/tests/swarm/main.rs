//! Tests on the real Swarm of this machine, and of pages in a real browser. Each has a Director of its own, so
//! that they run beside each other; `ALONE` in the Makefile has those that do not.
#![allow(missing_docs, clippy::unwrap_used)]

mod atq;
mod atq_bundles;
mod atq_evidence;
mod crowd;
mod delivery;
mod demo;
mod examples;
mod failures;
mod figures;
mod follow;
mod gitlab;
mod page;
mod readiness;
mod registry;
mod restarts;
mod result_files;
mod results;
mod runs;
mod soak;
mod stack;
mod strangers;
mod verdict;
mod wishes;
