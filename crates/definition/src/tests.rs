#![allow(clippy::unwrap_used)]
//! Tables, snapshots and properties.

mod amounts;
mod declared;
mod fields;
mod images;
mod parse;
mod values;
