//! Tests of `make parts`, which are too long or need too much for `make test`. `deploy/parts.sh` runs them; it starts
//! other Engines for them.
#![allow(missing_docs)]

mod attack;
mod connections;
mod examples;
mod jmeter;
