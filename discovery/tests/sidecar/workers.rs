//! Workers on addresses of the loopback network.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};

/// Reserves a port on all addresses. It stays closed until `listen` is called.
pub fn reserve_port<const N: usize>(addresses: [Ipv4Addr; N]) -> ([TcpSocket; N], u16) {
    loop {
        let sockets = [(); N].map(|()| TcpSocket::new_v4().unwrap());
        sockets[0].bind((addresses[0], 0).into()).unwrap();
        let port = sockets[0].local_addr().unwrap().port();
        let mut others = sockets.iter().zip(addresses).skip(1);
        if others.all(|(socket, address)| socket.bind((address, port).into()).is_ok()) {
            return (sockets, port);
        }
    }
}

/// Accepts connections on the whole loopback network.
pub async fn accept_everywhere() -> u16 {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    port
}

/// The requests that a worker has received.
pub type Requests = Arc<Mutex<Vec<String>>>;

/// Reads one request from each connection, sends the next of `answers` (the last one repeatedly) and closes.
pub fn serve(socket: TcpSocket, answers: &[&'static [u8]]) -> Requests {
    let listener = socket.listen(64).unwrap();
    let (requests, answers) = (Requests::default(), answers.to_vec());
    let log = requests.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                if stream.read_buf(&mut request).await.unwrap() == 0 {
                    break;
                }
            }
            let turn = {
                let mut log = log.lock().unwrap();
                log.push(String::from_utf8(request).unwrap());
                log.len() - 1
            };
            let answer = answers[turn.min(answers.len() - 1)];
            stream.write_all(answer).await.unwrap();
        }
    });
    requests
}
