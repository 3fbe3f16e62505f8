//! `probe=tcp:PORT`, with workers on addresses of the loopback network.

use std::net::Ipv4Addr;
use std::time::Duration;

use reqwest::StatusCode;
use tokio::time::timeout;

use crate::client::pair;
use crate::dns::Answer;
use crate::workers::{everywhere, hold};

const FIRST: Ipv4Addr = Ipv4Addr::new(127, 0, 7, 1);
const SECOND: Ipv4Addr = Ipv4Addr::new(127, 0, 7, 2);

#[tokio::test]
async fn only_addresses_that_accept_count() {
    let ([first, _second], port) = hold([FIRST, SECOND]);
    let _first = first.listen(8).unwrap();
    let (_dns, sidecar) = pair(Answer::Records(vec![SECOND, FIRST])).await;
    assert_eq!(sidecar.addresses("/api/w").await.len(), 2);
    let one = format!("/api/w?probe=tcp:{port}");
    assert_eq!(sidecar.addresses(&one).await, ["127.0.7.1"]);
    let wait = format!("/api/w?probe=tcp:{port}&replicas=2&timeout=0.3");
    assert_eq!(sidecar.addresses(&wait).await, ["127.0.7.1"]);
}

#[tokio::test]
async fn none_that_accepts_is_204() {
    let (_closed, port) = hold([FIRST, SECOND]);
    let (_dns, sidecar) = pair(Answer::Records(vec![SECOND, FIRST])).await;
    let (status, _) = sidecar.get(&format!("/api/w?probe=tcp:{port}")).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_wait_ends_when_the_last_one_accepts_and_leaves_the_others_alone() {
    let ([first, second], port) = hold([FIRST, SECOND]);
    let first = first.listen(8).unwrap();
    let (dns, sidecar) = pair(Answer::Records(vec![SECOND, FIRST])).await;
    let path = format!("/api/w?probe=tcp:{port}&replicas=2&timeout=30");
    let request = tokio::spawn(async move { sidecar.addresses(&path).await });
    dns.asked(3).await;
    assert!(!request.is_finished());
    let _second = second.listen(8).unwrap();
    assert_eq!(request.await.unwrap(), ["127.0.7.1", "127.0.7.2"]);
    // One connection is there, although the look was repeated; a second would be ready by now as well.
    first.accept().await.unwrap();
    let again = timeout(Duration::ZERO, first.accept()).await;
    assert!(again.is_err());
}

#[tokio::test]
async fn more_addresses_than_connects_at_once() {
    let port = everywhere().await;
    let records: Vec<_> = (0..200).map(|i| Ipv4Addr::new(127, 0, 8, i)).collect();
    let (_dns, sidecar) = pair(Answer::Records(records)).await;
    let path = format!("/api/w?probe=tcp:{port}&replicas=200&timeout=30");
    assert_eq!(sidecar.addresses(&path).await.len(), 200);
}
