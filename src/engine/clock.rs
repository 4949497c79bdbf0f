//! The machine's clock, and one that tests turn by hand.

use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::sources::Clock;
pub use crate::sources::clock::ManualClock;

/// The machine's clock as it was at the start, going on by the monotonic one: a clock that is set
/// back or forward while a pipeline runs moves no batch.
#[derive(Debug)]
pub struct SystemClock {
    epoch_millis: i64,
    start: Instant,
}

impl SystemClock {
    /// Reads the time.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the time")]
    pub fn start() -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self { epoch_millis: i64::try_from(since.as_millis()).unwrap_or(i64::MAX), start: Instant::now() }
    }
}

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> i64 {
        let since = i64::try_from(self.start.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.epoch_millis.saturating_add(since)
    }

    async fn sleep_until(&self, time: i64) {
        let wait = u64::try_from(time.saturating_sub(self.now())).unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(wait)).await;
    }
}
