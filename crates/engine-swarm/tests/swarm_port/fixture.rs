//! Fixture for the scenarios of the suite: a Swarm, unique names, and a clean-up that also runs after a failure and
//! asserts that nothing is left.

use atq_engine_swarm::docker::DockerSwarm;
use atq_engine_swarm::fake::{FakeSwarm, Leftovers};
use atq_engine_swarm::plan::{
    Endpoint, LABEL_DIRECTOR, LABEL_ROLE, LABEL_RUN, LABEL_TASK, Labels, NetworkJoin, NetworkPlan,
    Role, Scale, ServicePlan, free_subnet,
};
use atq_engine_swarm::{LogLine, LogQuery, Swarm, SwarmError, SwarmTask};
use atq_task::spec::Resources;
use futures_util::{FutureExt, StreamExt};
use ipnet::Ipv4Net;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Length of the line of [`Program::PrintLong`]: more than two of Docker's pieces.
pub const LONG_LINE: usize = 40_000;
/// Timeout of every wait; Docker needs a tenth of it.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Behaviour of the containers of a service.
#[derive(Debug, Clone, Copy)]
pub enum Program {
    /// Runs until it is removed.
    Sleep,
    /// Ends at once with this code.
    Exit(i64),
    /// Writes three lines, and one to standard error.
    Print,
    /// Writes a very long line, and `end`.
    PrintLong,
    /// The program of the container does not exist.
    Missing,
    /// Runs until SIGTERM; then it writes `bye` and exits with 7.
    ExitOnSigterm,
    /// Runs until it is killed.
    IgnoreSigterm,
    /// Writes a file in `/atq/results`, and ends.
    WriteResults,
}

impl Program {
    fn script(self) -> String {
        match self {
            Self::Sleep => "exec sleep 600".to_owned(),
            Self::Exit(code) => format!("exit {code}"),
            Self::Print => "echo one; echo; echo ' three '; sleep 0.2; echo alas >&2".to_owned(),
            Self::PrintLong => {
                format!("head -c {LONG_LINE} /dev/zero | tr '\\0' x; echo; echo end")
            }
            Self::Missing => String::new(),
            Self::WriteResults => {
                "mkdir /atq/results/deep && echo a,b >/atq/results/deep/own.csv".to_owned()
            }
            Self::IgnoreSigterm => "trap '' TERM; while :; do sleep 0.1; done".to_owned(),
            Self::ExitOnSigterm => {
                "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.1; done".to_owned()
            }
        }
    }

    fn describe(self, fake: &FakeSwarm, image: &str) {
        let image = fake.image(image);
        match self {
            Self::Sleep => image,
            Self::IgnoreSigterm => image.on_sigterm(&[], Duration::from_secs(7200), 0),
            Self::Exit(code) => image.exits(code),
            Self::WriteResults => image.writes_result("deep/own.csv", b"a,b\n").exits(0),
            Self::ExitOnSigterm => {
                image
                    .prints(&["up"])
                    .on_sigterm(&["bye"], Duration::from_millis(100), 7)
            }
            Self::Print => image
                .prints(&["one", "", " three "])
                .prints_to_stderr(&["alas"])
                .exits(0),
            Self::PrintLong => image.prints(&[&"x".repeat(LONG_LINE), "end"]).exits(0),
            // The init process exists; its program does not.
            Self::Missing => image
                .prints_to_stderr(&[
                    "[FATAL tini (7)] exec /nonexistent failed: No such file or directory",
                ])
                .exits(127),
        };
    }
}

/// A network of a scenario.
pub struct TestNetwork {
    pub id: String,
    pub name: String,
    pub subnet: Ipv4Net,
}

/// Fixture of one scenario.
pub struct Fixture {
    pub swarm: Arc<dyn Swarm>,
    fake: Option<FakeSwarm>,
    /// Part of all names.
    pub run: String,
    /// Labels of all objects of this scenario, and of no others.
    pub labels: Labels,
    number: usize,
}

pub async fn on_the_fake(scenario: impl AsyncFnOnce(&Fixture)) {
    let fake = FakeSwarm::new();
    let fixture = Fixture::new(Arc::new(fake.clone()), Some(fake));
    fixture.run_scenario(scenario).await;
}

pub async fn on_docker(scenario: impl AsyncFnOnce(&Fixture)) {
    if std::env::var("ATQ_TEST_SWARM").as_deref() != Ok("1") {
        println!("skipped: no Swarm (ATQ_TEST_SWARM is not set)");
        return;
    }
    let docker = DockerSwarm::connect(None).unwrap();
    Fixture::new(Arc::new(docker), None)
        .run_scenario(scenario)
        .await;
}

impl Fixture {
    fn new(swarm: Arc<dyn Swarm>, fake: Option<FakeSwarm>) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let run = format!("p{}-{number}", std::process::id());
        let labels = [("com.atq.test", "swarm-port"), (LABEL_RUN, &run)];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
        Self {
            swarm,
            fake,
            labels: labels.into(),
            run,
            number,
        }
    }

    async fn run_scenario(self, scenario: impl AsyncFnOnce(&Self)) {
        let result = AssertUnwindSafe(scenario(&self)).catch_unwind().await;
        let cleaned = AssertUnwindSafe(self.clean_up()).catch_unwind().await;
        // The scenario's failure is more informative than that of the clean-up.
        if let Err(panic) = result.and(cleaned) {
            resume_unwind(panic);
        }
    }

    async fn clean_up(&self) {
        for service in self.swarm.services(&self.labels).await.unwrap() {
            self.swarm.remove_service(&service.id).await.unwrap();
        }
        self.wait_until_nothing_runs().await;
        for volume in self.swarm.volumes(&self.labels).await.unwrap() {
            self.swarm.remove_volume(&volume).await.unwrap();
        }
        let own = self.swarm.networks().await.unwrap().into_iter();
        for network in own.filter(|n| n.labels.get(LABEL_RUN) == Some(&self.run)) {
            match self.swarm.remove_network(&network.id).await {
                Ok(()) | Err(SwarmError::NotFound { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        self.wait("no network", async || {
            let all = self.swarm.networks().await.unwrap();
            let left: Vec<_> = all
                .into_iter()
                .filter(|n| n.labels.get(LABEL_RUN) == Some(&self.run))
                .collect();
            left.is_empty().then_some(()).ok_or(format!("{left:?}"))
        })
        .await;
        if let Some(fake) = &self.fake {
            assert_eq!(fake.leftovers(), Leftovers::default());
        }
    }

    fn all_labels(&self, role: Role) -> Labels {
        let mut labels = self.labels.clone();
        for (key, value) in [
            (LABEL_TASK, "swarm-port"),
            (LABEL_ROLE, role.as_str()),
            (LABEL_DIRECTOR, "swarm-port"),
        ] {
            labels.insert(key.to_owned(), value.to_owned());
        }
        labels
    }

    /// A network with unused addresses.
    pub async fn network_plan(&self, name: &str) -> NetworkPlan {
        let networks = self.swarm.networks().await.unwrap();
        let taken: Vec<_> = networks.into_iter().flat_map(|n| n.subnets).collect();
        let pool = "10.199.0.0/16".parse().unwrap();
        // Concurrent scenarios try different subnets.
        let skip = std::process::id() as usize * 37 + self.number * 5;
        NetworkPlan {
            name: format!("atq-{}-{name}", self.run),
            subnet: free_subnet(pool, 24, &taken, skip).unwrap(),
            labels: self.all_labels(Role::Network),
        }
    }

    pub async fn network(&self, name: &str) -> TestNetwork {
        let plan = self.network_plan(name).await;
        let id = self.swarm.create_network(&plan).await.unwrap();
        TestNetwork {
            id,
            name: plan.name,
            subnet: plan.subnet,
        }
    }

    /// A service with one container that runs `program`.
    pub fn service(
        &self,
        name: &str,
        program: Program,
        network: Option<&TestNetwork>,
    ) -> ServicePlan {
        let image = match &self.fake {
            Some(fake) => {
                let image = format!("test/{name}:1");
                program.describe(fake, &image);
                image
            }
            None => std::env::var("ATQ_TEST_IMAGE").unwrap_or("atq-testload:dev".to_owned()),
        };
        let entrypoint = match program {
            Program::Missing => vec!["/nonexistent".to_owned()],
            _ => vec!["/bin/sh".to_owned(), "-c".to_owned()],
        };
        ServicePlan {
            name: format!("atq-{}-{name}", self.run),
            role: Role::Worker,
            labels: self.all_labels(Role::Worker),
            image,
            entrypoint: Some(entrypoint),
            args: vec![program.script()],
            environment: Vec::new(),
            mounts: Vec::new(),
            networks: network.into_iter().map(join).collect(),
            scale: Scale::Replicas(1),
            defined: None,
            tty: false,
            endpoint: Endpoint::VirtualIp,
            host_port: None,
            stop_grace: Duration::from_secs(2),
            constraints: Vec::new(),
            max_replicas_per_node: None,
            resources: Resources::default(),
            pids: None,
        }
    }

    /// All Swarm tasks of this scenario.
    pub async fn tasks(&self) -> Vec<SwarmTask> {
        self.swarm.tasks(&self.labels).await.unwrap()
    }

    pub async fn tasks_of(&self, service: &str) -> Vec<SwarmTask> {
        let mut tasks = self.tasks().await;
        tasks.retain(|task| task.service_id == service);
        tasks
    }

    /// The Swarm tasks that are alive, once there are `n`.
    pub async fn running(&self, n: usize) -> Vec<SwarmTask> {
        self.until(&format!("{n} that run"), |tasks| {
            let alive: Vec<_> = tasks.iter().filter(|t| t.is_alive()).cloned().collect();
            (alive.len() == n).then_some(alive)
        })
        .await
    }

    /// The only Swarm task of a new service, once it has ended.
    pub async fn ended(&self, program: Program, name: &str) -> SwarmTask {
        self.create_and_end(&self.service(name, program, None))
            .await
    }

    pub async fn create_and_end(&self, plan: &ServicePlan) -> SwarmTask {
        let id = self.swarm.create_service(plan).await.unwrap();
        self.until("an end", |tasks| {
            let ended = |t: &&SwarmTask| t.service_id == id && t.state.is_terminal();
            tasks.iter().find(ended).cloned()
        })
        .await
    }

    /// The log, which must be free of errors.
    pub async fn log(&self, task: &SwarmTask, tty: bool, query: LogQuery) -> Vec<LogLine> {
        let stream = self.swarm.task_logs(&task.id, tty, query).await.unwrap();
        stream.map(Result::unwrap).collect().await
    }

    /// Waits until no Swarm task and no container of this scenario is left.
    pub async fn wait_until_nothing_runs(&self) {
        self.wait("neither Swarm task nor container", async || {
            let left = (
                self.tasks().await,
                self.swarm.containers(&self.labels).await.unwrap(),
            );
            (left.0.is_empty() && left.1.is_empty())
                .then_some(())
                .ok_or(format!("{left:?}"))
        })
        .await;
    }

    /// Waits until `found` returns a value for the Swarm tasks.
    pub async fn until<T>(&self, what: &str, found: impl Fn(&[SwarmTask]) -> Option<T>) -> T {
        self.wait(what, async || {
            let tasks = self.tasks().await;
            found(&tasks).ok_or_else(|| format!("{tasks:?}"))
        })
        .await
    }

    /// Polls `probe` until it succeeds; its error is the last observation.
    pub async fn wait<T>(&self, what: &str, probe: impl AsyncFn() -> Result<T, String>) -> T {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            match probe().await {
                Ok(found) => return found,
                Err(seen) if Instant::now() > deadline => panic!("expected {what}, saw {seen}"),
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        }
    }
}

fn join(network: &TestNetwork) -> NetworkJoin {
    NetworkJoin {
        network: network.name.clone(),
        aliases: vec!["alias".to_owned()],
    }
}
