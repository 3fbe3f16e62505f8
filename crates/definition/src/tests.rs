#![allow(clippy::unwrap_used)]
//! Tests of definitions: tables, snapshots and properties.

mod amounts;
mod declared;
mod fields;
mod images;
mod kernel;
mod parse;
mod values;
