//! Docker on this node, by its socket: the few calls that a carrier makes.

use std::io::{Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use ureq::config::Config;
use ureq::http::{Response, Uri};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};
use ureq::{Agent, Body, Error};

use crate::http::query_text;
use crate::problem::{Problem, reason};

/// An Engine that starts many containers may take a while to answer.
const SILENCE: Duration = Duration::from_secs(30);
const BUFFER: usize = 256 * 1024;

/// The label with the run of a container.
pub const RUN: &str = "com.atq.run";
/// The label with its role.
pub const ROLE: &str = "com.atq.role";

/// The Engine of this node.
#[derive(Debug)]
pub struct Docker {
    agent: Agent,
    socket: PathBuf,
}

/// What came of the removal of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// It is not there any more, or never was.
    Gone,
    /// A container holds it; with Docker's words.
    InUse(String),
}

/// A container as Docker lists it.
#[derive(Debug, Clone, Deserialize)]
pub struct Listed {
    /// Its id.
    #[serde(rename = "Id")]
    pub id: String,
    /// Its labels.
    #[serde(rename = "Labels", default)]
    pub labels: std::collections::HashMap<String, String>,
}

/// One look at a container's counters.
#[derive(Debug, Clone, Deserialize)]
pub struct Stats {
    /// Of its processors.
    pub cpu_stats: CpuStats,
}

/// Counters of processors.
#[derive(Debug, Clone, Deserialize)]
pub struct CpuStats {
    /// Of the container.
    pub cpu_usage: CpuUsage,
    /// Of the whole node, over all its processors, in nanoseconds.
    #[serde(default)]
    pub system_cpu_usage: u64,
    /// How many processors there are.
    #[serde(default)]
    pub online_cpus: u32,
}

/// What a container has used.
#[derive(Debug, Clone, Deserialize)]
pub struct CpuUsage {
    /// In nanoseconds, over all processors.
    pub total_usage: u64,
}

#[derive(Deserialize)]
struct Message {
    message: String,
}

impl Docker {
    /// The Engine behind this socket; nothing is asked yet.
    pub fn at(socket: &Path) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .input_buffer_size(BUFFER)
            .timeout_per_read(Some(SILENCE))
            .timeout_per_write(Some(SILENCE))
            .build();
        let connector = ToSocket(socket.to_owned());
        Self {
            agent: Agent::with_parts(config, connector, NoNames),
            socket: socket.to_owned(),
        }
    }

    /// Removes a volume.
    ///
    /// # Errors
    /// When Docker does not answer, or refuses for another reason than that it is in use.
    pub fn remove_volume(&self, name: &str) -> Result<Removed, Problem> {
        let answer = self
            .agent
            .delete(format!("http://docker/volumes/{name}"))
            .call();
        let response = answer.map_err(|e| self.unreachable(&e))?;
        match response.status().as_u16() {
            200..=299 | 404 => Ok(Removed::Gone),
            409 => Ok(Removed::InUse(said(response))),
            _ => Err(refused(&format!("remove the volume `{name}`"), response)),
        }
    }

    /// What a container has at `path`, as a tar; none when there is no such container here, or nothing at that path.
    ///
    /// # Errors
    /// When Docker does not answer, or refuses.
    pub fn archive(
        &self,
        container: &str,
        path: &str,
    ) -> Result<Option<impl Read + use<>>, Problem> {
        let path = query_text(path);
        let url = format!("http://docker/containers/{container}/archive?path={path}");
        let response = self
            .agent
            .get(url)
            .call()
            .map_err(|e| self.unreachable(&e))?;
        match response.status().as_u16() {
            200 => Ok(Some(response.into_body().into_reader())),
            404 => Ok(None),
            _ => Err(refused(
                &format!("read files of container `{container}`"),
                response,
            )),
        }
    }

    /// The running containers that have this label.
    ///
    /// # Errors
    /// When Docker does not answer, or refuses.
    pub fn running(&self, label: &str) -> Result<Vec<Listed>, Problem> {
        let filters = serde_json::json!({ "label": [label], "status": ["running"] });
        let filters = query_text(&filters.to_string());
        self.json(
            &format!("containers/json?filters={filters}"),
            "list the containers",
        )
    }

    /// Kills a container; one that is gone or does not run is fine.
    ///
    /// # Errors
    /// When Docker does not answer, or refuses.
    pub fn kill(&self, container: &str) -> Result<(), Problem> {
        let url = format!("http://docker/containers/{container}/kill?signal=SIGKILL");
        let answer = self.agent.post(url).send_empty();
        let response = answer.map_err(|e| self.unreachable(&e))?;
        match response.status().as_u16() {
            200..=299 | 404 | 409 => Ok(()),
            _ => Err(refused(&format!("kill container `{container}`"), response)),
        }
    }

    /// A container's counters now.
    ///
    /// # Errors
    /// When Docker does not answer, or refuses: the container may have ended.
    pub fn stats(&self, container: &str) -> Result<Stats, Problem> {
        let path = format!("containers/{container}/stats?stream=false&one-shot=true");
        self.json(
            &path,
            &format!("read the counters of container `{container}`"),
        )
    }

    fn json<T: DeserializeOwned>(&self, path: &str, action: &str) -> Result<T, Problem> {
        let answer = self.agent.get(format!("http://docker/{path}")).call();
        let response = answer.map_err(|e| self.unreachable(&e))?;
        if response.status().as_u16() != 200 {
            return Err(refused(action, response));
        }
        let body = response.into_body().into_reader();
        serde_json::from_reader(body)
            .map_err(|e| Problem::passing(format!("cannot {action}: Docker's answer is odd: {e}")))
    }

    fn unreachable(&self, error: &Error) -> Problem {
        let why = match error {
            Error::Io(e) => reason(e),
            Error::Timeout(_) => format!("no answer within {} s", SILENCE.as_secs()),
            other => other.to_string(),
        };
        let socket = self.socket.display();
        Problem::passing(format!("cannot reach Docker at `{socket}`: {why}"))
    }
}

fn refused(action: &str, response: Response<Body>) -> Problem {
    let status = response.status();
    let text = format!(
        "cannot {action}: Docker answered {}: {}",
        status.as_u16(),
        said(response)
    );
    if status.is_server_error() {
        Problem::passing(text)
    } else {
        Problem::lasting(text)
    }
}

fn said(mut response: Response<Body>) -> String {
    let text = response.body_mut().read_to_string().unwrap_or_default();
    serde_json::from_str::<Message>(&text).map_or(text, |said| said.message)
}

/// A new connection for each call: they cost nothing here, and none is found dead.
#[derive(Debug)]
struct ToSocket(PathBuf);

impl Connector for ToSocket {
    type Out = Socket;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _chained: Option<()>,
    ) -> Result<Option<Socket>, Error> {
        let stream = UnixStream::connect(&self.0)?;
        let (input, output) = (
            details.config.input_buffer_size(),
            details.config.output_buffer_size(),
        );
        Ok(Some(Socket {
            stream,
            buffers: LazyBuffers::new(input, output),
        }))
    }
}

#[derive(Debug)]
struct Socket {
    stream: UnixStream,
    buffers: LazyBuffers,
}

impl Transport for Socket {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let timeout = timeout.for_write();
        self.stream
            .set_write_timeout(timeout.not_zero().map(|t| *t))?;
        let output = &self.buffers.output()[..amount];
        let written = self.stream.write_all(output);
        written.map_err(|e| in_time(e, timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let timeout = timeout.for_read();
        self.stream
            .set_read_timeout(timeout.not_zero().map(|t| *t))?;
        let buffer = self.buffers.input_append_buf();
        let count = loop {
            match self.stream.read(buffer) {
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                other => break other.map_err(|e| in_time(e, timeout))?,
            }
        };
        self.buffers.input_appended(count);
        Ok(count > 0)
    }

    fn is_open(&mut self) -> bool {
        false
    }
}

/// A socket that is too slow says that it would block.
fn in_time(error: std::io::Error, timeout: NextTimeout) -> Error {
    match error.kind() {
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
            Error::Timeout(timeout.reason)
        }
        _ => error.into(),
    }
}

/// There is nothing to look up; one address must be given.
#[derive(Debug)]
struct NoNames;

impl Resolver for NoNames {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let mut one = self.empty();
        one.push(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        Ok(one)
    }
}
