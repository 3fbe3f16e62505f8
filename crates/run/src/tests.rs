#![allow(clippy::unwrap_used)]
//! The orchestrator on a Swarm in memory, with a store on a real disk and tokio's paused clock: hours
//! pass in milliseconds. `stage` sets it up, `stories` are single runs, `wishes` are stops and
//! deletes, `following` about those who watch, `force` about ends without grace periods, `found` is about failures and how soon they are told, `queueing` about several tasks,
//! `limits` about the timeout and the lease of a client, `last_words` about what still runs at the end, `losses` about Docker and sidecars that go out of
//! sight, `delivery` about bundles, `results` about what containers leave behind, `verdicts` about what
//! that says, `panics` are bugs, `orphans` are lost data, `old` is what is removed with time, `old_data` what an earlier version has written, `images` are those that a registry does not give,
//! `sweeps` play one run again and again with something going wrong at every point, `chaos` any run
//! with anything going wrong at any point.

mod chaos;
mod delivery;
mod following;
mod force;
mod found;
mod images;
mod last_words;
mod limits;
mod losses;
mod old;
mod old_data;
mod orphans;
mod panics;
mod ports;
mod queueing;
mod readiness;
mod results;
mod stage;
mod stories;
mod sweeps;
mod verdicts;
mod wishes;
