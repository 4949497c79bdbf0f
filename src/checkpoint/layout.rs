//! Where the files of a checkpoint are.

use std::collections::BTreeSet;

use super::CheckpointError;
use super::store::Store;

/// The folders of a checkpoint.
pub(super) const FOLDERS: [&str; 3] = ["offsets", "commits", SAVED];

/// The folder of states that were reset.
pub(super) const SAVED: &str = "saved";

/// The file of the plan of a batch.
pub(super) fn offsets(batch: u64) -> String {
    format!("offsets/{}", digits(batch))
}

/// The file that commits a batch.
pub(super) fn commit(batch: u64) -> String {
    format!("commits/{}", digits(batch))
}

/// The file of a state that was reset after a batch. Another state can ask for the same name: all but
/// the first `copy` get a number behind it.
pub(super) fn saved(component: &str, batch: u64, copy: u64) -> String {
    let is_odd = |letter: char| !letter.is_ascii_alphanumeric() && !matches!(letter, '-' | '_' | '.');
    let component = component.replace(is_odd, "-");
    let copy = if copy == 1 { String::new() } else { format!("-{copy}") };
    format!("{SAVED}/{component}-{batch}{copy}")
}

/// As many digits as the largest number has, so that names sort as numbers do.
fn digits(batch: u64) -> String {
    format!("{batch:020}")
}

/// The batches whose files are there, whole or not.
#[derive(Debug)]
pub(super) struct Files {
    pub offsets: BTreeSet<u64>,
    pub commits: BTreeSet<u64>,
}

impl Files {
    pub async fn list(store: &Store) -> Result<Self, CheckpointError> {
        let commits = numbers(&store.list("commits").await?);
        let offsets = numbers(&store.list("offsets").await?);
        Ok(Self { offsets, commits })
    }

    /// The newest batch that is known of; `None` if nothing was ever planned.
    pub fn newest(&self) -> Option<u64> {
        self.offsets.last().max(self.commits.last()).copied()
    }

    /// The oldest batch whose state may be gone on from: all batches after it have plans, whole or not.
    pub fn oldest_to_go_on_from(&self) -> u64 {
        let Some(newest) = self.newest() else { return 0 };
        (0..=newest).rev().find(|batch| !self.offsets.contains(batch)).unwrap_or(0)
    }
}

/// Files of other names are somebody else's.
fn numbers(names: &[String]) -> BTreeSet<u64> {
    let number = |name: &String| name.parse::<u64>().ok().filter(|batch| digits(*batch) == *name);
    names.iter().filter_map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_numbers_do() {
        assert_eq!(commit(7), "commits/00000000000000000007");
        assert!(commit(9) < commit(10));
        assert_eq!(offsets(u64::MAX), "offsets/18446744073709551615");
        let names = ["00000000000000000012", "12", "+0000000000000000013", "notes.txt"].map(str::to_owned);
        assert_eq!(numbers(&names), BTreeSet::from([12]));
    }

    #[test]
    fn before_a_gap_there_is_nothing_to_go_on_from() {
        let oldest = |offsets: &[u64], commits: &[u64]| {
            let [offsets, commits] = [offsets, commits].map(|batches| batches.iter().copied().collect());
            Files { offsets, commits }.oldest_to_go_on_from()
        };
        assert_eq!(oldest(&[], &[]), 0);
        assert_eq!(oldest(&[0, 1], &[0]), 0);
        assert_eq!(oldest(&[5, 6, 7], &[1, 5, 6]), 4);
        assert_eq!(oldest(&[4, 6, 7], &[1, 5, 6]), 5);
        assert_eq!(oldest(&[5, 6], &[5, 6, 7]), 7);
    }

    #[test]
    fn names_of_saved_states_are_plain() {
        assert_eq!(saved("steps/count words", 12, 1), "saved/steps-count-words-12");
        assert_eq!(saved("steps/count words", 12, 2), "saved/steps-count-words-12-2");
    }
}
