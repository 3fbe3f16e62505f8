//! A load generator for MQTT: devices that connect to a broker and publish periodically.
//!
//! - [`args`], [`settings`]: the command line, and what it means; [`share`]: the devices of one worker of several;
//!   [`pattern`]: topics and client ids; [`credentials`]: client ids, users and passwords from a file;
//! - [`schedule`]: when a device connects, publishes and reconnects; [`session`]: the protocol; [`payload`]: the messages;
//!   [`limits`]: ports and descriptors; [`plan`]: how many workers; [`counters`]: the counts. These are pure;
//! - [`device`]: a device; [`connection`], [`tls`], [`brokers`], [`ports`]: its connection; [`context`]: what devices share; [`clock`]: the
//!   times; [`record`]: the file of results; [`system`]: the limits of this machine; [`signals`]: SIGTERM and SIGINT;
//!   [`run`]: a run.

pub mod args;
pub mod brokers;
pub mod clock;
pub mod connection;
pub mod context;
pub mod counters;
pub mod credentials;
pub mod device;
pub mod limits;
pub mod pattern;
pub mod payload;
pub mod plan;
pub mod ports;
pub mod record;
pub mod run;
pub mod schedule;
pub mod session;
pub mod settings;
pub mod share;
pub mod signals;
pub mod system;
pub mod tls;
