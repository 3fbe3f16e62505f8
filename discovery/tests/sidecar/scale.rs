//! Large answers and long names.

use crate::client::pair;
use crate::dns::{Answer, ordered, shuffled};

#[tokio::test]
async fn two_hundred_with_a_name_of_sixty_characters_are_complete() {
    let (_dns, sidecar) = pair(Answer::Records(shuffled(200))).await;
    let path = format!("/api/{}?replicas=200&timeout=5", "w".repeat(60));
    assert_eq!(sidecar.addresses(&path).await, ordered(200));
}

#[tokio::test]
async fn as_many_as_a_dns_message_holds_are_complete() {
    // 4091 with this name make 65534 of the 65535 bytes.
    for count in [1_000, 4_000, 4_091] {
        let (_dns, sidecar) = pair(Answer::Records(shuffled(count))).await;
        let path = format!("/api/{}?replicas={count}&timeout=30", "w".repeat(60));
        assert_eq!(sidecar.addresses(&path).await, ordered(count));
    }
}
