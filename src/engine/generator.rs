//! Batch times: multiples of the batch interval since the epoch, one after the other, none left
//! out (Spark's `RecurringTimer` and `JobGenerator`).

/// Gives the time of the next batch.
#[derive(Clone, Copy, Debug)]
pub struct BatchTimes {
    interval: i64,
    next: i64,
}

impl BatchTimes {
    /// The first batch is at the first multiple of `interval` (milliseconds) after `now`.
    #[must_use]
    pub fn new(interval: u64, now: i64) -> Self {
        let interval = i64::try_from(interval).unwrap_or(i64::MAX).max(1);
        Self { interval, next: next_multiple(interval, now) }
    }

    /// The time of the next batch.
    #[must_use]
    pub fn next(&self) -> i64 {
        self.next
    }

    /// The next batch has been run.
    pub fn advance(&mut self) {
        self.next = self.next.saturating_add(self.interval);
    }

    /// The next batch comes after this time, where an earlier run has been further.
    pub fn skip_past(&mut self, time: i64) {
        self.next = self.next.max(next_multiple(self.interval, time));
    }

    /// The next batch is the one of this time.
    pub fn go_to(&mut self, time: i64) {
        self.next = time;
    }

    /// Whether the next batch is further away than one that comes after a batch of a moment ago.
    #[must_use]
    pub fn is_ahead_of(&self, now: i64) -> bool {
        self.next.saturating_sub(now) > self.interval.saturating_mul(2)
    }

    /// Batches follow another interval from now on, later than those that were.
    pub fn change_interval(&mut self, interval: u64) {
        let last = self.next - self.interval;
        let interval = i64::try_from(interval).unwrap_or(i64::MAX).max(1);
        *self = Self { interval, next: next_multiple(interval, last) };
    }
}

fn next_multiple(interval: i64, after: i64) -> i64 {
    (after.div_euclid(interval).saturating_add(1)).saturating_mul(interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_multiples_and_none_is_left_out() {
        let mut times = BatchTimes::new(5_000, 12_345);
        assert_eq!(times.next(), 15_000);
        times.advance();
        assert_eq!(times.next(), 20_000);
        assert_eq!(BatchTimes::new(5_000, 15_000).next(), 20_000);
    }

    #[test]
    fn an_earlier_run_may_have_been_ahead() {
        let mut times = BatchTimes::new(5_000, 12_345);
        times.skip_past(i64::MIN);
        assert_eq!((times.next(), times.is_ahead_of(12_345)), (15_000, false));
        // One that was stopped has taken the next batch's time already.
        times.skip_past(15_000);
        assert_eq!((times.next(), times.is_ahead_of(12_345)), (20_000, false));
        times.skip_past(60_000);
        assert_eq!((times.next(), times.is_ahead_of(12_345)), (65_000, true));
    }

    #[test]
    fn a_new_interval_starts_after_the_last_batch() {
        let mut times = BatchTimes::new(5_000, 12_345);
        times.advance();
        times.change_interval(2_000);
        assert_eq!(times.next(), 16_000);
    }
}
