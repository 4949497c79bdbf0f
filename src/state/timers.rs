//! When each key was touched last, and which keys have not been touched since a time.

use std::collections::BTreeMap;

/// The times of slots. A slot is queued once, however often it is touched, so the queue is as long as there
/// are keys; what a call costs follows the keys that are touched, expire or are looked at again.
#[derive(Debug, Default)]
pub(super) struct Timers {
    slots: Vec<Timer>,
    /// The slots to look at, by time. Kept only where keys expire.
    queue: BTreeMap<i64, Vec<u32>>,
    expires: bool,
}

#[derive(Clone, Copy, Debug)]
struct Timer {
    /// [`NEVER`] for a slot that is not in use.
    touched: i64,
    queued: bool,
}

const NEVER: i64 = i64::MIN;

impl Timers {
    /// From now on [`Timers::expired`] will be called.
    pub(super) fn start(&mut self) {
        self.expires = true;
    }

    pub(super) fn touch(&mut self, slot: u32, time: i64) {
        let index = slot as usize;
        if index >= self.slots.len() {
            self.slots.resize(index + 1, Timer { touched: NEVER, queued: false });
        }
        if let Some(timer) = self.slots.get_mut(index) {
            timer.touched = time;
            if self.expires && !timer.queued {
                timer.queued = true;
                self.queue.entry(time).or_default().push(slot);
            }
        }
    }

    pub(super) fn touched(&self, slot: u32) -> i64 {
        self.slots.get(slot as usize).map_or(NEVER, |timer| timer.touched)
    }

    /// The slot's key is gone.
    pub(super) fn forget(&mut self, slot: u32) {
        if let Some(timer) = self.slots.get_mut(slot as usize) {
            timer.touched = NEVER;
        }
    }

    /// The slots that were touched at `until` at the latest; they are forgotten.
    pub(super) fn expired(&mut self, until: i64) -> Vec<u32> {
        let mut expired = Vec::new();
        while let Some(entry) = self.queue.first_entry().filter(|entry| *entry.key() <= until) {
            for slot in entry.remove() {
                let Some(timer) = self.slots.get_mut(slot as usize) else { continue };
                if timer.touched > until {
                    // It was touched again meanwhile.
                    self.queue.entry(timer.touched).or_default().push(slot);
                    continue;
                }
                timer.queued = false;
                if timer.touched != NEVER {
                    timer.touched = NEVER;
                    expired.push(slot);
                }
            }
        }
        expired
    }

    /// About how much memory they take.
    pub(super) fn bytes(&self) -> usize {
        let lists: usize = self.queue.values().map(|slots| slots.capacity() * size_of::<u32>()).sum();
        self.slots.capacity() * size_of::<Timer>() + lists
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_not_touched_again_expires() {
        let mut timers = Timers::default();
        timers.start();
        [0, 1, 2].iter().for_each(|slot| timers.touch(*slot, 10));
        timers.touch(1, 20);
        timers.touch(1, 20);
        timers.forget(2);
        assert_eq!(timers.expired(9), [0_u32; 0]);
        assert_eq!(timers.expired(10), [0]);
        timers.touch(0, 30);
        // Slot 2 is in use again, and was queued for its first key.
        timers.touch(2, 40);
        assert_eq!(timers.expired(30), [1, 0]);
        assert_eq!(timers.expired(40), [2]);
        assert_eq!(timers.expired(i64::MAX), [0_u32; 0]);
    }
}
