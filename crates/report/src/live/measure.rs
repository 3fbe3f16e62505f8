//! The figures of single labels, with any percentile: for criteria.

use super::select::Selection;
use crate::sample::{Sums, figures, together};
use crate::summary;
use atq_api_spec::report::Figures;

/// A part of the samples.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Measure<'a> {
    /// The label whose samples count; `None`: all samples.
    pub label: Option<&'a str>,
    /// A percentile of the response times, from 0 to 100.
    pub percentile: Option<f64>,
}

/// The figures of a part of the samples.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// The figures.
    pub figures: Figures,
    /// The percentile in milliseconds; `None` if none was requested, or if single response times are unknown.
    pub percentile: Option<f64>,
}

/// The figures of a part; `None` without such samples, and for labels of figures of intervals.
pub fn of(selection: &Selection<'_>, part: &Measure<'_>) -> Option<Measured> {
    if selection.is_summarised {
        let histories = selection.histories();
        let totals = histories
            .iter()
            .filter_map(|history| history.total.as_ref());
        return part.label.is_none().then(|| Measured {
            figures: summary::merge(totals),
            percentile: None,
        });
    }
    let transactions = selection.has_transactions_only();
    let files = selection.files.iter();
    let samples = files.filter_map(|(_, file)| Some(&file.samples()?.samples));
    let sums = samples.flat_map(|samples| match part.label {
        None => samples.counted(transactions).by_worker.iter().collect(),
        label => samples.sums(label),
    });
    let sums: Vec<&Sums> = sums.collect();
    let (sums, times) = together(&sums);
    (sums.counts.samples > 0).then(|| Measured {
        figures: figures(&sums, &times),
        percentile: part
            .percentile
            .filter(|_| !sums.unknown.times)
            .map(|percentile| times.percentile(percentile)),
    })
}
