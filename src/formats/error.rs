//! What can be wrong with an input or an output as a whole.

use std::io;

use ::parquet::errors::ParquetError;
use arrow::error::ArrowError;

/// Longest reason that is kept, in characters; reasons quote values, which can be huge.
const MAX_REASON: usize = 300;

/// Why bytes did not become rows, or rows did not become bytes.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// The user's settings do not go together.
    #[error("{0}")]
    Settings(String),
    /// The input does not have a column that the schema names.
    #[error("there is no column `{column}`; the columns are {found}")]
    MissingColumn {
        /// As the schema names it.
        column: String,
        /// The columns that are there.
        found: String,
    },
    /// A column's values are not of the declared type.
    #[error("column `{column}` does not fit {wanted}: {source}")]
    Column {
        /// Its name.
        column: String,
        /// The declared type.
        wanted: String,
        /// Which value or type did not fit.
        source: ArrowError,
    },
    /// A row of a columnar file does not fit.
    #[error("row {row}: {source}")]
    Row {
        /// Its place in the file, counted from 1.
        row: u64,
        /// Why.
        source: Box<FormatError>,
    },
    /// The data cannot be read or written in this format.
    #[error(transparent)]
    Data(ArrowError),
    /// The data is not Parquet, or cannot be written as such.
    #[error(transparent)]
    Parquet(ParquetError),
    /// The file or connection failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl FormatError {
    /// Whether the same bytes may work later: only where the outside world failed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Io(_))
    }

    pub(super) fn missing_column<'a>(column: &str, found: impl Iterator<Item = &'a str>) -> Self {
        let found: Vec<String> = found.map(|name| format!("`{name}`")).collect();
        let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
        Self::MissingColumn { column: column.to_owned(), found }
    }
}

impl From<ArrowError> for FormatError {
    fn from(error: ArrowError) -> Self {
        match error {
            ArrowError::IoError(_, error) => Self::Io(error),
            error => Self::Data(error),
        }
    }
}

impl From<ParquetError> for FormatError {
    fn from(error: ParquetError) -> Self {
        match error {
            ParquetError::External(error) => match error.downcast::<io::Error>() {
                Ok(error) => Self::Io(*error),
                Err(error) => Self::Parquet(ParquetError::External(error)),
            },
            error => Self::Parquet(error),
        }
    }
}

/// An error's text for a bad row: without the name of the error's kind, not longer than sensible.
pub(super) fn reason(error: &ArrowError) -> String {
    shorten(match error {
        ArrowError::JsonError(text)
        | ArrowError::CsvError(text)
        | ArrowError::ParseError(text)
        | ArrowError::CastError(text)
        | ArrowError::InvalidArgumentError(text) => text.clone(),
        other => other.to_string(),
    })
}

/// A reason that is not longer than sensible.
pub(super) fn shorten(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MAX_REASON) {
        text.truncate(end);
        text.push('…');
    }
    text
}
