//! Windows: which batches one covers, and the rows that are kept for it.

use std::collections::VecDeque;
use std::fmt;

use arrow::record_batch::RecordBatch;
use serde_json::json;

/// In which batches rows leave a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Every so many milliseconds.
    pub every: i64,
    /// Counted from where.
    pub align: Align,
}

impl Schedule {
    /// Whether it is due at a batch's time; `zero` is what [`Align::Start`] counts from.
    #[must_use]
    pub fn is_due(&self, time: i64, zero: i64) -> bool {
        (time - self.align.origin(zero)).rem_euclid(self.every) == 0
    }

    /// When it is due next, at `time` or later.
    #[must_use]
    pub fn next(&self, time: i64, zero: i64) -> i64 {
        let origin = self.align.origin(zero);
        origin + (time - origin + self.every - 1).div_euclid(self.every) * self.every
    }
}

/// When windows end, and how far they reach back. All in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowTimes {
    /// A window at time t covers the batches after t - length, up to t.
    pub length: i64,
    /// Every so often a window ends.
    pub slide: i64,
    /// What the slide counts from.
    pub align: Align,
}

/// What the ends of windows are multiples of the slide from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Align {
    /// The epoch: windows of 1h end at full hours. A deviation from DStreams.
    #[default]
    Clock,
    /// The batch interval before the first batch, as DStreams count (`DStream.zeroTime`).
    Start,
}

impl Align {
    fn origin(self, zero: i64) -> i64 {
        match self {
            Self::Clock => 0,
            Self::Start => zero,
        }
    }
}

impl WindowTimes {
    /// When windows end.
    #[must_use]
    pub fn schedule(&self) -> Schedule {
        Schedule { every: self.slide, align: self.align }
    }

    /// Whether a window ends at a batch's time.
    #[must_use]
    pub fn ends_at(&self, time: i64, zero: i64) -> bool {
        self.schedule().is_due(time, zero)
    }

    fn origin(&self, zero: i64) -> i64 {
        self.align.origin(zero)
    }

    /// The width of a pane: every window is a run of whole panes.
    fn pane(&self) -> i64 {
        let (mut a, mut b) = (self.length, self.slide);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a.max(1)
    }

    /// The end of the pane that a batch belongs to.
    #[must_use]
    pub fn pane_of(&self, time: i64, zero: i64) -> i64 {
        let (pane, origin) = (self.pane(), self.origin(zero));
        origin + (time - origin + pane - 1).div_euclid(pane) * pane
    }

    /// Whether any window covers a batch of that time; with slide > length some are in none.
    #[must_use]
    pub fn covers(&self, time: i64, zero: i64) -> bool {
        self.schedule().next(time, zero) - self.length < time
    }

    /// For the fingerprint.
    pub(super) fn describe(&self) -> serde_json::Value {
        let align = match self.align {
            Align::Clock => "clock",
            Align::Start => "start",
        };
        json!({ "length_ms": self.length, "slide_ms": self.slide, "align": align })
    }
}

/// The rows of the last while, in the order of their panes.
#[derive(Default)]
pub(super) struct Panes {
    panes: VecDeque<Pane>,
}

/// The rows of one pane.
pub(super) struct Pane {
    /// The time of its last batch at the latest.
    pub end: i64,
    pub batches: Vec<RecordBatch>,
}

impl fmt::Debug for Panes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Panes({})", self.panes.len())
    }
}

impl Panes {
    /// Adds rows to the pane that ends at `end`, the newest.
    pub(super) fn add(&mut self, end: i64, batches: impl IntoIterator<Item = RecordBatch>) {
        let batches = batches.into_iter().filter(|batch| batch.num_rows() > 0);
        match self.panes.back_mut() {
            Some(last) if last.end == end => last.batches.extend(batches),
            _ => {
                let pane = Pane { end, batches: batches.collect() };
                if !pane.batches.is_empty() {
                    self.panes.push_back(pane);
                }
            }
        }
    }

    /// Brings the batches of the newest pane down to one where there are more than `most`.
    pub(super) fn shrink_last<E>(
        &mut self,
        most: usize,
        aggregate: impl FnOnce(Vec<RecordBatch>) -> Result<RecordBatch, E>,
    ) -> Result<(), E> {
        if let Some(last) = self.panes.back_mut().filter(|last| last.batches.len() > most) {
            last.batches = vec![aggregate(std::mem::take(&mut last.batches))?];
        }
        Ok(())
    }

    /// The panes that end after `start`, up to `end`.
    pub(super) fn between(&self, start: i64, end: i64) -> impl Iterator<Item = &Pane> {
        self.panes.iter().filter(move |pane| pane.end > start && pane.end <= end)
    }

    /// Lets go of the panes that end at `time` or before.
    pub(super) fn forget(&mut self, time: i64) {
        while self.panes.front().is_some_and(|pane| pane.end <= time) {
            self.panes.pop_front();
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Pane> {
        self.panes.iter()
    }

    pub(super) fn rows(&self) -> usize {
        self.panes.iter().flat_map(|pane| &pane.batches).map(RecordBatch::num_rows).sum()
    }

    pub(super) fn bytes(&self) -> usize {
        self.panes.iter().flat_map(|pane| &pane.batches).map(RecordBatch::get_array_memory_size).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(length: i64, slide: i64, align: Align) -> WindowTimes {
        WindowTimes { length, slide, align }
    }

    #[test]
    fn windows_end_at_multiples_of_the_slide() {
        let clock = times(30, 10, Align::Clock);
        assert!(clock.ends_at(100, 7) && !clock.ends_at(105, 5));
        let start = times(30, 10, Align::Start);
        assert!(start.ends_at(105, 5) && !start.ends_at(100, 5));
    }

    #[test]
    fn panes_divide_windows() {
        let uneven = times(30, 20, Align::Clock);
        assert_eq!(uneven.pane(), 10);
        assert_eq!([1, 10, 11, 20].map(|time| uneven.pane_of(time, 0)), [10, 10, 20, 20]);
        assert_eq!(times(30, 10, Align::Start).pane_of(16, 5), 25);
        let sparse = times(10, 30, Align::Clock);
        assert_eq!([5, 10, 20, 25, 30].map(|time| sparse.covers(time, 0)), [false, false, false, true, true]);
    }
}
