#![allow(clippy::unwrap_used)]

use super::*;
use crate::fake::FakeSwarm;
use crate::plan::LABEL_RUN;
use futures_util::future::join_all;

const DIRECTOR: &str = "director-1";
const SECOND: Duration = Duration::from_secs(1);

fn lists(fake: &FakeSwarm) -> Arc<SharedLists> {
    Arc::new(SharedLists::new(Arc::new(fake.clone()), DIRECTOR))
}

fn labels(run: &str) -> Labels {
    [(LABEL_RUN, run), (LABEL_DIRECTOR, DIRECTOR)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

fn network(run: &str, third: u8) -> NetworkPlan {
    NetworkPlan {
        name: format!("net-{run}"),
        subnet: format!("10.224.{third}.0/24").parse().unwrap(),
        labels: labels(run),
    }
}

/// Lists repeatedly for ten seconds from this many drivers concurrently. Returns the calls per second that reach
/// Docker.
async fn rate(drivers: usize) -> usize {
    let fake = FakeSwarm::new();
    let lists = lists(&fake);
    let end = Instant::now() + SECOND * 10;
    let driver = |number: usize| {
        let lists = Arc::clone(&lists);
        async move {
            while Instant::now() < end {
                lists.tasks(&labels(&number.to_string())).await.unwrap();
                tokio::time::sleep(Duration::from_millis(50 + number as u64)).await;
            }
        }
    };
    join_all((0..drivers).map(driver)).await;
    fake.calls().len() / 10
}

#[tokio::test(start_paused = true)]
async fn twenty_runs_need_no_more_calls_than_two() {
    let (two, twenty) = (rate(2).await, rate(20).await);
    assert!(two >= 15, "{two} calls per second");
    assert!(
        twenty <= two.max(22),
        "{twenty} calls per second, {two} for two runs"
    );
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_one_driver_does_not_wait() {
    let lists = lists(&FakeSwarm::new());
    let started = Instant::now();
    for _ in 0..10 {
        lists.nodes().await.unwrap();
    }
    assert_eq!(started.elapsed(), Duration::from_millis(20));
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_never_older_than_its_request() {
    let fake = FakeSwarm::new();
    let lists = lists(&fake);
    for third in 0..30 {
        let run = third.to_string();
        lists.create_network(&network(&run, third)).await.unwrap();
        let (seen, also) = tokio::join!(lists.networks(), lists.networks());
        for networks in [seen.unwrap(), also.unwrap()] {
            let is_new = |network: &Network| network.name == format!("net-{run}");
            assert!(networks.iter().any(is_new), "{run}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_is_suspended_during_a_call_delays_no_other() {
    let fake = FakeSwarm::new();
    fake.set_latency(SECOND);
    let lists = lists(&fake);
    let mut suspended = Box::pin(lists.nodes());
    assert!(futures_util::poll!(&mut suspended).is_pending());
    tokio::time::sleep(SECOND / 2).await;
    assert_eq!(lists.nodes().await.unwrap().len(), 1);
    assert_eq!(suspended.await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_shared_and_not_cached() {
    let fake = FakeSwarm::new();
    let lists = lists(&fake);
    lists.nodes().await.unwrap();
    let gone = SwarmError::Unavailable {
        host: "unix:///nowhere".to_owned(),
        reason: "gone".to_owned(),
    };
    fake.fail_at(2, gone.clone());
    assert_eq!(lists.nodes().await.unwrap_err(), gone);
    lists.nodes().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_slow_list_is_requested_less_often() {
    let fake = FakeSwarm::new();
    fake.set_latency(Duration::from_millis(40));
    let lists = lists(&fake);
    let started = Instant::now();
    while started.elapsed() < SECOND * 20 {
        lists.nodes().await.unwrap();
    }
    let calls = fake.calls().len();
    assert!((115..=140).contains(&calls), "{calls} calls in 20 s");
}

#[tokio::test(start_paused = true)]
async fn slow_calls_do_not_delay_the_quick_ones_after_them() {
    let fake = FakeSwarm::new();
    let lists = lists(&fake);
    fake.set_latency(SECOND);
    for _ in 0..20 {
        lists.tasks(&labels("one")).await.unwrap();
    }
    fake.set_latency(Duration::from_millis(2));
    for call in 0..20 {
        let started = Instant::now();
        lists.tasks(&labels("one")).await.unwrap();
        let waited = started.elapsed();
        assert!(waited <= MAX_INTERVAL * 2, "call {call}: {waited:?}");
    }
}
