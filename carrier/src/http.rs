//! HTTP client for the Director.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ureq::http::Response;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Connector as _, RustlsConnector, TcpConnector};
use ureq::{Agent, Body, RequestBuilder, SendBody, Timeout};

use crate::args::Args;
use crate::early_response::PeerClosed;
use crate::problem::{Problem, reason};

/// Long enough for four SYN attempts of the kernel.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(9);
/// A peer without any traffic for this long is considered dead.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Timeout of a clock request.
const CLOCK_TIMEOUT: Duration = Duration::from_secs(3);
const BUFFER: usize = 256 * 1024;
/// Maximum length of an answer to [`Director::exchange`].
const MAX_ANSWER: u64 = 1 << 16;
/// Maximum length of an error response in a message.
const MAX_ERROR_TEXT: u64 = 300;

/// A client for the Director at one URL.
#[derive(Debug)]
pub struct Director {
    agent: Agent,
    url: String,
    token: String,
    node: String,
    until: Instant,
    peer_closed: PeerClosed,
}

/// A response whose body is not read yet.
pub struct Answer {
    /// Status, headers and unread body.
    pub response: Response<Body>,
    /// Offset of this node's clock from the Director's.
    pub offset: Option<ClockOffset>,
}

/// A measured clock offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockOffset {
    /// This node's clock minus the Director's, in milliseconds.
    pub ms: i64,
    /// Round-trip time of the request: the error is at most half of it.
    pub round_trip: Duration,
}

impl Director {
    /// Creates the client without connecting. `certificate` is the only one that is trusted, in PEM; without it, those
    /// of the node are. `until` is the deadline of all requests together.
    ///
    /// # Errors
    /// When the certificates cannot be read, or the URL with a certificate is not `https`.
    pub fn at(
        url: &str,
        certificate: Option<&str>,
        args: &Args,
        until: Instant,
    ) -> Result<Self, Problem> {
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            // A redirect must not carry the token to another host.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("atq-carrier/", env!("CARGO_PKG_VERSION")))
            .input_buffer_size(BUFFER)
            .output_buffer_size(BUFFER)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_resolve(Some(CONNECT_TIMEOUT))
            .timeout_per_read(Some(IDLE_TIMEOUT))
            .timeout_per_write(Some(IDLE_TIMEOUT));
        match (url.starts_with("https:"), certificate) {
            (true, Some(pem)) => config = config.tls_config(trust_only(pem)?),
            (true, None) => config = config.tls_config(trust_node(&args.ca_file)?),
            (false, None) => {}
            // The token must not be sent in clear text.
            (false, Some(_)) => {
                let text = "the order has a certificate, but its URL is not `https`";
                return Err(Problem::permanent(text));
            }
        }
        let peer_closed = PeerClosed::default();
        let connector =
            ().chain(TcpConnector::default())
                .chain(peer_closed.clone())
                .chain(RustlsConnector::default());
        Ok(Self {
            agent: Agent::with_parts(config.build(), connector, DefaultResolver::default()),
            peer_closed,
            url: url.trim_end_matches('/').to_owned(),
            token: args.token.clone(),
            node: args.node.clone(),
            until,
        })
    }

    /// Sends a GET request below `{url}/carrier/`.
    ///
    /// # Errors
    /// When there is no response, or its status is not a success.
    pub fn get(&self, path: &str) -> Result<Answer, Problem> {
        let left = self.left()?;
        self.send(|| {
            let request = self.agent.get(format!("{}/carrier/{path}", self.url));
            self.authorized(request, left).call()
        })
    }

    /// Uploads a body below `{url}/carrier/`, in chunks.
    ///
    /// # Errors
    /// As for [`Director::get`]; also when the body cannot be read, or the Director closed the connection early.
    pub fn put(&self, path: &str, body: &mut dyn Read) -> Result<Answer, Problem> {
        let left = self.left()?;
        self.peer_closed.reset();
        let body = &mut UploadBody {
            source: body,
            peer_closed: &self.peer_closed,
        };
        let answer = self.send(|| {
            let request = self.agent.put(format!("{}/carrier/{path}", self.url));
            self.authorized(request, left)
                .header("Content-Type", "application/x-tar")
                // A refusal then arrives before the body is sent.
                .header("Expect", "100-continue")
                .send(SendBody::from_reader(body))
        })?;
        if self.peer_closed.is_set() {
            let text = format!(
                "the Director at `{}` closed the connection before the upload was complete",
                self.url
            );
            return Err(Problem::temporary(text));
        }
        Ok(answer)
    }

    /// Sends JSON with a timeout of its own.
    ///
    /// # Errors
    /// As for [`Director::get`].
    pub fn post(&self, path: &str, json: &[u8], timeout: Duration) -> Result<Answer, Problem> {
        self.send(|| {
            let request = self.agent.post(format!("{}/carrier/{path}", self.url));
            self.authorized(request, timeout)
                .header("Content-Type", "application/json")
                .send(json)
        })
    }

    /// Sends bytes with a timeout of its own. Returns the status and the body of the answer, whatever the status is.
    ///
    /// # Errors
    /// When there is no complete answer.
    pub fn exchange(
        &self,
        path: &str,
        bytes: &[u8],
        timeout: Duration,
    ) -> Result<(u16, Vec<u8>), Problem> {
        let request = self.agent.post(format!("{}/carrier/{path}", self.url));
        let request = self.authorized(request, timeout);
        let sent = request
            .header("Content-Type", "application/octet-stream")
            .send(bytes);
        let response = sent.map_err(|error| self.unreachable(&error))?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        let mut reader = response.into_body().into_reader().take(MAX_ANSWER);
        reader.read_to_end(&mut body).map_err(|error| {
            let (url, why) = (&self.url, reason(&error));
            Problem::temporary(format!(
                "the answer of the Director at `{url}` is cut off: {why}"
            ))
        })?;
        Ok((status, body))
    }

    /// Measures the clock offset. Sends two requests, because the first one includes the connection setup.
    pub fn offset(&self) -> Option<ClockOffset> {
        let measure = || {
            let answer = self.send(|| {
                self.agent
                    .get(format!("{}/carrier/ready", self.url))
                    .config()
                    .timeout_global(Some(CLOCK_TIMEOUT))
                    .build()
                    .call()
            });
            let mut answer = answer.ok()?;
            // A connection is reused only when the body was read to its end.
            let _ = answer.response.body_mut().read_to_vec();
            answer.offset
        };
        let first = measure()?;
        ClockOffset::better(Some(first), measure())
    }

    fn authorized<B>(&self, request: RequestBuilder<B>, timeout: Duration) -> RequestBuilder<B> {
        request
            .config()
            .timeout_global(Some(timeout))
            .build()
            .header("Authorization", format!("Bearer {}", self.token))
            .header("X-Atq-Node", &self.node)
    }

    fn left(&self) -> Result<Duration, Problem> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Problem::permanent("the deadline of this order has passed"));
        }
        Ok(left)
    }

    fn send(
        &self,
        ask: impl FnOnce() -> Result<Response<Body>, ureq::Error>,
    ) -> Result<Answer, Problem> {
        let (wall, began) = (now_ms(), Instant::now());
        let response = ask().map_err(|e| self.unreachable(&e))?;
        let round_trip = began.elapsed();
        let offset = director_time_ms(&response).map(|director_ms| ClockOffset {
            ms: wall + millis(round_trip) / 2 - director_ms,
            round_trip,
        });
        if response.status().is_success() {
            return Ok(Answer { response, offset });
        }
        Err(self.refused(response))
    }

    /// The problem for a failed request.
    pub fn unreachable(&self, error: &ureq::Error) -> Problem {
        let url = &self.url;
        let text = match error {
            ureq::Error::Io(e) => {
                format!("cannot reach the Director at `{url}`: {}", reason(e))
            }
            ureq::Error::HostNotFound => {
                format!("cannot reach the Director at `{url}`: its host name does not resolve")
            }
            ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => {
                let seconds = CONNECT_TIMEOUT.as_secs();
                // Permanent: a retry within seconds would time out, too.
                return Problem::permanent(format!(
                    "cannot reach the Director at `{url}`: no connection within {seconds} s\nhint: `advertiseUrl` in the Director's configuration is the address that nodes use"
                ));
            }
            ureq::Error::Timeout(_) => format!("timed out waiting for the Director at `{url}`"),
            other => format!("request to the Director at `{url}` failed: {other}"),
        };
        Problem::temporary(text)
    }

    fn refused(&self, response: Response<Body>) -> Problem {
        let status = response.status();
        let mut text = Vec::new();
        let mut body = response.into_body().into_reader().take(MAX_ERROR_TEXT);
        if body.read_to_end(&mut text).is_err() {
            text.clear();
        }
        let why = match String::from_utf8_lossy(&text).trim() {
            "" => String::new(),
            text => format!(": {}", text.escape_debug()),
        };
        let (url, code) = (&self.url, status.as_u16());
        let text = format!("the Director at `{url}` answered {code}{why}");
        Problem::new(text, status.is_server_error() || code == 429)
    }
}

/// A request body that ends as soon as the peer has closed its read side.
struct UploadBody<'a> {
    source: &'a mut dyn Read,
    peer_closed: &'a PeerClosed,
}

impl Read for UploadBody<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.peer_closed.is_set() {
            return Ok(0);
        }
        self.source.read(buffer)
    }
}

impl ClockOffset {
    /// The offset with the shorter round trip.
    pub fn better(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        one.into_iter().chain(other).min_by_key(|o| o.round_trip)
    }
}

/// Trusts the certificate of the order.
fn trust_only(pem: &str) -> Result<TlsConfig, Problem> {
    let certificates = certificates_in(pem.as_bytes());
    if certificates.is_empty() {
        let text = "the order has no valid `certificate`";
        return Err(Problem::permanent(text));
    }
    Ok(tls(certificates))
}

/// Trusts the certificates in `ca_file`, for orders of earlier versions: the image contains none.
fn trust_node(ca_file: &Path) -> Result<TlsConfig, Problem> {
    let shown = ca_file.display();
    let hint = "hint: mount the node's certificates there";
    let pem = fs::read(ca_file).map_err(|e| {
        let why = reason(&e);
        Problem::permanent(format!(
            "`https` needs CA certificates at `{shown}`: {why}\n{hint}"
        ))
    })?;
    let certificates = certificates_in(&pem);
    if certificates.is_empty() {
        return Err(Problem::permanent(format!(
            "`https` needs CA certificates: none in `{shown}`\n{hint}"
        )));
    }
    Ok(tls(certificates))
}

fn certificates_in(pem: &[u8]) -> Vec<Certificate<'static>> {
    let certificates = parse_pem(pem).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    certificates.collect()
}

fn tls(roots: Vec<Certificate<'static>>) -> TlsConfig {
    TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build()
}

fn director_time_ms(response: &Response<Body>) -> Option<i64> {
    let value = response.headers().get("X-Atq-Now")?;
    value.to_str().ok()?.trim().parse().ok()
}

/// Milliseconds since the Unix epoch.
pub fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, millis)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Characters to percent-encode in a query: all except the unreserved ones of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Percent-encodes a text for the query of a URL.
pub fn encode_query(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}
