#![allow(clippy::unwrap_used)]

use super::*;
use crate::plan::carrier_token;
use atq_engine::CpuInterval;

const TOKEN: &str = "0123456789abcdef";

type Received = (Source, Option<CpuInterval>, ResourceUsage);

/// Keeps everything that it receives.
#[derive(Default)]
struct Recorder {
    containers: Mutex<Vec<Received>>,
    nodes: Mutex<Vec<f64>>,
}

impl UsageSink for Recorder {
    fn container(&self, sample: &ContainerSample<'_>) {
        let received = (sample.target.source, sample.cpu, sample.usage);
        self.containers.lock().push(received);
    }

    fn node(&self, _: &str, percent: f64, _: f64) {
        self.nodes.lock().push(percent);
    }
}

struct Fixture {
    endpoint: CarrierEndpoint,
    recorder: Arc<Recorder>,
    targets: Targets,
}

fn target(role: Role, replica: u32, container: &str, limit: Option<f64>) -> Target {
    Target {
        source: Source::new(role, replica),
        node: "n1".to_owned(),
        container: container.to_owned(),
        limit,
    }
}

/// A run with a worker, a master and the second attempt of a wait command on `n1`, and a worker on `n2`.
fn fixture() -> Fixture {
    let node_auth = Arc::new(NodeAuth::default());
    std::mem::forget(node_auth.register("r1", TOKEN));
    let endpoint = CarrierEndpoint {
        node_auth,
        ingest: Arc::default(),
    };
    let elsewhere = Target {
        node: "n2".to_owned(),
        ..target(Role::Worker, 2, "w2", None)
    };
    let targets: Targets = Arc::new(Mutex::new(vec![
        target(Role::Worker, 1, "w1", Some(2.0)),
        target(Role::Master, 1, "m1", None),
        target(Role::Wait, 2, "c2", None),
        elsewhere,
    ]));
    let recorder = Arc::new(Recorder::default());
    let watched = WatchedRun::new(Arc::clone(&recorder) as _, Arc::clone(&targets));
    endpoint.ingest.watch("r1", watched);
    Fixture {
        endpoint,
        recorder,
        targets,
    }
}

fn report(source: &str, id: &str, percent: f64) -> ContainerReport {
    ContainerReport {
        source: source.to_owned(),
        id: id.to_owned(),
        percent,
        usage: ResourceUsage {
            memory: Some(1000),
            ..ResourceUsage::default()
        },
    }
}

impl Fixture {
    fn send(&self, containers: Vec<ContainerReport>) -> Result<(), RequestError> {
        self.send_from(4, 50.0, containers)
    }

    fn send_from(
        &self,
        processors: u32,
        percent: f64,
        containers: Vec<ContainerReport>,
    ) -> Result<(), RequestError> {
        let sample = NodeSample {
            node: "n1".to_owned(),
            processors,
            percent,
            containers,
        };
        let token = carrier_token(TOKEN, "r1", Errand::Watch);
        self.endpoint.record_usage("r1", &token, &sample)
    }

    fn received(&self) -> Vec<Received> {
        std::mem::take(&mut *self.recorder.containers.lock())
    }
}

#[test]
fn a_sample_of_containers_on_the_node_is_recorded() {
    let fixture = fixture();
    let containers = vec![
        report("worker.1", "w1", 150.0),
        report("master.1", "m1", 20.0),
    ];
    fixture.send(containers).unwrap();
    let cpu = |used, processors| {
        Some(CpuInterval {
            used,
            processors,
            seconds: SAMPLE_SECONDS,
        })
    };
    let memory = ResourceUsage {
        memory: Some(1000),
        ..ResourceUsage::default()
    };
    assert_eq!(
        fixture.received(),
        [
            (Source::new(Role::Worker, 1), cpu(1.5, 2.0), memory),
            (Source::new(Role::Master, 1), cpu(0.2, 4.0), memory),
        ]
    );
}

#[test]
fn a_container_that_is_not_on_the_node_refuses_the_whole_sample() {
    let fixture = fixture();
    for (source, id) in [
        ("worker.2", "w2"),
        ("worker.2", "w1"),
        ("worker.1", "unknown"),
        ("master.1", "unknown"),
        ("discovery.1", "d1"),
        ("wait.1", "w1"),
        ("../worker.1", "w1"),
    ] {
        let containers = vec![report("worker.1", "w1", 1.0), report(source, id, 1.0)];
        let refused = fixture.send(containers).unwrap_err();
        assert!(
            matches!(refused, RequestError::NotOnNode { .. }),
            "{source}: {refused}"
        );
    }
    assert_eq!(fixture.received(), []);
}

#[test]
fn the_container_of_a_command_is_found_by_its_id_and_skipped_while_it_is_unknown() {
    let fixture = fixture();
    // Carriers number the container, not the attempt.
    let containers = vec![report("wait.1", "c2", 10.0), report("wait.1", "c3", 10.0)];
    fixture.send(containers).unwrap();
    let sources: Vec<Source> = fixture.received().into_iter().map(|one| one.0).collect();
    assert_eq!(sources, [Source::new(Role::Wait, 2)]);
}

#[test]
fn a_sample_may_arrive_after_the_end_of_its_container() {
    let fixture = fixture();
    fixture.send(vec![report("worker.1", "w1", 1.0)]).unwrap();
    fixture.targets.lock().clear();
    fixture.send(vec![report("worker.1", "w1", 2.0)]).unwrap();
    assert_eq!(fixture.received().len(), 2);
}

#[test]
fn numbers_beyond_the_bounds_of_a_node_are_cut_off() {
    let fixture = fixture();
    for percent in [1e300, f64::MAX, f64::INFINITY] {
        fixture
            .send(vec![report("worker.1", "w1", percent)])
            .unwrap();
        let cpu = fixture.received()[0].1.unwrap();
        assert_eq!((cpu.used, cpu.processors), (8.0, 2.0));
    }
    fixture.send(vec![report("worker.1", "w1", -5.0)]).unwrap();
    assert_eq!(fixture.received()[0].1.unwrap().used, 0.0);
    fixture
        .send(vec![report("worker.1", "w1", f64::NAN)])
        .unwrap();
    assert_eq!(fixture.received()[0].1, None);
    fixture
        .send_from(u32::MAX, 1e9, vec![report("master.1", "m1", 1e12)])
        .unwrap();
    let cpu = fixture.received()[0].1.unwrap();
    assert_eq!(cpu.processors, f64::from(MAX_PROCESSORS));
    assert_eq!(fixture.recorder.nodes.lock().last(), Some(&100.0));
}

#[test]
fn a_container_counts_once_in_a_sample() {
    let fixture = fixture();
    let many = (0..10_000).map(|_| report("worker.1", "w1", 1.0)).collect();
    fixture.send(many).unwrap();
    assert_eq!(fixture.received().len(), 1);
}
