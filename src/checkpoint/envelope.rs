//! The envelope of every file: a first line that says what the file is, and shows damage.
//!
//! ```text
//! streamrun commit 1 90f6ab21 4711
//! ...4711 bytes, whose CRC-32 is 90f6ab21...
//! ```

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::CheckpointError;

const MAGIC: &str = "streamrun";
const VERSION: u64 = 1;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Metadata,
    Offsets,
    Commit,
    Saved,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Metadata => "metadata",
            Self::Offsets => "offsets",
            Self::Commit => "commit",
            Self::Saved => "saved",
        }
    }
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// There is no such file.
    #[error("is missing")]
    Missing,
    /// The file is shorter than it says; it has so many bytes.
    #[error("is cut off after {0} bytes")]
    Torn(usize),
    /// Bytes of the file are not those that were written.
    #[error("has a wrong checksum")]
    Checksum,
    /// No file of a checkpoint, or one of another kind.
    #[error("was not written by streamrun, or is another of its files")]
    Foreign,
    /// Another streamrun wrote the file, in this format.
    #[error("has format {0}, which this streamrun does not know")]
    Format(u64),
    /// The file is whole, but for something else.
    #[error("does not hold what its name says")]
    Content,
}

impl Damage {
    /// What to do about it.
    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Self::Format(_) => "run the streamrun that wrote it",
            _ => "restore the file",
        }
    }
}

/// The file that holds the payload.
pub(super) fn seal(kind: Kind, payload: &[u8]) -> Bytes {
    seal_parts(kind.name(), &[payload])
}

/// A file of another room that is kept beside a checkpoint, in the same envelope. Each part is copied once.
#[must_use]
pub fn sealed(kind: &str, parts: &[Bytes]) -> Bytes {
    let parts: Vec<&[u8]> = parts.iter().map(AsRef::as_ref).collect();
    seal_parts(kind, &parts)
}

/// The payload of a file that [`sealed`] has made.
///
/// # Errors
/// When the file is not whole, or not of this kind.
pub fn opened(kind: &str, file: &Bytes) -> Result<Bytes, Damage> {
    open_as(kind, file)
}

/// The file whose payload is a line of JSON with bytes behind it, which may be large: each is copied once.
pub(super) fn seal_with_head<'a>(
    kind: Kind,
    head: &impl Serialize,
    bodies: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Bytes, CheckpointError> {
    let mut head = json(head)?;
    head.push(b'\n');
    let mut parts = vec![head.as_slice()];
    for body in bodies {
        parts.push(body);
    }
    Ok(seal_parts(kind.name(), &parts))
}

/// The file whose payload is in parts.
fn seal_parts(kind: &str, payload: &[&[u8]]) -> Bytes {
    let line = first_line(kind, payload);
    let mut file = Vec::with_capacity(line.len() + length(payload));
    file.extend_from_slice(line.as_bytes());
    for part in payload {
        file.extend_from_slice(part);
    }
    file.into()
}

/// The payload of a file that is whole and of this kind.
pub(super) fn open(kind: Kind, file: &Bytes) -> Result<Bytes, Damage> {
    open_as(kind.name(), file)
}

fn open_as(kind: &str, file: &Bytes) -> Result<Bytes, Damage> {
    let end = file.iter().position(|byte| *byte == b'\n').map_or(file.len(), |end| end + 1);
    let (line, payload) = (file.slice(..end), file.slice(end..));
    if *line == *first_line(kind, &[&*payload]).as_bytes() { Ok(payload) } else { Err(damage(kind, &line, &payload)) }
}

/// There is one right line for each payload, so no other needs to be understood.
fn first_line(kind: &str, payload: &[&[u8]]) -> String {
    let mut checksum = crc32fast::Hasher::new();
    for part in payload {
        checksum.update(part);
    }
    format!("{MAGIC} {kind} {VERSION} {:08x} {}\n", checksum.finalize(), length(payload))
}

fn length(payload: &[&[u8]]) -> usize {
    payload.iter().map(|part| part.len()).sum()
}

/// What is wrong with a file whose first line is not the right one.
fn damage(kind: &str, line: &[u8], payload: &[u8]) -> Damage {
    let found = line.len() + payload.len();
    let line = String::from_utf8_lossy(line);
    if !line.ends_with('\n') && (line.starts_with(MAGIC) || MAGIC.starts_with(&*line)) {
        return Damage::Torn(found);
    }
    let words: Vec<&str> = line.trim_end().split(' ').collect();
    let version: Option<u64> = words.get(2).and_then(|word| word.parse().ok());
    match (words.as_slice(), version) {
        ([MAGIC, ..], Some(version)) if version > VERSION => Damage::Format(version),
        ([MAGIC, name, _, _, length], _) if *name == kind => match length.parse::<usize>() {
            Ok(length) if length > payload.len() => Damage::Torn(found),
            _ => Damage::Checksum,
        },
        _ => Damage::Foreign,
    }
}

/// A value as JSON, in one line.
pub(super) fn json(value: &impl Serialize) -> Result<Vec<u8>, CheckpointError> {
    serde_json::to_vec(value).map_err(|error| CheckpointError::Internal(error.to_string()))
}

/// Takes apart the payload that [`seal_with_head`] put together.
pub(super) fn split<T: DeserializeOwned>(payload: &Bytes) -> Result<(T, Bytes), Damage> {
    let end = payload.iter().position(|byte| *byte == b'\n').ok_or(Damage::Content)?;
    let head = serde_json::from_slice(&payload.slice(..end)).map_err(|_| Damage::Content)?;
    Ok((head, payload.slice(end + 1..)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAYLOAD: &[u8] = b"{\"batch\":7}\nand the state";

    #[test]
    fn what_is_sealed_opens() {
        for payload in [PAYLOAD, b"", b"\n"] {
            let file = seal(Kind::Commit, payload);
            assert_eq!(open(Kind::Commit, &file).unwrap(), payload);
        }
        assert!(seal(Kind::Offsets, b"123456789").starts_with(b"streamrun offsets 1 cbf43926 9\n"));
    }

    #[test]
    fn parts_are_sealed_as_a_whole() {
        let file = seal_with_head(Kind::Commit, &7, [&b"and "[..], b"", b"the state"]).unwrap();
        assert_eq!(file, seal(Kind::Commit, b"7\nand the state"));
        let (head, bodies): (u64, Bytes) = split(&open(Kind::Commit, &file).unwrap()).unwrap();
        assert_eq!((head, &*bodies), (7, &b"and the state"[..]));
    }

    #[test]
    fn truncation_is_seen_at_every_byte() {
        for payload in [PAYLOAD, b""] {
            let file = seal(Kind::Commit, payload);
            for end in 0..file.len() {
                assert_eq!(open(Kind::Commit, &file.slice(..end)), Err(Damage::Torn(end)));
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_seen_at_every_byte() {
        let file = seal(Kind::Commit, PAYLOAD);
        for position in 0..file.len() {
            for bit in 0..8 {
                let mut flipped = file.to_vec();
                flipped[position] ^= 1 << bit;
                assert!(open(Kind::Commit, &flipped.into()).is_err(), "bit {bit} of byte {position}");
            }
        }
    }

    #[test]
    fn damage_is_told_apart() {
        let open = |file: &[u8]| open(Kind::Commit, &Bytes::copy_from_slice(file)).unwrap_err();
        assert_eq!(open(&seal(Kind::Offsets, PAYLOAD)), Damage::Foreign);
        assert_eq!(open(b"PK\x03\x04 something else\n"), Damage::Foreign);
        assert_eq!(open(b"streamrun commit 2 zstd 00 4711\n..."), Damage::Format(2));
        assert_eq!(open(b"streamrun commit 1 00000000 3\nabc"), Damage::Checksum);
        // Bytes behind the end are damage as well.
        assert_eq!(open(&[&*seal(Kind::Commit, PAYLOAD), b"x"].concat()), Damage::Checksum);
    }
}
