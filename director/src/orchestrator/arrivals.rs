//! What carriers send while a run waits for it. In memory only: after a restart the run begins anew.

use super::intake::Intake;
use crate::evidence::load::LoadBook;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How busy a run is, while samples come in.
pub type Book = Arc<Mutex<LoadBook>>;

/// A run that is watched.
#[derive(Debug, Clone)]
pub struct Watched {
    /// Processors that a container may use: a worker, and a master.
    pub limits: [Option<f64>; 2],
    /// Where samples are written down.
    pub book: Book,
}

/// What is waited for, by the suffix of the run.
#[derive(Debug, Default)]
pub struct Arrivals {
    intakes: Mutex<HashMap<String, Arc<Intake>>>,
    books: Mutex<HashMap<String, Watched>>,
}

impl Arrivals {
    /// The run waits for results.
    pub fn open_intake(&self, run: &str, intake: Arc<Intake>) {
        lock(&self.intakes).insert(run.to_owned(), intake);
    }

    /// The run does not wait for results any more; what has arrived is kept.
    pub fn close_intake(&self, run: &str) {
        if let Some(intake) = lock(&self.intakes).remove(run) {
            intake.close();
        }
    }

    /// How the results of a run are taken, if it waits for them.
    pub fn intake(&self, run: &str) -> Option<Arc<Intake>> {
        lock(&self.intakes).get(run).cloned()
    }

    /// The run is watched.
    pub fn open_book(&self, run: &str, watched: Watched) {
        lock(&self.books).insert(run.to_owned(), watched);
    }

    /// The run is not watched any more.
    pub fn close_book(&self, run: &str) {
        lock(&self.books).remove(run);
    }

    /// How the run is watched, if it is.
    pub fn book(&self, run: &str) -> Option<Watched> {
        lock(&self.books).get(run).cloned()
    }
}

/// Works with the samples of a run.
pub fn with_book<T>(book: &Book, work: impl FnOnce(&mut LoadBook) -> T) -> T {
    work(&mut lock(book))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
