//! Whose checkpoint a folder is.

use std::hash::{BuildHasher, Hasher, RandomState};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::envelope::{self, Damage, Kind};
use super::store::Store;
use super::{CheckpointError, stamp};

const NAME: &str = "metadata";
const FORMAT: u64 = 1;

/// Whose checkpoint a folder is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// The layout and format of the files.
    pub format: u64,
    /// The pipeline's name.
    pub pipeline: String,
    /// Tells this checkpoint from others of the same pipeline.
    pub id: String,
    /// When it was begun.
    pub created: String,
}

/// What every format says.
#[derive(Deserialize)]
struct Format {
    format: u64,
}

impl Metadata {
    /// The metadata of this pipeline's checkpoint, which are written where nothing is begun yet.
    pub(super) async fn open(store: &Store, pipeline: &str, is_begun: bool) -> Result<Self, CheckpointError> {
        let found = match Self::read(store).await {
            // The very first write was cut off.
            Err(CheckpointError::Damaged { damage: Damage::Torn(_), .. }) if !is_begun => None,
            found => found?,
        };
        match found {
            Some(metadata) if metadata.pipeline == pipeline => Ok(metadata),
            Some(metadata) => Err(CheckpointError::OtherPipeline {
                folder: store.to_string(),
                found: metadata.pipeline,
                expected: pipeline.to_owned(),
            }),
            None if is_begun => Err(CheckpointError::damaged(store, NAME, Damage::Missing)),
            None => Self::write(store, pipeline).await,
        }
    }

    /// The metadata as they are; `None` where there are none.
    pub(super) async fn read(store: &Store) -> Result<Option<Self>, CheckpointError> {
        let Some(file) = store.read(NAME).await? else { return Ok(None) };
        match Self::decode(&file) {
            Ok(metadata) => Ok(Some(metadata)),
            Err(damage) => Err(CheckpointError::damaged(store, NAME, damage)),
        }
    }

    async fn write(store: &Store, pipeline: &str) -> Result<Self, CheckpointError> {
        // The random numbers of hash tables are good enough to tell checkpoints apart.
        let id = RandomState::new().build_hasher().finish();
        let metadata =
            Self { format: FORMAT, pipeline: pipeline.to_owned(), id: format!("{id:016x}"), created: stamp() };
        store.write(NAME, envelope::seal(Kind::Metadata, &envelope::json(&metadata)?)).await?;
        Ok(metadata)
    }

    fn decode(file: &Bytes) -> Result<Self, Damage> {
        let payload = envelope::open(Kind::Metadata, file)?;
        let Format { format } = serde_json::from_slice(&payload).map_err(|_| Damage::Content)?;
        if format != FORMAT {
            return Err(Damage::Format(format));
        }
        serde_json::from_slice(&payload).map_err(|_| Damage::Content)
    }
}
