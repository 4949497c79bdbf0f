//! What benches need to measure and to tell.

#![allow(dead_code, reason = "each bench uses a part of it")]

use std::time::{Duration, Instant};

/// What can go wrong in a bench, from any thread.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Whether `STREAMRUN_BENCH_SMALL=1` asks for a short run that only shows that the bench works.
pub fn small() -> bool {
    std::env::var_os("STREAMRUN_BENCH_SMALL").is_some_and(|value| value == "1")
}

/// How long something takes.
pub fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<Duration> {
    let begin = Instant::now();
    work()?;
    Ok(begin.elapsed())
}

/// The middle one of the measurements, the upper one of two.
pub fn median(mut measurements: Vec<Duration>) -> Duration {
    measurements.sort_unstable();
    measurements.get(measurements.len() / 2).copied().unwrap_or_default()
}

/// A duration in milliseconds.
pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}
