//! Moments of a batch at which tests end it: between any two of them a crash must do no harm.

use super::RunError;

/// A moment of a batch, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The sources have said how far the batch goes.
    Ranges,
    /// The offset log is written.
    Planned,
    /// The sources' blocks are there.
    Read,
    /// The first stage has run.
    Computed,
    /// Every sink has written the batch.
    Written,
    /// The commit log is written.
    Committed,
    /// The sources have forgotten the range.
    Forgotten,
}

impl Moment {
    /// All of them, in their order.
    pub const ALL: [Self; 7] =
        [Self::Ranges, Self::Planned, Self::Read, Self::Computed, Self::Written, Self::Committed, Self::Forgotten];

    /// As `STREAMRUN_CRASH_AT` has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ranges => "ranges",
            Self::Planned => "planned",
            Self::Read => "read",
            Self::Computed => "computed",
            Self::Written => "written",
            Self::Committed => "committed",
            Self::Forgotten => "forgotten",
        }
    }
}

/// Where a batch ends early.
#[derive(Clone, Copy, Debug)]
pub struct Failpoint {
    /// The moment.
    pub moment: Moment,
    /// The batch's number; `None` for the next one.
    pub batch: Option<u64>,
    /// The process ends at once, as by `kill -9`; otherwise the batch fails with [`RunError::Crashed`].
    pub abort: bool,
}

impl Failpoint {
    /// What the environment variable `STREAMRUN_CRASH_AT` asks for, e.g. `written@3`. Only in builds for
    /// development.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "only tests set it, and no pipeline depends on it")]
    pub fn from_environment() -> Option<Self> {
        if !cfg!(debug_assertions) {
            return None;
        }
        let text = std::env::var("STREAMRUN_CRASH_AT").ok()?;
        let (name, batch) = text.split_once('@')?;
        let moment = Moment::ALL.into_iter().find(|moment| moment.name() == name)?;
        Some(Self { moment, batch: Some(batch.parse().ok()?), abort: true })
    }

    /// Ends the batch, or the process, if this is the moment.
    ///
    /// # Errors
    /// [`RunError::Crashed`], if this is the moment and the process lives on.
    pub fn reach(failpoint: Option<&Self>, moment: Moment, batch: u64) -> Result<(), RunError> {
        match failpoint {
            Some(it) if it.moment == moment && it.batch.is_none_or(|wanted| wanted == batch) => {
                if it.abort {
                    std::process::abort();
                }
                Err(RunError::Crashed)
            }
            _ => Ok(()),
        }
    }
}
