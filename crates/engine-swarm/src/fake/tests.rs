//! Tests of the fake beyond the suite that it shares with Docker.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::plan::{LABEL_RUN, NetworkJoin, NetworkPlan, Role, Scale};
use crate::port::{Swarm, SwarmTask, TaskState};
use atq_engine::LogQuery;
use atq_task::spec::Resources;
use futures_util::StreamExt;

const SECOND: Duration = Duration::from_secs(1);

fn labels() -> Labels {
    Labels::from([(LABEL_RUN.to_owned(), "abc123".to_owned())])
}

fn network() -> NetworkPlan {
    NetworkPlan {
        name: "net".to_owned(),
        subnet: "10.224.0.0/24".parse().unwrap(),
        labels: labels(),
    }
}

fn service(name: &str, replicas: u32) -> ServicePlan {
    ServicePlan {
        name: name.to_owned(),
        role: Role::Worker,
        labels: labels(),
        image: "tool:1".to_owned(),
        entrypoint: None,
        args: Vec::new(),
        environment: Vec::new(),
        mounts: Vec::new(),
        networks: vec![NetworkJoin {
            network: "net".to_owned(),
            aliases: vec!["workers".to_owned()],
        }],
        scale: Scale::Replicas(replicas),
        defined: None,
        tty: false,
        endpoint: Endpoint::DnsRoundRobin,
        host_port: None,
        stop_grace: SECOND,
        constraints: Vec::new(),
        max_replicas_per_node: None,
        resources: Resources::default(),
        pids: None,
    }
}

/// A Swarm with the image `tool:1` and a network.
async fn swarm() -> FakeSwarm {
    let fake = FakeSwarm::new();
    fake.image("tool:1");
    fake.create_network(&network()).await.unwrap();
    fake
}

async fn tasks(fake: &FakeSwarm) -> Vec<SwarmTask> {
    fake.tasks(&labels()).await.unwrap()
}

fn lost() -> SwarmError {
    SwarmError::Unavailable {
        host: HOST.to_owned(),
        reason: "connection reset".to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn states_never_decrease_until_running() {
    let fake = swarm().await;
    fake.create_service(&service("w", 1)).await.unwrap();
    let mut seen = vec![TaskState::New];
    while seen.last() != Some(&TaskState::Running) {
        let state = tasks(&fake).await[0].state;
        assert!(state >= *seen.last().unwrap(), "{seen:?} then {state:?}");
        seen.push(state);
    }
    seen.dedup();
    assert!(
        seen.contains(&TaskState::Pending) && seen.contains(&TaskState::Preparing),
        "{seen:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn names_resolve_to_running_containers() {
    let fake = swarm().await;
    fake.set_name_lag(SECOND);
    fake.create_service(&service("w", 3)).await.unwrap();
    sleep(SECOND).await;
    assert!(tasks(&fake).await.iter().all(SwarmTask::is_alive));
    assert_eq!(fake.addresses_of("w", "net"), [] as [Ipv4Addr; 0]);
    sleep(SECOND).await;
    let mut addresses: Vec<_> = tasks(&fake)
        .await
        .iter()
        .map(|t| t.addresses[0].1)
        .collect();
    addresses.sort_unstable();
    for name in ["w", "workers", "tasks.w", "tasks.workers"] {
        assert_eq!(fake.addresses_of(name, "net"), addresses, "{name}");
    }
    assert!(fake.addresses_of("nobody", "net").is_empty());

    fake.kill("w", 2, 9);
    assert_eq!(fake.addresses_of("w", "net").len(), 2);
    let codes: Vec<_> = tasks(&fake).await.iter().map(|t| t.exit_code).collect();
    assert_eq!(codes, [None, Some(9), None]);
}

#[tokio::test(start_paused = true)]
async fn a_virtual_address_represents_all_containers() {
    let fake = swarm().await;
    let mut plan = service("m", 2);
    plan.endpoint = Endpoint::VirtualIp;
    fake.create_service(&plan).await.unwrap();
    sleep(SECOND).await;
    let address = fake.addresses_of("m", "net");
    assert_eq!(address.len(), 1);
    assert!(!fake.addresses_of("tasks.m", "net").contains(&address[0]));
    assert_eq!(fake.addresses_of("tasks.m", "net").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn addresses_run_out_without_a_reason() {
    let fake = swarm().await;
    fake.create_service(&service("w", 300)).await.unwrap();
    sleep(60 * SECOND).await;
    let all = tasks(&fake).await;
    let stuck: Vec<_> = all.iter().filter(|t| t.state == TaskState::New).collect();
    // 256 minus the network's, the gateway's, the broadcast's, and one for the node.
    assert_eq!(stuck.len(), 300 - 252);
    assert!(stuck.iter().all(|t| t.error.is_none()));
}

#[tokio::test(start_paused = true)]
async fn removing_a_network_before_its_swarm_tasks_are_gone_leaks() {
    let fake = swarm().await;
    fake.create_service(&service("w", 3)).await.unwrap();
    sleep(SECOND).await;
    fake.remove_service("w").await.unwrap();
    fake.remove_network("net").await.unwrap();
    assert_eq!(fake.leftovers().leaked_addresses, 3);
    // The node still has the network, so that its name is taken.
    let again = fake.create_network(&network()).await.unwrap_err();
    assert!(matches!(again, SwarmError::Conflict { .. }));
    sleep(10 * SECOND).await;
    fake.create_network(&network()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn removal_in_the_right_order_leaves_nothing() {
    let fake = swarm().await;
    fake.create_service(&service("w", 3)).await.unwrap();
    sleep(SECOND).await;
    fake.remove_service("w").await.unwrap();
    sleep(5 * SECOND).await;
    // Containers outlive their Swarm tasks.
    let left = fake.leftovers();
    assert_eq!((left.tasks, left.containers), (0, 3));
    sleep(2 * SECOND).await;
    fake.remove_network("net").await.unwrap();
    assert_eq!(fake.leftovers(), Leftovers::default());
}

#[tokio::test(start_paused = true)]
async fn a_lost_node_is_noticed_late_and_its_containers_never_end() {
    let fake = swarm().await;
    fake.add_node("node-2");
    fake.create_service(&service("w", 2)).await.unwrap();
    sleep(SECOND).await;
    fake.lose_node("node-2");
    sleep(6 * SECOND).await;
    assert_eq!(fake.addresses_of("w", "net").len(), 1);
    assert!(tasks(&fake).await.iter().all(SwarmTask::is_alive));
    sleep(7 * SECOND).await;
    let second = tasks(&fake).await[1].clone();
    assert_eq!(second.state, TaskState::Running);
    assert_eq!(second.desired, TaskState::Shutdown);
    assert!(!fake.nodes().await.unwrap()[1].ready);
    let log = fake.task_logs(&second.id, false, LogQuery::default()).await;
    let lines: Vec<_> = log.unwrap().collect().await;
    assert!(matches!(lines[..], [Err(SwarmError::Internal { .. })]));

    // Removal waits for the node.
    fake.remove_service("w").await.unwrap();
    sleep(60 * SECOND).await;
    assert_eq!(fake.leftovers().tasks, 1);
    fake.return_node("node-2");
    sleep(7 * SECOND).await;
    assert_eq!(fake.leftovers().tasks, 0);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_assigned_to_a_lost_node_does_not_start() {
    let fake = swarm().await;
    fake.add_node("node-2");
    fake.lose_node("node-2");
    fake.create_service(&service("w", 2)).await.unwrap();
    sleep(20 * SECOND).await;
    let states = tasks(&fake).await.into_iter().map(|task| task.state);
    let running = states.filter(|state| *state == TaskState::Running);
    assert_eq!(running.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn scripts_apply_to_a_role_and_exit_codes_are_used_in_order() {
    let fake = swarm().await;
    let wait = fake.image("tool:1").in_role(Role::Wait);
    wait.exits_in_turn(&[1, 0]).after(SECOND);
    let mut codes = Vec::new();
    for attempt in 1..=3 {
        let mut plan = service(&format!("wait-{attempt}"), 1);
        plan.role = Role::Wait;
        let id = fake.create_service(&plan).await.unwrap();
        sleep(2 * SECOND).await;
        let all = tasks(&fake).await;
        codes.push(all.iter().find(|t| t.service_id == id).unwrap().exit_code);
    }
    assert_eq!(codes, [Some(1), Some(0), Some(0)]);
    fake.create_service(&service("w", 1)).await.unwrap();
    sleep(60 * SECOND).await;
    assert!(tasks(&fake).await.last().unwrap().is_alive());
}

#[tokio::test(start_paused = true)]
async fn the_kth_call_fails_with_or_without_its_effect() {
    let fake = FakeSwarm::new();
    fake.fail_at(1, lost());
    fake.lose_answer_at(3, lost());
    assert_eq!(fake.create_network(&network()).await, Err(lost()));
    assert_eq!(fake.networks().await.unwrap().len(), 2);
    assert_eq!(fake.create_network(&network()).await, Err(lost()));
    assert_eq!(fake.networks().await.unwrap().len(), 3);
    let calls: Vec<_> = fake.calls().iter().map(ToString::to_string).collect();
    assert_eq!(calls[0], "create_network net");
    assert_eq!(calls.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn containers_keep_running_while_docker_is_unavailable() {
    let fake = swarm().await;
    fake.create_service(&service("w", 1)).await.unwrap();
    fake.down(true);
    assert!(matches!(
        fake.manager().await,
        Err(SwarmError::Unavailable { .. })
    ));
    sleep(SECOND).await;
    fake.down(false);
    assert!(tasks(&fake).await[0].is_alive());
    fake.fail_all(Some(SwarmError::NotASwarm));
    assert_eq!(fake.manager().await, Err(SwarmError::NotASwarm));
}

#[tokio::test(start_paused = true)]
async fn a_hook_is_called_before_each_answer() {
    let fake = swarm().await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (inside, log) = (fake.clone(), seen.clone());
    fake.on_call(move |number, call| {
        let services = inside.leftovers().services;
        log.lock().unwrap().push((number, call.method, services));
    });
    fake.create_service(&service("w", 1)).await.unwrap();
    fake.remove_service("w").await.unwrap();
    let expected = [(2, "create_service", 1), (3, "remove_service", 0)];
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_drained_node_accepts_no_container() {
    let fake = swarm().await;
    fake.set_active("node-1", false);
    fake.create_service(&service("w", 1)).await.unwrap();
    sleep(SECOND).await;
    let task = &tasks(&fake).await[0];
    assert_eq!(task.state, TaskState::Pending);
    assert!(task.error.as_ref().unwrap().contains("on 1 node"));
}
