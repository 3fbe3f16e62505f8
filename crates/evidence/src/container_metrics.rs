//! Resource usage of all containers of a run over time: `evidence/<task>/<run>/container-metrics.csv`.
//!
//! Each sample is appended at once, so that the file can be read while the run goes on, and nothing is lost or counted twice
//! after a restart. Its size is bounded: from time to time the samples in it are merged to intervals, which get longer with the
//! run. Times are those of the Director.
//!
//! | column | content |
//! | --- | --- |
//! | `at` | start of the interval, in milliseconds since the Unix epoch |
//! | `interval` | its length in seconds |
//! | `container`, `id`, `node` | role and number, beginning of the container's id, id of its node |
//! | `sampled` | seconds of the interval in which the CPU usage was measured |
//! | `cpus`, `cpus_max`, `cpus_limit` | mean and largest number of CPUs in use, number of CPUs that may be used |
//! | `memory`, `memory_limit` | most used memory and its limit, in bytes |
//! | `received`, `sent`, `read`, `written` | network and block I/O since the start of the container, in bytes |
//!
//! A column without a number is not known. Until they are merged, rows may share an interval.

mod figures;
mod log;
mod point;
mod row;
mod series;
#[cfg(test)]
mod tests;

pub use log::MetricsLog;
pub use series::MAX_CONTAINERS;

use super::Evidence;
use atq_files::if_there;
use atq_report::ContainerFigures;
use atq_task::spec::TaskName;
use atq_task::timestamp::Timestamp;
use series::ContainerSeries;
use std::io;
use tokio::task::spawn_blocking;

const FILE: &str = "container-metrics.csv";

impl Evidence {
    /// The resource usage of a run's containers, to be continued.
    pub fn container_metrics_log(&self, task: &TaskName, run: &str) -> MetricsLog {
        MetricsLog::new(self.run_dir(task, run).join(FILE))
    }

    /// The file of a run until now; without a file, the names of its columns.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn container_metrics(&self, task: &TaskName, run: &str) -> io::Result<String> {
        let path = self.run_dir(task, run).join(FILE);
        let read = move || {
            let mut text = if_there(log::read(&path))?.unwrap_or_else(|| row::HEADER.to_owned());
            // The last row may be incomplete while it is written.
            text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
            Ok(text)
        };
        spawn_blocking(read).await.map_err(io::Error::other)?
    }

    /// The resource usage of a run's containers until now. CPU usage and memory of workers and masters are those since
    /// `started`, the start of the test.
    ///
    /// # Errors
    /// When the file cannot be read; one that is not there is empty.
    pub async fn container_figures(
        &self,
        task: &TaskName,
        run: &str,
        started: Option<Timestamp>,
    ) -> io::Result<Vec<ContainerFigures>> {
        let path = self.run_dir(task, run).join(FILE);
        let read = move || {
            let mut series = ContainerSeries::default();
            if let Some(text) = if_there(log::read(&path))? {
                row::parse(&text).for_each(|row| series.merge(row));
            }
            Ok(figures::of(&series, started))
        };
        spawn_blocking(read).await.map_err(io::Error::other)?
    }
}
