//! What a checkpoint says after a crash: the newest batch whose state is known for certain, that state,
//! and the batches to run again.
//!
//! A commit lists the commits that its state is made from, and nothing else needs to be there. If one of
//! them is missing or damaged, the newest state that is made from others is taken instead, and what came
//! after is run again from the offset log; where that has a gap as well, the checkpoint is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use bytes::Bytes;
use serde_json::Value;

use super::CheckpointError;
use super::chains::Chains;
use super::commit::{Commit, Section, SectionKind};
use super::envelope::Damage;
use super::layout::{self, Files};
use super::offsets::Planned;
use super::store::Store;

/// What a checkpoint says after a crash.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recovered {
    /// The batch the states are of, and its time; `None` where there are no states yet.
    pub last: Option<(u64, i64)>,
    /// The components that were alive then.
    pub components: BTreeMap<String, History>,
    /// The batches after it that may have run, without a gap: they must be run again as they were.
    pub planned: Vec<Planned>,
    /// What is damaged and could be stepped over, for people.
    pub warnings: Vec<String>,
}

/// A component's state, as it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    /// The one of the newest section.
    pub fingerprint: Value,
    /// The newest snapshot; `None` where the deltas begin with no state.
    pub snapshot: Option<Bytes>,
    /// What changed since, in order.
    pub deltas: Vec<Bytes>,
}

impl History {
    fn begin(section: &Section) -> Self {
        let (snapshot, deltas) = match section.kind {
            SectionKind::Snapshot => (Some(section.bytes.clone()), Vec::new()),
            SectionKind::Delta => (None, vec![section.bytes.clone()]),
        };
        Self { fingerprint: section.fingerprint.clone(), snapshot, deltas }
    }

    fn then(mut self, delta: &Section) -> Self {
        self.fingerprint = delta.fingerprint.clone();
        self.deltas.push(delta.bytes.clone());
        self
    }
}

/// What is recovered, and what writing needs to go on from there.
pub(super) struct Recovery {
    pub recovered: Recovered,
    pub chains: Chains,
    /// By commit that was read, the commits that its state is made from.
    pub listed: BTreeMap<u64, BTreeSet<u64>>,
}

/// Reads what is needed and changes nothing.
pub(super) async fn recover(store: &Store, files: &Files) -> Result<Recovery, CheckpointError> {
    let mut reader = Reader { store, commits: BTreeMap::new(), problems: Vec::new() };
    let mut state = State::default();
    let oldest = files.oldest_to_go_on_from();
    for batch in files.commits.range(oldest..).rev() {
        if let Some(found) = reader.state_at(*batch).await? {
            state = found;
            break;
        }
    }
    let Reader { commits, mut problems, .. } = reader;
    let last = state.last.map(|(batch, _)| batch);
    let first = last.map_or(oldest, |last| last.saturating_add(1));
    let planned = read_planned(store, files, first, &mut problems).await?;
    if files.commits.last() > last.as_ref() {
        let from = last.map_or_else(|| "from the beginning".to_owned(), |last| format!("after batch {last}"));
        problems.push(format!("the batches {from} are run again"));
    }
    let State { last, components, chains } = state;
    let listed = commits.iter().filter_map(|(batch, commit)| Some((*batch, commit.as_ref()?.listed()))).collect();
    Ok(Recovery { recovered: Recovered { last, components, planned, warnings: problems }, chains, listed })
}

/// The state at one commit; by default that before all.
#[derive(Default)]
struct State {
    last: Option<(u64, i64)>,
    components: BTreeMap<String, History>,
    chains: Chains,
}

/// Reads each commit once.
struct Reader<'a> {
    store: &'a Store,
    /// `None` where a commit is missing or damaged.
    commits: BTreeMap<u64, Option<Commit>>,
    problems: Vec<String>,
}

impl Reader<'_> {
    /// The state at a commit; `None` if a commit that it is made from is missing or damaged.
    async fn state_at(&mut self, batch: u64) -> Result<Option<State>, CheckpointError> {
        self.load(batch).await?;
        let Some(listed) = self.whole(batch).map(Commit::listed) else { return Ok(None) };
        for earlier in listed.into_iter().rev() {
            self.load(earlier).await?;
            if self.whole(earlier).is_none() {
                return Ok(None);
            }
        }
        let state = self.assemble(batch);
        if state.is_none() {
            let place = self.store.place(&layout::commit(batch));
            self.problems.push(format!("`{place}` does not go with the commits that it lists"));
        }
        Ok(state)
    }

    /// Reads a commit unless that is done.
    async fn load(&mut self, batch: u64) -> Result<(), CheckpointError> {
        if self.commits.contains_key(&batch) {
            return Ok(());
        }
        let read = read(self.store, &layout::commit(batch), |file| Commit::decode(batch, file)).await?;
        let commit = read.map_err(|problem| self.problems.push(problem)).ok();
        self.commits.insert(batch, commit);
        Ok(())
    }

    /// A commit that is loaded and not damaged.
    fn whole(&self, batch: u64) -> Option<&Commit> {
        self.commits.get(&batch)?.as_ref()
    }

    /// Puts the state together from commits that are loaded.
    fn assemble(&self, batch: u64) -> Option<State> {
        let commit = self.whole(batch)?;
        let mut state = State { last: Some((batch, commit.time)), ..State::default() };
        for (component, batches) in &commit.components {
            let history = self.history(component, batches)?;
            state.chains.insert(component, batches, &history);
            state.components.insert(component.clone(), history);
        }
        Some(state)
    }

    /// The chain of a component; `None` if its commits are not those that were meant: each must hold a
    /// section of it and list the chain up to there, and only the first section may be a snapshot.
    fn history(&self, component: &str, batches: &[u64]) -> Option<History> {
        let mut history: Option<History> = None;
        for (before, batch) in batches.iter().enumerate() {
            let commit = self.whole(*batch)?;
            let listed = commit.components.get(component)?;
            if listed.len() != before + 1 || !batches.starts_with(listed) {
                return None;
            }
            let section = commit.section(component)?;
            history = match (history, section.kind) {
                (None, _) => Some(History::begin(section)),
                (Some(history), SectionKind::Delta) => Some(history.then(section)),
                (Some(_), SectionKind::Snapshot) => return None,
            };
        }
        history
    }
}

/// The plans of all batches from the first one without a state on. Also the damage of commits is a
/// reason why the plans are needed, so an error tells all problems.
async fn read_planned(
    store: &Store,
    files: &Files,
    first: u64,
    problems: &mut Vec<String>,
) -> Result<Vec<Planned>, CheckpointError> {
    let mut planned = Vec::new();
    let Some(newest) = files.newest() else { return Ok(planned) };
    for batch in first..=newest {
        match read(store, &layout::offsets(batch), |file| Planned::decode(batch, file)).await? {
            Ok(found) => planned.push(found),
            // The crash came while the plan was written, so the batch had not begun.
            Err(problem) if batch == newest && !files.commits.contains(&batch) => {
                problems.push(format!("{problem}; batch {batch} had not begun"));
            }
            Err(problem) => {
                problems.push(problem);
                let problems = mem::take(problems);
                return Err(CheckpointError::Unrecoverable { folder: store.to_string(), problems });
            }
        }
    }
    Ok(planned)
}

/// Reads a file; the inner error says what is wrong with it. A format that is not known is refused at
/// once: the file is not damaged, and must not be stepped over.
async fn read<T>(
    store: &Store,
    name: &str,
    decode: impl FnOnce(&Bytes) -> Result<T, Damage>,
) -> Result<Result<T, String>, CheckpointError> {
    let result = store.read(name).await?.map_or(Err(Damage::Missing), |file| decode(&file));
    match result {
        Err(damage @ Damage::Format(_)) => Err(CheckpointError::damaged(store, name, damage)),
        result => Ok(result.map_err(|damage| format!("`{}` {damage}", store.place(name)))),
    }
}
