//! Large answers and long names.

use crate::client::dns_and_sidecar;
use crate::dns::{Answer, ordered, shuffled};

#[tokio::test]
async fn two_hundred_addresses_of_a_long_name_are_complete() {
    let (_dns, sidecar) = dns_and_sidecar(Answer::Records(shuffled(200))).await;
    let path = format!("/api/{}?replicas=200&timeout=5", "w".repeat(60));
    assert_eq!(sidecar.addresses(&path).await, ordered(200));
}

#[tokio::test]
async fn the_maximum_of_a_dns_message_is_complete() {
    // With this name, 4091 addresses take 65534 of the 65535 bytes.
    for count in [1_000, 4_000, 4_091] {
        let (_dns, sidecar) = dns_and_sidecar(Answer::Records(shuffled(count))).await;
        let path = format!("/api/{}?replicas={count}&timeout=30", "w".repeat(60));
        assert_eq!(sidecar.addresses(&path).await, ordered(count));
    }
}
