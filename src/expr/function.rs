//! What a function of the expression language is: its name, its parameters, its type, its help
//! text and how it becomes a DataFusion expression. The one table of them is [`super::functions`].

use datafusion::logical_expr::Expr;

use super::partial::Divide;
use crate::schema::ColumnType;

/// Where a function stands in the documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Text.
    Strings,
    /// Numbers.
    Numbers,
    /// Conditions and NULL.
    Conditions,
    /// Dates and timestamps.
    Dates,
    /// Lists, structs and maps.
    Lists,
    /// JSON in text.
    Json,
    /// Checksums.
    Hashes,
    /// Changing the type.
    Conversions,
}

/// The types a parameter takes. The literal NULL fits everywhere but in [`Accepts::Pattern`] and
/// its like.
#[derive(Clone, Copy, Debug)]
pub enum Accepts {
    /// Whatever there is.
    Any,
    /// `string`.
    String,
    /// `boolean`.
    Boolean,
    /// `int` or `long`; it arrives as `long`.
    Integer,
    /// Any number.
    Number,
    /// Any number; it arrives as `double`.
    Double,
    /// Anything with an order; all such arguments of a call have one common type.
    Comparable,
    /// Anything; all such arguments of a call have one common type.
    Same,
    /// `date`.
    Date,
    /// `date` or `timestamp`; it arrives as `timestamp`.
    Timestamp,
    /// Any list.
    List,
    /// Any map.
    Map,
    /// `string` or `binary`.
    Bytes,
    /// A literal text that the function checks before anything runs (a regular expression, a date
    /// format, a unit): returns what is wrong with it.
    Constant(fn(&str) -> Result<(), String>),
}

/// One parameter.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// As the documentation names it.
    pub name: &'static str,
    /// What it takes.
    pub accepts: Accepts,
    /// May be left out (only the last ones).
    pub optional: bool,
    /// May be repeated (only the last one).
    pub repeated: bool,
}

/// A needed parameter.
#[must_use]
pub const fn parameter(name: &'static str, accepts: Accepts) -> Parameter {
    Parameter { name, accepts, optional: false, repeated: false }
}

/// A parameter that may be left out.
#[must_use]
pub const fn optional(name: &'static str, accepts: Accepts) -> Parameter {
    Parameter { optional: true, ..parameter(name, accepts) }
}

/// A last parameter that stands for one or more arguments.
#[must_use]
pub const fn repeated(name: &'static str, accepts: Accepts) -> Parameter {
    Parameter { repeated: true, ..parameter(name, accepts) }
}

/// `function(name, name?)`, for help texts.
#[must_use]
pub fn signature(function: &str, parameters: &[Parameter]) -> String {
    let parts: Vec<String> = parameters
        .iter()
        .map(|parameter| {
            let mark = if parameter.optional {
                "?"
            } else if parameter.repeated {
                ", ..."
            } else {
                ""
            };
            format!("{}{mark}", parameter.name)
        })
        .collect();
    format!("{function}({})", parts.join(", "))
}

/// A row function.
#[derive(Debug)]
pub struct Function {
    /// As written in an expression.
    pub name: &'static str,
    /// Where the documentation lists it.
    pub group: Group,
    /// In order.
    pub parameters: &'static [Parameter],
    /// The type of the result, from the types of the arguments after they were brought to what the
    /// parameters say.
    pub returns: fn(&[ColumnType]) -> ColumnType,
    /// One sentence or two: what it gives, and when it gives NULL.
    pub summary: &'static str,
    /// An expression without columns and its value as JSON; tested.
    pub example: (&'static str, &'static str),
    /// The DataFusion expression over the arguments, which have the types that the parameters say.
    /// The caller casts the result to [`Function::returns`] where DataFusion's type differs.
    pub build: fn(Vec<Expr>) -> Expr,
}

/// A function over the rows of a group.
#[derive(Debug)]
pub struct Aggregate {
    /// As written in an expression.
    pub name: &'static str,
    /// In order.
    pub parameters: &'static [Parameter],
    /// The type of the result, from the types of the arguments.
    pub returns: fn(&[ColumnType]) -> ColumnType,
    /// One sentence or two: what it gives, what it does with NULL.
    pub summary: &'static str,
    /// The DataFusion aggregate over the arguments, which have these types; the caller casts as for
    /// [`Function::build`].
    pub build: fn(Vec<Expr>, &[ColumnType]) -> Expr,
    /// The same bit by bit, for state and windows.
    pub divide: Divide,
}
