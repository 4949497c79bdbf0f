//! Integration tests, in one binary since each further one costs seconds and a quarter gigabyte.

mod architecture;
mod cli;
mod diagnostics;
mod examples;
mod generated;
mod hostile;
mod reload;
mod support;
