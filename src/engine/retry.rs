//! What may pass is tried again, a few times: a server that restarts, a disk that is full for a moment.

use std::fmt::Display;
use std::io::ErrorKind;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use crate::sinks::SinkError;
use crate::sources::SourceError;

/// How often something is tried again before it is an error.
const RETRIES: usize = 5;
/// The wait before the first of them; it doubles with each one after that.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The tries that are left for one thing.
#[derive(Debug)]
pub(super) struct Retries(ExponentialBackoff);

impl Retries {
    pub(super) fn new() -> Self {
        let waits = ExponentialBuilder::new().with_min_delay(FIRST_WAIT).with_max_delay(LONGEST_WAIT);
        Self(waits.with_max_times(RETRIES).build())
    }

    /// Waits before another try; false if there is none, or if it would not help.
    pub(super) async fn wait<E: Display + Passing>(&mut self, who: &str, error: &E) -> bool {
        let Some(wait) = self.0.next().filter(|_| error.may_pass()) else { return false };
        tracing::warn!("{who}: {error}; trying again in {} ms", wait.as_millis());
        tokio::time::sleep(wait).await;
        true
    }
}

/// An error that may be gone when something is tried again.
pub(super) trait Passing {
    /// Whether it may.
    fn may_pass(&self) -> bool;
}

impl Passing for SinkError {
    fn may_pass(&self) -> bool {
        matches!(self, Self::Io { source, .. } if kind_may_pass(source.kind()))
    }
}

impl Passing for SourceError {
    fn may_pass(&self) -> bool {
        matches!(self, Self::Io { source, .. } if kind_may_pass(source.kind()))
    }
}

/// What the user has to see to, or has done on purpose, does not pass.
fn kind_may_pass(kind: ErrorKind) -> bool {
    !matches!(
        kind,
        ErrorKind::NotFound
            | ErrorKind::PermissionDenied
            | ErrorKind::AlreadyExists
            | ErrorKind::BrokenPipe
            | ErrorKind::InvalidInput
            | ErrorKind::InvalidData
            | ErrorKind::NotADirectory
            | ErrorKind::IsADirectory
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::Unsupported
    )
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn failed(kind: ErrorKind) -> SinkError {
        SinkError::io("cannot write", io::Error::from(kind))
    }

    #[test]
    fn tries_end() {
        let waits: Vec<u128> = Retries::new().0.map(|wait| wait.as_millis()).collect();
        assert_eq!(waits, [200, 400, 800, 1_600, 3_200]);
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        assert!(failed(ErrorKind::StorageFull).may_pass() && failed(ErrorKind::ConnectionReset).may_pass());
        assert!(!failed(ErrorKind::BrokenPipe).may_pass() && !failed(ErrorKind::PermissionDenied).may_pass());
        assert!(!SourceError::Lost("gone".to_owned()).may_pass());
    }
}
