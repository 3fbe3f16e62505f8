//! Client for the Docker API on this node, over its socket, with the calls that a carrier needs.

use std::collections::BTreeMap;
use std::io::{Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use atq_node_protocol::stats::ContainerStats;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use ureq::config::Config;
use ureq::http::{Response, Uri};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};
use ureq::{Agent, Body, Error};

use crate::http::encode_query;
use crate::problem::{Problem, reason};

/// It is long, because the Engine responds slowly while it starts many containers.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
const BUFFER: usize = 256 * 1024;

/// Label with the task of a container or volume.
pub const TASK_LABEL: &str = "com.atq.task";
/// Label with the run of a container or volume.
pub const RUN_LABEL: &str = "com.atq.run";
/// Label with the role of a container.
pub const ROLE_LABEL: &str = "com.atq.role";

/// The Engine of this node.
#[derive(Debug)]
pub struct Docker {
    agent: Agent,
    socket: PathBuf,
}

/// Result of removing a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeRemoval {
    /// The volume was removed, or did not exist.
    Gone,
    /// A container uses the volume; with Docker's message.
    InUse(String),
}

/// An entry of Docker's container list.
#[derive(Debug, Clone, Deserialize)]
pub struct ContainerSummary {
    /// Container id.
    #[serde(rename = "Id")]
    pub id: String,
    /// Container labels.
    #[serde(rename = "Labels", default)]
    pub labels: std::collections::HashMap<String, String>,
}

/// Docker's list of volumes; `null` when there are none.
#[derive(Deserialize)]
struct VolumeList {
    #[serde(rename = "Volumes")]
    volumes: Option<Vec<Volume>>,
}

#[derive(Deserialize)]
struct Volume {
    #[serde(rename = "Name")]
    name: String,
}

#[derive(Deserialize)]
struct ErrorBody {
    message: String,
}

impl Docker {
    /// A client for the Engine at this socket. Does not connect yet.
    pub fn at(socket: &Path) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .input_buffer_size(BUFFER)
            .timeout_per_read(Some(IDLE_TIMEOUT))
            .timeout_per_write(Some(IDLE_TIMEOUT))
            .build();
        let connector = UnixConnector(socket.to_owned());
        Self {
            agent: Agent::with_parts(config, connector, PlaceholderResolver),
            socket: socket.to_owned(),
        }
    }

    /// Removes a volume.
    ///
    /// # Errors
    /// When Docker does not respond, or refuses for a reason other than a volume in use.
    pub fn remove_volume(&self, name: &str) -> Result<VolumeRemoval, Problem> {
        let url = format!("http://docker/volumes/{name}");
        let response = self.received(self.agent.delete(url).call())?;
        match response.status().as_u16() {
            200..=299 | 404 => Ok(VolumeRemoval::Gone),
            409 => Ok(VolumeRemoval::InUse(error_message(response))),
            _ => Err(refused(&format!("remove the volume `{name}`"), response)),
        }
    }

    /// The names of the volumes that carry all of these labels.
    ///
    /// # Errors
    /// When Docker does not respond, or refuses.
    pub fn volumes(&self, labels: &BTreeMap<String, String>) -> Result<Vec<String>, Problem> {
        let labels = labels.iter().map(|(key, value)| format!("{key}={value}"));
        let labels: Vec<String> = labels.collect();
        let filters = encode_query(&serde_json::json!({ "label": labels }).to_string());
        let path = format!("volumes?filters={filters}");
        let list: VolumeList = self.json(&path, "list volumes")?;
        let volumes = list.volumes.unwrap_or_default().into_iter();
        Ok(volumes.map(|volume| volume.name).collect())
    }

    /// The content of a container at `path`, as a tar; `None` when the node has no such container, or the path does not exist.
    ///
    /// # Errors
    /// When Docker does not respond, or refuses.
    pub fn archive(
        &self,
        container: &str,
        path: &str,
    ) -> Result<Option<impl Read + use<>>, Problem> {
        let path = encode_query(path);
        let url = format!("http://docker/containers/{container}/archive?path={path}");
        let response = self.received(self.agent.get(url).call())?;
        match response.status().as_u16() {
            200 => Ok(Some(response.into_body().into_reader())),
            404 => Ok(None),
            _ => Err(refused(
                &format!("read files of container `{container}`"),
                response,
            )),
        }
    }

    /// The running containers with this label.
    ///
    /// # Errors
    /// When Docker does not respond, or refuses.
    pub fn running_containers(&self, label: &str) -> Result<Vec<ContainerSummary>, Problem> {
        let filters = serde_json::json!({ "label": [label], "status": ["running"] });
        let filters = encode_query(&filters.to_string());
        let path = format!("containers/json?filters={filters}");
        self.json(&path, "list containers")
    }

    /// Kills a container; an absent or stopped container is not an error.
    ///
    /// # Errors
    /// When Docker does not respond, or refuses.
    pub fn kill(&self, container: &str) -> Result<(), Problem> {
        let url = format!("http://docker/containers/{container}/kill?signal=SIGKILL");
        let response = self.received(self.agent.post(url).send_empty())?;
        match response.status().as_u16() {
            200..=299 | 404 | 409 => Ok(()),
            _ => Err(refused(&format!("kill container `{container}`"), response)),
        }
    }

    /// The current statistics of a container.
    ///
    /// # Errors
    /// When Docker does not respond, or refuses, for example because the container has ended.
    pub fn stats(&self, container: &str) -> Result<ContainerStats, Problem> {
        let path = format!("containers/{container}/stats?stream=false&one-shot=true");
        let action = format!("read the statistics of container `{container}`");
        self.json(&path, &action)
    }

    fn json<T: DeserializeOwned>(&self, path: &str, action: &str) -> Result<T, Problem> {
        let url = format!("http://docker/{path}");
        let response = self.received(self.agent.get(url).call())?;
        if response.status().as_u16() != 200 {
            return Err(refused(action, response));
        }
        let body = response.into_body().into_reader();
        serde_json::from_reader(body).map_err(|e| {
            Problem::temporary(format!(
                "cannot {action}: invalid response from Docker: {e}"
            ))
        })
    }

    fn received(&self, answer: Result<Response<Body>, Error>) -> Result<Response<Body>, Problem> {
        answer.map_err(|error| {
            let why = match &error {
                Error::Io(e) => reason(e),
                Error::Timeout(_) => format!("no response within {} s", IDLE_TIMEOUT.as_secs()),
                other => other.to_string(),
            };
            let socket = self.socket.display();
            Problem::temporary(format!("cannot reach Docker at `{socket}`: {why}"))
        })
    }
}

fn refused(action: &str, response: Response<Body>) -> Problem {
    let status = response.status();
    let (code, why) = (status.as_u16(), error_message(response));
    let text = format!("cannot {action}: Docker answered {code}: {why}");
    Problem::new(text, status.is_server_error())
}

fn error_message(mut response: Response<Body>) -> String {
    let text = response.body_mut().read_to_string().unwrap_or_default();
    serde_json::from_str::<ErrorBody>(&text).map_or(text, |body| body.message)
}

/// Opens a new connection for each call: this is cheap on a Unix socket, and avoids stale connections.
#[derive(Debug)]
struct UnixConnector(PathBuf);

impl Connector for UnixConnector {
    type Out = UnixTransport;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _chained: Option<()>,
    ) -> Result<Option<UnixTransport>, Error> {
        let stream = UnixStream::connect(&self.0)?;
        let (input, output) = (
            details.config.input_buffer_size(),
            details.config.output_buffer_size(),
        );
        Ok(Some(UnixTransport {
            stream,
            buffers: LazyBuffers::new(input, output),
        }))
    }
}

#[derive(Debug)]
struct UnixTransport {
    stream: UnixStream,
    buffers: LazyBuffers,
}

impl Transport for UnixTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let timeout = timeout.for_write();
        self.stream
            .set_write_timeout(timeout.not_zero().map(|t| *t))?;
        let output = &self.buffers.output()[..amount];
        let written = self.stream.write_all(output);
        written.map_err(|e| map_timeout(e, timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let timeout = timeout.for_read();
        self.stream
            .set_read_timeout(timeout.not_zero().map(|t| *t))?;
        let buffer = self.buffers.input_append_buf();
        let count = loop {
            match self.stream.read(buffer) {
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                other => break other.map_err(|e| map_timeout(e, timeout))?,
            }
        };
        self.buffers.input_appended(count);
        Ok(count > 0)
    }

    fn is_open(&mut self) -> bool {
        false
    }
}

/// Maps the errors of a socket timeout, which include `WouldBlock`.
fn map_timeout(error: std::io::Error, timeout: NextTimeout) -> Error {
    match error.kind() {
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
            Error::Timeout(timeout.reason)
        }
        _ => error.into(),
    }
}

/// Returns a placeholder: the client requires an address, the connector does not use it.
#[derive(Debug)]
struct PlaceholderResolver;

impl Resolver for PlaceholderResolver {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let mut one = self.empty();
        one.push(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        Ok(one)
    }
}
