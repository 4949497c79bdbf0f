//! The file that commits a batch: a header, and the bytes of the states that changed.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::CheckpointError;
use super::envelope::{self, Damage, Kind};

/// What the bytes of a section are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SectionKind {
    /// The whole state.
    Snapshot,
    /// What changed since the component's section before, or since it had no state.
    Delta,
}

/// What became of one component's state in a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// The component's name.
    pub component: String,
    /// Whether this is the whole state or what changed.
    pub kind: SectionKind,
    /// What the component was when it wrote this, so that another one does not read it.
    pub fingerprint: Value,
    /// The state or the change, as the component writes it.
    pub bytes: Bytes,
}

/// A batch that is done, with what its states have become.
#[derive(Debug)]
pub(super) struct Commit {
    pub batch: u64,
    pub time: i64,
    /// The components that are alive, and the batches of the chain of each: its newest snapshot, if it
    /// ever wrote one, then the deltas since. So a commit says itself which files its state is made of.
    pub components: BTreeMap<String, Vec<u64>>,
    pub sections: Vec<Section>,
}

/// The first line of the payload.
#[derive(Serialize, Deserialize)]
struct Header {
    batch: u64,
    time: i64,
    components: BTreeMap<String, Vec<u64>>,
    sections: Vec<Part>,
}

/// A section without its bytes, which follow in the same order.
#[derive(Serialize, Deserialize)]
struct Part {
    component: String,
    kind: SectionKind,
    fingerprint: Value,
    length: u64,
}

impl Part {
    fn of(section: &Section) -> Self {
        Self {
            component: section.component.clone(),
            kind: section.kind,
            fingerprint: section.fingerprint.clone(),
            length: section.bytes.len() as u64,
        }
    }
}

impl Commit {
    /// The commits that the state at this one is made from.
    pub fn listed(&self) -> BTreeSet<u64> {
        self.components.values().flatten().copied().collect()
    }

    /// What became of a component's state in the batch.
    pub fn section(&self, component: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.component == component)
    }

    pub fn encode(&self) -> Result<Bytes, CheckpointError> {
        let header = Header {
            batch: self.batch,
            time: self.time,
            components: self.components.clone(),
            sections: self.sections.iter().map(Part::of).collect(),
        };
        envelope::seal_with_head(Kind::Commit, &header, self.sections.iter().map(|section| &*section.bytes))
    }

    /// Reads the commit of that batch. The sections share the memory of the file.
    pub fn decode(batch: u64, file: &Bytes) -> Result<Self, Damage> {
        let (header, mut bodies): (Header, Bytes) = envelope::split(&envelope::open(Kind::Commit, file)?)?;
        let mut sections = Vec::with_capacity(header.sections.len());
        for Part { component, kind, fingerprint, length } in header.sections {
            let length = usize::try_from(length).ok().filter(|length| *length <= bodies.len());
            let bytes = bodies.split_to(length.ok_or(Damage::Content)?);
            sections.push(Section { component, kind, fingerprint, bytes });
        }
        if header.batch != batch || !bodies.is_empty() {
            return Err(Damage::Content);
        }
        Ok(Self { batch, time: header.time, components: header.components, sections })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_commit_is_read_as_it_was_written() {
        let section = |component: &str, kind, bytes: &'static [u8]| Section {
            component: component.to_owned(),
            kind,
            fingerprint: json!({"columns": ["word"]}),
            bytes: Bytes::from_static(bytes),
        };
        let commit = Commit {
            batch: 7,
            time: 7_000,
            components: BTreeMap::from([("count".to_owned(), vec![3, 5, 7]), ("window".to_owned(), vec![7])]),
            sections: vec![
                section("count", SectionKind::Delta, b"\n\n"),
                section("window", SectionKind::Snapshot, b""),
                section("more", SectionKind::Delta, b"bytes"),
            ],
        };
        let file = commit.encode().unwrap();
        let read = Commit::decode(7, &file).unwrap();
        assert_eq!((read.batch, read.time, read.listed()), (7, 7_000, BTreeSet::from([3, 5, 7])));
        assert_eq!(read.section("more"), commit.sections.last());
        assert_eq!(read.section("less"), None);
        assert_eq!((read.components, read.sections), (commit.components, commit.sections));
        // A file under another name is not taken for it.
        assert_eq!(Commit::decode(8, &file).unwrap_err(), Damage::Content);
    }
}
