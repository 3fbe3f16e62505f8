//! Amounts of processors and memory.

use super::fields::faults;
use crate::examples::{parse, payload, spec};
use crate::spec::Amounts;
use insta::assert_snapshot;
use proptest::prelude::*;
use serde_json::{Value, json};

fn limits(value: Value) -> Amounts {
    spec(&[("/worker/resources", json!({"limits": value}))])
        .worker
        .resources
        .limits
}

#[test]
fn amounts_of_processors() {
    for (value, nano) in [
        (json!(1), 1_000_000_000),
        (json!(0.5), 500_000_000),
        (json!("0.5"), 500_000_000),
        (json!(0.1), 100_000_000),
        (json!("2"), 2_000_000_000),
        (json!(0.01), 10_000_000),
        (json!(1024), 1_024_000_000_000),
        (json!(0.123_456_789), 123_456_789),
    ] {
        let seen = limits(json!({"cpus": value})).nano_cpus;
        assert_eq!(seen, Some(nano), "{value}");
    }
}

#[test]
fn amounts_of_memory() {
    const MIB: u64 = 1 << 20;
    for (value, bytes) in [
        (json!(6 * MIB), 6 * MIB),
        (json!("6291456"), 6 * MIB),
        (json!("6291456b"), 6 * MIB),
        (json!("10240k"), 10 * MIB),
        (json!("512m"), 512 * MIB),
        (json!("512MiB"), 512 * MIB),
        (json!("512 MB"), 512 * MIB),
        (json!("2g"), 2048 * MIB),
        (json!("1GB"), 1024 * MIB),
        (json!("1.5Gi"), 1536 * MIB),
        (json!("1T"), MIB * MIB),
        (json!("8p"), 1 << 53),
        (json!(1_u64 << 53), 1 << 53),
        (json!(1e9), 1_000_000_000),
    ] {
        let seen = limits(json!({"memory": value})).memory;
        assert_eq!(seen, Some(bytes), "{value}");
    }
}

#[test]
fn wrong_resources() {
    let all = [
        faults(
            "/worker/resources",
            &[
                json!(1),
                json!({"limit": {}}),
                json!({"limits": {"cpu": 1}}),
                json!({"limits": "all"}),
                json!({"limits": {"cpus": 1, "memory": "1g"}, "reservations": {"cpus": 1.5, "memory": "2g"}}),
                json!({"reservations": {"cpus": 0.0005, "memory": "3m"}}),
            ],
        ),
        faults(
            "/master/resources/limits/cpus",
            &[
                json!(0),
                json!(-1),
                json!(0.009),
                json!(1024.5),
                json!(1e300),
                json!("inf"),
                json!("1e1"),
                json!(""),
                json!([1]),
            ],
        ),
        faults(
            "/master/resources/limits/memory",
            &[
                json!(6_291_455),
                json!(-1),
                json!(7e6 + 0.5),
                json!("5m"),
                json!("9p"),
                json!("512x"),
                json!("512 mega"),
                json!("1.2.3g"),
                json!("m"),
                json!("-1g"),
                json!("9".repeat(400)),
                json!(true),
            ],
        ),
    ];
    assert_snapshot!(all.join("\n"), @r"
    worker.resources is a number; expected an object
    worker.resources.limit is not a known field; did you mean `limits`?
    worker.resources.limits.cpu is not a known field; did you mean `cpus`?
    worker.resources.limits is a string; expected an object
    worker.resources.reservations.cpus is 1.5; expected at most the limit, 1
    worker.resources.reservations.memory is 2147483648 bytes; expected at most the limit, 1073741824 bytes
    worker.resources.reservations.cpus is 0.0005; expected a number of processors from 0.001 to 1024
    worker.resources.reservations.memory is `3m`; expected 4 MiB to 8 PiB, as a whole number of bytes or with a unit like `512m` or `2GiB`
    master.resources.limits.cpus is 0; expected a number of processors from 0.01 to 1024
    master.resources.limits.cpus is -1; expected a number of processors from 0.01 to 1024
    master.resources.limits.cpus is 0.009; expected a number of processors from 0.01 to 1024
    master.resources.limits.cpus is 1024.5; expected a number of processors from 0.01 to 1024
    master.resources.limits.cpus is 1e+300; expected a number of processors from 0.01 to 1024
    master.resources.limits.cpus is `inf`; expected a number of processors from 0.01 to 1024
    master.resources.limits.cpus is `1e1`; expected a number of processors from 0.01 to 1024
    master.resources.limits.cpus is ``; expected a number of processors from 0.01 to 1024
    master.resources.limits.cpus is a list; expected a number of processors from 0.01 to 1024
    master.resources.limits.memory is 6291455; expected 6 MiB to 8 PiB, as a whole number of bytes or with a unit like `512m` or `2GiB`
    master.resources.limits.memory is -1; expected 6 MiB to 8 PiB, as a whole number of bytes or with a unit like `512m` or `2GiB`
    master.resources.limits.memory is 7000000.5; expected 6 MiB to 8 PiB, as a whole number of bytes or with a unit like `512m` or `2GiB`
    master.resources.limits.memory is `5m`; expected 6 MiB to 8 PiB, as a whole number of bytes or with a unit like `512m` or `2GiB`
    master.resources.limits.memory is `9p`; expected 6 MiB to 8 PiB, as a whole number of bytes or with a unit like `512m` or `2GiB`
    master.resources.limits.memory is `512x`; expected 6 MiB to 8 PiB, as a whole number of bytes or with a unit like `512m` or `2GiB`
    master.resources.limits.memory is `512 mega`; expected 6 MiB to 8 PiB, as a whole number of bytes or with a unit like `512m` or `2GiB`
    master.resources.limits.memory is `1.2.3g`; expected 6 MiB to 8 PiB, as a whole number of bytes or with a unit like `512m` or `2GiB`
    master.resources.limits.memory is `m`; expected 6 MiB to 8 PiB, as a whole number of bytes or with a unit like `512m` or `2GiB`
    master.resources.limits.memory is `-1g`; expected 6 MiB to 8 PiB, as a whole number of bytes or with a unit like `512m` or `2GiB`
    master.resources.limits.memory is `99999999999999999999999999999999999999999999999999999999999999999999999999999...`; expected 6 MiB to 8 PiB, as a whole number of bytes or with a unit like `512m` or `2GiB`
    master.resources.limits.memory is true or false; expected 6 MiB to 8 PiB, as a whole number of bytes or with a unit like `512m` or `2GiB`
    ");
}

#[test]
fn minimum_reservations_of_swarm() {
    let least = json!({"reservations": {"cpus": 0.001, "memory": "4m"}});
    let reservations = spec(&[("/master/resources", least)])
        .master
        .resources
        .reservations;
    assert_eq!(
        (reservations.nano_cpus, reservations.memory),
        (Some(1_000_000), Some(4 << 20))
    );
}

/// Generates texts similar to amounts, and other values.
fn any_amount() -> impl Strategy<Value = Value> {
    prop_oneof![
        "[0-9.]{0,20} ?[kmgtpKMGTPiIbBx]{0,3}".prop_map(Value::from),
        ".{0,10}".prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn amounts_are_in_bounds_or_faults(cpus in any_amount(), memory in any_amount()) {
        let resources = json!({"limits": {"cpus": cpus, "memory": memory}});
        match parse(&payload(&[("/worker/resources", resources)])) {
            Ok(spec) => {
                let limits = spec.worker.resources.limits;
                prop_assert!(limits.nano_cpus.is_none_or(|nano| (10_000_000..=1_024_000_000_000).contains(&nano)));
                prop_assert!(limits.memory.is_none_or(|bytes| (6 << 20..=1 << 53).contains(&bytes)));
            }
            Err(faults) => for fault in faults {
                prop_assert!(fault.field.starts_with("worker.resources.limits."), "{}", fault.field);
                prop_assert!(fault.message.len() < 400 && !fault.message.contains('\n'), "{}", fault.message);
            },
        }
    }

    #[test]
    fn a_memory_in_whole_units_is_exact(number in 1_u64..1000, unit in 2_u32..4) {
        let letter = ["", "k", "m", "g"][unit as usize];
        prop_assume!(unit > 2 || number >= 6);
        let seen = limits(json!({"memory": format!("{number}{letter}")})).memory;
        prop_assert_eq!(seen, Some(number << (10 * unit)));
    }
}
