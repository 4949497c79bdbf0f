//! Where sources began: what a first start has found (the files that were there, the moment) must hold for
//! the next one, too, if the program ends before a batch is committed.
//!
//! `starts/<source>` in the checkpoint, sealed as its other files are.

use bytes::Bytes;
use serde_json::{Value, json};

use super::checkpoint_store;
use crate::checkpoint::{Store, opened, sealed};
use crate::engine::RunError;
use crate::plan::{Plan, PlannedSource};
use crate::sources::{Replay, Source};

/// What the first line of a file says that it is.
const KIND: &str = "start";
const FOLDER: &str = "starts";

/// Where starts are kept of sources that are read again; those of others are empty.
fn store(plan: &Plan, source: &PlannedSource) -> Result<Option<Store>, RunError> {
    let store = checkpoint_store(plan)?.filter(|_| source.checked.replay == Replay::Same);
    Ok(store.map(|store| store.folder(FOLDER)))
}

/// Where a source of which nothing is committed began in an earlier run.
pub(super) async fn read(plan: &Plan, source: &PlannedSource) -> Result<Option<Value>, RunError> {
    let Some(store) = store(plan, source)? else { return Ok(None) };
    let Some(file) = store.read(&source.name).await? else { return Ok(None) };
    // One that is cut off was not written: the source had not begun.
    let payload = opened(KIND, &file).ok();
    let start = payload.and_then(|payload| serde_json::from_slice::<Value>(&payload).ok());
    let same_kind = start.filter(|start| start.get("kind").and_then(Value::as_str) == Some(source.kind.as_str()));
    Ok(same_kind.and_then(|start| start.get("position").cloned()))
}

/// Keeps where a source begins.
pub(super) async fn write(plan: &Plan, source: &PlannedSource, running: &mut dyn Source) -> Result<(), RunError> {
    let Some(store) = store(plan, source)? else { return Ok(()) };
    let position = running.position(&running.start());
    let start = json!({ "kind": source.kind, "position": position });
    store.prepare().await?;
    Ok(store.write(&source.name, sealed(KIND, &[Bytes::from(start.to_string())])).await?)
}

/// Forgets where a source began that has left the pipeline: should one of its name come again, it begins anew.
pub(super) async fn forget(plan: &Plan, source: &str) -> Result<(), RunError> {
    match checkpoint_store(plan)? {
        Some(store) => Ok(store.folder(FOLDER).delete(source).await?),
        None => Ok(()),
    }
}
