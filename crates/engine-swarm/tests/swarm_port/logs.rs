//! What containers write.

use crate::stage::{self, Does, Stage};
use atq_engine_swarm::{LogQuery, LogStream, SwarmError};

pub async fn logs_tell_the_streams_apart(stage: &Stage) {
    let task = stage.ended(Does::Print, "worker").await;
    let lines = stage.log(&task, false, LogQuery::default()).await;
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

pub async fn a_terminal_has_one_stream_and_clean_lines(stage: &Stage) {
    let mut plan = stage.service("worker", Does::Print, None);
    plan.tty = true;
    let task = stage.create_and_end(&plan).await;
    let lines = stage.log(&task, true, LogQuery::default()).await;
    let texts: Vec<_> = lines.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(texts, ["one", "", " three ", "alas"]);
    assert!(lines.iter().all(|line| line.stream == LogStream::Stdout));
}

pub async fn a_long_line_stays_one_line(stage: &Stage) {
    for tty in [false, true] {
        let name = format!("worker-{tty}");
        let mut plan = stage.service(&name, Does::PrintLong, None);
        plan.tty = tty;
        let task = stage.create_and_end(&plan).await;
        let lines = stage.log(&task, tty, LogQuery::default()).await;
        let lengths: Vec<_> = lines.iter().map(|line| line.text.len()).collect();
        assert_eq!(lengths, [stage::LONG_LINE, "end".len()], "terminal: {tty}");
        assert!(lines[0].text.bytes().all(|b| b == b'x'), "terminal: {tty}");
    }
}

pub async fn the_last_lines_can_be_asked_for(stage: &Stage) {
    let task = stage.ended(Does::PrintLong, "worker").await;
    let lines = stage
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

pub async fn logs_go_with_the_swarm_task(stage: &Stage) {
    let task = stage.ended(Does::Print, "worker").await;
    stage.swarm.remove_service(&task.service_id).await.unwrap();
    stage.nothing_runs().await;
    let result = stage
        .swarm
        .task_logs(&task.id, false, LogQuery::default())
        .await;
    let error = result.err().unwrap();
    assert!(matches!(error, SwarmError::NotFound { .. }), "{error:?}");
}
