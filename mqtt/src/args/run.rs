//! `atq-mqtt run`.

use super::{any_duration, positive};
use crate::credentials::{self, Login};
use crate::pattern::Pattern;
use crate::session::Qos;
use crate::settings::{DeviceSource, Settings};
use crate::share::WorkerShare;
use clap::{ArgGroup, Args};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Maximum size of a payload in bytes.
const MAX_SIZE: i64 = 16 << 20;

/// `atq-mqtt run`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("device_source").required(true).args(["devices", "own_devices", "credentials"]).multiple(false))]
pub struct Run {
    /// Host of the broker. With several hosts or addresses, the devices are spread over them.
    #[arg(long, required = true, value_delimiter = ',')]
    pub host: Vec<String>,
    /// Port of the broker [default: 1883, or 8883 with --tls-ca].
    #[arg(long)]
    pub port: Option<u16>,
    /// Number of devices of all workers together. Each worker takes its part by ATQ_SHARE_INDEX and ATQ_SHARE_COUNT.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub devices: Option<u32>,
    /// Number of devices of this worker alone, for `{share:devices}` of atq-sync.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub own_devices: Option<u32>,
    /// CSV file with a row `client_id,username,password` for each device of this worker.
    #[arg(long, value_name = "FILE")]
    pub credentials: Option<PathBuf>,
    /// Time between two messages of a device.
    #[arg(long, default_value = "15s", value_parser = positive)]
    pub period: Duration,
    /// Size of a payload in bytes.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=MAX_SIZE))]
    pub size: u32,
    /// Quality of service: 0, 1 or 2.
    #[arg(long, value_enum, default_value = "1")]
    pub qos: Qos,
    /// Topic of a device. `{device}` is its number, or its client id with --credentials; `{worker}` is the worker's number.
    #[arg(long, default_value = "devices/{device}/attrs")]
    pub topic: String,
    /// Client id of a device.
    #[arg(long, default_value = "atq-{device}", conflicts_with = "credentials")]
    pub client_id: String,
    /// User of all devices. The password is read from ATQ_MQTT_PASSWORD only.
    #[arg(
        long,
        env = "ATQ_MQTT_USERNAME",
        default_value = "",
        conflicts_with = "credentials"
    )]
    pub username: String,
    /// Use TLS, and trust the certificates in this PEM file.
    #[arg(long, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// Name in the broker's certificate [default: the host].
    #[arg(long, requires = "tls_ca")]
    pub tls_name: Option<String>,
    /// Source addresses, used in turn [default: the kernel chooses].
    #[arg(long, value_delimiter = ',', value_name = "ADDRESS")]
    pub source_address: Vec<IpAddr>,
    /// New connections per second, of all workers together.
    #[arg(long, default_value = "100", value_parser = rate, value_name = "PER_SECOND")]
    pub ramp: f64,
    /// Time between the last planned connection and the first message.
    #[arg(long, default_value = "2s", value_parser = any_duration)]
    pub settle: Duration,
    /// How long devices publish, from the end of the ramp.
    #[arg(long, default_value = "1m", value_parser = positive)]
    pub duration: Duration,
    /// Keep-alive of MQTT in seconds; 0 turns it off.
    #[arg(long, default_value_t = 60)]
    pub keep_alive: u16,
    /// Deadline of a connection, from TCP to CONNACK.
    #[arg(long, default_value = "10s", value_parser = positive)]
    pub connect_timeout: Duration,
    /// Deadline of an acknowledgement.
    #[arg(long, default_value = "10s", value_parser = positive)]
    pub ack_timeout: Duration,
    /// Bound of the first pause before a reconnect. Each pause is random below its bound, which doubles.
    #[arg(long, default_value = "1s", value_parser = positive)]
    pub backoff: Duration,
    /// Greatest bound of a pause.
    #[arg(long, default_value = "60s", value_parser = positive)]
    pub backoff_max: Duration,
    /// The run fails if more than one message in a hundred is sent later than this.
    #[arg(long, default_value = "1s", value_parser = positive)]
    pub max_lag: Duration,
    /// Seed of the random phases and pauses.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// File of the results.
    #[arg(long, default_value = "/atq/results/mqtt.csv", value_name = "FILE")]
    pub results: PathBuf,
}

impl Run {
    /// The port of the broker.
    pub fn port(&self) -> u16 {
        let default = if self.tls_ca.is_some() { 8883 } else { 1883 };
        self.port.unwrap_or(default)
    }

    /// The source addresses, each once.
    pub fn sources(&self) -> Vec<IpAddr> {
        let distinct: BTreeSet<IpAddr> = self.source_address.iter().copied().collect();
        distinct.into_iter().collect()
    }

    /// The settings, with the files that they name.
    ///
    /// # Errors
    /// A sentence that names the faulty option or variable.
    pub fn settings(
        &self,
        share: WorkerShare,
        password: Option<String>,
    ) -> Result<Settings, String> {
        let option = |name: &'static str| move |error| format!("--{name}: {error}");
        let device_source = self.device_source(share, password)?;
        let topic =
            Pattern::topic(&self.topic).map_err(|error| option("topic")(error.to_string()))?;
        let settings = Settings {
            share,
            device_source,
            topic,
            period: self.period,
            size: self.size as usize,
            qos: self.qos,
            ramp: self.ramp,
            settle: self.settle,
            duration: self.duration,
            keep_alive: self.keep_alive,
            connect_timeout: self.connect_timeout,
            ack_timeout: self.ack_timeout,
            backoff: (self.backoff, self.backoff_max),
            max_lag: self.max_lag,
            seed: self.seed,
        };
        settings.check_lengths()?;
        Ok(settings)
    }

    /// Checks that replicas without `atq-sync` do not simulate the same devices. `replica` is the value of ATQ_REPLICA.
    ///
    /// # Errors
    /// When `--devices` would give each of several replicas all devices.
    pub fn check_replica(&self, replica: &str, has_share: bool) -> Result<(), String> {
        let is_further_replica = replica.parse().is_ok_and(|replica: u64| replica > 1);
        match self.devices {
            Some(devices) if is_further_replica && !has_share => Err(format!(
                "--devices {devices}: replica {replica} would simulate the same devices as the others, because ATQ_SHARE_INDEX and \
                 ATQ_SHARE_COUNT are not set; run the workers with atq-sync, or set them"
            )),
            _ => Ok(()),
        }
    }

    fn device_source(
        &self,
        share: WorkerShare,
        password: Option<String>,
    ) -> Result<DeviceSource, String> {
        if let Some(path) = &self.credentials {
            let rows = credentials::read(path)
                .map_err(|error| format!("--credentials {}: {error}", path.display()))?;
            return Ok(DeviceSource::Listed(rows));
        }
        let count = match (self.devices, self.own_devices) {
            (Some(total), _) => share.size(total),
            (None, own) => own.unwrap_or_default(),
        };
        if count == 0 {
            return Err(format!(
                "--devices {}: fewer devices than workers; worker {} of {} has none",
                self.devices.unwrap_or_default(),
                share.index() + 1,
                share.count()
            ));
        }
        let password = password.filter(|password| !password.is_empty());
        if self.username.is_empty() && password.is_some() {
            return Err("ATQ_MQTT_PASSWORD is set without --username".to_owned());
        }
        let client_id =
            Pattern::client_id(&self.client_id).map_err(|error| format!("--client-id: {error}"))?;
        Ok(DeviceSource::Numbered {
            count,
            client_id,
            login: Login {
                username: self.username.clone(),
                password: password.unwrap_or_default(),
            },
        })
    }
}

/// A positive number.
fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.01..=1_000_000.0).contains(&rate) => Ok(rate),
        _ => Err("expected a number of connections per second from 0.01 to 1000000".to_owned()),
    }
}
