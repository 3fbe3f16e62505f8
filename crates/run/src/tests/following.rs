//! Streams of events and log lines.

use super::simulation::{Director, Simulation, name, simple, task};
use crate::events::HistoryUpdate;
use crate::logs::{LogFilter, SourcedLine};
use atq_engine::Role;
use atq_task::spec::TaskName;
use atq_task::state::Step;
use futures_util::StreamExt;
use serde_json::json;
use std::time::Duration;
use tokio::time::sleep;

fn text((source, line): SourcedLine) -> String {
    format!("{source} {}", line.text)
}

impl Director {
    /// Follows the logs to the end.
    async fn follow(&self, name: &TaskName, filter: LogFilter) -> Vec<String> {
        let mut lines = self
            .orchestrator
            .follow_logs(&self.view(name), filter)
            .await
            .unwrap();
        let mut all = Vec::new();
        while let Some(line) = lines.next().await {
            all.push(text(line.unwrap()));
        }
        assert_eq!(self.fake.followed_logs(), 0);
        all
    }
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

/// Workers and a master that write while they run.
fn write_while_running(simulation: &Simulation) {
    let worker = simulation
        .fake
        .image("tool:1")
        .in_role(Role::Worker)
        .prints(&["ready"]);
    worker
        .prints_after(Duration::from_secs(2), "busy")
        .on_sigterm(&["sum"], Duration::from_millis(500), 0);
    let master = simulation.fake.image("boss:1");
    master
        .prints_after(Duration::from_secs(1), "half")
        .prints_after(Duration::from_secs(3), "done");
}

const ALL: [&str; 14] = [
    "master.1 bye",
    "master.1 done",
    "master.1 half",
    "master.1 hello",
    "wait.1 ok",
    "worker.1 busy",
    "worker.1 ready",
    "worker.1 sum",
    "worker.2 busy",
    "worker.2 ready",
    "worker.2 sum",
    "worker.3 busy",
    "worker.3 ready",
    "worker.3 sum",
];

#[test]
fn every_line_arrives_once_from_the_queue_to_the_end() {
    let simulation = Simulation::new();
    write_while_running(&simulation);
    simulation.run(|director| async move {
        let name = director.accepted(&task()).await;
        assert_eq!(
            sorted(director.follow(&name, LogFilter::default()).await),
            ALL
        );
        // The stream ends right after the last line.
        assert!(director.state(&name).step >= Step::Report);
        director.wait_done(&name).await;
        assert_eq!(
            sorted(director.follow(&name, LogFilter::default()).await),
            ALL
        );
    });
}

#[test]
fn lines_arrive_as_they_are_written() {
    let simulation = Simulation::new();
    write_while_running(&simulation);
    simulation.run(|director| async move {
        let name = director.accepted(&simple("live")).await;
        director.wait_for_step(&name, Step::Running).await;
        let view = director.view(&name);
        let master = LogFilter {
            role: Some(Role::Master),
            ..LogFilter::default()
        };
        let mut lines = director
            .orchestrator
            .follow_logs(&view, master)
            .await
            .unwrap();
        let mut seen = Vec::new();
        for _ in 0..3 {
            seen.push(text(lines.next().await.unwrap().unwrap()));
        }
        assert_eq!(seen, ["master.1 hello", "master.1 bye", "master.1 half"]);
        assert_eq!(director.state(&name).step, Step::Running);
        assert_eq!(director.fake.followed_logs(), 1);
        assert_eq!(text(lines.next().await.unwrap().unwrap()), "master.1 done");
        assert!(lines.next().await.is_none());
    });
}

#[test]
fn the_tail_counts_existing_lines() {
    let simulation = Simulation::new();
    write_while_running(&simulation);
    simulation.run(|director| async move {
        let name = director.accepted(&simple("tail")).await;
        director.wait_for_step(&name, Step::Running).await;
        let tail = |count| LogFilter {
            role: Some(Role::Master),
            replica: Some(1),
            tail: Some(count),
        };
        let one = director.follow(&name, tail(1));
        let none = director.follow(&name, tail(0));
        let (one, none) = tokio::join!(one, none);
        assert_eq!(one, ["master.1 bye", "master.1 half", "master.1 done"]);
        assert_eq!(none, ["master.1 half", "master.1 done"]);
        director.wait_done(&name).await;
        assert_eq!(director.follow(&name, tail(1)).await, ["master.1 done"]);
    });
}

#[test]
fn a_dropped_stream_closes_its_connections_to_docker() {
    let simulation = Simulation::new();
    simulation
        .fake
        .image("boss:1")
        .after(Duration::from_secs(600));
    simulation.run(|director| async move {
        let name = director.accepted(&simple("leak")).await;
        director.wait_for_step(&name, Step::Running).await;
        for _ in 0..5 {
            let view = director.view(&name);
            let mut lines = director
                .orchestrator
                .follow_logs(&view, LogFilter::default())
                .await
                .unwrap();
            for _ in 0..5 {
                lines.next().await.unwrap().unwrap();
            }
            assert_eq!(director.fake.followed_logs(), 4);
            drop(lines);
            assert_eq!(director.fake.followed_logs(), 0);
        }
    });
}

#[test]
fn a_lost_node_ends_its_log_with_a_notice_and_no_other_log() {
    let simulation = Simulation::new();
    simulation.fake.add_node("node-2");
    write_while_running(&simulation);
    simulation
        .fake
        .image("boss:1")
        .after(Duration::from_secs(40));
    simulation.run(|director| async move {
        let mut task = simple("lost");
        task["master"]["placement"] = json!({"constraints": ["node.id==node-1"]});
        let name = director.accepted(&task).await;
        director.wait_for_step(&name, Step::Running).await;
        director.fake.lose_node("node-2");
        let lines = director.follow(&name, LogFilter::default()).await;
        let lost: Vec<_> = lines
            .iter()
            .filter(|line| line.contains("node was lost"))
            .collect();
        assert!(!lost.is_empty(), "{lines:#?}");
        assert!(lines.contains(&"master.1 done".to_owned()), "{lines:#?}");
    });
}

#[test]
fn docker_may_be_unavailable_for_a_while() {
    let simulation = Simulation::new();
    write_while_running(&simulation);
    simulation
        .fake
        .image("boss:1")
        .after(Duration::from_secs(40));
    simulation.run(|director| async move {
        let name = director.accepted(&simple("away")).await;
        director.wait_for_step(&name, Step::Running).await;
        director.fake.down(true);
        let fake = director.fake.clone();
        tokio::spawn(async move {
            sleep(Duration::from_secs(10)).await;
            fake.down(false);
        });
        let lines = sorted(director.follow(&name, LogFilter::default()).await);
        let without_wait = ALL.iter().filter(|line| !line.starts_with("wait"));
        assert!(lines.iter().eq(without_wait), "{lines:#?}");
    });
}

#[test]
fn streams_end_with_a_delete_and_with_the_director() {
    let simulation = Simulation::new();
    simulation
        .fake
        .image("boss:1")
        .after(Duration::from_secs(600));
    simulation.run(|director| async move {
        let name = director.accepted(&simple("gone")).await;
        director.wait_for_step(&name, Step::Running).await;
        let run = director.state(&name).run;
        let events = director.orchestrator.follow_events(&name, &run);
        let view = director.view(&name);
        let lines = director
            .orchestrator
            .follow_logs(&view, LogFilter::default());
        let lines = lines.await.unwrap();
        let (deleted, events, lines) = tokio::join!(
            director.orchestrator.delete(&name),
            events.collect::<Vec<_>>(),
            lines.collect::<Vec<_>>()
        );
        deleted.unwrap();
        assert_eq!(
            events.last().unwrap().as_ref().unwrap(),
            &HistoryUpdate::Deleted
        );
        assert!(lines.iter().all(Result::is_ok), "{lines:?}");

        let name = director.accepted(&simple("closing")).await;
        director.wait_for_step(&name, Step::Running).await;
        let run = director.state(&name).run;
        let events = director.orchestrator.follow_events(&name, &run);
        let view = director.view(&name);
        let lines = director
            .orchestrator
            .follow_logs(&view, LogFilter::default());
        let mut lines = lines.await.unwrap();
        lines.next().await.unwrap().unwrap();
        director.orchestrator.close();
        assert!(events.collect::<Vec<_>>().await.iter().all(Result::is_ok));
        let last = lines.collect::<Vec<_>>().await.pop().unwrap();
        assert_eq!(
            last.unwrap_err().to_string(),
            "the Director is shutting down"
        );
    });
}

#[test]
fn each_event_arrives_once_until_the_run_is_done() {
    let simulation = Simulation::new();
    simulation.run(|director| async move {
        let name = director.accepted(&task()).await;
        let run = director.state(&name).run;
        let followers = (0..20).map(|_| {
            director
                .orchestrator
                .follow_events(&name, &run)
                .collect::<Vec<_>>()
        });
        let histories = futures_util::future::join_all(followers).await;
        let history = director.orchestrator.history(&name).await.unwrap();
        for updates in histories {
            let updates: Vec<_> = updates.into_iter().map(Result::unwrap).collect();
            let all: Vec<_> = history.iter().cloned().map(HistoryUpdate::Event).collect();
            assert_eq!(updates, all);
        }
        let late: Vec<_> = director
            .orchestrator
            .follow_events(&name, &run)
            .collect()
            .await;
        assert_eq!(late.len(), history.len());
        let other: Vec<_> = director
            .orchestrator
            .follow_events(&self::name("load"), "other")
            .collect()
            .await;
        assert_eq!(other.len(), 1);
        assert_eq!(other[0].as_ref().unwrap(), &HistoryUpdate::Deleted);
    });
}
