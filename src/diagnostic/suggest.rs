//! "Did you mean": the known word that is nearest to an unknown one.

use std::cell::Cell;

/// What is called otherwise in SQL and Spark: too far away for a slip.
const HABITS: &[(&str, &str)] = &[
    ("left", "left_outer"),
    ("right", "right_outer"),
    ("full", "full_outer"),
    ("outer", "full_outer"),
    ("semi", "left_semi"),
    ("anti", "left_anti"),
];

/// More words than this are not listed.
const MAX_LISTED: usize = 40;

/// The candidate nearest to `word`, if it is near enough to be a slip: at most a third of the
/// letters differ, or only upper and lower case, `-` and `_` do.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = fold(word);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&folded, &fold(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.chars().count() / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The candidate that means what another language says by `word`.
fn habit<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let (_, meant) = HABITS.iter().find(|(habit, _)| *habit == word)?;
    candidates.into_iter().find(|candidate| candidate == meant)
}

/// A help line for an unknown word: the nearest candidate, else all of them.
pub fn help<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str> + Clone) -> Option<String> {
    if let Some(found) = nearest(word, candidates.clone()).or_else(|| habit(word, candidates.clone())) {
        return Some(format!("did you mean `{found}`?"));
    }
    let mut all: Vec<&str> = candidates.into_iter().collect();
    all.sort_unstable();
    (!all.is_empty()).then(|| format!("known here: {}", list(&all)))
}

/// Words for a message; only the first ones where there are very many.
#[must_use]
pub fn list(words: &[&str]) -> String {
    let (shown, rest) = words.split_at(words.len().min(MAX_LISTED));
    let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
    format!("{}{more}", shown.join(", "))
}

/// [`help`] for the names of a file. It may have thousands of them and as many mistakes; to compare each
/// with each would take longer than all other checks, so the comparisons are counted and end at some point.
#[derive(Debug)]
pub struct Budget(Cell<usize>);

impl Default for Budget {
    fn default() -> Self {
        Self(Cell::new(100_000))
    }
}

impl Budget {
    /// A help line for an unknown name, as long as comparisons are left.
    pub fn help(&self, word: &str, candidates: &[&str]) -> Option<String> {
        self.0.set(self.0.get().checked_sub(candidates.len())?);
        help(word, candidates.iter().copied())
    }
}

fn fold(word: &str) -> String {
    word.chars().filter(|c| *c != '_' && *c != '-').flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_slips_and_only_slips() {
        let keys = ["host", "port", "listen", "batch_interval"];
        assert_eq!(nearest("hots", keys), Some("host"));
        assert_eq!(nearest("batchInterval", keys), Some("batch_interval"));
        assert_eq!(nearest("path", keys), Some("port").filter(|_| false));
        assert_eq!(nearest("xyz", keys), None);
        assert_eq!(help("xyz", ["b", "a"]).as_deref(), Some("known here: a, b"));
        assert_eq!(help("left", ["inner", "left_outer"]).as_deref(), Some("did you mean `left_outer`?"));
    }

    #[test]
    fn very_many_names_are_neither_listed_nor_compared_without_end() {
        let names: Vec<String> = (0..1_000).map(|i| format!("name_{i:03}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let listed = help("xyz", names.iter().copied()).unwrap();
        assert!(listed.ends_with("name_039 and 960 more"), "{listed}");
        let budget = Budget::default();
        let helped = (0..1_000).filter(|_| budget.help("nmae_500", &names).is_some()).count();
        assert_eq!(helped, 100);
    }
}
