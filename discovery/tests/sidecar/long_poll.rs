//! `replicas` and `timeout`.

use tokio::task::JoinHandle;

use crate::client::{Sidecar, dns_and_sidecar};
use crate::dns::{Answer, ordered, shuffled};

/// Starts a request in the background.
fn start(sidecar: &Sidecar, path: &'static str) -> JoinHandle<Vec<String>> {
    let sidecar = sidecar.clone();
    tokio::spawn(async move { sidecar.addresses(path).await })
}

#[tokio::test]
async fn responds_at_once_with_enough_addresses() {
    let (dns, sidecar) = dns_and_sidecar(Answer::Records(shuffled(5))).await;
    assert_eq!(
        sidecar.addresses("/api/w?replicas=3&timeout=30").await,
        ordered(5)
    );
    assert_eq!(dns.questions().len(), 1);
}

#[tokio::test]
async fn responds_when_the_last_address_appears() {
    let (dns, sidecar) = dns_and_sidecar(Answer::NxDomain).await;
    let request = start(&sidecar, "/api/w?replicas=3&timeout=30s");
    dns.wait_for_questions(2).await;
    dns.always(Answer::Records(shuffled(2)));
    // After two more questions, at least one answer had two addresses.
    dns.wait_for_questions(dns.questions().len() + 2).await;
    assert!(!request.is_finished());
    dns.always(Answer::Records(shuffled(3)));
    assert_eq!(request.await.unwrap(), ordered(3));
}

#[tokio::test]
async fn retries_after_every_kind_of_failure() {
    let (dns, sidecar) = dns_and_sidecar(Answer::Records(shuffled(3))).await;
    let bad = [
        Answer::Stall,
        Answer::Close,
        Answer::NxDomain,
        Answer::HalfThenClose,
        Answer::Garbage,
        Answer::ServerFailure,
        Answer::Truncated(shuffled(9)),
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
async fn a_timeout_returns_the_addresses_so_far() {
    let (_dns, sidecar) = dns_and_sidecar(Answer::Records(shuffled(2))).await;
    assert_eq!(
        sidecar.addresses("/api/w?replicas=3&timeout=100ms").await,
        ordered(2)
    );
}

#[tokio::test]
async fn a_timeout_without_addresses_is_204() {
    let (dns, sidecar) = dns_and_sidecar(Answer::NxDomain).await;
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
async fn a_timeout_of_zero_allows_one_lookup() {
    let (_dns, sidecar) = dns_and_sidecar(Answer::Records(shuffled(3))).await;
    assert_eq!(
        sidecar.addresses("/api/w?replicas=4&timeout=0").await,
        ordered(3)
    );
}

#[tokio::test]
async fn one_failure_keeps_the_addresses_so_far() {
    let (dns, sidecar) = dns_and_sidecar(Answer::Stall).await;
    dns.once(Answer::Records(shuffled(2)));
    assert_eq!(
        sidecar.addresses("/api/w?replicas=3&timeout=0.2").await,
        ordered(2)
    );
}

#[tokio::test]
async fn addresses_of_different_lookups_are_never_combined() {
    let (dns, sidecar) = dns_and_sidecar(Answer::Empty).await;
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
async fn addresses_that_disappeared_are_not_returned() {
    let (dns, sidecar) = dns_and_sidecar(Answer::Records(shuffled(2))).await;
    let request = start(&sidecar, "/api/w?replicas=3&timeout=1");
    dns.wait_for_questions(2).await;
    dns.always(Answer::Close);
    assert_eq!(request.await.unwrap(), ordered(0));
}

#[tokio::test]
async fn a_lookup_without_response_is_hedged() {
    let (dns, sidecar) = dns_and_sidecar(Answer::Stall).await;
    let request = start(&sidecar, "/api/w?replicas=3&timeout=30");
    dns.wait_for_connections(3).await;
    dns.always(Answer::Records(shuffled(3)));
    assert_eq!(request.await.unwrap(), ordered(3));
    dns.wait_until_disconnected().await;
}

#[tokio::test]
async fn many_requests_wait_concurrently() {
    let (dns, sidecar) = dns_and_sidecar(Answer::NxDomain).await;
    let requests: Vec<_> = (0..40)
        .map(|_| start(&sidecar, "/api/w?replicas=3&timeout=30"))
        .collect();
    dns.wait_for_questions(100).await;
    dns.always(Answer::Records(shuffled(3)));
    for request in requests {
        assert_eq!(request.await.unwrap(), ordered(3));
    }
}
