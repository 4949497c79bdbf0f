//! The expression language: `level == "error" && latency > 100`.
//!
//! Text is parsed once ([`parse`]), given types against a schema and turned into a DataFusion
//! expression ([`compile`]); rows are never interpreted one by one. What an expression means is
//! written down in `docs/expressions.md`; the functions stand in one table ([`functions`],
//! [`aggregates`]).

pub mod aggregates;
pub mod ast;
pub mod compile;
pub mod evaluate;
pub mod function;
pub mod functions;
mod operators;
pub mod parse;
pub mod partial;
mod pushdown;
pub mod query;
pub mod session;
#[cfg(test)]
mod tests;
pub mod udf;

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema as JsonSchemaValue, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer};

use crate::diagnostic::Code;

/// An expression as written in a pipeline file; a bare number or `true` is one, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression(pub String);

impl<'de> Deserialize<'de> for Expression {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

impl JsonSchema for Expression {
    fn schema_name() -> Cow<'static, str> {
        "Expression".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> JsonSchemaValue {
        json_schema!({
            "type": ["string", "number", "boolean"],
            "description": "An expression over the columns, e.g. `level == \"error\" && latency > 100`."
        })
    }
}

/// What is wrong with an expression.
#[derive(Clone, Debug)]
pub struct ExpressionError {
    /// The finding's code.
    pub code: Code,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// The word of the expression it is about, to point at.
    pub word: Option<String>,
}

impl ExpressionError {
    /// An error with nothing but a message.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), help: None, word: None }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds what to do about it where there is something to say.
    #[must_use]
    pub fn maybe_help<S: Into<String>>(mut self, help: Option<S>) -> Self {
        self.help = help.map(Into::into).or(self.help);
        self
    }

    /// Adds the word to point at.
    #[must_use]
    pub fn word(mut self, word: &str) -> Self {
        self.word = Some(word.to_owned());
        self
    }
}

impl fmt::Display for ExpressionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
