//! `replicas` and `timeout`.

use tokio::task::JoinHandle;

use crate::client::{Sidecar, pair};
use crate::dns::{Answer, ordered, shuffled};

/// A request that nobody has to wait for yet.
fn start(sidecar: &Sidecar, path: &'static str) -> JoinHandle<Vec<String>> {
    let sidecar = sidecar.clone();
    tokio::spawn(async move { sidecar.addresses(path).await })
}

#[tokio::test]
async fn answers_at_once_when_enough_are_there() {
    let (dns, sidecar) = pair(Answer::Records(shuffled(5))).await;
    assert_eq!(
        sidecar.addresses("/api/w?replicas=3&timeout=30").await,
        ordered(5)
    );
    assert_eq!(dns.questions().len(), 1);
}

#[tokio::test]
async fn answers_when_the_last_one_appears() {
    let (dns, sidecar) = pair(Answer::NxDomain).await;
    let request = start(&sidecar, "/api/w?replicas=3&timeout=30s");
    dns.asked(2).await;
    dns.always(Answer::Records(shuffled(2)));
    // The second question from now on was answered with two at the latest.
    dns.asked(dns.questions().len() + 2).await;
    assert!(!request.is_finished());
    dns.always(Answer::Records(shuffled(3)));
    assert_eq!(request.await.unwrap(), ordered(3));
}

#[tokio::test]
async fn waits_through_every_kind_of_bad_answer() {
    let (dns, sidecar) = pair(Answer::Records(shuffled(3))).await;
    let bad = [
        Answer::Stall,
        Answer::Close,
        Answer::NxDomain,
        Answer::HalfThenClose,
        Answer::Garbage,
        Answer::ServerFailure,
        Answer::Cut(shuffled(9)),
        Answer::Empty,
    ];
    let count = bad.len();
    bad.into_iter().for_each(|answer| dns.once(answer));
    assert_eq!(
        sidecar.addresses("/api/w?replicas=3&timeout=30").await,
        ordered(3)
    );
    assert_eq!(dns.questions().len(), count + 1);
}

#[tokio::test]
async fn a_part_is_the_answer_when_time_is_up() {
    let (_dns, sidecar) = pair(Answer::Records(shuffled(2))).await;
    assert_eq!(
        sidecar.addresses("/api/w?replicas=3&timeout=100ms").await,
        ordered(2)
    );
}

#[tokio::test]
async fn nothing_is_204_when_time_is_up() {
    let (dns, sidecar) = pair(Answer::NxDomain).await;
    assert_eq!(
        sidecar.addresses("/api/w?replicas=3&timeout=0.1").await,
        ordered(0)
    );
    dns.always(Answer::Stall);
    assert_eq!(
        sidecar.addresses("/api/w?replicas=3&timeout=0.1").await,
        ordered(0)
    );
}

#[tokio::test]
async fn no_time_at_all_is_enough_for_one_look() {
    let (_dns, sidecar) = pair(Answer::Records(shuffled(3))).await;
    assert_eq!(
        sidecar.addresses("/api/w?replicas=4&timeout=0").await,
        ordered(3)
    );
}

#[tokio::test]
async fn one_bad_answer_does_not_hide_a_part() {
    let (dns, sidecar) = pair(Answer::Stall).await;
    dns.once(Answer::Records(shuffled(2)));
    assert_eq!(
        sidecar.addresses("/api/w?replicas=3&timeout=0.2").await,
        ordered(2)
    );
}

#[tokio::test]
async fn addresses_of_different_looks_are_never_put_together() {
    let (dns, sidecar) = pair(Answer::Empty).await;
    let all = shuffled(4);
    for _ in 0..200 {
        dns.once(Answer::Records(all[..2].to_vec()));
        dns.once(Answer::Records(all[2..].to_vec()));
    }
    let found = sidecar.addresses("/api/w?replicas=3&timeout=0.3").await;
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(dns.questions().len() >= 2);
}

#[tokio::test]
async fn addresses_that_went_away_are_not_in_the_answer() {
    let (dns, sidecar) = pair(Answer::Records(shuffled(2))).await;
    let request = start(&sidecar, "/api/w?replicas=3&timeout=1");
    dns.asked(2).await;
    dns.always(Answer::Close);
    assert_eq!(request.await.unwrap(), ordered(0));
}

#[tokio::test]
async fn a_silent_look_is_joined_by_another() {
    let (dns, sidecar) = pair(Answer::Stall).await;
    let request = start(&sidecar, "/api/w?replicas=3&timeout=30");
    dns.visited(3).await;
    dns.always(Answer::Records(shuffled(3)));
    assert_eq!(request.await.unwrap(), ordered(3));
    dns.left().await;
}

#[tokio::test]
async fn many_requests_wait_side_by_side() {
    let (dns, sidecar) = pair(Answer::NxDomain).await;
    let requests: Vec<_> = (0..40)
        .map(|_| start(&sidecar, "/api/w?replicas=3&timeout=30"))
        .collect();
    dns.asked(100).await;
    dns.always(Answer::Records(shuffled(3)));
    for request in requests {
        assert_eq!(request.await.unwrap(), ordered(3));
    }
}
