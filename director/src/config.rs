//! Reads `controller-config.yaml` and the environment, and validates them as a whole.
//!
//! The file is parsed into a tree first, then field by field, so that all faults are reported at once, each with its
//! key and line. Each key except `images`, `registryAuth` and `tokenExchange` can be overridden by an environment
//! variable: `ATQ_` and the key in upper case with `_` between words (`ATQ_PORT`, `ATQ_DOCKER_HOST`,
//! `ATQ_LIMITS_UPLOAD_BYTES`). An empty variable counts as unset.

mod access;
mod advertised;
mod document;
mod error;
mod exchange;
mod fields;
mod images;
mod registries;
mod retention;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::Ipv4Net;

pub use access::{Auth, Socket, Tls};
pub use error::{ConfigError, Fault, Origin};
pub use exchange::{KeyLocation, TokenExchange};
pub use images::{ImageNotAllowed, ImageRule, Images, Variable};
pub use retention::Retention;

use atq_engine_swarm::registry::{Password, RegistryAuth};
use atq_task::spec::{Delivery, max_stop_grace};
use document::Section;

/// Names of the default configuration file in the working directory, in order of precedence.
pub const FILE_NAMES: [&str; 2] = ["controller-config.yaml", "controller-config.yml"];
/// Maximum size of a configuration file in bytes.
const MAX_BYTES: usize = 1024 * 1024;

/// The fault of an API that other machines can use without authentication.
const OPEN_TO_ALL: &str = "would let every machine of the network use the API, because `auth` is `off`; add the line \
                           `auth: tokens`, or set `bind: 127.0.0.1`";

/// The smallest valid file.
const SMALLEST: &str = "port: 8080\nglusterpath: /var/lib/atq/bundles\n";

/// The Director's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// TCP port of the HTTP API; 0 lets the system choose.
    pub port: u16,
    /// Directory of bundles; absolute after [`Config::load`], since Docker accepts only absolute bind sources.
    pub glusterpath: PathBuf,
    /// Address to listen on.
    pub bind: IpAddr,
    /// Directory of the Director's own data; absolute after [`Config::load`].
    pub datadir: PathBuf,
    /// URL of the Docker Engine; `None`: from Docker's environment variables, else the local socket.
    pub docker_host: Option<String>,
    /// Image of the discovery sidecar.
    pub discovery_image: String,
    /// Host under which the sidecar's port is reached; `None`: determined automatically.
    pub discovery_host: Option<String>,
    /// URL under which the nodes reach the port for carriers, as configured, without a trailing slash; `None`: derived
    /// from its address. See [`Config::advertised`].
    pub advertise_url: Option<String>,
    /// URL under which people and browsers reach the Director, without a trailing slash.
    pub public_url: Option<String>,
    /// Further names under which the Director may be addressed.
    pub allowed_hosts: Vec<String>,
    /// How clients are identified.
    pub auth: Auth,
    /// Rules for the exchange of CI jobs' JWTs for tokens.
    pub token_exchange: Vec<TokenExchange>,
    /// Unix socket for clients on this machine; absolute after [`Config::load`].
    pub socket: Option<Socket>,
    /// Certificate of the main port; `None`: HTTP.
    pub tls: Option<Tls>,
    /// TCP port for carriers; 0 lets the system choose, `None`: the port after `port`, or another one if it is in use.
    pub node_port: Option<u16>,
    /// Address to listen on for carriers; `None`: loopback, and the manager's address once the Swarm has other nodes.
    pub node_bind: Option<IpAddr>,
    /// Image of the carrier, which delivers bundles to the nodes and fetches results.
    pub carrier_image: String,
    /// Docker's socket on the nodes, used by some carriers; absolute.
    pub node_docker_socket: PathBuf,
    /// Default delivery of bundles, for tasks that do not set it.
    pub delivery: Delivery,
    /// Id in the labels of this Director's objects in Docker; `None`: generated and stored in `datadir`.
    pub director_id: Option<String>,
    /// Maximum number of concurrent tasks; at least 1.
    pub max_concurrent_tasks: usize,
    /// Fixed timeout of each phase of orchestration; see [`Config::orchestration_timeout`].
    pub fixed_orchestration_timeout: Option<Duration>,
    /// Limits for users.
    pub limits: Limits,
    /// Retention of tasks and bundles.
    pub retention: Retention,
    /// Private range for the subnets of the tasks' networks; at least a /24.
    pub subnet_pool: Ipv4Net,
    /// Whether `GET /swarm` returns the join tokens while the Director listens beyond loopback.
    pub expose_join_tokens: bool,
    /// Format of log lines.
    pub log_format: LogFormat,
    /// Allowed images.
    pub images: Images,
    /// Logins at registries, which take precedence over `docker_config`. Password files are read at use.
    pub registry_auth: RegistryAuth,
    /// Docker's `config.json` with further logins, which must exist; `None`: the file that the docker command would
    /// use, if it exists.
    pub docker_config: Option<PathBuf>,
}

/// Limits for users. Sizes are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Maximum size of an uploaded zip.
    pub upload_bytes: u64,
    /// Maximum total size of a bundle's files.
    pub unpacked_bytes: u64,
    /// Maximum number of files and directories in a bundle.
    pub entries: u64,
    /// Maximum number of replicas of one service.
    pub replicas: u32,
    /// Maximum size of stored results of all containers of a run.
    pub results_bytes: u64,
    /// Maximum size of a stored container log.
    pub log_bytes: u64,
    /// Maximum number of client connections; `None`: as many as the descriptors of the process allow.
    pub connections: Option<u64>,
    /// Maximum number of processes and threads of a container of a task; 0: unlimited.
    pub pids: u64,
    /// Maximum time between SIGTERM and SIGKILL in definitions, in seconds.
    pub stop_grace_period: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            upload_bytes: 2 << 30,
            unpacked_bytes: 8 << 30,
            entries: 100_000,
            replicas: 1000,
            results_bytes: 8 << 30,
            log_bytes: 68 << 20,
            connections: None,
            pids: 16_384,
            stop_grace_period: max_stop_grace(),
        }
    }
}

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text lines.
    Text,
    /// One JSON object per line.
    Json,
}

impl Config {
    /// Reads the given file, or the first of [`FILE_NAMES`] in the working directory, with the overrides of the
    /// process' environment. Relative paths are resolved against the working directory. Blocks the thread.
    ///
    /// # Errors
    /// [`ConfigError`] with every fault of the file.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let path = path.map_or_else(find, |given| Ok(given.to_owned()))?;
        let text = read(&path)?;
        let in_file = |source| ConfigError::InFile {
            path: path.clone(),
            source: Box::new(source),
        };
        let mut config = Self::parse(&text, |key| std::env::var(key).ok()).map_err(in_file)?;
        for path in config.paths() {
            *path = std::path::absolute(&*path).map_err(|source| ConfigError::Unreadable {
                path: path.clone(),
                source,
            })?;
        }
        config.check_secrets().map_err(in_file)?;
        config.check_access().map_err(in_file)?;
        Ok(config)
    }

    /// Parses the text of a configuration file. `env` returns the value of an environment variable.
    ///
    /// # Errors
    /// [`ConfigError::Syntax`] when it is not YAML, [`ConfigError::Faults`] with all other faults.
    pub fn parse(text: &str, env: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        if text.len() > MAX_BYTES {
            return Err(ConfigError::TooBig(MAX_BYTES));
        }
        let mut faults = Vec::new();
        let root = document::parse(text)?;
        let mut section = Section::new(root, &env, &mut faults);
        let config = Self::read(&mut section);
        section.finish();
        // Sorted as in the file, missing keys first.
        faults.sort_by_key(|fault| match fault.place {
            Origin::Line(line) => line,
            Origin::Environment(_) | Origin::Missing => 0,
        });
        match config {
            Some(config) if faults.is_empty() => Ok(config),
            _ => Err(ConfigError::Faults(faults)),
        }
    }

    /// Reads every field, so that all faults are found; `None` if a required one is missing or invalid.
    fn read(section: &mut Section<'_>) -> Option<Self> {
        let port = section.required("port", fields::port);
        let glusterpath = section.required("glusterpath", fields::path);
        let limits = Limits::read(&mut section.child("limits"));
        let retention = Retention::read(&mut section.child("retention"));
        let images = Images::read(section);
        let registry_auth = registries::read(section);
        let bind_place = section.place("bind");
        let config = Self {
            port: port.unwrap_or(0),
            glusterpath: glusterpath.clone().unwrap_or_default(),
            bind: section.or("bind", fields::address, Ipv4Addr::LOCALHOST.into()),
            datadir: section.or("datadir", fields::path, "./atq-data".into()),
            docker_host: section.optional("dockerHost", fields::docker_host),
            discovery_image: section.or("discoveryImage", fields::word, "atq-discovery:dev".into()),
            discovery_host: section.optional("discoveryHost", fields::word),
            advertise_url: section.optional("advertiseUrl", fields::url),
            public_url: section.optional("publicUrl", fields::url),
            allowed_hosts: section
                .optional("allowedHosts", fields::host_names)
                .unwrap_or_default(),
            auth: section.or("auth", fields::auth, Auth::Off),
            token_exchange: exchange::read(section),
            socket: Socket::read(section),
            tls: Tls::read(&mut section.child("tls")),
            node_port: section.optional("nodePort", fields::port),
            node_bind: section.optional("nodeBind", fields::address),
            carrier_image: section.or("carrierImage", fields::word, "atq-carrier:dev".into()),
            node_docker_socket: section.or(
                "nodeDockerSocket",
                fields::absolute,
                "/var/run/docker.sock".into(),
            ),
            delivery: section.or("delivery", fields::delivery, Delivery::Push),
            director_id: section.optional("directorId", fields::director_id),
            max_concurrent_tasks: section.integer("maxConcurrentTasks", 1..=10_000, 4) as usize,
            fixed_orchestration_timeout: section
                .optional("orchestrationTimeout", |v| fields::integer(v, 1, 86_400))
                .map(Duration::from_secs),
            limits,
            retention,
            subnet_pool: section.or("subnetPool", fields::subnet_pool, default_pool()),
            expose_join_tokens: section.or("exposeJoinTokens", fields::boolean, false),
            log_format: section.or("logFormat", fields::log_format, LogFormat::Text),
            images,
            registry_auth,
            docker_config: section.optional("dockerConfig", fields::path),
        };
        if !section.is_faulty("auth")
            && config.auth == Auth::Off
            && !config.bind.to_canonical().is_loopback()
        {
            section.fault("bind", bind_place, OPEN_TO_ALL.to_owned());
        }
        (port.is_some() && glusterpath.is_some()).then_some(config)
    }

    /// Keys that have no effect, or not the one that was probably meant.
    pub fn warnings(&self) -> Vec<String> {
        let unused_exchange = self.auth == Auth::Off && !self.token_exchange.is_empty();
        let url = self.public_url.as_deref().unwrap_or_default();
        let is_plain_url = self.tls.is_some() && url.starts_with("http://");
        let warnings = [
            unused_exchange.then(|| {
                "`tokenExchange` has no effect while `auth` is `off`: set `auth: tokens`".to_owned()
            }),
            is_plain_url.then(|| {
                format!("`publicUrl` is `{url}`, but `tls` is set, so that clients need `https://`")
            }),
        ];
        warnings.into_iter().flatten().collect()
    }

    /// All paths that are made absolute.
    fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let logins = self.registry_auth.values_mut();
        let files = logins.filter_map(|login| match &mut login.password {
            Password::File(path) => Some(path),
            Password::Text(_) => None,
        });
        let socket = self.socket.iter_mut().map(|socket| &mut socket.path);
        let tls = self.tls.iter_mut();
        let exchanges = self.token_exchange.iter_mut();
        [&mut self.glusterpath, &mut self.datadir]
            .into_iter()
            .chain(socket)
            .chain(tls.flat_map(|tls| [&mut tls.certificate, &mut tls.key]))
            .chain(&mut self.docker_config)
            .chain(exchanges.filter_map(|exchange| exchange.keys.path_mut()))
            .chain(files)
    }

    /// Checks that configured files with credentials and keys are readable. They are read again at each use.
    fn check_secrets(&self) -> Result<(), ConfigError> {
        let files = self.registry_auth.iter().filter_map(|(host, login)| {
            let Password::File(path) = &login.password else {
                return None;
            };
            Some((format!("registryAuth[{host}].passwordFile"), path))
        });
        let docker = self.docker_config.iter();
        let docker = docker.map(|path| ("dockerConfig".to_owned(), path));
        let exchanges = self.token_exchange.iter().filter_map(|exchange| {
            let (key, path) = exchange.keys.path()?;
            Some((format!("tokenExchange[{}].{key}", exchange.rule.name), path))
        });
        for (key, path) in files.chain(docker).chain(exchanges) {
            fs::read(path).map_err(|source| ConfigError::Unusable {
                key,
                path: path.clone(),
                source,
            })?;
        }
        Ok(())
    }

    /// Checks the certificate of the main port, and path and group of the socket.
    fn check_access(&self) -> Result<(), ConfigError> {
        let faults = self.socket.iter().flat_map(Socket::faults);
        let faults: Vec<Fault> = faults.collect();
        if !faults.is_empty() {
            return Err(ConfigError::Faults(faults));
        }
        let Some(tls) = &self.tls else {
            return Ok(());
        };
        tls.files().load().map_err(|error| ConfigError::Unusable {
            key: error.key.to_owned(),
            path: error.path,
            source: error.source,
        })?;
        Ok(())
    }

    /// Creates `glusterpath` and `datadir` if missing, and checks that files can be created in them. Blocks the
    /// thread.
    ///
    /// # Errors
    /// [`ConfigError::Unusable`] names the key and the path.
    pub fn prepare(&self) -> Result<(), ConfigError> {
        for (key, path) in [
            ("glusterpath", &self.glusterpath),
            ("datadir", &self.datadir),
        ] {
            let usable =
                fs::create_dir_all(path).and_then(|()| tempfile::tempfile_in(path).map(drop));
            usable.map_err(|source| ConfigError::Unusable {
                key: key.to_owned(),
                path: path.clone(),
                source,
            })?;
        }
        Ok(())
    }

    /// Timeout of each phase of the preparation of a task with this number of replicas: `orchestrationTimeout` if
    /// set, else one minute and one second per replica.
    pub fn orchestration_timeout(&self, replicas: u32) -> Duration {
        self.fixed_orchestration_timeout
            .unwrap_or_else(|| Duration::from_secs(60 + u64::from(replicas)))
    }

    /// A complete file with comments: every key with its default.
    pub fn example() -> String {
        include_str!("config/example.yaml").to_owned()
    }
}

impl Limits {
    fn read(section: &mut Section<'_>) -> Self {
        const MOST_BYTES: u64 = u64::MAX >> 1;
        let default = Self::default();
        let mut number = |key, range, default| section.integer(key, range, default);
        // Faults list the known keys in this order.
        let limits = Self {
            upload_bytes: number("uploadBytes", 1..=MOST_BYTES, default.upload_bytes),
            unpacked_bytes: number("unpackedBytes", 1..=MOST_BYTES, default.unpacked_bytes),
            results_bytes: number("resultsBytes", 1..=MOST_BYTES, default.results_bytes),
            entries: number("entries", 1..=10_000_000, default.entries),
            replicas: u32::try_from(number("replicas", 1..=100_000, default.replicas.into()))
                .unwrap_or(u32::MAX),
            log_bytes: number("logBytes", 65_536..=1 << 40, default.log_bytes),
            connections: Some(number("connections", 0..=1_000_000, 0)).filter(|number| *number > 0),
            pids: number("pids", 0..=1 << 22, default.pids),
            stop_grace_period: number(
                "stopGracePeriod",
                1..=max_stop_grace(),
                default.stop_grace_period,
            ),
        };
        section.finish();
        limits
    }
}

fn default_pool() -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(10, 224, 0, 0), 12)
}

fn find() -> Result<PathBuf, ConfigError> {
    let mut names = FILE_NAMES.iter().map(PathBuf::from);
    names.find(|path| path.exists()).ok_or_else(|| {
        ConfigError::NotFound(std::env::current_dir().unwrap_or_else(|_| PathBuf::from(".")))
    })
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |source: io::Error| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let mut text = String::new();
    // Reads one byte more than allowed, so that `parse` detects files that are too large.
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES as u64 + 1).read_to_string(&mut text))
        .map_err(unreadable)?;
    Ok(text)
}
