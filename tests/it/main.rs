//! Integration tests, in one binary since each further one costs seconds and a quarter gigabyte.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot go on has failed"
)]

mod architecture;
mod cli;
mod crash;
mod diagnostics;
mod examples;
mod generated;
mod hostile;
mod reload;
mod state_cli;
mod support;
mod validate;
