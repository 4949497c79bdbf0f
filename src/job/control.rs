//! What a job can be asked while it runs. Whoever asks never waits, however long a batch takes:
//! there is room for one new version, the newest, and for the wish to stop.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Prepared;

/// Both ends: the one that asks, and the one for [`Job::run`](super::Job::run).
#[must_use]
pub fn channel() -> (Control, Asked) {
    let shared = Arc::new(Shared::default());
    (Control(Arc::clone(&shared)), Asked(shared))
}

/// Asks a job. After the job's end nobody listens, and that does no harm.
pub struct Control(Arc<Shared>);

impl Control {
    /// Go on as this version of the pipeline from the next batch on. It takes the place of one that
    /// the job has not come to yet.
    pub fn reload(&self, version: Prepared) {
        self.0.wishes().version = Some(Box::new(version));
        self.0.changed.notify_one();
    }

    /// Whether the job has not come to the newest version yet.
    #[must_use]
    pub fn holds_version(&self) -> bool {
        self.0.wishes().version.is_some()
    }

    /// Stop receiving, process what was received, end.
    pub fn stop(&self) {
        self.0.wishes().stop = true;
        self.0.changed.notify_one();
    }
}

/// Hears what a job is asked.
pub struct Asked(Arc<Shared>);

impl Asked {
    /// The next wish; waiting for it may be given up and begun again. Who wants to stop waits for no
    /// new version.
    pub(super) async fn next(&mut self) -> Wish {
        loop {
            if let Some(wish) = self.0.take() {
                return wish;
            }
            self.0.changed.notified().await;
        }
    }

    /// Waits for the wish to stop; a new version is kept for [`Asked::next`].
    pub(super) async fn stopped(&mut self) {
        while !self.0.wishes().stop {
            self.0.changed.notified().await;
        }
    }
}

/// What is asked of a job.
pub(super) enum Wish {
    Stop,
    Reload(Box<Prepared>),
}

#[derive(Default)]
struct Shared {
    wishes: Mutex<Wishes>,
    changed: Notify,
}

#[derive(Default)]
struct Wishes {
    stop: bool,
    version: Option<Box<Prepared>>,
}

impl Shared {
    /// Nothing that holds the lock can leave it half changed, so a poisoned lock is as good.
    fn wishes(&self) -> MutexGuard<'_, Wishes> {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<Wish> {
        let mut wishes = self.wishes();
        if wishes.stop {
            return Some(Wish::Stop);
        }
        wishes.version.take().map(Wish::Reload)
    }
}
