//! `probe=tcp:PORT`, with workers on addresses of the loopback network.

use std::net::Ipv4Addr;
use std::time::Duration;

use reqwest::StatusCode;
use tokio::time::timeout;

use crate::client::dns_and_sidecar;
use crate::dns::Answer;
use crate::workers::{accept_everywhere, reserve_port};

const FIRST: Ipv4Addr = Ipv4Addr::new(127, 0, 7, 1);
const SECOND: Ipv4Addr = Ipv4Addr::new(127, 0, 7, 2);

#[tokio::test]
async fn only_addresses_that_accept_count() {
    let ([first, _second], port) = reserve_port([FIRST, SECOND]);
    let _first = first.listen(8).unwrap();
    let (_dns, sidecar) = dns_and_sidecar(Answer::Records(vec![SECOND, FIRST])).await;
    assert_eq!(sidecar.addresses("/api/w").await.len(), 2);
    let one = format!("/api/w?probe=tcp:{port}");
    assert_eq!(sidecar.addresses(&one).await, ["127.0.7.1"]);
    let wait = format!("/api/w?probe=tcp:{port}&replicas=2&timeout=0.3");
    assert_eq!(sidecar.addresses(&wait).await, ["127.0.7.1"]);
}

#[tokio::test]
async fn no_accepting_address_is_204() {
    let (_closed, port) = reserve_port([FIRST, SECOND]);
    let (_dns, sidecar) = dns_and_sidecar(Answer::Records(vec![SECOND, FIRST])).await;
    let (status, _) = sidecar.get(&format!("/api/w?probe=tcp:{port}")).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_wait_ends_when_the_last_worker_accepts_and_others_are_not_probed_again() {
    let ([first, second], port) = reserve_port([FIRST, SECOND]);
    let first = first.listen(8).unwrap();
    let (dns, sidecar) = dns_and_sidecar(Answer::Records(vec![SECOND, FIRST])).await;
    let path = format!("/api/w?probe=tcp:{port}&replicas=2&timeout=30");
    let request = tokio::spawn(async move { sidecar.addresses(&path).await });
    dns.wait_for_questions(3).await;
    assert!(!request.is_finished());
    let _second = second.listen(8).unwrap();
    assert_eq!(request.await.unwrap(), ["127.0.7.1", "127.0.7.2"]);
    // Only one connection was made, although the lookup was repeated; a second one would be in the queue by now.
    first.accept().await.unwrap();
    let second = timeout(Duration::ZERO, first.accept()).await;
    assert!(second.is_err());
}

#[tokio::test]
async fn more_addresses_than_concurrent_attempts() {
    let port = accept_everywhere().await;
    let records: Vec<_> = (0..200).map(|i| Ipv4Addr::new(127, 0, 8, i)).collect();
    let (_dns, sidecar) = dns_and_sidecar(Answer::Records(records)).await;
    let path = format!("/api/w?probe=tcp:{port}&replicas=200&timeout=30");
    assert_eq!(sidecar.addresses(&path).await.len(), 200);
}
