#![allow(clippy::unwrap_used)]

use super::*;
use futures_util::FutureExt;
use std::time::Duration;

fn name(text: &str) -> TaskName {
    TaskName::parse(text).unwrap()
}

/// A definition with this name and, after a `/`, the claimed name.
fn spec(text: &str) -> TaskSpec {
    let (name, exclusive) = match text.split_once('/') {
        Some((name, exclusive)) => (name, Some(exclusive)),
        None => (text, None),
    };
    let mut spec = atq_definition::examples::spec(&[("/name", name.into())]);
    spec.exclusive = exclusive.map(str::to_owned);
    spec
}

/// A queue with tasks that arrived in this order.
fn queue(limit: usize, texts: &[&str]) -> Arc<Queue> {
    let queue = Queue::new(limit);
    queue.open();
    for (arrival, text) in (1..).zip(texts) {
        queue.join(&spec(text), Timestamp(arrival));
    }
    queue
}

#[tokio::test]
async fn tasks_start_in_order_up_to_the_limit() {
    let queue = queue(2, &["one", "two", "three"]);
    assert!(queue.acquire(&name("two")).now_or_never().is_none());
    let one = queue.acquire(&name("one")).now_or_never().unwrap();
    let _two = queue.acquire(&name("two")).now_or_never().unwrap();
    assert!(queue.acquire(&name("three")).now_or_never().is_none());
    assert_eq!(queue.position(&name("three")), Some(1));
    drop(one);
    assert!(queue.acquire(&name("three")).now_or_never().is_some());
    assert_eq!(queue.position(&name("three")), None);
}

#[tokio::test]
async fn joining_twice_keeps_the_position() {
    let queue = queue(1, &["one", "two", "one"]);
    assert_eq!(queue.position(&name("one")), Some(1));
    assert_eq!(queue.position(&name("two")), Some(2));
    queue.leave(&name("one"));
    assert_eq!(queue.position(&name("one")), None);
    assert_eq!(queue.position(&name("two")), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_waiting_task_wakes_when_another_ends_or_leaves() {
    let queue = queue(1, &["one", "two", "three"]);
    let one = queue.acquire(&name("one")).await;
    let waiting = {
        let queue = Arc::clone(&queue);
        tokio::spawn(async move { queue.acquire(&name("three")).await })
    };
    tokio::task::yield_now().await;
    drop(one);
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished(), "`two` is first");
    queue.leave(&name("two"));
    tokio::time::timeout(Duration::from_secs(1), waiting)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_cancelled_wait_keeps_the_position_and_takes_no_slot() {
    let queue = queue(1, &["one", "two"]);
    let one = queue.acquire(&name("one")).await;
    assert!(queue.acquire(&name("two")).now_or_never().is_none());
    drop(one);
    assert_eq!(queue.position(&name("two")), Some(1));
    assert!(queue.acquire(&name("two")).now_or_never().is_some());
}

#[tokio::test]
async fn tasks_resumed_after_a_restart_count_towards_the_limit() {
    let queue = queue(1, &["new"]);
    let (first, second) = (queue.resume(), queue.resume());
    drop(first);
    assert!(queue.acquire(&name("new")).now_or_never().is_none());
    drop(second);
    assert!(queue.acquire(&name("new")).now_or_never().is_some());
}

#[tokio::test]
async fn a_claimed_name_blocks_only_tasks_that_claim_it() {
    let queue = queue(3, &["one/shop", "two/shop", "three/bank", "four"]);
    let (slot, claim) = queue.acquire(&name("one")).now_or_never().unwrap();
    assert!(queue.acquire(&name("two")).now_or_never().is_none());
    let three = queue.acquire(&name("three")).now_or_never().unwrap();
    assert_eq!(queue.position(&name("two")), Some(1));
    // The slot is released when the report begins, the claim when the run is complete.
    drop(slot);
    assert!(queue.acquire(&name("two")).now_or_never().is_none());
    drop(claim);
    assert!(queue.acquire(&name("two")).now_or_never().is_some());
    drop(three);
}

#[tokio::test]
async fn a_claim_resumed_after_a_restart_holds() {
    let queue = queue(2, &["new/shop"]);
    let (first, second) = (queue.claim(Some("shop")), queue.claim(None));
    drop(second);
    assert!(queue.acquire(&name("new")).now_or_never().is_none());
    drop(first);
    assert!(queue.acquire(&name("new")).now_or_never().is_some());
}

#[tokio::test]
async fn positions_follow_arrival_and_not_the_order_of_joining() {
    let queue = Queue::new(1);
    queue.open();
    queue.join(&spec("late"), Timestamp(9));
    queue.join(&spec("early"), Timestamp(3));
    queue.join(&spec("also-early"), Timestamp(3));
    let positions = ["also-early", "early", "late"].map(|text| queue.position(&name(text)));
    assert_eq!(positions, [Some(1), Some(2), Some(3)]);
}
