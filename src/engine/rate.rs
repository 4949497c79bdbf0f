//! How fast a receiver may go: Spark's `PIDRateEstimator`, fed once a batch.

use std::time::Duration;

use crate::spec::Backpressure;

/// Below this part of the batch interval a batch's time is mostly fixed cost and says nothing about
/// the rate.
const MEANINGFUL_PART: f64 = 0.1;

/// What a finished batch tells.
#[derive(Clone, Copy, Debug)]
pub struct Observation {
    /// When it was finished, milliseconds since the epoch.
    pub time: i64,
    /// Rows of the source in it.
    pub rows: u64,
    /// How long it was worked on.
    pub processing: Duration,
    /// How late it began.
    pub scheduling: Duration,
}

/// Estimates the rate (rows per second) at which a source can be processed.
#[derive(Clone, Debug)]
pub struct RateEstimator {
    terms: Backpressure,
    interval: f64,
    last: Option<Last>,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    time: i64,
    rate: f64,
    error: f64,
}

impl RateEstimator {
    /// An estimator for batches of `interval`.
    #[must_use]
    pub fn new(terms: Backpressure, interval: Duration) -> Self {
        Self { terms, interval: interval.as_secs_f64(), last: None }
    }

    /// The limit in force; none before the first meaningful batch.
    #[must_use]
    pub fn limit(&self) -> Option<f64> {
        self.last.filter(|_| self.terms.enabled).map(|last| last.rate)
    }

    /// Takes in a finished batch.
    ///
    /// As Spark, the first batch sets the rate and empty ones are passed over. Unlike Spark, so is a
    /// batch that took next to no time without having been limited: its rate would be that of the
    /// fixed cost, and the next burst would wait for nothing.
    pub fn observe(&mut self, batch: Observation) {
        let processing = batch.processing.as_secs_f64();
        if batch.rows == 0 || processing <= 0.0 {
            return;
        }
        let was_limited = self.last.is_some_and(|last| batch.rows as f64 >= 0.9 * last.rate * self.interval);
        if processing < MEANINGFUL_PART * self.interval && !was_limited {
            return;
        }
        let processed = batch.rows as f64 / processing;
        let Some(last) = self.last else {
            self.last = Some(Last { time: batch.time, rate: processed.max(self.terms.min_rate), error: 0.0 });
            return;
        };
        let since = (batch.time - last.time) as f64 / 1_000.0;
        if since <= 0.0 {
            return;
        }
        let error = last.rate - processed;
        let waiting = batch.scheduling.as_secs_f64() * processed / self.interval;
        let change = (error - last.error) / since;
        let rate = last.rate
            - self.terms.proportional * error
            - self.terms.integral * waiting
            - self.terms.derivative * change;
        self.last = Some(Last { time: batch.time, rate: rate.max(self.terms.min_rate), error });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(time: i64, rows: u64, processing: u64, scheduling: u64) -> Observation {
        Observation {
            time,
            rows,
            processing: Duration::from_millis(processing),
            scheduling: Duration::from_millis(scheduling),
        }
    }

    #[test]
    fn follows_the_processing_rate() {
        let mut estimator = RateEstimator::new(Backpressure::default(), Duration::from_secs(1));
        assert_eq!(estimator.limit(), None);
        estimator.observe(batch(1_000, 2_000, 1_000, 0));
        assert_eq!(estimator.limit(), Some(2_000.0));
        // Slower than before: error 2000 - 1000, and half a second of rows waits.
        estimator.observe(batch(2_000, 2_000, 2_000, 500));
        assert_eq!(estimator.limit(), Some(2_000.0 - 1_000.0 - 0.2 * 500.0));
        // Never below the least rate.
        estimator.observe(batch(3_000, 10, 10_000, 9_000));
        assert_eq!(estimator.limit(), Some(100.0));
    }

    #[test]
    fn small_and_empty_batches_say_nothing() {
        let mut estimator = RateEstimator::new(Backpressure::default(), Duration::from_secs(1));
        estimator.observe(batch(1_000, 0, 1_000, 0));
        estimator.observe(batch(2_000, 1, 1, 0));
        assert_eq!(estimator.limit(), None);
    }

    #[test]
    fn can_be_switched_off() {
        let terms = Backpressure { enabled: false, ..Backpressure::default() };
        let mut estimator = RateEstimator::new(terms, Duration::from_secs(1));
        estimator.observe(batch(1_000, 2_000, 1_000, 0));
        assert_eq!(estimator.limit(), None);
    }
}
