//! The value of a window that ends now: for conditions that end a run early.

use super::select::Selection;
use crate::windows::{Watches, Window, last};
use serde::Serialize;

const SECOND: u64 = 1_000_000;

/// The value of a window that ends with the latest samples.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum LastWindow {
    /// Milliseconds, percent, or samples per second.
    Value(f64),
    /// There is no value that can be trusted, for this reason. It must not end a run.
    Unknown(String),
}

impl LastWindow {
    /// The value, if it can be trusted.
    pub fn value(&self) -> Option<f64> {
        match self {
            Self::Value(value) => Some(*value),
            Self::Unknown(_) => None,
        }
    }

    fn unknown(why: impl Into<String>) -> Self {
        Self::Unknown(why.into())
    }
}

/// The value of a window that ends with the latest complete second of each file.
pub fn of(window: &Window, selection: &Selection<'_>) -> LastWindow {
    if let Some(doubt) = selection.doubts.first() {
        return LastWindow::unknown(doubt);
    }
    let Some(first) = selection.first() else {
        return LastWindow::unknown("there are no samples with times yet");
    };
    if selection.times().0 {
        return LastWindow::unknown("times are relative to the start of the test");
    }
    if let Some(why) = missing_label(window, selection) {
        return LastWindow::Unknown(why);
    }
    let is_short = selection.files.iter().any(|(_, file)| {
        let begun = selection.end(file).saturating_sub(first.div_ceil(SECOND));
        begun < u64::from(window.seconds)
    });
    if is_short {
        return LastWindow::unknown("the run is shorter than the window");
    }
    let transactions = selection.has_transactions_only();
    let watches = selection.files.iter().filter_map(|(_, file)| {
        let watches: &Watches = match selection.is_summarised {
            true => &file.history()?.watches,
            false => {
                let samples = &file.samples()?.samples;
                // A label may belong to both kinds.
                let by_total = window.label.is_none();
                &samples.counted(transactions && by_total).watches
            }
        };
        Some((watches, selection.end(file)))
    });
    match last(window, watches) {
        Some(value) => LastWindow::Value(value),
        None => LastWindow::unknown(
            "the window has no samples, or the tool does not report this figure",
        ),
    }
}

/// The reason why the label of a window has no figures. A label without any sample may be misspelled.
fn missing_label(window: &Window, selection: &Selection<'_>) -> Option<String> {
    let label = window.label.as_ref()?;
    if selection.is_summarised {
        return Some("the tool's figures of intervals have no labels".to_owned());
    }
    let mut files = selection
        .files
        .iter()
        .filter_map(|(_, file)| file.samples());
    let is_known = files.any(|tally| tally.samples.has_label(label));
    (!is_known).then(|| format!("there is no sample of `{label}` yet"))
}
