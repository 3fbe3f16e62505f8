//! What the master knows of each worker. Pure.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use crate::args::Peer;
use crate::clock::{MasterTime, Offset};
use crate::exit::{Code, ProcessEnd};
use crate::share::MAX_WORKERS;

/// An event of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkerEvent {
    /// It cannot be reached yet.
    Unreachable(String),
    /// It is connected; with its number, if it knows it.
    Connected(Option<u32>),
    /// Its clock is compared.
    Measured(Offset),
    /// It has its share.
    Prepared,
    /// It has the instant of the start, with this time left.
    Armed(Duration),
    /// Its tool was started at this time.
    Started(MasterTime),
    /// It takes no further part.
    Outcome(Outcome),
}

/// Why a worker takes no further part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It does not do what it was asked to.
    Refused(String),
    /// It received the start late by this time.
    Late(Duration),
    /// Its tool could not be executed.
    NotStarted(Code, String),
    /// The start was cancelled.
    Cancelled,
    /// Its tool has ended.
    Ended {
        /// How.
        end: ProcessEnd,
        /// After this time.
        time: Duration,
        /// Whether the worker received a signal before.
        interrupted: bool,
    },
    /// Its connection ended, or it was silent.
    Lost(String),
}

/// How far a worker is, in the order of the start.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Not connected.
    NotConnected,
    /// Connected.
    Connected,
    /// Its clock is compared.
    Measured,
    /// It has its share.
    Prepared,
    /// It knows the instant of the start.
    Armed,
    /// Its tool was started.
    Started,
}

/// A worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerState {
    /// Its number: that of the container, or its place among the addresses, from 1.
    pub number: u32,
    /// Its address.
    pub address: SocketAddr,
    /// How far it is.
    pub stage: Stage,
    /// Why it takes no further part.
    pub outcome: Option<Outcome>,
    /// The last reason why it cannot be reached.
    pub unreachable: Option<String>,
    /// Its number according to itself.
    pub replica: Option<u32>,
    /// Its clock.
    pub offset: Option<Offset>,
    /// The start of its tool.
    pub started: Option<MasterTime>,
    /// The time that was left when it received the start.
    pub margin: Option<Duration>,
}

impl WorkerState {
    /// A worker that is not connected.
    pub fn new(number: u32, address: SocketAddr) -> Self {
        Self {
            number,
            address,
            stage: Stage::NotConnected,
            outcome: None,
            unreachable: None,
            replica: None,
            offset: None,
            started: None,
            margin: None,
        }
    }

    /// Applies an event. After `Outcome` nothing changes.
    pub fn apply(&mut self, event: WorkerEvent) {
        if self.outcome.is_some() {
            return;
        }
        match event {
            WorkerEvent::Unreachable(why) => self.unreachable = Some(why),
            WorkerEvent::Connected(replica) => {
                self.replica = replica;
                self.advance(Stage::Connected);
            }
            WorkerEvent::Measured(offset) => {
                self.offset = Some(offset);
                self.advance(Stage::Measured);
            }
            WorkerEvent::Prepared => self.advance(Stage::Prepared),
            WorkerEvent::Armed(margin) => {
                self.margin = Some(margin);
                self.advance(Stage::Armed);
            }
            WorkerEvent::Started(at) => {
                self.started = Some(at);
                self.advance(Stage::Started);
            }
            WorkerEvent::Outcome(outcome) => self.outcome = Some(outcome),
        }
    }

    fn advance(&mut self, stage: Stage) {
        self.stage = self.stage.clone().max(stage);
    }

    /// The human-readable name.
    pub fn label(&self, default_port: u16) -> String {
        let Self {
            number, address, ..
        } = self;
        match address.port() == default_port {
            true => format!("worker {number} ({})", address.ip()),
            false => format!("worker {number} ({address})"),
        }
    }
}

/// The workers at these addresses.
///
/// # Errors
/// Too many, or an address twice.
pub fn workers(workers: &[Peer], port: u16) -> Result<Vec<WorkerState>, String> {
    if workers.len() > MAX_WORKERS as usize {
        return Err(format!(
            "{} workers; at most {MAX_WORKERS} are possible",
            workers.len()
        ));
    }
    let mut seen = BTreeSet::new();
    let worker = |(number, peer): (u32, &Peer)| {
        let address = peer.socket(port);
        match seen.insert(address) {
            true => Ok(WorkerState::new(number, address)),
            false => Err(format!(
                "the worker {address} is listed twice (--workers, WORKER_CSV_VIPS)"
            )),
        }
    };
    (1..).zip(workers).map(worker).collect()
}

/// Puts the workers in the order of their own numbers if these are distinct, else leaves them in the order of the addresses.
/// Returns the new order: the earlier places.
pub fn order(replicas: &[Option<u32>]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..replicas.len()).collect();
    if are_distinct(replicas) {
        places.sort_by_key(|place| replicas[*place]);
    }
    places
}

/// Whether all workers have a number, and no two the same one.
pub fn are_distinct(replicas: &[Option<u32>]) -> bool {
    let distinct: BTreeSet<u32> = replicas.iter().flatten().copied().collect();
    distinct.len() == replicas.len()
}

/// What is wrong with the numbers of the workers, if the index of a share is not the number minus 1. Without any numbers nothing is.
pub fn numbering_warning(replicas: &[Option<u32>]) -> Option<String> {
    let known: Vec<u32> = replicas.iter().flatten().copied().collect();
    let distinct: BTreeSet<u32> = known.iter().copied().collect();
    let count = replicas.len();
    let why = if known.is_empty() || distinct.iter().copied().eq((1..).take(count)) {
        return None;
    } else if known.len() < count {
        "some workers have no number; the order is that of the addresses"
    } else if distinct.len() < count {
        "some workers have the same number; the order is that of the addresses"
    } else {
        "the numbers have gaps"
    };
    Some(format!(
        "the workers are not numbered from 1 to {count} (--replica, ATQ_REPLICA): {why}. {{share:index}} may not match files of `split`"
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn workers_are_ordered_by_their_numbers_only_if_these_are_distinct() {
        assert_eq!(order(&[Some(3), Some(1), Some(2)]), [1, 2, 0]);
        assert_eq!(order(&[Some(3), Some(3), Some(2)]), [0, 1, 2]);
        assert_eq!(order(&[Some(3), None, Some(2)]), [0, 1, 2]);
    }

    #[test]
    fn numbers_other_than_1_to_n_cause_a_warning() {
        let warning = |replicas: &[Option<u32>]| numbering_warning(replicas).unwrap_or_default();
        assert_eq!(warning(&[Some(2), Some(1)]), "");
        assert_eq!(warning(&[None, None]), "");
        assert!(warning(&[Some(1), Some(2), Some(4)]).contains("gaps"));
        assert!(warning(&[Some(1), Some(1)]).contains("the same number"));
        assert!(warning(&[Some(1), None]).contains("no number"));
    }

    proptest! {
        #[test]
        fn every_worker_has_exactly_one_place(replicas in proptest::collection::vec(proptest::option::of(0..9_u32), 0..12)) {
            let mut places = order(&replicas);
            places.sort_unstable();
            prop_assert_eq!(places, (0..replicas.len()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_address_that_is_listed_twice_is_refused() {
        use clap::Parser;
        let text = [
            "atq-sync",
            "master",
            "--workers",
            "10.0.0.1,10.0.0.2,10.0.0.1:7700",
        ];
        let crate::args::Role::Master(args) = crate::args::Args::parse_from(text).role else {
            panic!()
        };
        let error = workers(&args.workers, 7700).unwrap_err();
        assert_eq!(
            error,
            "the worker 10.0.0.1:7700 is listed twice (--workers, WORKER_CSV_VIPS)"
        );
        assert_eq!(workers(&args.workers, 7701).unwrap().len(), 3);
    }

    #[test]
    fn nothing_changes_after_the_end_of_a_worker() {
        let mut worker = WorkerState::new(1, "10.0.0.1:1".parse().unwrap());
        worker.apply(WorkerEvent::Outcome(Outcome::Cancelled));
        worker.apply(WorkerEvent::Outcome(Outcome::Lost("late".to_owned())));
        worker.apply(WorkerEvent::Prepared);
        assert_eq!(
            (worker.stage, worker.outcome),
            (Stage::NotConnected, Some(Outcome::Cancelled))
        );
    }
}
