//! What does not fit, and how it becomes a finding.

use std::fmt;
use std::sync::Arc;

use serde::de;

use crate::diagnostic::{Code, Diagnostic, SourceFile, Span, codes, suggest};
use crate::spec::document::{Node, Scalar, Value};

/// Why a value does not fit, and where.
#[derive(Debug)]
pub(super) struct Error {
    pub(super) problem: Problem,
    pub(super) span: Option<Span>,
    /// The value it is about came from outside the file.
    pub(super) filled: bool,
}

#[derive(Debug)]
pub(super) enum Problem {
    UnknownKey(String, &'static [&'static str]),
    UnknownKind(String, &'static [&'static str]),
    MissingKey(String),
    WrongType(String),
    Invalid(Code, String),
}

impl Error {
    /// At a value, unless it has a place already.
    pub(super) fn of(mut self, node: &Node) -> Self {
        self.filled |= matches!(&node.value, Value::Scalar(scalar) if scalar.filled);
        self.at(node.span)
    }

    pub(super) fn at(mut self, span: Span) -> Self {
        self.span.get_or_insert(span);
        self
    }

    pub(super) fn wrong_type(node: &Node, expected: &dyn de::Expected) -> Self {
        let found = match &node.value {
            Value::Scalar(scalar) if scalar.filled => "what was filled in here".to_owned(),
            Value::Scalar(scalar) if !node.is_null() => format!("`{}`", scalar.text),
            _ => node.shape().to_owned(),
        };
        let expected = expected.to_string();
        let message = format!("expected {}, found {found}", in_user_terms(&expected));
        Self { problem: Problem::WrongType(message), span: Some(node.span), filled: false }
    }

    /// A number that the setting has no room for; `range` is what it has room for.
    pub(super) fn out_of_range(node: &Node, scalar: &Scalar, range: &str) -> Self {
        let found = if scalar.filled { "what was filled in here".to_owned() } else { format!("`{}`", scalar.text) };
        let message = format!("this must be a whole number {range}, not {found}");
        Self { problem: Problem::Invalid(codes::INVALID_VALUE, message), span: Some(node.span), filled: false }
    }

    /// The message, unless it may quote what came from outside the file.
    fn without_secret(&self, message: String) -> String {
        if self.filled { "what was filled in here does not fit".to_owned() } else { message }
    }

    pub(super) fn finding(&self, file: &Arc<SourceFile>, span: Span) -> Diagnostic {
        let new = |code, message: String| Diagnostic::new(code, file, span, self.without_secret(message));
        match &self.problem {
            Problem::UnknownKey(key, known) => new(codes::UNKNOWN_KEY, format!("the key `{key}` is not known here"))
                .maybe_help(suggest::help(key, known.iter().copied())),
            Problem::UnknownKind(kind, known) => new(codes::UNKNOWN_KIND, format!("there is no `{kind}` here"))
                .maybe_help(suggest::help(kind, known.iter().copied())),
            Problem::MissingKey(key) => {
                new(codes::MISSING_KEY, format!("the key `{key}` is missing")).help(format!("add `{key}: ...`"))
            }
            Problem::WrongType(message) => new(codes::WRONG_TYPE, message.clone()),
            Problem::Invalid(code, message) => new(*code, message.clone()),
        }
    }
}

/// serde names the types of the program.
fn in_user_terms(expected: &str) -> &str {
    match expected {
        "i8" | "i16" | "i32" | "i64" | "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number",
        "f32" | "f64" => "a number",
        "a sequence" => "a list",
        "a map" => "a mapping",
        _ if expected.starts_with("struct ") => "a mapping of settings",
        _ => expected,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.problem {
            Problem::UnknownKey(key, _) => write!(f, "the key `{key}` is not known here"),
            Problem::UnknownKind(kind, _) => write!(f, "there is no `{kind}` here"),
            Problem::MissingKey(key) => write!(f, "the key `{key}` is missing"),
            Problem::WrongType(message) | Problem::Invalid(_, message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { problem: Problem::Invalid(codes::INVALID_VALUE, message.to_string()), span: None, filled: false }
    }

    fn invalid_type(unexpected: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let expected = expected.to_string();
        let expected = in_user_terms(&expected);
        Self {
            problem: Problem::WrongType(format!("expected {expected}, found {unexpected}")),
            span: None,
            filled: false,
        }
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self { problem: Problem::UnknownKey(field.to_owned(), expected), span: None, filled: false }
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self { problem: Problem::UnknownKind(variant.to_owned(), expected), span: None, filled: false }
    }

    fn missing_field(field: &'static str) -> Self {
        Self { problem: Problem::MissingKey(field.to_owned()), span: None, filled: false }
    }
}
