#![allow(clippy::unwrap_used)]
use super::*;
use time::OffsetDateTime;

const HOUR: u64 = 3_600_000;
const NOW: Timestamp = Timestamp(1000 * HOUR);

const UNLIMITED: Policy = Policy {
    tasks: None,
    task_age: None,
    evidence_bytes: None,
    bundle_age: None,
};

/// Tasks with these ages in hours and sizes in bytes.
fn tasks(of: &[(u64, u64)]) -> Vec<EndedTask> {
    let ended = |(age, bytes): &(u64, u64)| EndedTask {
        name: TaskName::parse(&format!("t-{age}")).unwrap(),
        run: "abcdef".to_owned(),
        at: Timestamp(NOW.0 - age * HOUR),
        bytes: *bytes,
    };
    of.iter().map(ended).collect()
}

fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours * 3600)
}

#[test]
fn the_oldest_are_removed_first_and_only_beyond_a_limit() {
    let all = [(3, 10), (1, 50), (5, 1), (2, 30), (4, 20)];
    let number = Policy {
        tasks: Some(3),
        ..UNLIMITED
    };
    let age = Policy {
        task_age: Some(hours(4)),
        ..UNLIMITED
    };
    let size = Policy {
        evidence_bytes: Some(95),
        ..UNLIMITED
    };
    let exact = Policy {
        evidence_bytes: Some(111),
        tasks: Some(5),
        ..UNLIMITED
    };
    let small = Policy {
        evidence_bytes: Some(10),
        ..UNLIMITED
    };
    let both = Policy {
        tasks: Some(4),
        task_age: Some(hours(2)),
        ..UNLIMITED
    };
    for (policy, expected) in [
        (UNLIMITED, ""),
        (number, "t-5 t-4"),
        (age, "t-5"),
        (size, "t-5 t-4"),
        (exact, ""),
        (small, "t-5 t-4 t-3 t-2"),
        (both, "t-5 t-4 t-3"),
    ] {
        let gone = expired(&tasks(&all), &policy, NOW);
        let names: Vec<_> = gone.iter().map(|(task, _)| task.name.as_str()).collect();
        assert_eq!(names.join(" "), expected, "{policy:?}");
    }
    assert_eq!(expired(&[], &small, NOW), []);
}

#[test]
fn reasons_of_removals() {
    let policy = Policy {
        tasks: Some(2),
        task_age: Some(hours(3)),
        evidence_bytes: Some(5),
        ..UNLIMITED
    };
    let gone = expired(&tasks(&[(1, 5), (2, 1), (3, 0), (4, 0)]), &policy, NOW);
    let reasons: Vec<_> = gone.iter().map(|(_, reason)| reason.to_string()).collect();
    let expected = [
        "older than 10800 s",
        "not one of the newest 2",
        "beyond 5 bytes of evidence",
    ];
    assert_eq!(reasons, expected);
}

#[test]
fn a_bundle_is_removed_if_it_is_old_and_no_task_uses_it() {
    let bundle = |letter: &str, age: u64| BundleInfo {
        id: letter.repeat(32).parse().unwrap(),
        file_name: None,
        zip_bytes: None,
        files: 1,
        unpacked_bytes: 1,
        created: OffsetDateTime::from_unix_timestamp(((NOW.0 - age * HOUR) / 1000) as i64).unwrap(),
    };
    let bundles = [bundle("a", 5), bundle("b", 5), bundle("c", 1)];
    let named = ["b".repeat(32)].into();
    let policy = Policy {
        bundle_age: Some(hours(2)),
        ..UNLIMITED
    };
    let gone = unused(&bundles, &named, &policy, NOW);
    let ids: Vec<_> = gone.iter().map(|(bundle, _)| bundle.id.as_str()).collect();
    assert_eq!(ids, ["a".repeat(32)]);
    assert!(unused(&bundles, &named, &UNLIMITED, NOW).is_empty());
}
