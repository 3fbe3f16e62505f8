#![allow(clippy::unwrap_used)]

use super::*;
use crate::fake::FakeSwarm;
use std::sync::Mutex;
use std::time::Duration;

/// Records all notifications.
#[derive(Default)]
struct Recorder {
    calls: Mutex<Vec<(&'static str, &'static str, Duration)>>,
    nodes: Mutex<Vec<atq_engine::Node>>,
}

impl EngineObserver for Recorder {
    fn called(&self, call: &'static str, result: &'static str, duration: Duration) {
        self.calls.lock().unwrap().push((call, result, duration));
    }

    fn listed(&self, nodes: &[atq_engine::Node]) {
        *self.nodes.lock().unwrap() = nodes.to_vec();
    }
}

impl Recorder {
    /// Methods and results of the calls since the last time.
    fn take(&self) -> Vec<(&'static str, &'static str)> {
        let calls = std::mem::take(&mut *self.calls.lock().unwrap());
        let calls = calls.into_iter();
        calls.map(|(call, result, _)| (call, result)).collect()
    }
}

fn observed(fake: &FakeSwarm) -> (ObservedCalls, Arc<Recorder>) {
    let recorder = Arc::new(Recorder::default());
    let observer = Arc::clone(&recorder);
    (
        ObservedCalls::new(Arc::new(fake.clone()), observer),
        recorder,
    )
}

fn network(name: &str) -> NetworkPlan {
    NetworkPlan {
        name: name.to_owned(),
        subnet: "10.224.1.0/24".parse().unwrap(),
        labels: Labels::new(),
    }
}

/// Calls every method but `create_service`, which needs a whole plan.
async fn call_all(swarm: &dyn Swarm) {
    let none = Labels::new();
    let _ = swarm.manager().await;
    let _ = swarm.api_version().await;
    let _ = swarm.join_tokens().await;
    let _ = swarm.nodes().await;
    let _ = swarm.networks().await;
    let _ = swarm.create_network(&network("one")).await;
    let _ = swarm.remove_network("one").await;
    let _ = swarm.services(&none).await;
    let _ = swarm.end_service("x").await;
    let _ = swarm.remove_service("x").await;
    let _ = swarm.tasks(&none).await;
    let _ = swarm.containers(&none).await;
    let _ = swarm.kill_container("x").await;
    let _ = swarm.volumes(&none).await;
    let _ = swarm.labelled("x").await;
    let _ = swarm.remove_volume("x").await;
    let _ = swarm.task_logs("x", false, LogQuery::default()).await;
    let _ = swarm.archive("x", "/").await;
    let _ = swarm.stats("x").await;
    let _ = swarm.pull_image("x").await;
    let _ = swarm.image_digests("x").await;
    let _ = swarm.image_problem("x").await;
}

#[tokio::test(start_paused = true)]
async fn each_call_is_passed_on_and_named_after_its_method() {
    let fake = FakeSwarm::new();
    let (swarm, recorder) = observed(&fake);
    call_all(&swarm).await;
    let made: Vec<&str> = fake.calls().iter().map(|call| call.method).collect();
    let seen: Vec<&str> = recorder.take().into_iter().map(|(call, _)| call).collect();
    assert_eq!(seen, made);
    assert_eq!(seen.len(), 22);
}

#[tokio::test(start_paused = true)]
async fn a_result_is_ok_or_the_code_of_the_error() {
    let fake = FakeSwarm::new();
    let (swarm, recorder) = observed(&fake);
    swarm.create_network(&network("one")).await.unwrap();
    swarm.create_network(&network("one")).await.unwrap_err();
    swarm.remove_network("two").await.unwrap_err();
    fake.fail_all(Some(SwarmError::NotManager));
    swarm.manager().await.unwrap_err();
    assert_eq!(
        recorder.take(),
        [
            ("create_network", OK),
            ("create_network", "docker_conflict"),
            ("remove_network", "docker_object_gone"),
            ("manager", "not_a_manager"),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_without_an_answer_is_counted_as_cancelled_with_its_duration() {
    let fake = FakeSwarm::new();
    fake.set_latency(Duration::from_secs(9));
    let (swarm, recorder) = observed(&fake);
    let all = Labels::new();
    let waited = tokio::time::timeout(Duration::from_secs(5), swarm.services(&all));
    waited.await.unwrap_err();
    swarm.manager().await.unwrap();
    let calls = recorder.calls.lock().unwrap();
    let [services, manager] = &calls[..] else {
        panic!("{calls:?}");
    };
    assert_eq!((services.0, services.1), ("services", CANCELLED));
    assert!(services.2 >= Duration::from_secs(5) && services.2 < Duration::from_secs(6));
    assert_eq!((manager.0, manager.1), ("manager", OK));
    assert!(manager.2 >= Duration::from_secs(9));
}

#[tokio::test(start_paused = true)]
async fn listed_nodes_are_reported_with_their_state() {
    let fake = FakeSwarm::new();
    fake.add_node("node-2");
    fake.set_active("node-2", false);
    let (swarm, recorder) = observed(&fake);
    swarm.nodes().await.unwrap();
    fake.fail_all(Some(SwarmError::NotManager));
    swarm.nodes().await.unwrap_err();
    let nodes = recorder.nodes.lock().unwrap();
    let seen: Vec<_> = nodes
        .iter()
        .map(|node| (node.id.as_str(), node.ready, node.active))
        .collect();
    assert_eq!(seen, [("node-1", true, true), ("node-2", true, false)]);
}
