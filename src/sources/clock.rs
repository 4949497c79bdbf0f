//! A clock that is turned by hand, for tests.

use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use tokio::sync::Notify;

use super::Clock;

/// A clock that stands still until it is turned.
#[derive(Debug)]
pub struct ManualClock {
    now: AtomicI64,
    turned: Notify,
}

impl ManualClock {
    /// A clock that shows `now`, milliseconds since the epoch.
    #[must_use]
    pub fn new(now: i64) -> Self {
        Self { now: AtomicI64::new(now), turned: Notify::new() }
    }

    /// Turns the clock forward to `time`.
    pub fn turn_to(&self, time: i64) {
        self.now.fetch_max(time, Ordering::SeqCst);
        self.turned.notify_waiters();
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> i64 {
        self.now.load(Ordering::SeqCst)
    }

    async fn sleep_until(&self, time: i64) {
        loop {
            let turned = self.turned.notified();
            if self.now() >= time {
                return;
            }
            turned.await;
        }
    }
}
