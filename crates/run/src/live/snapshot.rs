//! The figures of a run at a moment.

use atq_evidence::report::ConditionResult;
use atq_report::Series;
use atq_report::live::LiveFigures;
use atq_task::verdict::CriterionResult;
use std::collections::VecDeque;

/// Number of snapshots whose changes are known.
const MAX_CHANGES: usize = 120;

/// The figures of a run at a moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// Identifies the snapshot: the time of its computation in milliseconds since 1970. Increases.
    pub id: u64,
    /// The figures; `None` without result files.
    pub figures: Option<LiveFigures>,
    /// Milliseconds since all files were last read completely; `None` if they are not read.
    pub lag: Option<u64>,
    /// The reason why there are no figures, or why they are not up to date.
    pub problem: Option<String>,
    /// The stop conditions, in the order of the definition.
    pub conditions: Vec<ConditionResult>,
    /// The criteria for the figures so far, in the order of the definition.
    pub criteria: Vec<CriterionResult>,
    /// For each of the latest snapshots, its id and the start of its first point over time that the one before did not
    /// have; `None` if all points may differ.
    pub(super) changes: VecDeque<(u64, Option<u64>)>,
}

impl Snapshot {
    /// The start of the first point over time that has changed since an earlier snapshot, in milliseconds since 1970:
    /// points of that snapshot that start before it are still valid. `None` if all points may have changed.
    pub fn changed_since(&self, id: u64) -> Option<u64> {
        let is_known = self.changes.front().is_some_and(|(first, _)| *first <= id);
        if !is_known || id > self.id {
            return None;
        }
        let points = &self.figures.as_ref()?.series.points;
        let end = points.last()?.at + 1;
        let later = self.changes.iter().filter(|(later, _)| *later > id);
        later
            .map(|(_, from)| *from)
            .try_fold(end, |first, from| Some(first.min(from?)))
    }

    /// This snapshot as the successor of `before`: its id is larger, and its changes are known.
    pub(super) fn following(mut self, before: &Self) -> Self {
        self.id = self.id.max(before.id + 1);
        let (old, new) = (before.figures.as_ref(), self.figures.as_ref());
        let changed = match (old, new) {
            (Some(old), Some(new)) => first_change(&old.series, &new.series),
            _ => None,
        };
        self.changes = before.changes.clone();
        self.changes.push_back((self.id, changed));
        if self.changes.len() > MAX_CHANGES {
            self.changes.pop_front();
        }
        self
    }
}

/// The start of the first point that differs. `None` if there are fewer points than before, or points of another length.
fn first_change(old: &Series, new: &Series) -> Option<u64> {
    let is_longer = new.points.len() >= old.points.len();
    if !is_longer || new.interval.to_bits() != old.interval.to_bits() {
        return None;
    }
    let same = old.points.iter().zip(&new.points);
    let same = same.take_while(|(old, new)| old == new).count();
    Some(new.points.get(same).map_or(u64::MAX, |point| point.at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use atq_report::SeriesPoint;
    use proptest::prelude::*;

    fn snapshot(interval: u64, samples: &[u64]) -> Snapshot {
        let points = samples
            .iter()
            .enumerate()
            .map(|(index, samples)| SeriesPoint {
                at: 1000 * (1 + index as u64),
                samples: *samples,
                ..SeriesPoint::default()
            });
        let figures = LiveFigures {
            series: Series {
                interval: interval as f64,
                points: points.collect(),
                missing: Vec::new(),
            },
            ..LiveFigures::default()
        };
        Snapshot {
            figures: Some(figures),
            ..Snapshot::default()
        }
    }

    fn points(snapshot: &Snapshot) -> Vec<SeriesPoint> {
        snapshot.figures.clone().unwrap_or_default().series.points
    }

    #[test]
    fn an_unknown_snapshot_gets_all_points() {
        let first = snapshot(1, &[1, 2]).following(&Snapshot::default());
        assert_eq!(first.changed_since(0), None);
        assert_eq!(first.changed_since(first.id), Some(2001));
        assert_eq!(first.changed_since(first.id + 1), None);
    }

    #[test]
    fn the_memory_of_changes_is_bounded() {
        let mut last = Snapshot::default();
        for _ in 0..3 * MAX_CHANGES {
            last = snapshot(1, &[1]).following(&last);
        }
        assert_eq!(last.changes.len(), MAX_CHANGES);
        assert_eq!(last.changed_since(1), None);
        assert_eq!(last.changed_since(last.id - 1), Some(1001));
    }

    proptest! {
        #[test]
        fn a_client_that_replaces_the_changed_points_has_all_points(
            all in proptest::collection::vec((1u64..3, proptest::collection::vec(0u64..3, 0..6)), 1..20),
            skipped in proptest::collection::vec(any::<bool>(), 20),
        ) {
            let mut last = Snapshot::default();
            let mut seen: Option<(u64, Vec<SeriesPoint>)> = None;
            for ((interval, samples), is_skipped) in all.iter().zip(skipped) {
                last = snapshot(*interval, samples).following(&last);
                if is_skipped {
                    continue;
                }
                let (id, mut known) = seen.take().unwrap_or_default();
                let figures = last.figures.clone().unwrap_or_default();
                match last.changed_since(id) {
                    None => known = figures.series.points,
                    Some(from) => {
                        known.retain(|point| point.at < from);
                        known.extend(figures.since(from).series.points);
                    }
                }
                prop_assert_eq!(&known, &points(&last));
                seen = Some((last.id, known));
            }
        }
    }
}
