//! The chains: by component, the batches of its newest snapshot and of the deltas since, and their sizes.

use std::collections::BTreeMap;

use super::commit::{Section, SectionKind};
use super::recovery::History;

/// A snapshot is due when the deltas since the last one are larger than it, and than this.
const SMALL: u64 = 1 << 20;
/// A snapshot is due when there are more deltas.
const MANY: usize = 100;

/// What is known of the components that are alive.
#[derive(Clone, Debug, Default)]
pub(super) struct Chains(BTreeMap<String, Chain>);

#[derive(Clone, Debug, Default)]
struct Chain {
    /// The snapshot's batch, then those of the deltas; the deltas alone where there never was a snapshot.
    batches: Vec<u64>,
    /// The snapshot's size.
    snapshot: Option<u64>,
    delta_bytes: u64,
}

impl Chains {
    /// Takes up a chain as it was found.
    pub fn insert(&mut self, component: &str, batches: &[u64], history: &History) {
        let chain = Chain {
            batches: batches.to_vec(),
            snapshot: history.snapshot.as_ref().map(|bytes| bytes.len() as u64),
            delta_bytes: history.deltas.iter().map(|bytes| bytes.len() as u64).sum(),
        };
        self.0.insert(component.to_owned(), chain);
    }

    /// Takes up what a batch adds.
    pub fn extend(&mut self, batch: u64, sections: &[Section]) {
        for section in sections {
            let size = section.bytes.len() as u64;
            let chain = self.0.entry(section.component.clone()).or_default();
            match section.kind {
                SectionKind::Snapshot => {
                    *chain = Chain { batches: vec![batch], snapshot: Some(size), delta_bytes: 0 };
                }
                SectionKind::Delta => {
                    chain.batches.push(batch);
                    chain.delta_bytes += size;
                }
            }
        }
    }

    /// The component is not alive any more.
    pub fn remove(&mut self, component: &str) {
        self.0.remove(component);
    }

    /// The batches of each component's chain.
    pub fn batches(&self) -> BTreeMap<String, Vec<u64>> {
        self.0.iter().map(|(component, chain)| (component.clone(), chain.batches.clone())).collect()
    }

    /// Whether the component's next section should be a snapshot.
    pub fn wants_snapshot(&self, component: &str) -> bool {
        match self.0.get(component) {
            Some(Chain { batches, snapshot: Some(size), delta_bytes }) => {
                batches.len() > MANY + 1 || *delta_bytes > SMALL.max(*size)
            }
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn section(kind: SectionKind, size: usize) -> Section {
        let (component, fingerprint) = ("count".to_owned(), serde_json::Value::Null);
        Section { component, kind, fingerprint, bytes: Bytes::from(vec![0u8; size]) }
    }

    #[test]
    fn a_snapshot_is_due_at_first_and_when_reading_the_deltas_takes_longer() {
        let mut chains = Chains::default();
        assert!(chains.wants_snapshot("count"));
        chains.extend(0, &[section(SectionKind::Delta, 1)]);
        assert!(chains.wants_snapshot("count"));
        chains.extend(1, &[section(SectionKind::Snapshot, 2 << 20)]);
        assert!(!chains.wants_snapshot("count"));
        chains.extend(2, &[section(SectionKind::Delta, 2 << 20)]);
        assert!(!chains.wants_snapshot("count"));
        chains.extend(3, &[section(SectionKind::Delta, 1)]);
        assert!(chains.wants_snapshot("count"));
        assert_eq!(chains.batches(), BTreeMap::from([("count".to_owned(), vec![1, 2, 3])]));
    }

    #[test]
    fn small_deltas_are_counted() {
        let mut chains = Chains::default();
        chains.extend(0, &[section(SectionKind::Snapshot, 10)]);
        for batch in 1..=100 {
            chains.extend(batch, &[section(SectionKind::Delta, 100)]);
        }
        assert!(!chains.wants_snapshot("count"));
        chains.extend(101, &[section(SectionKind::Delta, 100)]);
        assert!(chains.wants_snapshot("count"));
        chains.remove("count");
        assert!(chains.batches().is_empty());
    }
}
