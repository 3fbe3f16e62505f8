#![allow(clippy::unwrap_used)]
//! Tests of definitions: tables, snapshots and properties.

mod amounts;
mod declared;
mod fields;
mod images;
mod parse;
mod values;
