//! The offset log: what a batch will read, written down before it runs.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::CheckpointError;
use super::envelope::{self, Damage, Kind};

/// What a batch reads, so that after a crash it can be run again as it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// The batch's number; the first is 0.
    pub batch: u64,
    /// The batch's time, in milliseconds since 1970.
    pub time: i64,
    /// By source, whatever it needs to read the same rows again.
    pub sources: BTreeMap<String, Value>,
}

impl Planned {
    pub(super) fn encode(&self) -> Result<Bytes, CheckpointError> {
        Ok(envelope::seal(Kind::Offsets, &envelope::json(self)?))
    }

    /// Reads the plan of that batch.
    pub(super) fn decode(batch: u64, file: &Bytes) -> Result<Self, Damage> {
        let payload = envelope::open(Kind::Offsets, file)?;
        let planned: Self = serde_json::from_slice(&payload).map_err(|_| Damage::Content)?;
        if planned.batch == batch { Ok(planned) } else { Err(Damage::Content) }
    }
}
