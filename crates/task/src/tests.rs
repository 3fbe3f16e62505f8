#![allow(clippy::unwrap_used)]
//! Tables, snapshots and properties of the state machine.

mod machine;
mod properties;

use super::timestamp::Timestamp;
use atq_definition::examples::spec;
use std::time::Duration;
use time::macros::datetime;

#[test]
fn timestamps_are_rfc_3339_and_saturate() {
    let at = Timestamp::from(datetime!(2026-01-31 12:00:00.250 UTC));
    assert_eq!(at.0, 1_769_860_800_250);
    assert_eq!(at.to_string(), "2026-01-31T12:00:00.25Z");
    assert_eq!(
        at.plus(Duration::from_millis(750)).since(at),
        Duration::from_millis(750)
    );
    assert_eq!(at.since(at.plus(Duration::from_secs(1))), Duration::ZERO);
    assert_eq!(at.plus(Duration::MAX), Timestamp(u64::MAX));
    assert_eq!(Timestamp(u64::MAX).to_string(), "18446744073709551615 ms");
    assert_eq!(
        Timestamp::from(datetime!(1950-01-01 0:00 UTC)),
        Timestamp(0)
    );
}
