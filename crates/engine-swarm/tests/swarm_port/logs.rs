//! Logs of containers.

use crate::fixture::{self, Fixture, Program};
use atq_engine_swarm::{LogQuery, LogStream, SwarmError};

pub async fn logs_have_separate_streams(fixture: &Fixture) {
    let task = fixture.ended(Program::Print, "worker").await;
    let lines = fixture.log(&task, false, LogQuery::default()).await;
    let of = |stream| {
        let own = lines.iter().filter(move |line| line.stream == stream);
        own.map(|line| line.text.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(of(LogStream::Stdout), ["one", "", " three "]);
    assert_eq!(of(LogStream::Stderr), ["alas"]);
    assert!(
        lines
            .iter()
            .all(|line| line.at.starts_with("20") && line.at.ends_with('Z')),
        "{lines:?}"
    );
}

pub async fn a_terminal_has_one_stream_and_clean_lines(fixture: &Fixture) {
    let mut plan = fixture.service("worker", Program::Print, None);
    plan.tty = true;
    let task = fixture.create_and_end(&plan).await;
    let lines = fixture.log(&task, true, LogQuery::default()).await;
    let texts: Vec<_> = lines.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(texts, ["one", "", " three ", "alas"]);
    assert!(lines.iter().all(|line| line.stream == LogStream::Stdout));
}

pub async fn a_long_line_stays_one_line(fixture: &Fixture) {
    for tty in [false, true] {
        let name = format!("worker-{tty}");
        let mut plan = fixture.service(&name, Program::PrintLong, None);
        plan.tty = tty;
        let task = fixture.create_and_end(&plan).await;
        let lines = fixture.log(&task, tty, LogQuery::default()).await;
        let lengths: Vec<_> = lines.iter().map(|line| line.text.len()).collect();
        assert_eq!(
            lengths,
            [fixture::LONG_LINE, "end".len()],
            "terminal: {tty}"
        );
        assert!(lines[0].text.bytes().all(|b| b == b'x'), "terminal: {tty}");
    }
}

pub async fn the_last_lines_can_be_requested(fixture: &Fixture) {
    let task = fixture.ended(Program::PrintLong, "worker").await;
    let lines = fixture
        .log(
            &task,
            false,
            LogQuery {
                tail: Some(1),
                ..LogQuery::default()
            },
        )
        .await;
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0].text, "end");
}

pub async fn logs_go_with_the_swarm_task(fixture: &Fixture) {
    let task = fixture.ended(Program::Print, "worker").await;
    fixture
        .swarm
        .remove_service(&task.service_id)
        .await
        .unwrap();
    fixture.wait_until_nothing_runs().await;
    let result = fixture
        .swarm
        .task_logs(&task.id, false, LogQuery::default())
        .await;
    let error = result.err().unwrap();
    assert!(matches!(error, SwarmError::NotFound { .. }), "{error:?}");
}
