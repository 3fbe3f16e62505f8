#![allow(clippy::unwrap_used)]
//! The orchestrator on a Swarm in memory, with a store on a real disk and tokio's paused clock: hours pass in
//! milliseconds. `simulation` sets it up.
//!
//! - `scenarios`: single runs; `stop_and_delete`, `force`: requests to end a run; `final_logs`: logs written at the end;
//! - `failures`: failures and their latency; `losses`: unavailable Docker and lost sidecars; `images`: missing images;
//!   `panics`: bugs in a driver; `sidecar_ports`: published ports;
//! - `queueing`: several tasks; `limits`: timeout and lease of a client; `following`: streams of events and logs;
//! - `delivery`: bundles; `results`: result files; `container_metrics`: resource usage; `verdicts`: verdicts; `readiness`: probes;
//! - `orphans`: a lost data directory; `retention`: removal of old data; `upgrade`: data of an earlier version;
//! - `fault_injection`: one run, repeated with a fault at every point; `chaos`: random runs with random faults;
//!   `sample`: the number of their cases that run.

mod chaos;
mod container_metrics;
mod delivery;
mod failures;
mod fault_injection;
mod final_logs;
mod following;
mod force;
mod images;
mod limits;
mod live;
mod losses;
mod orphans;
mod panics;
mod queueing;
mod readiness;
mod results;
mod retention;
mod sample;
mod scenarios;
mod sidecar_ports;
mod simulation;
mod stop_and_delete;
mod stop_conditions;
mod upgrade;
mod verdicts;
