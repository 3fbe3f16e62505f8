//! The figures of a running test, over lost connections, and from Directors that have none.

use super::*;
use atq_api_spec::live::{LiveLoss, LiveTask};

/// The response to one request for the figures.
#[derive(Debug)]
pub enum Figures {
    /// A status, and the code of the Director; none for that of a proxy.
    Refused(u16, Option<&'static str>),
    /// Events with these numbers, then the end of the stream.
    Closed(Vec<(u64, LiveTask)>),
    /// Events with these numbers, then silence.
    Open(Vec<(u64, LiveTask)>),
    /// Something that is not understood.
    Garbage,
}

/// The last response is repeated; without responses, this Director has no such path.
pub async fn figures(State(canned): State<Shared>, headers: HeaderMap) -> Response {
    let mut canned = canned.lock().unwrap();
    let last = headers.get("last-event-id").map(|id| id.to_str().unwrap());
    canned
        .figures_after
        .push(last.unwrap_or_default().to_owned());
    let now = match canned.figures.is_empty() {
        true => Figures::Refused(404, Some("unknown_path")),
        false => canned.figures.remove(0),
    };
    let wire = |(id, live): &(u64, LiveTask)| {
        let data = serde_json::to_string(live).unwrap();
        format!("id: {id}\nevent: live\ndata: {data}\n\n")
    };
    let all = |events: &[(u64, LiveTask)]| events.iter().map(wire).collect::<String>();
    let body = match now {
        Figures::Refused(status, code) => {
            let status = StatusCode::from_u16(status).unwrap();
            return match code {
                Some(code) => (status, Json(json!({"error": "no", "code": code}))).into_response(),
                None => status.into_response(),
            };
        }
        Figures::Closed(events) => Body::from(all(&events)),
        Figures::Garbage => Body::from("event: live\ndata: {\"task\": 1}\n\n"),
        Figures::Open(events) => {
            let text = stream::iter([Ok::<_, std::io::Error>(Bytes::from(all(&events)))]);
            Body::from_stream(text.chain(stream::pending()))
        }
    };
    ([("content-type", "text/event-stream")], body).into_response()
}

fn live(lost: &[u32], is_final: bool) -> LiveTask {
    let live = json!({
        "task": "t", "status": "started", "step": "running", "elapsedMs": 5000, "maxDurationMs": 60_000,
        "workers": {"wanted": 3, "running": 2}, "isFinal": is_final,
    });
    let mut live: LiveTask = serde_json::from_value(live).unwrap();
    let loss = |replica: &u32| LiveLoss {
        replica: *replica,
        reason: "killed".to_owned(),
    };
    live.workers.lost = lost.iter().map(loss).collect();
    live
}

/// A running test with these responses to requests for the figures.
async fn running(figures: Vec<Figures>) -> (Director, Shared) {
    canned(Canned {
        task: Some(at(Step::Running)),
        streams: vec![vec![]],
        lines: vec![vec![entry(
            1,
            "summary =    300 in   7.2s =   41.8/s Avg: 3 Min: 1 Max: 113 Err: 3 (1.00%)",
        )]],
        figures,
        ..Canned::default()
    })
    .await
}

/// Waits until the records of the Director fulfil the condition.
async fn until(canned: &Shared, is_fulfilled: impl Fn(&Canned) -> bool) {
    let begun = std::time::Instant::now();
    while !is_fulfilled(&canned.lock().unwrap()) {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{:?}",
            canned.lock().unwrap()
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn each_lost_worker_is_reported_once_also_after_lost_connections() {
    let (director, canned) = running(vec![
        Figures::Closed(vec![(1, live(&[], false)), (2, live(&[3], false))]),
        Figures::Refused(503, Some("busy")),
        // A proxy without a Director behind it.
        Figures::Refused(404, None),
        Figures::Open(vec![(7, live(&[3, 1], false)), (8, live(&[3, 1], false))]),
    ])
    .await;
    let (interrupts, _sender) = Interrupts::new(false, drop);
    let (watched, mut lines) = watching(director, options(), interrupts);
    let mut seen = Vec::new();
    line(&mut lines, "worker 1 lost", &mut seen).await;
    assert_eq!(canned.lock().unwrap().figures_after, ["", "2", "2", "2"]);
    canned.lock().unwrap().task = Some(task("t"));
    assert_eq!(watched.await.unwrap().unwrap().early_end, None);
    while let Ok(line) = lines.try_recv() {
        seen.push(line);
    }
    let lost: Vec<&String> = seen.iter().filter(|line| line.contains("lost:")).collect();
    assert_eq!(lost.len(), 2, "{seen:#?}");
    assert!(
        lost[0].contains("worker 3 lost:") && lost[0].ends_with("killed"),
        "{lost:?}"
    );
}

#[tokio::test]
async fn after_the_final_figures_there_is_no_further_request() {
    let (director, canned) = running(vec![
        Figures::Closed(vec![(1, live(&[2], false)), (2, live(&[1, 2], true))]),
        Figures::Open(Vec::new()),
    ])
    .await;
    let (interrupts, _sender) = Interrupts::new(false, drop);
    let (watched, mut lines) = watching(director, options(), interrupts);
    line(&mut lines, "worker 1 lost", &mut Vec::new()).await;
    // The test is over later, when it is cleaned up.
    canned.lock().unwrap().polls = 0;
    until(&canned, |canned| canned.polls > 20).await;
    canned.lock().unwrap().task = Some(task("t"));
    watched.await.unwrap().unwrap();
    assert_eq!(canned.lock().unwrap().figures_after, [""]);
}

#[tokio::test]
async fn the_log_of_the_master_is_read_only_without_figures_of_the_director() {
    for (figures, has_figures) in [
        (vec![], false),
        (vec![Figures::Refused(405, None)], false),
        (vec![Figures::Refused(403, Some("forbidden"))], false),
        (
            vec![Figures::Refused(502, None), Figures::Open(vec![])],
            false,
        ),
        (vec![Figures::Open(vec![(1, live(&[1], false))])], true),
    ] {
        let shown = format!("{figures:?}");
        let (director, canned) = running(figures).await;
        let (interrupts, _sender) = Interrupts::new(false, drop);
        let (watched, mut lines) = watching(director, options(), interrupts);
        match has_figures {
            true => line(&mut lines, "worker 1 lost", &mut Vec::new()).await,
            false => until(&canned, |canned| canned.log_requests > 0).await,
        }
        canned.lock().unwrap().polls = 0;
        until(&canned, |canned| canned.polls > 5).await;
        assert_eq!(
            canned.lock().unwrap().log_requests == 0,
            has_figures,
            "{shown}"
        );
        canned.lock().unwrap().task = Some(task("t"));
        assert_eq!(watched.await.unwrap().unwrap().early_end, None, "{shown}");
    }
}

#[tokio::test]
async fn figures_that_are_not_understood_are_reported_once() {
    let (director, canned) = running(vec![Figures::Garbage, Figures::Garbage]).await;
    let (interrupts, _sender) = Interrupts::new(false, drop);
    let (watched, mut lines) = watching(director, options(), interrupts);
    line(&mut lines, "check that the versions match", &mut Vec::new()).await;
    until(&canned, |canned| canned.log_requests > 0).await;
    canned.lock().unwrap().task = Some(task("t"));
    watched.await.unwrap().unwrap();
    assert_eq!(canned.lock().unwrap().figures_after, [""]);
}

#[tokio::test]
async fn a_signal_only_ends_the_watch() {
    for (role, input) in [
        (Role::Watcher, Input::Interrupt),
        (Role::Watcher, Input::Terminate),
        (Role::Waiter, Input::Interrupt),
    ] {
        let (director, canned) = running(Vec::new()).await;
        let (interrupts, sender) = Interrupts::new(true, drop);
        let (watched, mut lines) =
            watching(director, WatchOptions { role, ..options() }, interrupts);
        until(&canned, |canned| canned.polls > 2).await;
        sender.send(input).await.unwrap();
        line(
            &mut lines,
            "the task keeps running; follow it",
            &mut Vec::new(),
        )
        .await;
        let watched = watched.await.unwrap().unwrap();
        assert_eq!(watched.early_end, Some(EarlyEnd::Detached), "{role:?}");
        assert_eq!(canned.lock().unwrap().stops, 0);
    }
}

#[tokio::test]
async fn a_waiter_requests_only_the_state() {
    let (director, canned) = running(Vec::new()).await;
    let (interrupts, _sender) = Interrupts::new(false, drop);
    let waiter = WatchOptions {
        role: Role::Waiter,
        ..options()
    };
    let (watched, _lines) = watching(director, waiter, interrupts);
    until(&canned, |canned| canned.polls > 5).await;
    canned.lock().unwrap().task = Some(task("t"));
    watched.await.unwrap().unwrap();
    let canned = canned.lock().unwrap();
    assert_eq!(canned.figures_after, [""; 0]);
    assert_eq!(canned.last_ids, [""; 0]);
    assert_eq!(canned.log_requests, 0);
}
