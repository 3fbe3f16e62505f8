//! The Director, as a carrier calls it.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ureq::http::Response;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Connector as _, RustlsConnector, TcpConnector};
use ureq::{Agent, Body, RequestBuilder, SendBody, Timeout};

use crate::args::Args;
use crate::deaf::Deaf;
use crate::problem::{Problem, reason};

/// What it takes to connect; the kernel knocks four times meanwhile.
const CONNECT: Duration = Duration::from_secs(9);
/// A peer that is silent for so long is gone.
const SILENCE: Duration = Duration::from_secs(60);
/// How long the clock may be asked for.
const CLOCK: Duration = Duration::from_secs(3);
const BUFFER: usize = 256 * 1024;
/// Of the text that an error answers with.
const SHOWN: u64 = 300;

/// The Director at one address.
#[derive(Debug)]
pub struct Director {
    agent: Agent,
    url: String,
    token: String,
    node: String,
    until: Instant,
    deaf: Deaf,
}

/// An answer that has begun.
pub struct Answer {
    /// Its head, and a body that is still to be read.
    pub response: Response<Body>,
    /// This node's clock minus the Director's, in milliseconds; and how far that may be off.
    pub offset: Option<Offset>,
}

/// How far two clocks are apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offset {
    /// This one minus the other, in milliseconds.
    pub ms: i64,
    /// How long the question took: the offset is off by half of it at most.
    pub took: Duration,
}

impl Director {
    /// Nothing is sent yet; `until` bounds all calls together.
    ///
    /// # Errors
    /// With `https`, when there are no certificates of authorities.
    pub fn at(url: &str, args: &Args, until: Instant) -> Result<Self, Problem> {
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            // The token is for the Director alone.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("atq-carrier/", env!("CARGO_PKG_VERSION")))
            .input_buffer_size(BUFFER)
            .output_buffer_size(BUFFER)
            .timeout_connect(Some(CONNECT))
            .timeout_resolve(Some(CONNECT))
            .timeout_per_read(Some(SILENCE))
            .timeout_per_write(Some(SILENCE));
        if url.starts_with("https:") {
            config = config.tls_config(tls(&args.ca_file)?);
        }
        let deaf = Deaf::default();
        let connector =
            ().chain(TcpConnector::default())
                .chain(deaf.clone())
                .chain(RustlsConnector::default());
        Ok(Self {
            agent: Agent::with_parts(config.build(), connector, DefaultResolver::default()),
            deaf,
            url: url.trim_end_matches('/').to_owned(),
            token: args.token.clone(),
            node: args.node.clone(),
            until,
        })
    }

    /// Asks for something below `{url}/carrier/`.
    ///
    /// # Errors
    /// When there is no answer, or one that is not a success.
    pub fn get(&self, path: &str) -> Result<Answer, Problem> {
        let left = self.left()?;
        self.asked(|| {
            let request = self.agent.get(format!("{}/carrier/{path}", self.url));
            self.signed(request, left).call()
        })
    }

    /// Sends a body to something below `{url}/carrier/`, in chunks.
    ///
    /// # Errors
    /// As for [`Director::get`]; also when the body cannot be read, or the Director has not taken all of it.
    pub fn put(&self, path: &str, body: &mut dyn Read) -> Result<Answer, Problem> {
        let left = self.left()?;
        self.deaf.forget();
        let body = &mut Said {
            from: body,
            deaf: &self.deaf,
        };
        let answer = self.asked(|| {
            let request = self.agent.put(format!("{}/carrier/{path}", self.url));
            self.signed(request, left)
                .header("Content-Type", "application/x-tar")
                // Refused before it is sent, if it is refused.
                .header("Expect", "100-continue")
                .send(SendBody::from_reader(body))
        })?;
        if self.deaf.is_so() {
            let text = format!("the Director at `{}` has not taken all of it", self.url);
            return Err(Problem::passing(text));
        }
        Ok(answer)
    }

    /// Sends some JSON; gives up soon.
    ///
    /// # Errors
    /// As for [`Director::get`].
    pub fn post(&self, path: &str, json: &[u8], within: Duration) -> Result<Answer, Problem> {
        self.asked(|| {
            let request = self.agent.post(format!("{}/carrier/{path}", self.url));
            self.signed(request, within)
                .header("Content-Type", "application/json")
                .send(json)
        })
    }

    /// How far the clocks are apart: asked twice, because the first question also has to connect.
    pub fn offset(&self) -> Option<Offset> {
        let ask = || {
            let answer = self.asked(|| {
                self.agent
                    .get(format!("{}/carrier/ready", self.url))
                    .config()
                    .timeout_global(Some(CLOCK))
                    .build()
                    .call()
            });
            let mut answer = answer.ok()?;
            // Read to its end, the connection serves once more.
            let _ = answer.response.body_mut().read_to_vec();
            answer.offset
        };
        let first = ask()?;
        Offset::better(Some(first), ask())
    }

    fn signed<B>(&self, request: RequestBuilder<B>, within: Duration) -> RequestBuilder<B> {
        request
            .config()
            .timeout_global(Some(within))
            .build()
            .header("Authorization", format!("Bearer {}", self.token))
            .header("X-Atq-Node", &self.node)
    }

    fn left(&self) -> Result<Duration, Problem> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Problem::lasting("the time for this order is over"));
        }
        Ok(left)
    }

    fn asked(
        &self,
        ask: impl FnOnce() -> Result<Response<Body>, ureq::Error>,
    ) -> Result<Answer, Problem> {
        let (wall, began) = (now_ms(), Instant::now());
        let response = ask().map_err(|e| self.unreachable(&e))?;
        let took = began.elapsed();
        let offset = theirs(&response).map(|theirs| Offset {
            ms: wall + millis(took) / 2 - theirs,
            took,
        });
        if response.status().is_success() {
            return Ok(Answer { response, offset });
        }
        Err(self.refused(response))
    }

    /// The problem when a call did not get through.
    pub fn unreachable(&self, error: &ureq::Error) -> Problem {
        let url = &self.url;
        let text = match error {
            ureq::Error::Io(e) => {
                format!("cannot reach the Director at `{url}`: {}", reason(e))
            }
            ureq::Error::HostNotFound => {
                format!("cannot reach the Director at `{url}`: its name has no address")
            }
            ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => {
                let seconds = CONNECT.as_secs();
                // Whoever did not let us in for so long does not in the next second.
                return Problem::lasting(format!(
                    "cannot reach the Director at `{url}`: no connection within {seconds} s\nhint: `advertiseUrl` in the Director's configuration is the address that nodes use"
                ));
            }
            ureq::Error::Timeout(_) => format!("the Director at `{url}` is silent"),
            other => format!("cannot talk to the Director at `{url}`: {other}"),
        };
        Problem::passing(text)
    }

    fn refused(&self, response: Response<Body>) -> Problem {
        let status = response.status();
        let mut text = String::new();
        let said = response.into_body().into_reader().take(SHOWN);
        let _ = io_text(said, &mut text);
        let text = format!(
            "the Director at `{}` answered {}{}",
            self.url,
            status.as_u16(),
            if text.trim().is_empty() {
                String::new()
            } else {
                format!(": {}", text.trim().escape_debug())
            }
        );
        if status.is_server_error() || status.as_u16() == 429 {
            return Problem::passing(text);
        }
        Problem::lasting(text)
    }
}

/// A body that ends as soon as nobody listens.
struct Said<'a> {
    from: &'a mut dyn Read,
    deaf: &'a Deaf,
}

impl Read for Said<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.deaf.is_so() {
            return Ok(0);
        }
        self.from.read(buffer)
    }
}

impl Offset {
    /// The one that was measured in the shorter time.
    pub fn better(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        one.into_iter().chain(other).min_by_key(|o| o.took)
    }
}

fn io_text(mut from: impl Read, to: &mut String) -> std::io::Result<usize> {
    let mut bytes = Vec::new();
    let count = from.read_to_end(&mut bytes)?;
    to.push_str(&String::from_utf8_lossy(&bytes));
    Ok(count)
}

/// The image has no certificates of its own.
fn tls(ca_file: &Path) -> Result<TlsConfig, Problem> {
    let shown = ca_file.display();
    let hint = "hint: mount the node's certificates there, or let `advertiseUrl` be `http`";
    let pem = fs::read(ca_file).map_err(|e| {
        let why = reason(&e);
        Problem::lasting(format!(
            "`https` needs the authorities' certificates at `{shown}`: {why}\n{hint}"
        ))
    })?;
    let certificates: Vec<_> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err(Problem::lasting(format!(
            "`https` needs the authorities' certificates: none in `{shown}`\n{hint}"
        )));
    }
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(certificates)))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build())
}

fn theirs(response: &Response<Body>) -> Option<i64> {
    let value = response.headers().get("X-Atq-Now")?;
    value.to_str().ok()?.trim().parse().ok()
}

/// Milliseconds since 1970.
pub fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, millis)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The bytes of a query that are escaped: all but the unreserved ones of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A text as a part of a URL's query.
pub fn query_text(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}
