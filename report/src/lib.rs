//! Figures and pages from the result files of load-test tools. Pure computing on readers: no network,
//! no Docker, no clock.

pub mod compare;
pub mod page;
