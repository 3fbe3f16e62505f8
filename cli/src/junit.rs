//! The verdict as JUnit XML, which Jenkins, GitLab and others show.

use atq_api_spec::task::Task;

/// The document for a task that is over: a test case for the run itself, and one for each criterion.
pub fn document(_task: &Task) -> String {
    String::new()
}
