//! Reads a type as a pipeline file writes it: `map<string, list<decimal(10,2)>>`.

use super::{Column, ColumnType};

/// Types nest at most this deep; nobody needs more, and hostile input does not get a deep stack.
const MAX_DEPTH: usize = 32;

/// Why a text is not a type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TypeError {
    /// What is wrong, without the type's text.
    pub message: String,
    /// The word that is no type name, for "did you mean".
    pub unknown: Option<String>,
}

impl TypeError {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), unknown: None }
    }
}

/// The names of the types that take no parameters, for messages and suggestions.
pub const SIMPLE_TYPES: &[(&str, ColumnType)] = &[
    ("string", ColumnType::String),
    ("boolean", ColumnType::Boolean),
    ("int", ColumnType::Int),
    ("long", ColumnType::Long),
    ("float", ColumnType::Float),
    ("double", ColumnType::Double),
    ("date", ColumnType::Date),
    ("timestamp", ColumnType::Timestamp),
    ("binary", ColumnType::Binary),
];

/// The type that `text` names. White space between its parts does not matter.
///
/// # Errors
/// A [`TypeError`] that says which part is not understood.
pub fn parse_type(text: &str) -> Result<ColumnType, TypeError> {
    let mut reader = Reader { rest: text };
    let column_type = reader.column_type(0)?;
    reader.skip_space();
    if reader.rest.is_empty() {
        Ok(column_type)
    } else {
        Err(TypeError::new(format!("unexpected `{}` after the type", reader.rest)))
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn column_type(&mut self, depth: usize) -> Result<ColumnType, TypeError> {
        if depth > MAX_DEPTH {
            return Err(TypeError::new(format!("types nest deeper than {MAX_DEPTH} levels")));
        }
        let word = self.word();
        match word {
            "list" => {
                self.expect('<')?;
                let element = self.column_type(depth + 1)?;
                self.expect('>')?;
                Ok(element.list_of())
            }
            "map" => {
                self.expect('<')?;
                let key = self.column_type(depth + 1)?;
                self.expect(',')?;
                let value = self.column_type(depth + 1)?;
                self.expect('>')?;
                Ok(ColumnType::Map(Box::new(key), Box::new(value)))
            }
            "struct" => self.structure(depth),
            "decimal" => self.decimal(),
            "" => Err(TypeError::new("a type is missing")),
            _ => {
                SIMPLE_TYPES.iter().find(|(name, _)| *name == word).map(|(_, found)| found.clone()).ok_or_else(|| {
                    TypeError { message: format!("`{word}` is no type"), unknown: Some(word.to_owned()) }
                })
            }
        }
    }

    fn structure(&mut self, depth: usize) -> Result<ColumnType, TypeError> {
        self.expect('<')?;
        let mut columns: Vec<Column> = Vec::new();
        loop {
            let name = self.word().to_owned();
            if name.is_empty() {
                return Err(TypeError::new("a struct needs fields: `struct<name: type, ...>`"));
            }
            if columns.iter().any(|column| column.name == name) {
                return Err(TypeError::new(format!("the field `{name}` is there twice")));
            }
            self.expect(':')?;
            columns.push(Column::new(name, self.column_type(depth + 1)?));
            if !self.accept(',') {
                break;
            }
        }
        self.expect('>')?;
        Ok(ColumnType::Struct(columns))
    }

    fn decimal(&mut self) -> Result<ColumnType, TypeError> {
        let form = || TypeError::new("a decimal is written `decimal(precision, scale)`, e.g. `decimal(10,2)`");
        self.expect('(').map_err(|_| form())?;
        let precision: u8 = self.word().parse().map_err(|_| form())?;
        self.expect(',').map_err(|_| form())?;
        let scale: i8 = self.word().parse().map_err(|_| form())?;
        self.expect(')').map_err(|_| form())?;
        if !(1..=38).contains(&precision) || scale < 0 || scale.unsigned_abs() > precision {
            return Err(TypeError::new("a decimal has 1 to 38 digits, and not more of them after the point"));
        }
        Ok(ColumnType::Decimal(precision, scale))
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn word(&mut self) -> &'a str {
        self.skip_space();
        let end = self
            .rest
            .find(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '(' | ')' | ',' | ':'))
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn accept(&mut self, expected: char) -> bool {
        self.skip_space();
        match self.rest.strip_prefix(expected) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, expected: char) -> Result<(), TypeError> {
        if self.accept(expected) {
            return Ok(());
        }
        let found = self.rest.chars().next().map_or_else(|| "the end".to_owned(), |c| format!("`{c}`"));
        Err(TypeError::new(format!("expected `{expected}`, found {found}")))
    }
}
