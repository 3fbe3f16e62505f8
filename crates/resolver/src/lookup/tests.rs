#![allow(clippy::unwrap_used)]

use super::*;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::net::UdpSocket;

/// A DNS server on a port of loopback.
struct Server {
    at: SocketAddr,
    queries: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Resolves these names, and responds with `code` to any other query.
    async fn with(code: u8, names: &[(&str, [u8; 4])]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let at = socket.local_addr().unwrap();
        let queries = Arc::new(Mutex::new(Vec::new()));
        let names: HashMap<_, _> = names.iter().map(|(n, a)| ((*n).to_owned(), *a)).collect();
        let log = Arc::clone(&queries);
        tokio::spawn(async move {
            let mut query = [0; 512];
            loop {
                let (length, from) = socket.recv_from(&mut query).await.unwrap();
                let (answer, name) = answer(&query[..length], code, &names);
                log.lock().unwrap().push(name);
                socket.send_to(&answer, from).await.unwrap();
            }
        });
        Self { at, queries }
    }

    fn queried_names(&self) -> Vec<String> {
        let mut names = self.queries.lock().unwrap().clone();
        // A and AAAA are queried concurrently.
        names.dedup();
        names
    }
}

fn answer(query: &[u8], code: u8, names: &HashMap<String, [u8; 4]>) -> (Vec<u8>, String) {
    let (mut at, mut labels) = (12, Vec::new());
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..end]).to_lowercase());
        at = end;
    }
    let name = labels.join(".");
    let is_a = query[at + 2] == 1;
    let address = names.get(&name);
    let code = if address.is_some() { 0 } else { code };
    let count = u8::from(address.is_some() && is_a);
    let mut answer = query[..2].to_vec();
    answer.extend([0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0]);
    answer.extend(&query[12..at + 5]);
    if let (Some(address), true) = (address, is_a) {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        answer.extend(address);
    }
    (answer, name)
}

fn plan(servers: &[SocketAddr], search: &[&str]) -> Plan {
    let conf = ResolvConf {
        search: search.iter().map(|domain| (*domain).to_owned()).collect(),
        ..ResolvConf::default()
    };
    Plan {
        servers: servers.to_vec(),
        timeouts: vec![Duration::from_millis(300), Duration::from_secs(5)],
        ..conf.into()
    }
}

const HERE: [u8; 4] = [127, 0, 0, 1];
const NO_SUCH_NAME: u8 = 3;
const SERVER_FAILURE: u8 = 2;

#[tokio::test]
async fn names_with_underscores_resolve() {
    let server = Server::with(NO_SUCH_NAME, &[("my_team.atq_director.test", HERE)]).await;
    let found = lookup("my_team.atq_director.test", &plan(&[server.at], &[])).await;
    assert_eq!(found, Ok(vec![HERE.into()]));
}

#[tokio::test]
async fn an_invalid_search_domain_is_ignored() {
    let long = "x".repeat(70);
    let server = Server::with(NO_SUCH_NAME, &[("director.corp.test", HERE)]).await;
    for bad in [".other.test", "${DOMAIN}", &long, "--", "a..b"] {
        let found = lookup("director", &plan(&[server.at], &[bad, "corp.test"])).await;
        assert_eq!(found, Ok(vec![HERE.into()]), "{bad}");
    }
}

#[tokio::test]
async fn a_server_that_is_down_is_skipped() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = Server::with(NO_SUCH_NAME, &[("director", HERE)]).await;
    let failing = Server::with(SERVER_FAILURE, &[]).await;
    let servers = [silent.local_addr().unwrap(), failing.at, server.at];
    assert_eq!(
        lookup("director", &plan(&servers, &[])).await,
        Ok(vec![HERE.into()])
    );
}

#[tokio::test]
async fn the_first_response_is_final() {
    let inside = Server::with(NO_SUCH_NAME, &[]).await;
    let outside = Server::with(NO_SUCH_NAME, &[("director", HERE)]).await;
    let error = lookup("director", &plan(&[inside.at, outside.at], &[]))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "no such host `director` (queried 127.0.0.1, 127.0.0.1)"
    );
    assert!(outside.queried_names().is_empty());
}

#[tokio::test]
async fn no_response_differs_from_an_unknown_name() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut plan = plan(&[silent.local_addr().unwrap()], &["corp.test"]);
    plan.timeouts = vec![Duration::from_millis(50)];
    let error = lookup("director", &plan).await.unwrap_err();
    assert!(matches!(error, ResolveError::NoAnswer { .. }), "{error}");
    let failing = Server::with(SERVER_FAILURE, &[]).await;
    plan.servers = vec![failing.at];
    let error = lookup("director", &plan).await.unwrap_err();
    assert!(matches!(error, ResolveError::NoAnswer { .. }), "{error}");
}

#[test]
fn the_search_list_is_used_as_in_the_c_library() {
    let mut plan = plan(&[], &["corp.test", "."]);
    let mut names = |host: &str, ndots: usize| {
        plan.ndots = ndots;
        let found = candidates(&Name::from_ascii(host).unwrap(), &plan);
        found.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(names("a", 1), ["a.corp.test.", "a."]);
    assert_eq!(names("a", 0), ["a.", "a.corp.test."]);
    assert_eq!(names("a.b", 1), ["a.b.", "a.b.corp.test."]);
    assert_eq!(names("a.b", 2), ["a.b.corp.test.", "a.b."]);
    assert_eq!(names("a.", 5), ["a."]);
    let long = [&*"x".repeat(63); 4].join(".");
    assert_eq!(names(&long[..250], 9).len(), 1);
}

#[test]
fn without_a_server_only_this_machine_is_queried() {
    let plan = Plan::from(ResolvConf::parse(b"search corp.test .other.test\n"));
    assert_eq!(plan.servers, [SocketAddr::from((Ipv4Addr::LOCALHOST, 53))]);
}
