//! States that were reset: copies with a name of their own, which nothing deletes.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::envelope::{self, Kind};
use super::{CheckpointError, Damage, Store, layout};

/// The state of a component that was reset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Its file in the checkpoint.
    pub name: String,
    /// The component.
    pub component: String,
    /// The batch that the state is of.
    pub batch: u64,
    /// What the state was.
    pub fingerprint: Value,
    /// A snapshot, and deltas after it, one after the other.
    pub bytes: Bytes,
}

/// The first line of a saved state.
#[derive(Deserialize, Serialize)]
struct Header {
    component: String,
    batch: u64,
    fingerprint: Value,
}

/// Writes a saved state under a free name, which is returned. The same one is written once.
pub(super) async fn write(
    store: &Store,
    component: &str,
    batch: u64,
    fingerprint: &Value,
    bytes: &[u8],
) -> Result<String, CheckpointError> {
    let header = Header { component: component.to_owned(), batch, fingerprint: fingerprint.clone() };
    let file = envelope::seal_with_head(Kind::Saved, &header, [bytes])?;
    let mut copy = 1;
    loop {
        let name = layout::saved(component, batch, copy);
        match store.read(&name).await? {
            Some(there) if there != file => copy += 1,
            Some(_) => return Ok(name),
            None => return store.write(&name, file).await.map(|()| name),
        }
    }
}

/// All saved states of a checkpoint, by name.
///
/// # Errors
/// When they cannot be read, or one is damaged.
pub async fn saved(store: &Store) -> Result<Vec<Saved>, CheckpointError> {
    let mut all = Vec::new();
    for name in store.list(layout::SAVED).await? {
        let name = format!("{}/{name}", layout::SAVED);
        let Some(file) = store.read(&name).await? else { continue };
        all.push(read(&name, &file).map_err(|damage| CheckpointError::damaged(store, &name, damage))?);
    }
    Ok(all)
}

fn read(name: &str, file: &Bytes) -> Result<Saved, Damage> {
    let (header, bytes): (Header, Bytes) = envelope::split(&envelope::open(Kind::Saved, file)?)?;
    let Header { component, batch, fingerprint } = header;
    Ok(Saved { name: name.to_owned(), component, batch, fingerprint, bytes })
}
