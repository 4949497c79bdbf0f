//! Checkpoints in temporary folders: what the tests share.

mod damage;
mod opening;
mod pruning;

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde_json::json;
use tempfile::{TempDir, tempdir};

use super::*;

/// What the tests keep for going back.
const RETAIN: u64 = 3;

/// The states of components: a snapshot replaces one, a delta is appended to it.
type Model = BTreeMap<String, String>;

async fn try_open(folder: &Path) -> Result<(Checkpoint, Recovered), CheckpointError> {
    Checkpoint::open(Store::local(folder).unwrap(), "words", RETAIN).await
}

async fn open(folder: &Path) -> (Checkpoint, Recovered) {
    try_open(folder).await.unwrap()
}

async fn refusal(folder: &Path) -> String {
    try_open(folder).await.unwrap_err().to_string()
}

fn planned(batch: u64) -> Planned {
    let sources = BTreeMap::from([("lines".to_owned(), json!({"from": batch, "to": batch + 1}))]);
    Planned { batch, time: time(batch), sources }
}

fn time(batch: u64) -> i64 {
    1_000 * i64::try_from(batch).unwrap()
}

fn section(component: &str, kind: SectionKind, text: &str) -> Section {
    let bytes = Bytes::copy_from_slice(text.as_bytes());
    Section { component: component.to_owned(), kind, fingerprint: json!([component]), bytes }
}

fn snapshot(component: &str, text: &str) -> Section {
    section(component, SectionKind::Snapshot, text)
}

fn delta(component: &str, text: &str) -> Section {
    section(component, SectionKind::Delta, text)
}

async fn run(checkpoint: &mut Checkpoint, batch: u64, sections: Vec<Section>) {
    checkpoint.plan(&planned(batch)).await.unwrap();
    checkpoint.commit(batch, time(batch), sections).await.unwrap();
}

/// Runs batches, each with these sections, and ends as a process does.
async fn run_all(folder: &Path, batches: impl IntoIterator<Item = Vec<Section>>) {
    let (mut checkpoint, _) = open(folder).await;
    for (batch, sections) in (0..).zip(batches) {
        run(&mut checkpoint, batch, sections).await;
    }
}

fn states(recovered: &Recovered) -> Model {
    let state = |history: &History| -> String {
        let parts = history.snapshot.iter().chain(&history.deltas);
        parts.map(|part| String::from_utf8(part.to_vec()).unwrap()).collect()
    };
    recovered.components.iter().map(|(component, history)| (component.clone(), state(history))).collect()
}

fn model<const N: usize>(states: [(&str, &str); N]) -> Model {
    states.map(|(component, state)| (component.to_owned(), state.to_owned())).into()
}

fn last(recovered: &Recovered) -> Option<u64> {
    recovered.last.map(|(batch, last_time)| {
        assert_eq!(last_time, time(batch));
        batch
    })
}

/// The numbers of the planned batches, which are as they were written.
fn again(recovered: &Recovered) -> Vec<u64> {
    for one in &recovered.planned {
        assert_eq!(*one, planned(one.batch));
    }
    recovered.planned.iter().map(|planned| planned.batch).collect()
}

fn commit_file(folder: &Path, batch: u64) -> PathBuf {
    folder.join(layout::commit(batch))
}

fn offsets_file(folder: &Path, batch: u64) -> PathBuf {
    folder.join(layout::offsets(batch))
}

fn cut(file: &Path, length: usize) {
    let bytes = fs::read(file).unwrap();
    fs::write(file, &bytes[..length]).unwrap();
}

/// The same files in another folder, as after a crash.
fn copy_of(folder: &Path) -> TempDir {
    let copy = tempdir().unwrap();
    for name in FOLDERS {
        fs::create_dir(copy.path().join(name)).unwrap();
        for entry in fs::read_dir(folder.join(name)).unwrap() {
            let file = entry.unwrap();
            fs::copy(file.path(), copy.path().join(name).join(file.file_name())).unwrap();
        }
    }
    fs::copy(folder.join("metadata"), copy.path().join("metadata")).unwrap();
    copy
}
