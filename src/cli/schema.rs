//! `streamrun schema`: the JSON Schema of pipeline files.

use super::{DONE, print};
use crate::plan::json_schema::pipeline_schema_text;

/// Prints the schema; the exit code.
pub(super) fn schema() -> u8 {
    print(&pipeline_schema_text());
    DONE
}
