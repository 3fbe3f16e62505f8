#![allow(clippy::unwrap_used)]

use super::*;
use crate::carrier_endpoint::CarrierEndpoint;
use crate::node_auth::NodeAuth;
use crate::plan::{Errand, carrier_token};
use async_trait::async_trait;
use atq_engine::{Received, Role};
use atq_node_protocol::tail::{Header, Part, SourceProblem, encode};
use std::future::pending;
use tokio::sync::Semaphore;
use tokio::time::{Duration, timeout};

const SECRET: &str = "0123456789abcdef";
const W1: Source = Source::new(Role::Worker, 1);
const W2: Source = Source::new(Role::Worker, 2);

/// Keeps everything; the names of files determine the outcome.
#[derive(Default)]
struct Recorder {
    appended: Mutex<Vec<Appended>>,
    renames: Mutex<Vec<Renames>>,
    up_to_date: Mutex<Vec<Vec<UpToDate>>>,
    problems: Mutex<Vec<(Vec<Source>, ReadProblem)>>,
    /// Permits for the file `slow`.
    permits: Option<Semaphore>,
}

#[async_trait]
impl ResultsSink for Recorder {
    async fn append(&self, appended: Appended) -> Result<Append, String> {
        let path = appended.path.clone();
        if let ("slow", Some(permits)) = (path.as_str(), &self.permits) {
            permits.acquire().await.unwrap().forget();
        }
        self.appended.lock().push(appended);
        match path.as_str() {
            "known" => Ok(Append::ResumeAt(Received {
                generation: 3,
                bytes: 7,
            })),
            "binary" => Ok(Append::Ignored),
            "full" => Err("no space left".to_owned()),
            _ => Ok(Append::Accepted),
        }
    }

    async fn rename(&self, renames: Renames) -> Result<(), String> {
        if renames.id == "full" {
            return Err("no space left".to_owned());
        }
        self.renames.lock().push(renames);
        Ok(())
    }

    fn up_to_date(&self, sources: &[UpToDate]) {
        self.up_to_date.lock().push(sources.to_vec());
    }

    fn problem(&self, sources: &[Source], problem: ReadProblem) {
        self.problems.lock().push((sources.to_vec(), problem));
    }
}

struct Fixture {
    endpoint: CarrierEndpoint,
    recorder: Arc<Recorder>,
    followed: Arc<FollowedRun>,
}

/// A run with two workers on `n1`, and one on `n2`.
fn fixture(recorder: Recorder) -> Fixture {
    let node_auth = Arc::new(NodeAuth::default());
    std::mem::forget(node_auth.register("r1", SECRET));
    let endpoint = CarrierEndpoint {
        node_auth,
        ingest: Arc::default(),
    };
    let recorder = Arc::new(recorder);
    let on = |replica, node: &str| (Source::new(Role::Worker, replica), node.to_owned());
    let placed = HashSet::from([on(1, "n1"), on(2, "n1"), on(3, "n2")]);
    let followed = Arc::new(FollowedRun::new(Arc::clone(&recorder) as _, placed));
    endpoint.ingest.follow("r1", Arc::clone(&followed));
    Fixture {
        endpoint,
        recorder,
        followed,
    }
}

/// A container all of whose files are read.
fn complete(source: Source) -> UpToDate {
    UpToDate {
        source,
        incomplete: None,
    }
}

fn token(node: &str) -> String {
    carrier_token(SECRET, "r1", Errand::Tail { node })
}

fn part(source: &str, path: &str, length: u64) -> Part {
    Part {
        source: source.to_owned(),
        path: path.to_owned(),
        generation: 2,
        offset: 5,
        length,
    }
}

fn body(parts: Vec<Part>, up_to_date: &[&str], bytes: &[u8]) -> Bytes {
    let header = Header {
        parts,
        up_to_date: up_to_date.iter().map(|one| (*one).to_owned()).collect(),
        ..Header::default()
    };
    encode(&header, bytes).into()
}

impl Fixture {
    async fn send(&self, body: Bytes) -> Result<Answer, RequestError> {
        let turn = self.endpoint.tail_turn("r1", &token("n1"), "n1")?;
        turn.receive(body).await
    }
}

#[tokio::test]
async fn parts_are_passed_on_in_order_with_their_bytes() {
    let fixture = fixture(Recorder::default());
    let parts = vec![part("worker.1", "a/b", 2), part("worker.2", "c", 3)];
    let sent = body(parts, &["worker.1", "worker.2"], b"abcde");
    let answer = fixture.send(sent).await.unwrap();
    assert_eq!(answer.parts, [Outcome::Accepted, Outcome::Accepted]);
    let appended = |source, path: &str, bytes: &'static [u8]| Appended {
        source,
        path: path.to_owned(),
        generation: 2,
        offset: 5,
        bytes: Bytes::from_static(bytes),
    };
    assert_eq!(
        *fixture.recorder.appended.lock(),
        [appended(W1, "a/b", b"ab"), appended(W2, "c", b"cde")]
    );
    assert_eq!(
        *fixture.recorder.up_to_date.lock(),
        [[complete(W1), complete(W2)]]
    );
}

#[tokio::test]
async fn only_a_container_whose_bytes_are_stored_is_up_to_date() {
    let fixture = fixture(Recorder::default());
    for (path, outcome) in [
        (
            "known",
            Outcome::ResumeAt {
                generation: 3,
                bytes: 7,
            },
        ),
        ("full", Outcome::NotStored),
    ] {
        let parts = vec![part("worker.1", path, 0), part("worker.2", "binary", 0)];
        let sent = body(parts, &["worker.1", "worker.2"], b"");
        let answer = fixture.send(sent).await.unwrap();
        assert_eq!(answer.parts, [outcome, Outcome::Ignored]);
        let up_to_date = fixture.recorder.up_to_date.lock().pop();
        assert_eq!(up_to_date.unwrap(), [complete(W2)]);
    }
    assert_eq!(
        *fixture.recorder.problems.lock(),
        [(
            vec![W1],
            ReadProblem::Unread("its files cannot be stored: no space left".to_owned())
        )]
    );
}

#[tokio::test]
async fn a_body_that_relies_on_an_earlier_instance_makes_no_container_up_to_date() {
    let fixture = fixture(Recorder::default());
    let header = |instance: Option<String>| Header {
        up_to_date: vec!["worker.1".to_owned()],
        instance,
        ..Header::default()
    };
    let send = async |instance| {
        let sent = encode(&header(instance), b"").into();
        let instance = fixture.send(sent).await.unwrap().instance.unwrap();
        let number = fixture.recorder.up_to_date.lock().len();
        (instance, number)
    };
    let (instance, number) = send(None).await;
    assert_eq!(number, 1);
    let earlier = send(Some("earlier".to_owned())).await;
    assert_eq!(earlier, (instance.clone(), 1));
    assert_eq!(send(Some(instance)).await.1, 2);
    let later = FollowedRun::new(Arc::clone(&fixture.recorder) as _, HashSet::new());
    assert_ne!(later.instance, earlier.0);
}

#[tokio::test]
async fn renames_are_passed_on_before_the_parts_and_acknowledged_when_they_are_stored() {
    let fixture = fixture(Recorder::default());
    let header = |source: &str, id: &str| Header {
        renames: Some(tail::Renames {
            source: source.to_owned(),
            id: id.to_owned(),
            paths: vec![tail::Renamed {
                from: "log".to_owned(),
                to: "log.1".to_owned(),
            }],
        }),
        ..Header::default()
    };
    let sent = encode(&header("worker.1", "1"), b"").into();
    assert!(fixture.send(sent).await.unwrap().renamed);
    let expected = Renames {
        source: W1,
        id: "1".to_owned(),
        paths: vec![("log".to_owned(), "log.1".to_owned())],
    };
    assert_eq!(*fixture.recorder.renames.lock(), [expected]);
    let sent = encode(&header("worker.1", "full"), b"").into();
    assert!(!fixture.send(sent).await.unwrap().renamed);
    let told = fixture.recorder.problems.lock().pop().unwrap();
    let problem = "its files cannot be renamed: no space left".to_owned();
    assert_eq!(told, (vec![W1], ReadProblem::Unread(problem)));
    let elsewhere = encode(&header("worker.3", "1"), b"").into();
    let refused = fixture.send(elsewhere).await;
    assert!(matches!(refused, Err(RequestError::NotOnNode { .. })));
}

#[tokio::test]
async fn only_the_token_of_this_errand_of_this_node_is_accepted() {
    let fixture = fixture(Recorder::default());
    let begin = |run: &str, token: &str, node: &str| {
        let begun = fixture.endpoint.tail_turn(run, token, node);
        begun.map(drop)
    };
    let collect = carrier_token(SECRET, "r1", Errand::Collect { node: "n1" });
    for (run, token, node) in [
        ("r1", token("n2"), "n1"),
        ("r1", token("n1"), "n2"),
        ("r2", token("n1"), "n1"),
        ("r1", collect, "n1"),
        ("r1", carrier_token(SECRET, "r1", Errand::Watch), "n1"),
        ("r1", String::new(), "n1"),
    ] {
        let refused = begin(run, &token, node);
        assert_eq!(refused, Err(RequestError::Unauthorized), "{run} {node}");
    }
    let elsewhere = begin("r1", &token("n9"), "n9");
    assert!(matches!(elsewhere, Err(RequestError::NotOnNode { .. })));
    assert_eq!(begin("r1", &token("n2"), "n2"), Ok(()));
}

#[tokio::test]
async fn a_body_that_names_a_container_of_another_node_is_refused_as_a_whole() {
    let fixture = fixture(Recorder::default());
    for source in ["worker.3", "worker.4", "worker.01", "../worker.1", ""] {
        let parts = vec![part("worker.1", "a", 0), part(source, "a", 0)];
        let refused = fixture.send(body(parts, &[], b"")).await.unwrap_err();
        assert!(
            matches!(refused, RequestError::NotOnNode { .. }),
            "{source}"
        );
        let refused = fixture.send(body(vec![], &[source], b"")).await;
        assert!(matches!(refused, Err(RequestError::NotOnNode { .. })));
    }
    assert_eq!(*fixture.recorder.appended.lock(), []);
    assert!(fixture.recorder.up_to_date.lock().is_empty());
}

#[tokio::test]
async fn an_invalid_body_is_refused() {
    let fixture = fixture(Recorder::default());
    let outside = vec![part("worker.1", "../a", 0)];
    for body in [Bytes::new(), "{}".into(), body(outside, &[], b"")] {
        let refused = fixture.send(body).await.unwrap_err();
        assert!(matches!(refused, RequestError::Invalid(_)), "{refused}");
    }
}

#[tokio::test]
async fn problems_of_a_carrier_are_passed_on_and_shortened() {
    let fixture = fixture(Recorder::default());
    let header = Header {
        problems: vec![SourceProblem {
            source: "worker.2".to_owned(),
            problem: "ä".repeat(2000),
            is_unread: true,
        }],
        ..Header::default()
    };
    fixture.send(encode(&header, b"").into()).await.unwrap();
    let told = fixture.recorder.problems.lock().remove(0);
    let shortened = ReadProblem::Unread("ä".repeat(MAX_REASON));
    assert_eq!(told, (vec![W2], shortened));
}

#[tokio::test]
async fn a_container_is_up_to_date_and_incomplete_in_one_step() {
    let fixture = fixture(Recorder::default());
    let problem = |source: &str| SourceProblem {
        source: source.to_owned(),
        problem: "too many files".to_owned(),
        is_unread: false,
    };
    let header = Header {
        up_to_date: vec!["worker.1".to_owned()],
        problems: vec![problem("worker.1"), problem("worker.2")],
        ..Header::default()
    };
    fixture.send(encode(&header, b"").into()).await.unwrap();
    let incomplete = UpToDate {
        source: W1,
        incomplete: Some("too many files".to_owned()),
    };
    assert_eq!(*fixture.recorder.up_to_date.lock(), [[incomplete]]);
    let told = ReadProblem::Incomplete("too many files".to_owned());
    assert_eq!(*fixture.recorder.problems.lock(), [(vec![W2], told)]);
}

#[tokio::test]
async fn a_later_request_replaces_one_that_is_not_complete() {
    let fixture = fixture(Recorder::default());
    let first = fixture
        .endpoint
        .tail_turn("r1", &token("n1"), "n1")
        .unwrap();
    let reading = first.unless_replaced(pending::<()>());
    let second = async {
        fixture
            .send(body(vec![part("worker.1", "a", 0)], &[], b""))
            .await
    };
    let (replaced, answer) = tokio::join!(reading, second);
    assert_eq!(replaced, Err(RequestError::Replaced("n1".to_owned())));
    assert_eq!(answer.unwrap().parts, [Outcome::Accepted]);
    // Requests of other nodes are independent.
    let first = fixture
        .endpoint
        .tail_turn("r1", &token("n1"), "n1")
        .unwrap();
    let _other = fixture
        .endpoint
        .tail_turn("r1", &token("n2"), "n2")
        .unwrap();
    assert_eq!(first.unless_replaced(async { 7 }).await, Ok(7));
}

#[tokio::test(start_paused = true)]
async fn bodies_of_a_node_are_processed_one_after_the_other() {
    let recorder = Recorder {
        permits: Some(Semaphore::new(0)),
        ..Recorder::default()
    };
    let fixture = fixture(recorder);
    let slow = || body(vec![part("worker.1", "slow", 0)], &[], b"");
    let first = fixture.send(slow());
    let second = fixture.send(body(vec![part("worker.1", "a", 0)], &[], b""));
    tokio::pin!(first, second);
    let early = async { tokio::join!(&mut first, &mut second) };
    assert!(timeout(Duration::from_secs(60), early).await.is_err());
    assert_eq!(*fixture.recorder.appended.lock(), []);
    fixture.recorder.permits.as_ref().unwrap().add_permits(1);
    let (first, second) = tokio::join!(first, second);
    assert!(first.is_ok() && second.is_ok());
    let paths = fixture.recorder.appended.lock();
    let paths: Vec<&str> = paths.iter().map(|one| one.path.as_str()).collect();
    assert_eq!(paths, ["slow", "a"]);
}

#[tokio::test]
async fn a_run_that_is_not_followed_any_more_accepts_nothing() {
    let fixture = fixture(Recorder::default());
    let later = fixture
        .endpoint
        .tail_turn("r1", &token("n1"), "n1")
        .unwrap();
    let ingest = &fixture.endpoint.ingest;
    // An earlier registration does not end a later one.
    let again = Arc::new(FollowedRun::new(
        Arc::clone(&fixture.recorder) as _,
        HashSet::from([(W1, "n1".to_owned())]),
    ));
    ingest.follow("r1", Arc::clone(&again));
    ingest.unfollow("r1", &fixture.followed);
    assert!(fixture.send(body(vec![], &[], b"")).await.is_ok());
    ingest.unfollow("r1", &again);
    let refused = fixture.send(body(vec![], &[], b"")).await;
    assert_eq!(refused, Err(RequestError::NotFollowed));
    // What was received completely is stored.
    let sent = body(vec![part("worker.1", "a", 0)], &[], b"");
    assert!(later.receive(sent).await.is_ok());
}
