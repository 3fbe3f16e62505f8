//! The command line.

mod run;

pub use run::Run;

use crate::limits::{Capacity, PortRange};
use crate::plan::Request;
use clap::{Args, Parser, Subcommand};
use std::time::Duration;

/// Devices that publish to an MQTT broker: a load generator for workers of a distributed test.
#[derive(Debug, Parser)]
#[command(name = "atq-mqtt", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Connect devices, publish, and write a sample for each connection and message.
    Run(Box<Run>),
    /// Show how many workers and source addresses a number of devices requires.
    Plan(Plan),
}

/// `atq-mqtt plan`.
#[derive(Debug, Args)]
pub struct Plan {
    /// Number of devices.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub devices: u64,
    /// Time between two messages of a device.
    #[arg(long, default_value = "15s", value_parser = positive)]
    pub period: Duration,
    /// Size of a payload in bytes.
    #[arg(long, default_value_t = 100)]
    pub size: u64,
    /// Ports for outgoing connections, for example 1024-65535 [default: those of this machine or container].
    #[arg(long)]
    pub ports: Option<PortRange>,
    /// Maximum number of open files of a worker [default: the hard limit here].
    #[arg(long)]
    pub descriptors: Option<u64>,
    /// Number of addresses of brokers.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    pub brokers: u64,
    /// Maximum number of connections of a worker [default: as many as its limits allow].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub connections_per_worker: Option<u64>,
}

impl Plan {
    /// The request, with the limits of this machine where none are given.
    pub fn request(&self, here: Capacity) -> Request {
        Request {
            devices: self.devices,
            period: self.period,
            size: self.size,
            capacity: Capacity {
                ports: self.ports.unwrap_or(here.ports),
                descriptors: self.descriptors.unwrap_or(here.descriptors),
            },
            brokers: self.brokers,
            connections_per_worker: self.connections_per_worker,
        }
    }
}

/// A duration that is not zero, at most a year.
fn positive(text: &str) -> Result<Duration, String> {
    let duration = any_duration(text)?;
    match duration.is_zero() {
        true => Err("expected more than zero".to_owned()),
        false => Ok(duration),
    }
}

/// A duration of at most a year.
fn any_duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; expected for example `15s` or `2m`"))?;
    match duration > Duration::from_secs(366 * 86_400) {
        true => Err("expected at most a year".to_owned()),
        false => Ok(duration),
    }
}

#[cfg(test)]
mod tests;
