//! Services: their containers, ends and results.

use crate::fixture::{Fixture, Program};
use atq_engine_swarm::plan::{Endpoint, Mount, MountSource, Scale};
use atq_engine_swarm::{LogQuery, LogStream, SwarmError, SwarmTask, TaskState};
use futures_util::StreamExt;
use std::collections::BTreeSet;
use std::io::Cursor;
use std::time::Duration;
use tokio::io::AsyncReadExt;

pub async fn a_service_is_created_once_listed_by_label_and_removed(fixture: &Fixture) {
    let plan = fixture.service("worker", Program::Sleep, None);
    let id = fixture.swarm.create_service(&plan).await.unwrap();
    let again = fixture.swarm.create_service(&plan).await.unwrap_err();
    assert!(matches!(again, SwarmError::Conflict { .. }), "{again:?}");

    let found = fixture.swarm.services(&fixture.labels).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((&found[0].id, &found[0].name), (&id, &plan.name));
    assert_eq!(found[0].labels, plan.labels);
    let mut others = fixture.labels.clone();
    others.insert("com.atq.run".into(), "none".into());
    assert_eq!(fixture.swarm.services(&others).await.unwrap(), []);

    fixture.running(1).await;
    fixture.swarm.remove_service(&id).await.unwrap();
    assert_eq!(fixture.swarm.services(&fixture.labels).await.unwrap(), []);
    let gone = fixture.swarm.remove_service(&id).await.unwrap_err();
    assert!(matches!(gone, SwarmError::NotFound { .. }), "{gone:?}");
    // Its Swarm tasks are still found by the labels of the removed service, until they are removed too.
    let removed = |tasks: &[SwarmTask]| {
        let first = tasks.first()?;
        (first.desired == TaskState::Remove).then(|| first.clone())
    };
    let task = fixture.until("a removal", removed).await;
    assert_eq!((task.state, task.exit_code), (TaskState::Running, None));
    assert!(!task.is_alive());
    fixture.wait_until_nothing_runs().await;
}

pub async fn containers_run_with_an_address_each(fixture: &Fixture) {
    let network = fixture.network("net").await;
    let mut plan = fixture.service("worker", Program::Sleep, Some(&network));
    plan.scale = Scale::Replicas(3);
    plan.endpoint = Endpoint::DnsRoundRobin;
    let id = fixture.swarm.create_service(&plan).await.unwrap();
    let tasks = fixture.running(3).await;

    let addresses: BTreeSet<_> = tasks
        .iter()
        .map(|task| task.address_in(&network.id).unwrap())
        .collect();
    assert_eq!(addresses.len(), 3);
    assert!(
        addresses
            .iter()
            .all(|address| network.subnet.contains(address)),
        "{addresses:?}"
    );
    let slots: BTreeSet<_> = tasks.iter().map(|task| task.slot).collect();
    assert_eq!(slots, BTreeSet::from([1, 2, 3]));
    let manager = fixture.swarm.manager().await.unwrap();
    for task in &tasks {
        assert_eq!(task.service_id, id);
        assert_eq!((task.exit_code, &task.error), (None, &None));
        assert!(task.node_id.is_some());
    }

    let containers = fixture.swarm.containers(&fixture.labels).await.unwrap();
    let here = tasks
        .iter()
        .filter(|t| t.node_id.as_ref() == Some(&manager.node_id));
    let expected: BTreeSet<_> = here.filter_map(|t| t.container_id.clone()).collect();
    let found: BTreeSet<_> = containers.iter().map(|c| c.id.clone()).collect();
    assert_eq!(found, expected);
    for (key, value) in &plan.labels {
        assert!(containers.iter().all(|c| c.labels.get(key) == Some(value)));
    }
}

pub async fn exit_codes_are_kept(fixture: &Fixture) {
    let good = fixture.ended(Program::Exit(0), "good").await;
    assert_eq!((good.state, good.exit_code), (TaskState::Complete, Some(0)));
    let bad = fixture.ended(Program::Exit(3), "bad").await;
    assert_eq!((bad.state, bad.exit_code), (TaskState::Failed, Some(3)));
    assert_eq!(bad.error.as_deref(), Some("task: non-zero exit (3)"));
    assert!(!bad.is_alive() && bad.container_id.is_some());
    // It is not retried.
    assert_eq!(fixture.tasks_of(&bad.service_id).await.len(), 1);
}

pub async fn a_missing_image_is_rejected_with_dockers_text(fixture: &Fixture) {
    let mut plan = fixture.service("worker", Program::Sleep, None);
    plan.image = "atq-no-such-image:1".to_owned();
    let task = fixture.create_and_end(&plan).await;
    assert_eq!(task.state, TaskState::Rejected);
    assert_eq!(
        task.error.as_deref(),
        Some("No such image: atq-no-such-image:1")
    );
    assert_eq!((task.exit_code, task.container_id), (None, None));
}

pub async fn a_missing_program_fails_and_its_log_shows_why(fixture: &Fixture) {
    let task = fixture.ended(Program::Missing, "worker").await;
    assert_eq!((task.state, task.exit_code), (TaskState::Failed, Some(127)));
    assert_eq!(task.error.as_deref(), Some("task: non-zero exit (127)"));
    let lines = fixture.log(&task, false, LogQuery::default()).await;
    assert_eq!((lines.len(), lines[0].stream), (1, LogStream::Stderr));
    assert!(
        lines[0].text.contains("No such file or directory"),
        "{lines:?}"
    );
}

pub async fn an_unsatisfiable_constraint_leaves_it_pending_with_a_reason(fixture: &Fixture) {
    let mut plan = fixture.service("worker", Program::Sleep, None);
    plan.constraints = vec!["node.id==nobody".to_owned()];
    fixture.swarm.create_service(&plan).await.unwrap();
    let task = fixture
        .until("a reason", |tasks| {
            tasks.first().filter(|t| t.error.is_some()).cloned()
        })
        .await;
    assert_eq!(task.state, TaskState::Pending);
    let error = task.error.unwrap();
    assert!(
        error.starts_with("no suitable node (scheduling constraints not satisfied on 1 node"),
        "{error}"
    );
    assert_eq!(task.node_id, None);
}

pub async fn an_invalid_constraint_is_refused(fixture: &Fixture) {
    let mut plan = fixture.service("worker", Program::Sleep, None);
    plan.constraints = vec!["near the window".to_owned()];
    let error = fixture.swarm.create_service(&plan).await.unwrap_err();
    assert!(matches!(error, SwarmError::Rejected { .. }), "{error:?}");
    assert!(!error.is_temporary());
}

pub async fn stopped_containers_keep_exit_codes_and_final_output(fixture: &Fixture) {
    let mut plan = fixture.service("worker", Program::ExitOnSigterm, None);
    plan.scale = Scale::Replicas(2);
    let id = fixture.swarm.create_service(&plan).await.unwrap();
    fixture.running(2).await;
    // Repeated calls have no further effect, even while Swarm itself updates the service.
    let end = || fixture.swarm.end_service(&id);
    let (first, second, third) = tokio::join!(end(), end(), end());
    for stopped in [first, second, third, end().await] {
        stopped.unwrap();
    }
    let ended = |tasks: &[SwarmTask]| {
        let all = tasks.len() == 2 && tasks.iter().all(|task| task.state.is_terminal());
        all.then(|| tasks.to_vec())
    };
    for task in fixture.until("two ended tasks", ended).await {
        assert_eq!((task.state, task.exit_code), (TaskState::Shutdown, Some(7)));
        let lines = fixture.log(&task, false, LogQuery::default()).await;
        let texts: Vec<_> = lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(texts, ["up", "bye"]);
    }
    assert_eq!(
        fixture.swarm.services(&fixture.labels).await.unwrap().len(),
        1
    );
}

pub async fn a_killed_container_ends_at_once_whatever_its_grace_period(fixture: &Fixture) {
    let mut plan = fixture.service("worker", Program::IgnoreSigterm, None);
    plan.stop_grace = Duration::from_secs(3600);
    let id = fixture.swarm.create_service(&plan).await.unwrap();
    let container = |tasks: Vec<SwarmTask>| tasks[0].container_id.clone().unwrap();
    let ended = |tasks: &[SwarmTask]| {
        let first = tasks.first().filter(|task| task.state.is_terminal())?;
        Some((first.state, first.exit_code))
    };
    // Kills the container after SIGTERM.
    let stopped = container(fixture.running(1).await);
    fixture.swarm.end_service(&id).await.unwrap();
    fixture
        .until("a stopped container", |tasks| {
            let first = tasks.first()?;
            (first.desired == TaskState::Shutdown).then_some(())
        })
        .await;
    fixture.swarm.kill_container(&stopped).await.unwrap();
    let end = fixture.until("an end", ended).await;
    // A node that sees the end of the container before the request to stop reports `failed`.
    assert!(
        matches!(end, (TaskState::Shutdown | TaskState::Failed, Some(137))),
        "{end:?}"
    );
    // A container that does not run is unchanged; an unknown one is an error.
    fixture.swarm.kill_container(&stopped).await.unwrap();
    assert_eq!(ended(&fixture.tasks().await), Some(end));
    let gone = fixture.swarm.kill_container("0123456789ab").await;
    assert!(matches!(gone, Err(SwarmError::NotFound { .. })), "{gone:?}");
    fixture.swarm.remove_service(&id).await.unwrap();
    fixture.wait_until_nothing_runs().await;

    // Kills the container during its removal, without an earlier stop.
    let mut again = plan.clone();
    again.name += "-2";
    let id = fixture.swarm.create_service(&again).await.unwrap();
    let removed = container(fixture.running(1).await);
    fixture.swarm.remove_service(&id).await.unwrap();
    fixture.swarm.kill_container(&removed).await.unwrap();
    fixture.wait_until_nothing_runs().await;

    let mut third = plan;
    third.name += "-3";
    fixture.swarm.create_service(&third).await.unwrap();
    let running = container(fixture.running(1).await);
    fixture.swarm.kill_container(&running).await.unwrap();
    let end = fixture.until("an end", ended).await;
    assert_eq!(end, (TaskState::Failed, Some(137)));
}

pub async fn an_ended_container_is_unchanged_by_a_stop(fixture: &Fixture) {
    let task = fixture.ended(Program::Exit(3), "worker").await;
    fixture.swarm.end_service(&task.service_id).await.unwrap();
    let tasks = fixture.tasks().await;
    assert_eq!(tasks.len(), 1, "{tasks:?}");
    assert_eq!(
        (tasks[0].state, tasks[0].exit_code),
        (TaskState::Failed, Some(3))
    );
    let nobody = fixture.swarm.end_service("nobody").await.unwrap_err();
    assert!(matches!(nobody, SwarmError::NotFound { .. }), "{nobody:?}");
}

pub async fn results_can_be_read_after_the_end_and_their_volume_is_removed_by_its_labels(
    fixture: &Fixture,
) {
    let mut plan = fixture.service("worker", Program::WriteResults, None);
    plan.mounts = vec![Mount {
        source: MountSource::VolumePerTask {
            prefix: format!("atq-results-{}-", fixture.run),
            labels: fixture.labels.clone(),
        },
        target: "/atq/results".into(),
        read_only: false,
    }];
    let task = fixture.create_and_end(&plan).await;
    assert_eq!(task.exit_code, Some(0));
    let id = task.container_id.unwrap();
    let tar = fixture.swarm.archive(&id, "/atq/results").await.unwrap();
    let tar: Vec<_> = tar.map(Result::unwrap).collect().await;
    let mut tar = tokio_tar::Archive::new(Cursor::new(tar.concat()));
    let mut entries = tar.entries().unwrap();
    let mut found = None;
    while let Some(entry) = entries.next().await {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().into_owned();
        assert!(path.starts_with("results"), "{path:?}");
        if path.ends_with("results/deep/own.csv") {
            let mut text = String::new();
            entry.read_to_string(&mut text).await.unwrap();
            found = Some(text);
        }
    }
    assert_eq!(found.as_deref(), Some("a,b\n"));
    for (id, path) in [(id.as_str(), "/nowhere"), ("0123456789ab", "/atq/results")] {
        let gone = fixture.swarm.archive(id, path).await.map(drop);
        assert!(matches!(gone, Err(SwarmError::NotFound { .. })), "{gone:?}");
    }
    let volume = format!("atq-results-{}-{}", fixture.run, task.id);
    let volumes = async || fixture.swarm.volumes(&fixture.labels).await.unwrap();
    assert_eq!(volumes().await, [volume.as_str()]);
    // Its container has ended, but still exists.
    let used = fixture.swarm.remove_volume(&volume).await.unwrap_err();
    assert!(matches!(used, SwarmError::InUse { .. }), "{used:?}");
    fixture
        .swarm
        .remove_service(&task.service_id)
        .await
        .unwrap();
    fixture.wait_until_nothing_runs().await;
    // Docker does not remove it with its container.
    assert_eq!(volumes().await, [volume.as_str()]);
    fixture.swarm.remove_volume(&volume).await.unwrap();
    assert_eq!(volumes().await, [] as [&str; 0]);
}

pub async fn the_resource_usage_of_a_container_is_counted(fixture: &Fixture) {
    let plan = fixture.service("worker", Program::Sleep, None);
    fixture.swarm.create_service(&plan).await.unwrap();
    let task = fixture.running(1).await.remove(0);
    let id = task.container_id.unwrap();
    let stats = fixture.swarm.stats(&id).await.unwrap();
    let first = stats.cpu;
    assert!(first.processors > 0, "{first:?}");
    // A kernel without the memory controller reports none.
    if let (Some(used), Some(limit)) = (stats.usage.memory, stats.usage.memory_limit) {
        assert!(0 < used && used < limit, "{stats:?}");
    }
    let later = fixture
        .wait("a later count", async || {
            let now = fixture.swarm.stats(&id).await.unwrap().cpu;
            let moved = now.elapsed > first.elapsed;
            moved.then_some(now).ok_or(format!("{now:?}"))
        })
        .await;
    assert_eq!(later.processors, first.processors);
    assert!(later.used >= first.used, "{later:?}");
    assert!(later.used - first.used <= later.elapsed - first.elapsed);
    let gone = fixture.swarm.stats("0123456789ab").await.unwrap_err();
    assert!(matches!(gone, SwarmError::NotFound { .. }), "{gone:?}");
}

pub async fn a_creation_completes_although_the_caller_is_cancelled(fixture: &Fixture) {
    let plan = fixture.service("worker", Program::Sleep, None);
    let creation = fixture.swarm.create_service(&plan);
    let abandoned = tokio::time::timeout(Duration::ZERO, creation).await;
    assert!(abandoned.is_err());
    let tasks = fixture.running(1).await;
    assert_eq!(tasks.len(), 1);
}
