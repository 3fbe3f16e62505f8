//! The settings of a run.

use crate::credentials::{Credentials, Login, MAX_FIELD};
use crate::pattern::Pattern;
use crate::session::Qos;
use crate::share::WorkerShare;
use std::time::Duration;

/// The devices of this worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceSource {
    /// Devices with numbers as names, all with the same login.
    Numbered {
        /// How many this worker has.
        count: u32,
        /// The pattern of client ids.
        client_id: Pattern,
        /// The login of all.
        login: Login,
    },
    /// Devices with credentials of their own; the client id is the name.
    Listed(Vec<Credentials>),
}

/// Identity of a device.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Its number over all workers.
    pub number: u64,
    /// Its number among the devices of this worker, from 0.
    pub position: u64,
    /// Its client id and login.
    pub credentials: Credentials,
    /// Its topic.
    pub topic: String,
}

/// What the devices of a worker do. All times are positive.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which worker this is.
    pub share: WorkerShare,
    /// Its devices.
    pub device_source: DeviceSource,
    /// The pattern of topics.
    pub topic: Pattern,
    /// Time between two messages of a device.
    pub period: Duration,
    /// Size of a payload in bytes.
    pub size: usize,
    /// Quality of service.
    pub qos: Qos,
    /// New connections per second of all workers.
    pub ramp: f64,
    /// Time between the last planned connection and the first message.
    pub settle: Duration,
    /// How long devices publish.
    pub duration: Duration,
    /// Keep-alive of MQTT in seconds; 0 for none.
    pub keep_alive: u16,
    /// Deadline of a connection, from TCP to CONNACK.
    pub connect_timeout: Duration,
    /// Deadline of an acknowledgement.
    pub ack_timeout: Duration,
    /// First and longest bound of the backoff.
    pub backoff: (Duration, Duration),
    /// Lag from which a message counts as too late.
    pub max_lag: Duration,
    /// Seed of phases and pauses.
    pub seed: u64,
}

impl Settings {
    /// Number of devices of this worker.
    pub fn devices(&self) -> u32 {
        match &self.device_source {
            DeviceSource::Numbered { count, .. } => *count,
            DeviceSource::Listed(rows) => u32::try_from(rows.len()).unwrap_or(u32::MAX),
        }
    }

    /// Time from the start until devices publish: the ramp of all workers, and the time to settle. Workers have as many
    /// devices or one less, so that all have nearly the same ramp.
    pub fn ramp_time(&self) -> Duration {
        let all = f64::from(self.devices()) * f64::from(self.share.count());
        let ramp = Duration::try_from_secs_f64(all / self.ramp).unwrap_or(Duration::MAX);
        ramp.saturating_add(self.settle)
    }

    /// The devices.
    pub fn identities(&self) -> impl Iterator<Item = Identity> {
        (0..self.devices()).map(|n| self.identity(n))
    }

    /// Checks that the client id and the topic of each device are not longer than MQTT allows.
    ///
    /// # Errors
    /// A sentence that names the faulty option.
    pub fn check_lengths(&self) -> Result<(), String> {
        // The last number is the longest one.
        let first = match &self.device_source {
            DeviceSource::Numbered { count, .. } => count.saturating_sub(1),
            DeviceSource::Listed(_) => 0,
        };
        for n in first..self.devices() {
            let device = self.identity(n);
            let texts = [
                ("--client-id", &device.credentials.client_id),
                ("--topic", &device.topic),
            ];
            if let Some((option, text)) = texts.into_iter().find(|(_, text)| text.len() > MAX_FIELD)
            {
                return Err(format!(
                    "{option}: that of device {} has {} bytes; expected at most {MAX_FIELD}",
                    device.number,
                    text.len()
                ));
            }
        }
        Ok(())
    }

    fn identity(&self, n: u32) -> Identity {
        let number = self.share.number(n);
        let worker = self.share.index();
        let (name, credentials) = match &self.device_source {
            DeviceSource::Numbered {
                client_id, login, ..
            } => {
                let name = number.to_string();
                let credentials = Credentials {
                    client_id: client_id.expand(&name, worker),
                    username: login.username.clone(),
                    password: login.password.clone(),
                };
                (name, credentials)
            }
            DeviceSource::Listed(rows) => {
                let row = rows[n as usize].clone();
                (row.client_id.clone(), row)
            }
        };
        Identity {
            number,
            position: u64::from(n),
            topic: self.topic.expand(&name, worker),
            credentials,
        }
    }
}
