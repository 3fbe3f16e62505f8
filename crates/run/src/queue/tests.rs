#![allow(clippy::unwrap_used)]

use super::*;
use futures_util::FutureExt;
use std::time::Duration;

fn name(text: &str) -> TaskName {
    TaskName::parse(text).unwrap()
}

/// A definition with this name and, after a `/`, the name that it claims.
fn spec(text: &str) -> TaskSpec {
    let (name, exclusive) = match text.split_once('/') {
        Some((name, exclusive)) => (name, Some(exclusive)),
        None => (text, None),
    };
    let mut spec = atq_definition::examples::spec(&[("/name", name.into())]);
    spec.exclusive = exclusive.map(str::to_owned);
    spec
}

/// The tasks came one after the other.
fn queue(limit: usize, texts: &[&str]) -> Arc<Queue> {
    let queue = Queue::new(limit);
    queue.open();
    for (came, text) in (1..).zip(texts) {
        queue.join(&spec(text), Timestamp(came));
    }
    queue
}

#[tokio::test]
async fn turns_come_in_order_and_so_many_at_once_as_configured() {
    let queue = queue(2, &["one", "two", "three"]);
    assert!(queue.turn(&name("two")).now_or_never().is_none());
    let one = queue.turn(&name("one")).now_or_never().unwrap();
    let _two = queue.turn(&name("two")).now_or_never().unwrap();
    assert!(queue.turn(&name("three")).now_or_never().is_none());
    assert_eq!(queue.position(&name("three")), Some(1));
    drop(one);
    assert!(queue.turn(&name("three")).now_or_never().is_some());
    assert_eq!(queue.position(&name("three")), None);
}

#[tokio::test]
async fn joining_twice_keeps_the_place() {
    let queue = queue(1, &["one", "two", "one"]);
    assert_eq!(queue.position(&name("one")), Some(1));
    assert_eq!(queue.position(&name("two")), Some(2));
    queue.leave(&name("one"));
    assert_eq!(queue.position(&name("one")), None);
    assert_eq!(queue.position(&name("two")), Some(1));
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_woken_by_an_end_and_by_a_leave() {
    let queue = queue(1, &["one", "two", "three"]);
    let one = queue.turn(&name("one")).await;
    let waiting = {
        let queue = Arc::clone(&queue);
        tokio::spawn(async move { queue.turn(&name("three")).await })
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
async fn a_wait_that_is_given_up_keeps_the_place_and_takes_no_turn() {
    let queue = queue(1, &["one", "two"]);
    let one = queue.turn(&name("one")).await;
    assert!(queue.turn(&name("two")).now_or_never().is_none());
    drop(one);
    assert_eq!(queue.position(&name("two")), Some(1));
    assert!(queue.turn(&name("two")).now_or_never().is_some());
}

#[tokio::test]
async fn who_ran_before_a_restart_goes_on_and_counts() {
    let queue = queue(1, &["new"]);
    let (first, second) = (queue.resume(), queue.resume());
    drop(first);
    assert!(queue.turn(&name("new")).now_or_never().is_none());
    drop(second);
    assert!(queue.turn(&name("new")).now_or_never().is_some());
}

#[tokio::test]
async fn a_claimed_name_holds_up_its_own_and_nobody_else() {
    let queue = queue(3, &["one/shop", "two/shop", "three/bank", "four"]);
    let (turn, claim) = queue.turn(&name("one")).now_or_never().unwrap();
    assert!(queue.turn(&name("two")).now_or_never().is_none());
    let three = queue.turn(&name("three")).now_or_never().unwrap();
    assert_eq!(queue.position(&name("two")), Some(1));
    // The right to run is given back when clean-up begins, the claim when nothing runs any more.
    drop(turn);
    assert!(queue.turn(&name("two")).now_or_never().is_none());
    drop(claim);
    assert!(queue.turn(&name("two")).now_or_never().is_some());
    drop(three);
}

#[tokio::test]
async fn a_claim_from_before_a_restart_holds() {
    let queue = queue(2, &["new/shop"]);
    let (first, second) = (queue.claim(Some("shop")), queue.claim(None));
    drop(second);
    assert!(queue.turn(&name("new")).now_or_never().is_none());
    drop(first);
    assert!(queue.turn(&name("new")).now_or_never().is_some());
}

#[tokio::test]
async fn places_are_by_arrival_and_not_by_who_joined_first() {
    let queue = Queue::new(1);
    queue.open();
    queue.join(&spec("late"), Timestamp(9));
    queue.join(&spec("early"), Timestamp(3));
    queue.join(&spec("also-early"), Timestamp(3));
    let places = ["also-early", "early", "late"].map(|text| queue.position(&name(text)));
    assert_eq!(places, [Some(1), Some(2), Some(3)]);
}
