//! The resource usage of containers over time, with a bounded number of points: when it is exceeded, the intervals of all
//! containers get twice as long.

use super::point::Point;
use super::row::Row;
use atq_engine::{ContainerSample, Role, Source};
use atq_task::timestamp::Timestamp;
use std::collections::BTreeMap;

/// Containers above this number are not measured.
pub const MAX_CONTAINERS: usize = 3000;
/// Attempts of the wait command that are kept, the last ones.
const MAX_ATTEMPTS: usize = 20;
/// Number of points of all containers.
const MAX_POINTS: usize = 60_000;
/// Bounds of the number of points of each container.
const POINTS_EACH: (usize, usize) = (20, 600);
/// The shortest interval, in milliseconds.
pub const SAMPLE_INTERVAL: u64 = 2000;
/// An earlier sample of a container is too early, in milliseconds. Only a faulty program reports so often.
const MIN_GAP: u64 = 500;
/// Characters of the id of a container.
const ID_CHARS: usize = 12;

/// Identifies a container: the container of a replica may change.
pub type Key = (Source, String);

/// The points of a container by the number of their interval since 1970.
#[derive(Debug, Clone, PartialEq)]
pub struct Container {
    pub node: String,
    pub points: BTreeMap<u64, Point>,
    /// Time of the last sample.
    last: Option<u64>,
}

/// The resource usage of containers over time.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerSeries {
    /// Length of an interval in milliseconds.
    interval: u64,
    containers: BTreeMap<Key, Container>,
}

impl Default for ContainerSeries {
    fn default() -> Self {
        Self {
            interval: SAMPLE_INTERVAL,
            containers: BTreeMap::new(),
        }
    }
}

impl ContainerSeries {
    /// Length of an interval in milliseconds.
    pub fn interval(&self) -> u64 {
        self.interval
    }

    /// The containers in order.
    pub fn containers(&self) -> &BTreeMap<Key, Container> {
        &self.containers
    }

    /// Number of points of all containers.
    pub fn len(&self) -> usize {
        let each = self.containers.values();
        each.map(|container| container.points.len()).sum()
    }

    /// Adds a sample, and returns it as a row. A sample too soon after the one before is ignored.
    pub fn add(&mut self, at: Timestamp, sample: &ContainerSample<'_>) -> Option<Row> {
        let target = sample.target;
        let row = Row {
            at: at.0,
            interval: SAMPLE_INTERVAL,
            source: target.source,
            id: target.container.chars().take(ID_CHARS).collect(),
            node: target.node.clone(),
            point: Point::of(sample.cpu, sample.usage),
        };
        let (_, container) = self.container(&row)?;
        let is_early = |last| (last..last + MIN_GAP).contains(&at.0);
        if container.last.is_some_and(is_early) {
            return None;
        }
        container.last = Some(at.0);
        self.merge(row.clone());
        Some(row)
    }

    /// Adds a row.
    pub fn merge(&mut self, row: Row) {
        while self.interval < row.interval {
            self.double();
        }
        let Some((interval, container)) = self.container(&row) else {
            return;
        };
        let point = container.points.entry(row.at / interval).or_default();
        point.merge(&row.point);
        if container.points.len() > self.most_points() {
            self.shrink();
        }
    }

    /// Makes the intervals so long that no container has too many points.
    fn shrink(&mut self) {
        let longest = |all: &Self| all.containers.values().map(|one| one.points.len()).max();
        while longest(self) > Some(self.most_points()) {
            self.double();
        }
    }

    /// The points as rows.
    pub fn rows(&self) -> impl Iterator<Item = Row> {
        self.containers
            .iter()
            .flat_map(move |((source, id), container)| {
                container.points.iter().map(move |(number, point)| Row {
                    at: number * self.interval,
                    interval: self.interval,
                    source: *source,
                    id: id.clone(),
                    node: container.node.clone(),
                    point: *point,
                })
            })
    }

    /// The container of a row, and the length of an interval, which a new container may change. `None` if there are too many.
    fn container(&mut self, row: &Row) -> Option<(u64, &mut Container)> {
        let key = (row.source, row.id.clone());
        if !self.containers.contains_key(&key) {
            self.make_room(row.source)?;
            let container = Container {
                node: row.node.clone(),
                points: BTreeMap::new(),
                last: None,
            };
            self.containers.insert(key.clone(), container);
            self.shrink();
        }
        let interval = self.interval;
        let container = self.containers.get_mut(&key)?;
        Some((interval, container))
    }

    /// Makes room for a container; `None` if there are too many.
    fn make_room(&mut self, source: Source) -> Option<()> {
        if source.role == Role::Wait {
            let attempts = self
                .containers
                .keys()
                .filter(|(one, _)| one.role == Role::Wait);
            let attempts: Vec<Key> = attempts.cloned().collect();
            if attempts.len() >= MAX_ATTEMPTS {
                // In the order of the attempts.
                let oldest = attempts.first().filter(|oldest| oldest.0 < source)?;
                self.containers.remove(oldest);
            }
        }
        (self.containers.len() < MAX_CONTAINERS).then_some(())
    }

    fn most_points(&self) -> usize {
        let (least, most) = POINTS_EACH;
        (MAX_POINTS / self.containers.len().max(1)).clamp(least, most)
    }

    fn double(&mut self) {
        self.interval *= 2;
        for container in self.containers.values_mut() {
            for (number, point) in std::mem::take(&mut container.points) {
                let joined = container.points.entry(number / 2).or_default();
                joined.merge(&point);
            }
        }
    }
}
