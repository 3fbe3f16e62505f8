//! Single runs: success, and every kind of failure.

use super::simulation::{Simulation, name, simple, task};
use crate::logs::LogFilter;
use crate::submit::SubmitError;
use atq_engine::Role;
use atq_evidence::Source;
use atq_task::event::Event;
use atq_task::state::{Outcome, Step};
use futures_util::TryStreamExt;
use insta::assert_snapshot;
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, sleep};

#[test]
fn a_test_completes_and_leaves_nothing() {
    let simulation = Simulation::new();
    simulation.run(|director| async move {
        let name = director.accepted(&task()).await;
        let running = director.wait_for_step(&name, Step::Running).await;
        assert_eq!(running.addresses.len(), 3);
        assert_eq!(running.outcome, None);
        let plans = director.fake.plans();
        let master = plans.iter().find(|plan| plan.role == Role::Master).unwrap();
        let addresses: Vec<String> = running.addresses.iter().map(ToString::to_string).collect();
        let csv = format!("WORKER_CSV_VIPS={}", addresses.join(","));
        assert!(master.environment.contains(&csv), "{:?}", master.environment);

        let state = director.wait_done(&name).await;
        assert_eq!((state.outcome, state.exit_code), (Some(Outcome::Finished), Some(0)));
        assert!(state.timings[&Step::Delay] >= 2000, "{:?}", state.timings);
        assert!(state.timings[&Step::Running] >= 2400, "{:?}", state.timings);
        assert_eq!(state.workers.len(), 3);
        let steps: Vec<&str> = director
            .events(&name)
            .iter()
            .filter_map(|event| match event {
                Event::StepStarted { step } => Some(step.as_str()),
                _ => None,
            })
            .collect();
        assert_eq!(
            steps.join(" "),
            "network discovery workers resolve waitCommand delay master running collect report cleanup done"
        );
    });
}

#[test]
fn logs_can_be_read_while_it_runs_and_afterwards() {
    let simulation = Simulation::new();
    simulation.run(|director| async move {
        let name = director.accepted(&task()).await;
        let read = |filter: LogFilter| {
            let director = director.clone();
            let name = name.clone();
            async move {
                let view = director.view(&name);
                let lines = director.orchestrator.logs(&view, filter).await.unwrap();
                let lines: Vec<_> = lines.try_collect().await.unwrap();
                lines
                    .into_iter()
                    .map(|(source, line): (Source, _)| format!("{source} {}", line.text))
                    .collect::<Vec<_>>()
                    .join("\n")
            }
        };
        director.wait_for_step(&name, Step::Running).await;
        let all = "worker.1 ready\nworker.2 ready\nworker.3 ready\nwait.1 ok\nmaster.1 hello\nmaster.1 bye";
        assert_eq!(read(LogFilter::default()).await, all);
        director.wait_done(&name).await;
        assert_eq!(read(LogFilter::default()).await, all);
        let last = LogFilter { role: Some(Role::Master), replica: None, tail: Some(1) };
        assert_eq!(read(last).await, "master.1 bye");
        let second = LogFilter { replica: Some(2), ..LogFilter::default() };
        assert_eq!(read(second).await, "worker.2 ready");
    });
}

#[test]
fn a_bundle_is_mounted_and_must_exist() {
    let simulation = Simulation::new();
    let id = "0123456789abcdef0123456789abcdef";
    let path = simulation.add_bundle(id);
    let mut task = simple("with-bundle");
    task["worker"]["fileid"] = json!(id);
    task["delivery"] = json!("shared");
    simulation.run(|director| async move {
        let name = director.accepted(&task).await;
        director.wait_for_step(&name, Step::Resolve).await;
        let plans = director.fake.plans();
        let worker = plans.iter().find(|plan| plan.role == Role::Worker).unwrap();
        assert_eq!(
            worker.mounts[0].source,
            atq_engine_swarm::plan::MountSource::Path(path.clone())
        );
        assert_eq!(
            director.wait_done(&name).await.outcome,
            Some(Outcome::Finished)
        );

        task["name"] = json!("without");
        let name = director.accepted(&task).await;
        std::fs::remove_dir_all(&path).unwrap();
        let failure = director.wait_failed(&name).await;
        assert!(
            failure.starts_with(
                "workers: BundleMissing: the bundle `0123456789abcdef0123456789abcdef` is missing"
            ),
            "{failure}"
        );
    });
}

#[test]
fn a_missing_image_ends_the_wait_with_dockers_reason() {
    let simulation = Simulation::new();
    simulation.run(|director| async move {
        let mut task = task();
        task["worker"]["image"] = json!("nowhere:9");
        let name = director.accepted(&task).await;
        let begun = Instant::now();
        assert_snapshot!(director.wait_failed(&name).await, @"resolve: WorkerFailed: 0 of 3 workers run; replica 1: rejected: No such image: nowhere:9; cannot reach a registry at `docker.io`: dial tcp: connection refused; no credentials were sent");
        assert!(begun.elapsed() < Duration::from_secs(20));
    });
}

#[test]
fn a_missing_image_of_the_master() {
    let simulation = Simulation::new();
    simulation.run(|director| async move {
        let mut task = simple("load");
        task["master"]["image"] = json!("nowhere:9");
        let name = director.accepted(&task).await;
        assert_snapshot!(director.wait_failed(&name).await, @"master: MasterFailed: the master did not start: rejected: No such image: nowhere:9; cannot reach a registry at `docker.io`: dial tcp: connection refused; no credentials were sent");
    });
}

#[test]
fn a_missing_sidecar_names_the_setting() {
    let mut simulation = Simulation::new();
    simulation.swarm.discovery_image = "no-sidecar:1".into();
    simulation.run(|director| async move {
        let name = director.accepted(&task()).await;
        assert_snapshot!(director.wait_failed(&name).await, @"discovery: DiscoveryFailed: the sidecar does not run: rejected: No such image: no-sidecar:1; cannot reach a registry at `docker.io`: dial tcp: connection refused; no credentials were sent");
        let hint = director.state(&name).failure.unwrap().hint;
        assert!(hint.contains("`discoveryImage`"), "{hint}");
    });
}

#[test]
fn a_sidecar_that_never_responds_ends_at_the_deadline() {
    let simulation = Simulation::new();
    simulation.discovery.set_unreachable(true);
    simulation.run(|director| async move {
        let name = director.accepted(&task()).await;
        // It has two ports, which are tried alternately.
        let failed = director.wait_failed(&name).await.replace("32768", "32769");
        assert_snapshot!(failed, @"discovery: DiscoveryFailed: the sidecar was not reached within 63 s; the sidecar at `http://127.0.0.1:32769` does not answer: connection refused");
    });
}

#[test]
fn workers_that_no_node_accepts() {
    let simulation = Simulation::new();
    simulation
        .fake
        .image("tool:1")
        .stays_pending("no suitable node (insufficient resources on 1 node)");
    simulation.run(|director| async move {
        let name = director.accepted(&task()).await;
        assert_snapshot!(director.wait_failed(&name).await, @"resolve: WorkerUnplaceable: 0 of 3 workers run; replica 1: pending: no suitable node (insufficient resources on 1 node); replica 2: pending: no suitable node (insufficient resources on 1 node); replica 3: pending: no suitable node (insufficient resources on 1 node)");
    });
}

#[test]
fn workers_missing_in_dns_end_at_the_deadline() {
    let simulation = Simulation::new();
    simulation.fake.set_name_lag(Duration::from_secs(100_000));
    simulation.run(|director| async move {
        let name = director.accepted(&task()).await;
        assert_snapshot!(director.wait_failed(&name).await, @"resolve: WorkersTimedOut: the workers were not ready after 63 s: 3 of 3 workers run, 0 of 3 addresses resolve; not in DNS: 10.224.0.4, 10.224.0.5, 10.224.0.6");
    });
}

#[test]
fn a_sidecar_reached_shortly_before_the_deadline_is_not_reported_as_unreachable() {
    let mut simulation = Simulation::new();
    // The timeout is shorter than a long poll of the sidecar.
    simulation.settings.orchestration_timeout = Some(Duration::from_secs(3));
    simulation.fake.set_name_lag(Duration::from_secs(100_000));
    simulation.run(|director| async move {
        let name = director.accepted(&task()).await;
        assert_snapshot!(director.wait_failed(&name).await, @"resolve: WorkersTimedOut: the workers were not ready after 3 s: 3 of 3 workers run, 0 of 3 addresses resolve; not in DNS: 10.224.0.4, 10.224.0.5, 10.224.0.6");
    });
}

#[test]
fn a_worker_that_ends_before_the_master_starts_is_an_error_even_with_code_0() {
    for (code, seen) in [
        (0, "complete: exit code 0"),
        (9, "failed: task: non-zero exit (9)"),
    ] {
        let simulation = Simulation::new();
        simulation.run(|director| async move {
            let mut task = task();
            task["delay"] = json!(60);
            let name = director.accepted(&task).await;
            director.wait_for_step(&name, Step::Delay).await;
            let plans = director.fake.plans();
            let worker = plans.iter().find(|plan| plan.role == Role::Worker).unwrap();
            director.fake.kill(&worker.name, 2, code);
            assert_eq!(
                director.wait_failed(&name).await,
                format!("delay: WorkerFailed: 2 of 3 workers run; replica 2: {seen}")
            );
        });
    }
}

#[test]
fn a_failing_wait_command_is_retried_until_its_timeout() {
    let simulation = Simulation::new();
    simulation.fake.image("tool:1").in_role(Role::Wait).exits(7);
    simulation.run(|director| async move {
        let name = director.accepted(&task()).await;
        let failure = director.wait_failed(&name).await;
        assert!(
            failure.starts_with(
                "waitCommand: WaitCommandFailed: the wait command did not succeed within 10 s ("
            ),
            "{failure}"
        );
        assert!(
            failure.ends_with("last attempt: it exited 7 and printed `ok`"),
            "{failure}"
        );
        let tries = director.state(&name).wait_attempts;
        assert!((3..12).contains(&tries), "{tries}");
    });
}

#[test]
fn a_wait_command_that_succeeds_at_the_third_attempt() {
    let simulation = Simulation::new();
    simulation
        .fake
        .image("tool:1")
        .in_role(Role::Wait)
        .exits_in_turn(&[1, 1, 0]);
    simulation.run(|director| async move {
        let name = director.accepted(&task()).await;
        let state = director.wait_done(&name).await;
        assert_eq!(
            (state.outcome, state.wait_attempts),
            (Some(Outcome::Finished), 3)
        );
        let evidence = &director.orchestrator.shared().evidence;
        let logs = evidence.logs(&name, &state.run).await.unwrap();
        assert_eq!(logs.iter().filter(|log| log.role == Role::Wait).count(), 3);
    });
}

#[test]
fn a_wait_command_with_timeout_0_runs_once_and_its_output_is_compared() {
    let simulation = Simulation::new();
    simulation.run(|director| async move {
        let mut task = task();
        task["waitCommand"] = json!({"command": "check", "expectedResult": "fine", "timeout": 0});
        let name = director.accepted(&task).await;
        assert_snapshot!(director.wait_failed(&name).await, @"waitCommand: WaitCommandFailed: the wait command did not succeed within 0 s (1 attempt); last attempt: it exited 0 and printed `ok`; expected `fine`");
    });
}

#[test]
fn an_attempt_of_the_wait_command_that_began_in_time_may_finish() {
    let simulation = Simulation::new();
    simulation
        .fake
        .image("tool:1")
        .in_role(Role::Wait)
        .after(Duration::from_secs(4));
    simulation.run(|director| async move {
        let mut task = task();
        task["waitCommand"]["timeout"] = json!(2);
        let name = director.accepted(&task).await;
        assert_eq!(
            director.wait_done(&name).await.outcome,
            Some(Outcome::Finished)
        );
    });
}

#[test]
fn a_wait_command_that_never_ends_is_bounded() {
    let simulation = Simulation::new();
    simulation
        .fake
        .image("tool:1")
        .in_role(Role::Wait)
        .after(Duration::from_secs(1_000_000));
    simulation.run(|director| async move {
        let name = director.accepted(&task()).await;
        assert_snapshot!(director.wait_failed(&name).await, @"waitCommand: WaitCommandFailed: attempt 1 of the wait command did not end in time: it was still running, and printed `ok`");
    });
}

#[test]
fn a_master_that_fails_makes_the_task_errored_with_its_code() {
    let simulation = Simulation::new();
    simulation.fake.image("boss:1").exits(3);
    simulation.run(|director| async move {
        let name = director.accepted(&task()).await;
        assert_snapshot!(director.wait_failed(&name).await, @"running: MasterExit: the master ended with exit code 3");
        assert_eq!(director.state(&name).exit_code, Some(3));
    });
}

#[test]
fn a_worker_lost_while_the_test_runs_is_recorded_and_the_test_continues() {
    let simulation = Simulation::new();
    simulation.run(|director| async move {
        let name = director.accepted(&task()).await;
        director.wait_for_step(&name, Step::Running).await;
        let plans = director.fake.plans();
        let worker = plans.iter().find(|plan| plan.role == Role::Worker).unwrap();
        director.fake.kill(&worker.name, 3, 137);
        director.fake.kill(&worker.name, 1, 0);
        let state = director.wait_done(&name).await;
        assert_eq!(state.outcome, Some(Outcome::Finished));
        assert_eq!(state.lost.len(), 1, "{:?}", state.lost);
        assert_eq!(
            (state.lost[0].replica, state.lost[0].reason.as_str()),
            (3, "failed: task: non-zero exit (137)")
        );
    });
}

#[test]
fn a_test_that_never_ends_is_bounded() {
    let mut simulation = Simulation::new();
    simulation.settings.max_duration = Duration::from_secs(120);
    simulation
        .fake
        .image("boss:1")
        .after(Duration::from_secs(1_000_000));
    simulation.run(|director| async move {
        let name = director.accepted(&task()).await;
        assert_snapshot!(director.wait_failed(&name).await, @"running: MaxDuration: the test ran longer than 120 s");
    });
}

#[test]
fn a_master_service_that_is_removed_from_outside() {
    let simulation = Simulation::new();
    simulation
        .fake
        .image("boss:1")
        .after(Duration::from_secs(1_000_000));
    simulation.run(|director| async move {
        let name = director.accepted(&task()).await;
        let state = director.wait_for_step(&name, Step::Running).await;
        use atq_engine_swarm::Swarm;
        director
            .fake
            .remove_service(&state.master.unwrap())
            .await
            .unwrap();
        let failure = director.wait_failed(&name).await;
        assert!(failure.starts_with("running: Master"), "{failure}");
    });
}

#[test]
fn docker_may_be_unavailable_while_the_test_runs() {
    let simulation = Simulation::new();
    simulation
        .fake
        .image("boss:1")
        .after(Duration::from_secs(100));
    simulation.run(|director| async move {
        let name = director.accepted(&task()).await;
        director.wait_for_step(&name, Step::Running).await;
        director.fake.down(true);
        sleep(Duration::from_secs(290)).await;
        assert_eq!(director.state(&name).outcome, None);
        director.fake.down(false);
        assert_eq!(
            director.wait_done(&name).await.outcome,
            Some(Outcome::Finished)
        );
    });
}

#[test]
fn docker_unavailable_for_too_long_fails_the_test() {
    let simulation = Simulation::new();
    simulation
        .fake
        .image("boss:1")
        .after(Duration::from_secs(100));
    simulation.run(|director| async move {
        let name = director.accepted(&task()).await;
        director.wait_for_step(&name, Step::Running).await;
        director.fake.down(true);
        director.wait_until(&name, |state| state.outcome.is_some()).await;
        sleep(Duration::from_secs(60)).await;
        director.fake.down(false);
        assert_snapshot!(director.wait_failed(&name).await, @"running: EngineUnavailable: Docker was unavailable for 300 s while the test ran: cannot reach Docker at `unix:///fake.sock`: connection refused");
    });
}

#[test]
fn no_definition_is_accepted_while_docker_is_down_and_a_queued_task_survives() {
    let simulation = Simulation::new();
    simulation.fake.down(true);
    simulation.run(|director| async move {
        let refused = director.submit(&task()).await.unwrap_err();
        assert!(
            matches!(&refused, SubmitError::Engine(error) if error.code == "docker_unavailable"),
            "{refused}"
        );
        assert!(director.listed().await.is_empty());
        director.fake.down(false);
        sleep(Duration::from_secs(2)).await;
        director.accepted(&task()).await;
        director.fake.down(true);
    });
    simulation.run(|director| async move {
        sleep(Duration::from_secs(20)).await;
        assert_eq!(director.state(&name("load")).outcome, None);
        director.fake.down(false);
        assert_eq!(
            director.wait_done(&name("load")).await.outcome,
            Some(Outcome::Finished)
        );
    });
}

#[test]
fn a_subnet_that_gives_no_addresses_is_replaced_once() {
    let mut simulation = Simulation::new();
    simulation.swarm.subnet_pool = "10.224.0.0/20".parse().unwrap();
    // Another network takes the subnet between the check and the creation.
    let fake = simulation.fake.clone();
    simulation.fake.on_call(move |_, call| {
        let choosing = call.method == "networks" && fake.plans().is_empty();
        if choosing && fake.leftovers().networks == 0 {
            fake.add_network("others", "10.224.0.0/24".parse().unwrap());
        }
    });
    simulation.run(|director| async move {
        let name = director.accepted(&task()).await;
        let state = director.wait_done(&name).await;
        assert_eq!(
            (state.outcome, state.subnets_tried),
            (Some(Outcome::Finished), 2)
        );
    });
}

#[test]
fn a_repeated_definition_is_the_same_task_and_another_one_is_refused() {
    let simulation = Simulation::new();
    simulation.run(|director| async move {
        let name = director.accepted(&task()).await;
        let again = director.submit(&task()).await.unwrap();
        assert!(matches!(again, crate::submit::Submitted::Existing(_)));
        let mut other = task();
        other["delay"] = json!(3);
        let refused = director.submit(&other).await.unwrap_err();
        assert!(
            matches!(refused, SubmitError::Different { .. }),
            "{refused}"
        );
        director.wait_done(&name).await;
        let late = director.submit(&task()).await.unwrap_err();
        assert!(matches!(late, SubmitError::Ended { .. }), "{late}");
    });
}

#[test]
fn two_concurrent_submissions_of_a_name_create_one_task() {
    let simulation = Simulation::new();
    simulation.run(|director| async move {
        let payload = task();
        let (one, two) = tokio::join!(director.submit(&payload), director.submit(&payload));
        let accepted = [one.unwrap(), two.unwrap()]
            .iter()
            .filter(|submitted| matches!(submitted, crate::submit::Submitted::Accepted(_)))
            .count();
        assert_eq!(accepted, 1);
        director.wait_done(&name("load")).await;
    });
}

#[test]
fn an_unknown_network_is_a_fault_with_its_path() {
    let simulation = Simulation::new();
    simulation
        .fake
        .add_network("target", "10.99.0.0/24".parse().unwrap());
    simulation.run(|director| async move {
        let mut task = task();
        task["worker"]["networks"] = json!(["target", "bridge", "nowhere"]);
        let Err(SubmitError::Faulty { faults }) = director.submit(&task).await else {
            panic!("accepted");
        };
        let paths: Vec<&str> = faults.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(paths, ["worker.networks[1]", "worker.networks[2]"]);
        task["worker"]["networks"] = json!(["target"]);
        let name = director.accepted(&task).await;
        assert_eq!(
            director.wait_done(&name).await.outcome,
            Some(Outcome::Finished)
        );
    });
}

#[test]
fn the_network_of_another_task_cannot_be_joined() {
    Simulation::new().run(|director| async move {
        let first = director.accepted(&simple("first")).await;
        let state = director.wait_for_step(&first, Step::Running).await;
        let network = format!("first-{}-net", state.run);
        let mut other = simple("other");
        other["master"]["networks"] = json!([network]);
        let Err(SubmitError::Faulty { faults }) = director.submit(&other).await else {
            panic!("accepted");
        };
        assert_eq!(faults[0].field, "master.networks[0]");
        assert!(faults[0].message.contains("com.atq."), "{faults:?}");
        director.wait_done(&first).await;
    });
}

#[test]
fn every_container_of_a_task_is_limited() {
    let mut simulation = Simulation::new();
    simulation.swarm.bounds.stop_grace = Duration::from_secs(3);
    simulation.run(|director| async move {
        let name = director.accepted(&task()).await;
        director.wait_for_step(&name, Step::Running).await;
        for plan in director.fake.plans() {
            assert_eq!(plan.pids, Some(100), "{}", plan.name);
            assert!(plan.stop_grace <= Duration::from_secs(3), "{}", plan.name);
        }
        director.wait_done(&name).await;
    });
}

#[test]
fn the_last_lines_of_a_failed_master_are_stored_with_the_failure() {
    let simulation = Simulation::new();
    let lines: Vec<String> = (1..=30).map(|number| format!("line {number}")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    simulation.fake.image("boss:1").prints(&lines).exits(2);
    simulation.run(|director| async move {
        let name = director.accepted(&task()).await;
        let state = director.wait_done(&name).await;
        assert_eq!(state.last_lines.len(), 10);
        assert_eq!(state.last_lines[9], "line 30");
    });
    let simulation = Simulation::new();
    simulation.run(|director| async move {
        let name = director.accepted(&task()).await;
        assert!(director.wait_done(&name).await.last_lines.is_empty());
    });
}
