//! When each key was touched last, and which keys have not been touched since a time.

use std::collections::BTreeMap;

/// The times of slots. What a call costs follows the keys that are touched or expire, not those held.
#[derive(Debug, Default)]
pub(super) struct Timers {
    /// By slot; [`NEVER`] for one that is not in use.
    touched: Vec<i64>,
    /// The slots that were touched at a time. One that was touched again later is passed over. Kept only
    /// where keys expire.
    at: BTreeMap<i64, Vec<u32>>,
    expires: bool,
}

const NEVER: i64 = i64::MIN;

impl Timers {
    /// From now on [`Timers::expired`] will be called.
    pub(super) fn start(&mut self) {
        self.expires = true;
    }

    pub(super) fn touch(&mut self, slot: u32, time: i64) {
        let index = slot as usize;
        if index >= self.touched.len() {
            self.touched.resize(index + 1, NEVER);
        }
        if let Some(touched) = self.touched.get_mut(index).filter(|touched| **touched != time) {
            *touched = time;
            if !self.expires {
                return;
            }
            self.at.entry(time).or_default().push(slot);
        }
    }

    pub(super) fn touched(&self, slot: u32) -> i64 {
        self.touched.get(slot as usize).copied().unwrap_or(NEVER)
    }

    /// The slot's key is gone.
    pub(super) fn forget(&mut self, slot: u32) {
        if let Some(touched) = self.touched.get_mut(slot as usize) {
            *touched = NEVER;
        }
    }

    /// The slots that were touched at `until` at the latest; they are forgotten.
    pub(super) fn expired(&mut self, until: i64) -> Vec<u32> {
        let mut expired = Vec::new();
        while let Some(entry) = self.at.first_entry().filter(|entry| *entry.key() <= until) {
            let (time, slots) = entry.remove_entry();
            for slot in slots {
                if let Some(touched) = self.touched.get_mut(slot as usize).filter(|touched| **touched == time) {
                    *touched = NEVER;
                    expired.push(slot);
                }
            }
        }
        expired
    }

    /// About how much memory they take.
    pub(super) fn bytes(&self) -> usize {
        let lists: usize = self.at.values().map(|slots| slots.capacity() * size_of::<u32>()).sum();
        self.touched.capacity() * size_of::<i64>() + lists
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
        assert_eq!(timers.expired(30), [1, 0]);
        assert_eq!(timers.expired(i64::MAX), [0_u32; 0]);
    }
}
