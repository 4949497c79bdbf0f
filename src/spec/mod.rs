//! The pipeline file as written: loading, places, interpolation, typed reading.
//!
//! ```text
//! text -> document (tree with places) -> ${...} and schema files filled in -> components
//! ```
//!
//! Nothing here knows what a source, step or sink means; it only splits them.

pub mod check;
pub mod document;
mod interpolate;
pub(crate) mod kind;
mod overrides;
mod pipeline;
pub mod quantity;
mod schema_files;
mod secrets;
#[cfg(test)]
mod tests;
mod traps;
pub mod typed;

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

pub use check::Check;
pub use document::Node;
pub use interpolate::{Environment, ProcessEnvironment};
pub use overrides::name as name_overrides;
pub use pipeline::{
    Backpressure, CatchUp, Checkpoint, Component, Delivery, Engine, Head, Kinds, Name, OnError, OnStateChange,
    Pipeline, Reload, Stream,
};
pub use quantity::{Duration, Size};
pub use secrets::{is_hidden, mask};
pub use traps::explain_comments;

use crate::diagnostic::{Diagnostic, SourceFile, Span, codes};

/// A pipeline file is at most this long.
pub const MAX_FILE_BYTES: u64 = 4 << 20;

/// Reads a file's text for loading.
///
/// # Errors
/// The finding that says why it is not to be had: missing, a folder or device, too large, not UTF-8.
pub fn read_file(path: &Path) -> Result<Arc<SourceFile>, Box<Diagnostic>> {
    let name = path.display().to_string();
    let unreadable =
        |code, message: String| Box::new(Diagnostic::about_file(code, &Arc::new(SourceFile::new(&*name, "")), message));
    match read_at_most(path, MAX_FILE_BYTES) {
        Ok(Some(bytes)) => source_file(&name, bytes),
        Ok(None) => {
            let message = format!("the file has more than the {MAX_FILE_BYTES} bytes that a pipeline may have");
            Err(unreadable(codes::FILE_TOO_LARGE, message))
        }
        Err(error) => Err(unreadable(codes::UNREADABLE_FILE, format!("the file cannot be read: {error}"))),
    }
}

/// The bytes of a file that has an end; `None` if there are more than `limit`. From a device or a named pipe
/// one could read for ever. `/dev/stdin` and what a shell makes of `<(...)` are pipes that end.
///
/// # Errors
/// It is not there, not to be read, or no file.
pub fn read_at_most(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    use std::os::unix::fs::FileTypeExt;
    let metadata = std::fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(io::Error::other("it is a folder"));
    }
    let pipe = metadata.file_type().is_fifo() && path.starts_with("/dev");
    if !metadata.is_file() && !pipe {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    // One byte more, to tell; a file may also grow, or say that it is empty (`/proc`).
    std::fs::File::open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= limit).then_some(bytes))
}

/// A file's bytes as text.
///
/// # Errors
/// The finding for bytes that are no text.
pub fn source_file(name: &str, bytes: Vec<u8>) -> Result<Arc<SourceFile>, Box<Diagnostic>> {
    let (text, bad) = match String::from_utf8(bytes) {
        Ok(text) => {
            let nul = text.find('\0');
            (text, nul.map(|at| (at, "a NUL byte")))
        }
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            (String::from_utf8_lossy(error.as_bytes()).into_owned(), Some((at, "a byte that is no UTF-8")))
        }
    };
    let file = Arc::new(SourceFile::new(name, text));
    match bad {
        None => Ok(file),
        Some((at, what)) => Err(Box::new(
            Diagnostic::new(codes::NOT_YAML, &file, Span::new(at, at + 1), format!("the file holds {what}"))
                .help("save the file as UTF-8 text"),
        )),
    }
}

/// Loads a pipeline: every finding about its shape goes to `findings`. `overrides` are the
/// `--set KEY=VALUE` of the command line. [`mask`] and [`name_overrides`] must see all findings about the
/// pipeline in the end. `None` where nothing sensible is left to check.
pub fn load(
    file: &Arc<SourceFile>,
    environment: &dyn Environment,
    overrides: &[(String, String)],
    kinds: Kinds<'_>,
    findings: &mut Vec<Diagnostic>,
) -> Option<Pipeline> {
    let mut root = document::read(file, findings)?;
    file.hide(secrets::find(file, &root));
    overrides::apply(&mut root, file, overrides, findings);
    interpolate::fill_in(&mut root, environment, file, findings);
    schema_files::fill_in(&mut root, environment, file, findings);
    pipeline::split(root, file, kinds, findings)
}
