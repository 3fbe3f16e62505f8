//! What the Director relies on of a Swarm, told once and played on the fake and on Docker, so that
//! tests on the fake mean something. The half on Docker needs a running Engine in a Swarm, and the
//! image `atq-testload:dev` (or `ATQ_TEST_IMAGE`) with a `/bin/sh`; it runs when `ATQ_TEST_SWARM` is 1.
#![allow(clippy::unwrap_used)]

mod stage;

use atq_director::swarm::{LogQuery, LogStream, SwarmError, SwarmTask, TaskState};
use atq_director::task::plan::{Endpoint, Mount, MountSource, NetworkJoin, Scale};
use futures_util::StreamExt;
use stage::{Does, Stage};
use std::collections::BTreeSet;
use std::io::Cursor;
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// Plays each story on both.
macro_rules! on_both {
    ($($story:ident),* $(,)?) => {
        mod on_the_fake {
            $(#[tokio::test(start_paused = true)]
            async fn $story() {
                crate::stage::on_the_fake(crate::$story).await;
            })*
        }
        mod on_docker {
            $(#[tokio::test]
            async fn $story() {
                crate::stage::on_docker(crate::$story).await;
            })*
        }
    };
}

on_both!(
    the_manager_is_a_node,
    a_network_is_made_once_listed_and_removed,
    a_service_is_made_once_listed_by_label_and_removed,
    containers_run_with_an_address_each,
    exit_codes_are_kept,
    a_missing_image_is_rejected_with_dockers_text,
    a_missing_program_fails_and_its_log_says_so,
    an_unsatisfiable_constraint_leaves_it_pending_with_a_reason,
    a_constraint_that_makes_no_sense_is_refused,
    an_unknown_network_is_refused,
    a_network_is_in_use_while_a_service_is_on_it,
    an_overlapping_subnet_is_accepted_and_gives_no_addresses,
    each_port_of_the_node_is_given_once,
    logs_tell_the_streams_apart,
    a_terminal_has_one_stream_and_clean_lines,
    a_long_line_stays_one_line,
    the_last_lines_can_be_asked_for,
    containers_told_to_end_keep_their_exit_codes_and_last_words,
    who_has_ended_stays_as_it_is_when_told_to_end,
    results_can_be_read_after_the_end_and_leave_no_volume,
    what_a_container_uses_is_counted,
    logs_go_with_the_swarm_task,
    what_nobody_has_does_not_exist,
    an_image_is_pulled_only_when_it_is_missing,
    a_registry_that_is_not_reached_is_named,
    a_creation_happens_although_the_caller_went_away,
);

async fn the_manager_is_a_node(stage: &Stage) {
    let manager = stage.swarm.manager().await.unwrap();
    let nodes = stage.swarm.nodes().await.unwrap();
    let node = nodes.iter().find(|n| n.id == manager.node_id).unwrap();
    assert!(
        node.ready && node.active && node.address == manager.node_address,
        "{node:?}"
    );
    assert!(!manager.engine_version.is_empty());
    let tokens = stage.swarm.join_tokens().await.unwrap();
    assert!(tokens.manager.starts_with("SWMTKN-") && tokens.worker != tokens.manager);
}

async fn a_network_is_made_once_listed_and_removed(stage: &Stage) {
    let plan = stage.network_plan("net").await;
    let id = stage.swarm.create_network(&plan).await.unwrap();
    // Listed at once, but Swarm takes a moment to note the subnet.
    let all = stage
        .wait("a subnet", async || {
            let all = stage.swarm.networks().await.unwrap();
            let network = all.iter().find(|n| n.id == id).unwrap();
            match network.subnets.is_empty() {
                true => Err(format!("{network:?}")),
                false => Ok(all),
            }
        })
        .await;
    let network = all.iter().find(|n| n.id == id).unwrap();
    assert_eq!(network.name, plan.name);
    assert_eq!(network.subnets, [plan.subnet]);
    assert_eq!(network.labels, plan.labels);
    assert!(network.overlay);
    let bridge = all.iter().find(|n| n.name == "bridge").unwrap();
    assert!(!bridge.overlay && !bridge.subnets.is_empty());

    let again = stage.swarm.create_network(&plan).await.unwrap_err();
    assert!(matches!(again, SwarmError::Conflict { .. }), "{again:?}");
    stage.swarm.remove_network(&id).await.unwrap();
    let gone = stage.swarm.remove_network(&id).await.unwrap_err();
    assert!(matches!(gone, SwarmError::NotFound { .. }), "{gone:?}");
}

async fn a_service_is_made_once_listed_by_label_and_removed(stage: &Stage) {
    let plan = stage.service("worker", Does::Sleep, None);
    let id = stage.swarm.create_service(&plan).await.unwrap();
    let again = stage.swarm.create_service(&plan).await.unwrap_err();
    assert!(matches!(again, SwarmError::Conflict { .. }), "{again:?}");

    let found = stage.swarm.services(&stage.labels).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((&found[0].id, &found[0].name), (&id, &plan.name));
    assert_eq!(found[0].labels, plan.labels);
    let mut others = stage.labels.clone();
    others.insert("com.atq.run".into(), "none".into());
    assert_eq!(stage.swarm.services(&others).await.unwrap(), []);

    stage.running(1).await;
    stage.swarm.remove_service(&id).await.unwrap();
    assert_eq!(stage.swarm.services(&stage.labels).await.unwrap(), []);
    let gone = stage.swarm.remove_service(&id).await.unwrap_err();
    assert!(matches!(gone, SwarmError::NotFound { .. }), "{gone:?}");
    // Its Swarm tasks are still found by the labels of the service that is gone, until they go too.
    // What becomes of their processes is not reported.
    let removed = |tasks: &[SwarmTask]| {
        let first = tasks.first()?;
        (first.desired == TaskState::Remove).then(|| first.clone())
    };
    let task = stage.until("a removal", removed).await;
    assert_eq!((task.state, task.exit_code), (TaskState::Running, None));
    assert!(!task.is_alive());
    stage.nothing_runs().await;
}

async fn containers_run_with_an_address_each(stage: &Stage) {
    let network = stage.network("net").await;
    let mut plan = stage.service("worker", Does::Sleep, Some(&network));
    plan.scale = Scale::Replicas(3);
    plan.endpoint = Endpoint::DnsRoundRobin;
    let id = stage.swarm.create_service(&plan).await.unwrap();
    let tasks = stage.running(3).await;

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
    let manager = stage.swarm.manager().await.unwrap();
    for task in &tasks {
        assert_eq!(task.service_id, id);
        assert_eq!((task.exit_code, &task.error), (None, &None));
        assert!(task.node_id.is_some());
    }

    let containers = stage.swarm.containers(&stage.labels).await.unwrap();
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

async fn exit_codes_are_kept(stage: &Stage) {
    let good = stage.ended(Does::Exit(0), "good").await;
    assert_eq!((good.state, good.exit_code), (TaskState::Complete, Some(0)));
    let bad = stage.ended(Does::Exit(3), "bad").await;
    assert_eq!((bad.state, bad.exit_code), (TaskState::Failed, Some(3)));
    assert_eq!(bad.error.as_deref(), Some("task: non-zero exit (3)"));
    assert!(!bad.is_alive() && bad.container_id.is_some());
    // It is not tried again.
    assert_eq!(stage.tasks_of(&bad.service_id).await.len(), 1);
}

async fn a_missing_image_is_rejected_with_dockers_text(stage: &Stage) {
    let mut plan = stage.service("worker", Does::Sleep, None);
    plan.image = "atq-no-such-image:1".to_owned();
    let task = stage.create_and_end(&plan).await;
    assert_eq!(task.state, TaskState::Rejected);
    assert_eq!(
        task.error.as_deref(),
        Some("No such image: atq-no-such-image:1")
    );
    assert_eq!((task.exit_code, task.container_id), (None, None));
}

async fn a_missing_program_fails_and_its_log_says_so(stage: &Stage) {
    let task = stage.ended(Does::NotStart, "worker").await;
    assert_eq!((task.state, task.exit_code), (TaskState::Failed, Some(127)));
    assert_eq!(task.error.as_deref(), Some("task: non-zero exit (127)"));
    let lines = stage.log(&task, false, LogQuery::default()).await;
    assert_eq!((lines.len(), lines[0].stream), (1, LogStream::Stderr));
    assert!(
        lines[0].text.contains("No such file or directory"),
        "{lines:?}"
    );
}

async fn an_unsatisfiable_constraint_leaves_it_pending_with_a_reason(stage: &Stage) {
    let mut plan = stage.service("worker", Does::Sleep, None);
    plan.constraints = vec!["node.id==nobody".to_owned()];
    stage.swarm.create_service(&plan).await.unwrap();
    let task = stage
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

async fn a_constraint_that_makes_no_sense_is_refused(stage: &Stage) {
    let mut plan = stage.service("worker", Does::Sleep, None);
    plan.constraints = vec!["near the window".to_owned()];
    let error = stage.swarm.create_service(&plan).await.unwrap_err();
    assert!(matches!(error, SwarmError::Rejected { .. }), "{error:?}");
    assert!(!error.is_temporary());
}

async fn an_unknown_network_is_refused(stage: &Stage) {
    let mut plan = stage.service("worker", Does::Sleep, None);
    plan.networks = vec![NetworkJoin {
        network: "atq-no-such-network".to_owned(),
        aliases: Vec::new(),
    }];
    let error = stage.swarm.create_service(&plan).await.unwrap_err();
    let SwarmError::Rejected { reason, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(reason, "network atq-no-such-network not found");
}

async fn a_network_is_in_use_while_a_service_is_on_it(stage: &Stage) {
    let network = stage.network("net").await;
    let plan = stage.service("worker", Does::Sleep, Some(&network));
    let id = stage.swarm.create_service(&plan).await.unwrap();
    stage.running(1).await;
    let error = stage.swarm.remove_network(&network.id).await.unwrap_err();
    let SwarmError::InUse { reason, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(reason.contains(&id), "{reason}");
    stage.swarm.remove_service(&id).await.unwrap();
    stage.nothing_runs().await;
    stage.swarm.remove_network(&network.id).await.unwrap();
}

async fn an_overlapping_subnet_is_accepted_and_gives_no_addresses(stage: &Stage) {
    let first = stage.network("first").await;
    let mut plan = stage.network_plan("second").await;
    plan.subnet = first.subnet;
    let id = stage.swarm.create_network(&plan).await.unwrap();
    let second = stage::TestNetwork {
        id,
        name: plan.name,
        subnet: plan.subnet,
    };
    let stuck = stage.service("stuck", Does::Sleep, Some(&second));
    let stuck = stage.swarm.create_service(&stuck).await.unwrap();
    let fine = stage.service("fine", Does::Sleep, Some(&first));
    stage.swarm.create_service(&fine).await.unwrap();
    // By the time that one made later runs, the other has not got anywhere.
    stage.running(1).await;
    let task = &stage.tasks_of(&stuck).await[0];
    assert_eq!((task.state, &task.error), (TaskState::New, &None));
    assert_eq!(task.address_in(&second.id), None);
}

async fn each_port_of_the_node_is_given_once(stage: &Stage) {
    let network = stage.network("net").await;
    let mut plan = stage.service("discovery", Does::Sleep, Some(&network));
    plan.endpoint = Endpoint::DnsRoundRobin;
    plan.host_port = Some(9090);
    stage.swarm.create_service(&plan).await.unwrap();
    let ports = &stage.running(1).await[0].ports;
    // One number, or another one for IPv6.
    let numbers: BTreeSet<u16> = ports.iter().map(|(_, outside)| *outside).collect();
    assert!((1..=2).contains(&ports.len()), "{ports:?}");
    assert_eq!(numbers.len(), ports.len(), "{ports:?}");
    assert!(
        ports
            .iter()
            .all(|(inside, outside)| *inside == 9090 && *outside >= 1024),
        "{ports:?}"
    );
}

async fn logs_tell_the_streams_apart(stage: &Stage) {
    let task = stage.ended(Does::Print, "worker").await;
    let lines = stage.log(&task, false, LogQuery::default()).await;
    let of = |stream| {
        let own = lines.iter().filter(move |line| line.stream == stream);
        own.map(|line| line.text.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(of(LogStream::Stdout), ["one", "", " three "]);
    assert_eq!(of(LogStream::Stderr), ["alas"]);
    assert!(
        lines
            .iter()
            .all(|line| line.at.starts_with("20") && line.at.ends_with('Z')),
        "{lines:?}"
    );
}

async fn a_terminal_has_one_stream_and_clean_lines(stage: &Stage) {
    let mut plan = stage.service("worker", Does::Print, None);
    plan.tty = true;
    let task = stage.create_and_end(&plan).await;
    let lines = stage.log(&task, true, LogQuery::default()).await;
    let texts: Vec<_> = lines.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(texts, ["one", "", " three ", "alas"]);
    assert!(lines.iter().all(|line| line.stream == LogStream::Stdout));
}

async fn a_long_line_stays_one_line(stage: &Stage) {
    for tty in [false, true] {
        let name = format!("worker-{tty}");
        let mut plan = stage.service(&name, Does::PrintLong, None);
        plan.tty = tty;
        let task = stage.create_and_end(&plan).await;
        let lines = stage.log(&task, tty, LogQuery::default()).await;
        let lengths: Vec<_> = lines.iter().map(|line| line.text.len()).collect();
        assert_eq!(lengths, [stage::LONG_LINE, "end".len()], "terminal: {tty}");
        assert!(lines[0].text.bytes().all(|b| b == b'x'), "terminal: {tty}");
    }
}

async fn the_last_lines_can_be_asked_for(stage: &Stage) {
    let task = stage.ended(Does::PrintLong, "worker").await;
    let lines = stage.log(&task, false, LogQuery { tail: Some(1) }).await;
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0].text, "end");
}

async fn containers_told_to_end_keep_their_exit_codes_and_last_words(stage: &Stage) {
    let mut plan = stage.service("worker", Does::EndWhenTold, None);
    plan.scale = Scale::Replicas(2);
    let id = stage.swarm.create_service(&plan).await.unwrap();
    stage.running(2).await;
    // Twice is as good as once.
    stage.swarm.end_service(&id).await.unwrap();
    stage.swarm.end_service(&id).await.unwrap();
    let ended = |tasks: &[SwarmTask]| {
        let all = tasks.len() == 2 && tasks.iter().all(|task| task.state.is_terminal());
        all.then(|| tasks.to_vec())
    };
    for task in stage.until("two that ended", ended).await {
        assert_eq!((task.state, task.exit_code), (TaskState::Shutdown, Some(7)));
        let lines = stage.log(&task, false, LogQuery::default()).await;
        let texts: Vec<_> = lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(texts, ["up", "bye"]);
    }
    assert_eq!(stage.swarm.services(&stage.labels).await.unwrap().len(), 1);
}

async fn results_can_be_read_after_the_end_and_leave_no_volume(stage: &Stage) {
    let mut plan = stage.service("worker", Does::LeaveResults, None);
    plan.mounts = vec![Mount {
        source: MountSource::OwnVolume,
        target: "/atq/results".into(),
        read_only: false,
    }];
    let task = stage.create_and_end(&plan).await;
    assert_eq!(task.exit_code, Some(0));
    let id = task.container_id.unwrap();
    let tar = stage.swarm.archive(&id, "/atq/results").await.unwrap();
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
        let gone = stage.swarm.archive(id, path).await.map(drop);
        assert!(matches!(gone, Err(SwarmError::NotFound { .. })), "{gone:?}");
    }
}

async fn what_a_container_uses_is_counted(stage: &Stage) {
    let plan = stage.service("worker", Does::Sleep, None);
    stage.swarm.create_service(&plan).await.unwrap();
    let task = stage.running(1).await.remove(0);
    let id = task.container_id.unwrap();
    let first = stage.swarm.stats(&id).await.unwrap();
    assert!(first.processors > 0, "{first:?}");
    let later = stage
        .wait("a later count", async || {
            let now = stage.swarm.stats(&id).await.unwrap();
            let moved = now.elapsed > first.elapsed;
            moved.then_some(now).ok_or(format!("{now:?}"))
        })
        .await;
    assert_eq!(later.processors, first.processors);
    assert!(later.used >= first.used, "{later:?}");
    assert!(later.used - first.used <= later.elapsed - first.elapsed);
    let gone = stage.swarm.stats("0123456789ab").await.unwrap_err();
    assert!(matches!(gone, SwarmError::NotFound { .. }), "{gone:?}");
}

async fn who_has_ended_stays_as_it_is_when_told_to_end(stage: &Stage) {
    let task = stage.ended(Does::Exit(3), "worker").await;
    stage.swarm.end_service(&task.service_id).await.unwrap();
    let tasks = stage.tasks().await;
    assert_eq!(tasks.len(), 1, "{tasks:?}");
    assert_eq!(
        (tasks[0].state, tasks[0].exit_code),
        (TaskState::Failed, Some(3))
    );
    let nobody = stage.swarm.end_service("nobody").await.unwrap_err();
    assert!(matches!(nobody, SwarmError::NotFound { .. }), "{nobody:?}");
}

async fn logs_go_with_the_swarm_task(stage: &Stage) {
    let task = stage.ended(Does::Print, "worker").await;
    stage.swarm.remove_service(&task.service_id).await.unwrap();
    stage.nothing_runs().await;
    let result = stage
        .swarm
        .task_logs(&task.id, false, LogQuery::default())
        .await;
    let error = result.err().unwrap();
    assert!(matches!(error, SwarmError::NotFound { .. }), "{error:?}");
}

async fn what_nobody_has_does_not_exist(stage: &Stage) {
    let name = format!("{}-nobody", stage.run);
    let is_missing = |result: Result<(), SwarmError>| match result {
        Err(SwarmError::NotFound { what }) => assert!(what.contains(&name), "{what}"),
        other => panic!("{other:?}"),
    };
    is_missing(stage.swarm.remove_service(&name).await);
    is_missing(stage.swarm.remove_network(&name).await);
    is_missing(stage.swarm.remove_volume(&name).await);
    let log = stage
        .swarm
        .task_logs(&name, false, LogQuery::default())
        .await;
    is_missing(log.map(|_| ()));
    assert_eq!(
        stage.swarm.volumes(&stage.labels).await.unwrap(),
        Vec::<String>::new()
    );
    assert_eq!(stage.swarm.containers(&stage.labels).await.unwrap(), []);
    assert_eq!(stage.tasks().await, []);
}

async fn an_image_is_pulled_only_when_it_is_missing(stage: &Stage) {
    let plan = stage.service("worker", Does::Sleep, None);
    stage.swarm.pull_image(&plan.image).await.unwrap();
    // Nothing listens there, on any machine.
    let error = stage
        .swarm
        .pull_image("127.0.0.1:1/atq-nobody:1")
        .await
        .unwrap_err();
    assert!(matches!(error, SwarmError::Rejected { .. }), "{error:?}");
}

async fn a_registry_that_is_not_reached_is_named(stage: &Stage) {
    // Nothing listens there, on any machine.
    let image = "127.0.0.1:1/atq-nobody:1";
    let problem = stage.swarm.image_problem(image).await.unwrap();
    let registry = "no registry at `127.0.0.1:1` could be asked: ";
    assert!(problem.starts_with(registry), "{problem}");
    assert!(problem.contains("connection refused"), "{problem}");
    assert!(problem.ends_with("; no credentials were sent"), "{problem}");
    // Whether Docker Hub is reached is the machine's own affair.
    let problem = stage.swarm.image_problem("atq-no-such-image:1").await;
    let problem = problem.unwrap();
    assert!(problem.contains("`docker.io`"), "{problem}");
}

async fn a_creation_happens_although_the_caller_went_away(stage: &Stage) {
    let plan = stage.service("worker", Does::Sleep, None);
    let creation = stage.swarm.create_service(&plan);
    let abandoned = tokio::time::timeout(Duration::ZERO, creation).await;
    assert!(abandoned.is_err());
    let tasks = stage.running(1).await;
    assert_eq!(tasks.len(), 1);
}

/// What only a real container can show: that the whole plan reaches it.
#[tokio::test]
async fn a_plan_reaches_its_container() {
    stage::on_docker(async |stage: &Stage| {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("plan.jmx"), "<plan/>\n").unwrap();
        let network = stage.network("net").await;
        let mut plan = stage.service("worker", Does::Sleep, Some(&network));
        let script = r#"echo "$1 $VALUE $SLOT"; cat /atq/data/plan.jmx; touch /atq/data/x 2>&1; cat /proc/1/comm"#;
        plan.entrypoint = Some(vec!["/bin/sh".into(), "-c".into(), script.into(), "sh".into()]);
        plan.args = vec!["argument".into()];
        plan.environment = vec!["VALUE=a b=c".into(), "SLOT={{.Task.Slot}}".into()];
        plan.mounts = vec![Mount {
            source: MountSource::Path(dir.path().to_owned()),
            target: "/atq/data".into(),
            read_only: true,
        }];
        let task = stage.create_and_end(&plan).await;
        let lines = stage.log(&task, false, LogQuery::default()).await;
        let texts: Vec<_> = lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(texts[..2], ["argument a b=c 1", "<plan/>"]);
        assert!(texts[2].contains("Read-only file system"), "{texts:?}");
        // An init process that passes signals on.
        assert!(texts[3].contains("init"), "{texts:?}");
    })
    .await;
}

impl Stage {
    /// The log, which must be free of errors.
    async fn log(
        &self,
        task: &SwarmTask,
        tty: bool,
        query: LogQuery,
    ) -> Vec<atq_director::swarm::LogLine> {
        let stream = self.swarm.task_logs(&task.id, tty, query).await.unwrap();
        stream.map(Result::unwrap).collect().await
    }
}
