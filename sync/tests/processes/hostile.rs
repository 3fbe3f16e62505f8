//! Peers that are no masters.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use tokio::net::TcpSocket;

use crate::process::{free_address, master, worker, worker_with};

/// What a worker answers to these bytes before it closes the connection.
fn answer(address: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    // The worker may close the connection before all is sent.
    let _ = stream.write_all(bytes);
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn bytes_of_unknown_peers_start_nothing_and_do_not_disturb_the_master() {
    let one = worker("echo ran; exit 6");
    let address = one.address.as_str();
    assert_eq!(answer(address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "");
    assert_eq!(answer(address, &[0xff; 1 << 20]), "");
    assert_eq!(answer(address, b"{\"type\":\"start\",\"at\":1}\n"), "");
    assert_eq!(
        answer(address, b"{\"type\":\"run\",\"command\":[\"sh\"]}\n"),
        ""
    );
    let old = answer(address, b"{\"type\":\"hello\",\"version\":99}\n");
    assert!(
        old.contains("refused") && old.contains("version 99"),
        "{old}"
    );
    // More connections than the limit, all of them silent.
    let silent: Vec<TcpStream> = (0..100)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    master(&[address], &[]).end().expect(6, &[]);
    drop(silent);
    let ended = one.process.end();
    ended.expect(6, &["is no master: the peer sent no valid message"]);
    assert_eq!(ended.text.matches("ran\n").count(), 1);
}

#[test]
fn a_master_that_breaks_the_protocol_starts_nothing() {
    let mut one = worker("echo ran");
    let hello = "{\"type\":\"hello\",\"version\":1}\n";
    let share = |index| {
        format!(
            "{{\"type\":\"prepare\",\"share\":{{\"index\":{index},\"count\":1,\"parts\":{{}}}}}}\n"
        )
    };
    for rest in [
        "{\"type\":\"start\",\"at\":999999999999999999}\n".to_owned(),
        "{\"type\":\"start\",\"at\":-1}\n".to_owned(),
        "{\"type\":\"release\"}\n".to_owned(),
        hello.to_owned(),
        format!("{}{}", share(0), share(0)),
        "{\"type\":\"prepare\",\"share\":{\"index\":0,\"count\":1,\"parts\":{\"PATH\":1}}}\n"
            .to_owned(),
    ] {
        answer(&one.address, format!("{hello}{rest}").as_bytes());
    }
    one.process.until("the master sent a second share");
    master(&[&one.address], &[]).end().expect(0, &[]);
    one.process.end().expect(0, &["ran"]);
}

#[test]
fn a_second_master_is_refused_while_the_first_is_connected() {
    let mut one = worker("echo ran");
    let missing = free_address();
    let first = master(&[&one.address, &missing], &[]);
    one.process.until("is connected");
    let ended = master(&[&one.address], &["--connect-timeout", "2s"]).end();
    ended.expect(
        120,
        &[
            "did not connect within --connect-timeout",
            "it has another master",
        ],
    );
    drop(first);
    one.process.until("waiting for another master");
    master(&[&one.address], &[]).end().expect(0, &[]);
    one.process.end().expect(0, &["ran"]);
}

#[tokio::test]
async fn peers_outside_of_the_network_of_the_task_are_not_served() {
    let mut one = worker_with(&["--subnet", "127.0.0.0/29"], "echo ran", &[]);
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.99:0".parse().unwrap()).unwrap();
    let address: SocketAddr = one.address.parse().unwrap();
    let stream = socket.connect(address).await.unwrap();
    one.process.until("is outside of the network of the task");
    drop(stream);
}

#[test]
fn another_protocol_on_the_port_of_a_worker_is_a_permanent_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let ended = master(&[&address], &[]).end();
    ended.expect(123, &["refused: the peer sent no valid message"]);
}

#[test]
fn a_second_master_is_refused_while_the_tool_of_a_lost_one_is_stopped() {
    let script = "trap '' TERM; echo up; while :; do sleep 0.1; done";
    let mut one = worker_with(&["--stop-grace", "5s"], script, &[]);
    let first = master(&[&one.address], &[]);
    one.process.until("up");
    drop(first);
    one.process.until("was lost");
    let ended = master(&[&one.address], &["--connect-timeout", "1s"]).end();
    ended.expect(120, &["it has another master"]);
    one.process.end().expect(121, &[]);
}
