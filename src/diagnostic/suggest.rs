//! "Did you mean": the known word that is nearest to an unknown one.

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

/// A help line for an unknown word: the nearest candidate, else all of them.
pub fn help<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str> + Clone) -> Option<String> {
    if let Some(found) = nearest(word, candidates.clone()) {
        return Some(format!("did you mean `{found}`?"));
    }
    let mut all: Vec<&str> = candidates.into_iter().collect();
    all.sort_unstable();
    (!all.is_empty()).then(|| format!("known here: {}", all.join(", ")))
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
    }
}
