//! Limits of processes, and settings of the kernel for the network.

use super::fields::{fault, faults};
use crate::examples::{parse, payload, spec};
use crate::spec::{UlimitName, parameters};
use atq_api_spec::kernel;
use insta::assert_snapshot;
use proptest::prelude::*;
use serde_json::{Value, json};
use utoipa::PartialSchema;

/// The limits of a worker, as name, soft and hard limit.
fn limits(value: Value) -> Vec<(&'static str, u64, u64)> {
    let spec = spec(&[("/worker/ulimits", value)]);
    let limits = spec.worker.ulimits.iter();
    limits
        .map(|(name, limit)| (name.as_str(), limit.soft(), limit.hard()))
        .collect()
}

/// The settings of a master, as the kernel reads them.
fn settings(value: Value) -> Vec<(String, String)> {
    parameters(&spec(&[("/master/sysctls", value)]).master.sysctls)
}

#[test]
fn a_limit_is_one_number_or_a_soft_and_a_hard_one() {
    let given = json!({
        "stack": 8_388_608, "nofile": {"soft": 1024, "hard": 65536}, "nproc": {"soft": 7, "hard": 7}, "core": 0,
        "memlock": null,
    });
    let all = [
        ("core", 0, 0),
        ("nofile", 1024, 65536),
        ("nproc", 7, 7),
        ("stack", 8_388_608, 8_388_608),
    ];
    assert_eq!(limits(given), all);
    assert_eq!(limits(json!({})), []);
}

#[test]
fn an_answer_has_one_number_for_equal_limits() {
    let given = json!({"nofile": {"soft": 4096.0, "hard": 4096}, "stack": {"soft": 131_072, "hard": 131_073}});
    let shown = spec(&[("/worker/ulimits", given)]).shown(None, None);
    let shown = serde_json::to_value(shown.worker.ulimits).unwrap();
    let expected = json!({"nofile": 4096, "stack": {"soft": 131_072, "hard": 131_073}});
    assert_eq!(shown, expected);
    let none = spec(&[("/worker/ulimits", json!({}))]).shown(None, None);
    assert_eq!(none.worker.ulimits, None);
}

#[test]
fn wrong_limits() {
    let all = [
        faults(
            "/worker/ulimits",
            &[
                json!(1024),
                json!(["nofile=1024"]),
                json!({"nofiles": 1024, "rtprio": 99, "NOFILE": 1024}),
            ],
        ),
        faults(
            "/master/ulimits/nofile",
            &[
                json!(63),
                json!(-1),
                json!(1.5),
                json!(1_073_741_825),
                json!("65536"),
                json!("unlimited"),
                json!([1024, 2048]),
                json!({}),
                json!({"soft": 1024}),
                json!({"soft": 2048, "hard": 1024}),
                json!({"soft": 0, "hard": "max", "both": 1}),
            ],
        ),
        fault(
            "/worker/ulimits",
            json!({"core": -1, "nproc": 0, "stack": 131_071, "memlock": {"soft": 2, "hard": 1}}),
        ),
    ];
    assert_snapshot!(all.join("\n"), @r"
    worker.ulimits is a number; expected an object
    worker.ulimits is a list; expected an object
    worker.ulimits.NOFILE is not a known field; did you mean `nofile`?
    worker.ulimits.nofiles is not a known field; did you mean `nofile`?
    worker.ulimits.rtprio is not a known field; expected one of `core`, `memlock`, `nofile`, `nproc`, `stack`
    master.ulimits.nofile is 63; expected a whole number from 64 to 1073741824
    master.ulimits.nofile is -1; expected a whole number from 64 to 1073741824
    master.ulimits.nofile is 1.5; expected a whole number from 64 to 1073741824
    master.ulimits.nofile is 1073741825; expected a whole number from 64 to 1073741824
    master.ulimits.nofile is a string; expected a whole number from 64 to 1073741824, or an object of `soft` and `hard`
    master.ulimits.nofile is a string; expected a whole number from 64 to 1073741824, or an object of `soft` and `hard`
    master.ulimits.nofile is a list; expected a whole number from 64 to 1073741824, or an object of `soft` and `hard`
    master.ulimits.nofile.soft is missing; it is required
    master.ulimits.nofile.hard is missing; it is required
    master.ulimits.nofile.hard is missing; it is required
    master.ulimits.nofile.soft is 2048; expected at most the hard limit, 1024
    master.ulimits.nofile.both is not a known field; expected one of `soft`, `hard`
    master.ulimits.nofile.soft is 0; expected a whole number from 64 to 1073741824
    master.ulimits.nofile.hard is a string; expected a whole number from 64 to 1073741824
    worker.ulimits.core is -1; expected a whole number from 0 to 9007199254740992
    worker.ulimits.memlock.soft is 2; expected at most the hard limit, 1
    worker.ulimits.nproc is 0; expected a whole number from 1 to 4194304
    worker.ulimits.stack is 131071; expected a whole number from 131072 to 1073741824
    ");
}

#[test]
fn settings_are_passed_as_the_kernel_reads_them() {
    let given = json!({
        "net.ipv4.tcp_tw_reuse": 1, "net.ipv4.ip_local_port_range": "1024\t65535", "net.core.somaxconn": 4096.0,
        "net.ipv4.tcp_fin_timeout": null,
    });
    let all = [
        ("net.core.somaxconn", "4096"),
        ("net.ipv4.ip_local_port_range", "1024 65535"),
        ("net.ipv4.tcp_tw_reuse", "1"),
    ];
    assert_eq!(
        settings(given),
        all.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
    assert_eq!(settings(json!({})), []);
    let none = spec(&[("/master/sysctls", json!({}))]).shown(None, None);
    assert_eq!(none.master.sysctls, None);
}

#[test]
fn wrong_settings() {
    let all = [
        faults(
            "/worker/sysctls",
            &[
                json!("net.ipv4.tcp_tw_reuse=1"),
                json!({"net.ipv4.tcp_fin_timeouts": 1}),
                json!({"kernel.shmmax": 1}),
                json!({"net": {"ipv4": {"tcp_tw_reuse": 1}}}),
            ],
        ),
        fault(
            "/master/sysctls",
            json!({
                "net.core.somaxconn": 0, "net.ipv4.tcp_fin_timeout": 3601, "net.ipv4.tcp_syn_retries": "3",
                "net.ipv4.tcp_tw_reuse": 3, "net.ipv4.tcp_slow_start_after_idle": false,
            }),
        ),
    ];
    assert_snapshot!(all.join("\n"), @r"
    worker.sysctls is a string; expected an object
    worker.sysctls.net.ipv4.tcp_fin_timeouts is not a known field; did you mean `net.ipv4.tcp_fin_timeout`?
    worker.sysctls.kernel.shmmax is not a known field; expected one of `net.core.somaxconn`, `net.ipv4.ip_local_port_range`, `net.ipv4.tcp_fin_timeout`, `net.ipv4.tcp_keepalive_intvl`, `net.ipv4.tcp_keepalive_probes`, `net.ipv4.tcp_keepalive_time`, `net.ipv4.tcp_max_syn_backlog`, `net.ipv4.tcp_max_tw_buckets`, `net.ipv4.tcp_retries2`, `net.ipv4.tcp_slow_start_after_idle`, `net.ipv4.tcp_syn_retries`, `net.ipv4.tcp_tw_reuse`
    worker.sysctls.net is not a known field; did you mean `net.core.somaxconn`?
    master.sysctls.net.core.somaxconn is 0; expected a whole number from 1 to 65535
    master.sysctls.net.ipv4.tcp_fin_timeout is 3601; expected a whole number from 1 to 3600
    master.sysctls.net.ipv4.tcp_slow_start_after_idle is true or false; expected a whole number from 0 to 1
    master.sysctls.net.ipv4.tcp_syn_retries is a string; expected a whole number from 1 to 127
    master.sysctls.net.ipv4.tcp_tw_reuse is 3; expected a whole number from 0 to 2
    ");
}

#[test]
fn wrong_ranges_of_ports() {
    let wrong = [
        json!("65535 1024"),
        json!("1023 65535"),
        json!("1024 65536"),
        json!("1024"),
        json!("1024-65535"),
        json!("1024 2048 65535"),
        json!("1024  65535"),
        json!("+1024 65535"),
        json!(""),
        json!(1024),
        json!([1024, 65535]),
    ];
    let all = wrong.map(|range| {
        fault(
            "/worker/sysctls",
            json!({"net.ipv4.ip_local_port_range": range}),
        )
    });
    assert_snapshot!(all.join("\n"), @r"
    worker.sysctls.net.ipv4.ip_local_port_range is `65535 1024`; expected two ports from 1024 to 65535, the lower one first, as in `1024 65535`
    worker.sysctls.net.ipv4.ip_local_port_range is `1023 65535`; expected two ports from 1024 to 65535, the lower one first, as in `1024 65535`
    worker.sysctls.net.ipv4.ip_local_port_range is `1024 65536`; expected two ports from 1024 to 65535, the lower one first, as in `1024 65535`
    worker.sysctls.net.ipv4.ip_local_port_range is `1024`; expected two ports from 1024 to 65535, the lower one first, as in `1024 65535`
    worker.sysctls.net.ipv4.ip_local_port_range is `1024-65535`; expected two ports from 1024 to 65535, the lower one first, as in `1024 65535`
    worker.sysctls.net.ipv4.ip_local_port_range is `1024 2048 65535`; expected two ports from 1024 to 65535, the lower one first, as in `1024 65535`
    worker.sysctls.net.ipv4.ip_local_port_range is `1024  65535`; expected two ports from 1024 to 65535, the lower one first, as in `1024 65535`
    worker.sysctls.net.ipv4.ip_local_port_range is `+1024 65535`; expected two ports from 1024 to 65535, the lower one first, as in `1024 65535`
    worker.sysctls.net.ipv4.ip_local_port_range is ``; expected two ports from 1024 to 65535, the lower one first, as in `1024 65535`
    worker.sysctls.net.ipv4.ip_local_port_range is a number; expected two ports from 1024 to 65535, the lower one first, as in `1024 65535`
    worker.sysctls.net.ipv4.ip_local_port_range is a list; expected two ports from 1024 to 65535, the lower one first, as in `1024 65535`
    ");
}

#[test]
fn descriptions_of_limits_name_the_bounds() {
    let schema = serde_json::to_value(kernel::Ulimits::schema()).unwrap();
    for name in UlimitName::ALL {
        let (min, max) = name.range().into_inner();
        let field = &schema["properties"][name.as_str()];
        let described = field.to_string();
        let bounds = format!("{min} to {max}");
        assert!(described.contains(&bounds), "{name:?}: {described}");
    }
    let declared = schema["properties"].as_object().unwrap();
    assert_eq!(declared.len(), UlimitName::ALL.len());
}

/// Generates limits, valid ones and others.
fn any_limit() -> impl Strategy<Value = Value> {
    let number = || prop_oneof![0_u64..100_000, any::<u64>()];
    prop_oneof![
        number().prop_map(Value::from),
        (number(), number()).prop_map(|(soft, hard)| json!({"soft": soft, "hard": hard})),
        ".{0,10}".prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
    ]
}

/// Generates texts similar to ranges of ports.
fn any_range() -> impl Strategy<Value = String> {
    prop_oneof![
        (any::<u16>(), any::<u16>()).prop_map(|(low, high)| format!("{low} {high}")),
        "[0-9]{0,6}[ \t-]{0,2}[0-9]{0,6}",
        ".{0,12}",
    ]
}

proptest! {
    #[test]
    fn limits_are_in_bounds_or_faults(values in proptest::collection::vec(any_limit(), 5)) {
        let names = UlimitName::ALL.map(UlimitName::as_str);
        let given: serde_json::Map<String, Value> = names.iter().map(|name| (*name).to_owned()).zip(values).collect();
        match parse(&payload(&[("/worker/ulimits", Value::Object(given))])) {
            Ok(spec) => for (name, limit) in spec.worker.ulimits.iter() {
                let range = name.range();
                prop_assert!(limit.soft() <= limit.hard());
                prop_assert!(range.contains(&limit.soft()) && range.contains(&limit.hard()));
            },
            Err(faults) => for fault in faults {
                prop_assert!(fault.field.starts_with("worker.ulimits."), "{}", fault.field);
                prop_assert!(fault.message.len() < 400 && !fault.message.contains('\n'), "{}", fault.message);
            },
        }
    }

    #[test]
    fn a_range_of_ports_is_two_ports_in_order_or_a_fault(range in any_range()) {
        let field = "net.ipv4.ip_local_port_range";
        match parse(&payload(&[("/worker/sysctls", json!({ field: range }))])) {
            Ok(spec) => {
                let range = spec.worker.sysctls.ip_local_port_range.unwrap();
                let (low, high) = range.split_once(' ').unwrap();
                let (low, high): (u16, u16) = (low.parse().unwrap(), high.parse().unwrap());
                prop_assert!(1024 <= low && low <= high);
            }
            Err(faults) => {
                prop_assert_eq!(faults.len(), 1);
                prop_assert_eq!(&faults[0].field, "worker.sysctls.net.ipv4.ip_local_port_range");
                prop_assert!(!faults[0].message.contains('\n'), "{}", faults[0].message);
            }
        }
    }

    #[test]
    fn every_range_of_ports_in_order_is_accepted(low in 1024_u16.., high in 1024_u16..) {
        let (low, high) = (low.min(high), low.max(high));
        let text = format!("{low} {high}");
        let seen = settings(json!({"net.ipv4.ip_local_port_range": text.clone()}));
        prop_assert_eq!(seen, [("net.ipv4.ip_local_port_range".to_owned(), text)]);
    }
}
