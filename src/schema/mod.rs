//! The types of columns as a pipeline file writes them, and their Arrow counterparts.
//!
//! Every column may hold NULL. One type has exactly one Arrow form inside the engine, so that
//! steps never have to deal with two encodings of the same thing:
//!
//! | file | Arrow |
//! |---|---|
//! | `string` | `Utf8View` |
//! | `boolean` | `Boolean` |
//! | `int`, `long` | `Int32`, `Int64` |
//! | `float`, `double` | `Float32`, `Float64` |
//! | `decimal(p,s)` | `Decimal128(p, s)` |
//! | `date` | `Date32` |
//! | `timestamp` | `Timestamp(Microsecond, UTC)` |
//! | `binary` | `BinaryView` |
//! | `list<T>`, `struct<...>`, `map<K, V>` | `List`, `Struct`, `Map` |

pub mod declaration;
mod parse;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema as ArrowSchema, SchemaRef, TimeUnit};

pub use declaration::SchemaDeclaration;
pub use parse::{TypeError, parse_type};

/// The type of one column.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ColumnType {
    /// Only the literal NULL has it; it fits wherever another type is expected.
    Null,
    /// UTF-8 text.
    String,
    /// true or false.
    Boolean,
    /// 32-bit signed integer.
    Int,
    /// 64-bit signed integer.
    Long,
    /// 32-bit floating point number.
    Float,
    /// 64-bit floating point number.
    Double,
    /// Exact number with `precision` digits, `scale` of them after the point.
    Decimal(u8, i8),
    /// Days, without time of day or zone.
    Date,
    /// An instant with microseconds, shown in UTC.
    Timestamp,
    /// Bytes.
    Binary,
    /// A list whose elements have one type.
    List(Box<ColumnType>),
    /// Named fields, in order.
    Struct(Vec<Column>),
    /// Keys and values.
    Map(Box<ColumnType>, Box<ColumnType>),
}

impl ColumnType {
    /// A list of elements of this type.
    #[must_use]
    pub fn list_of(self) -> Self {
        Self::List(Box::new(self))
    }

    /// `int` or `long`.
    #[must_use]
    pub fn is_integer(&self) -> bool {
        matches!(self, Self::Int | Self::Long)
    }

    /// A type that arithmetic works on.
    #[must_use]
    pub fn is_number(&self) -> bool {
        matches!(self, Self::Int | Self::Long | Self::Float | Self::Double | Self::Decimal(..))
    }

    /// A type whose values have an order (`<`, `min`, `sort`).
    #[must_use]
    pub fn is_ordered(&self) -> bool {
        !matches!(self, Self::List(_) | Self::Struct(_) | Self::Map(..))
    }

    /// The one Arrow type that columns of this type have inside the engine.
    #[must_use]
    pub fn to_arrow(&self) -> DataType {
        match self {
            Self::Null => DataType::Null,
            Self::String => DataType::Utf8View,
            Self::Boolean => DataType::Boolean,
            Self::Int => DataType::Int32,
            Self::Long => DataType::Int64,
            Self::Float => DataType::Float32,
            Self::Double => DataType::Float64,
            Self::Decimal(precision, scale) => DataType::Decimal128(*precision, *scale),
            Self::Date => DataType::Date32,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC"))),
            Self::Binary => DataType::BinaryView,
            Self::List(element) => DataType::List(Arc::new(Field::new_list_field(element.to_arrow(), true))),
            Self::Struct(columns) => DataType::Struct(arrow_fields(columns)),
            Self::Map(key, value) => {
                let entries = Fields::from(vec![
                    Field::new("key", key.to_arrow(), false),
                    Field::new("value", value.to_arrow(), true),
                ]);
                DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false)
            }
        }
    }

    /// The type that holds an Arrow type's values, or `None` where the language has no such type
    /// (unions, intervals). Unsigned and narrow integers widen; every encoding of text is `string`.
    #[must_use]
    pub fn from_arrow(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Boolean,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::String,
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => Self::Int,
            DataType::Int64 | DataType::UInt32 | DataType::UInt64 => Self::Long,
            DataType::Float16 | DataType::Float32 => Self::Float,
            DataType::Float64 => Self::Double,
            DataType::Decimal32(p, s) | DataType::Decimal64(p, s) | DataType::Decimal128(p, s) => Self::Decimal(*p, *s),
            DataType::Date32 | DataType::Date64 => Self::Date,
            DataType::Timestamp(..) => Self::Timestamp,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                Self::Binary
            }
            DataType::List(field)
            | DataType::LargeList(field)
            | DataType::ListView(field)
            | DataType::LargeListView(field)
            | DataType::FixedSizeList(field, _) => Self::from_arrow(field.data_type())?.list_of(),
            DataType::Struct(fields) => Self::Struct(
                fields
                    .iter()
                    .map(|field| Some(Column::new(field.name(), Self::from_arrow(field.data_type())?)))
                    .collect::<Option<_>>()?,
            ),
            DataType::Map(entries, _) => {
                let DataType::Struct(fields) = entries.data_type() else { return None };
                Self::Map(
                    Box::new(Self::from_arrow(fields.first()?.data_type())?),
                    Box::new(Self::from_arrow(fields.get(1)?.data_type())?),
                )
            }
            DataType::Dictionary(_, value) => Self::from_arrow(value)?,
            _ => return None,
        })
    }
}

/// Writes the type as a pipeline file does, e.g. `list<struct<id: long>>`.
impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::String => f.write_str("string"),
            Self::Boolean => f.write_str("boolean"),
            Self::Int => f.write_str("int"),
            Self::Long => f.write_str("long"),
            Self::Float => f.write_str("float"),
            Self::Double => f.write_str("double"),
            Self::Decimal(precision, scale) => write!(f, "decimal({precision},{scale})"),
            Self::Date => f.write_str("date"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Binary => f.write_str("binary"),
            Self::List(element) => write!(f, "list<{element}>"),
            Self::Struct(columns) => {
                f.write_str("struct<")?;
                for (i, column) in columns.iter().enumerate() {
                    let comma = if i == 0 { "" } else { ", " };
                    write!(f, "{comma}{}: {}", column.name, column.column_type)?;
                }
                f.write_str(">")
            }
            Self::Map(key, value) => write!(f, "map<{key}, {value}>"),
        }
    }
}

/// A name with a type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Column {
    /// As written; case matters.
    pub name: String,
    /// What the column holds.
    pub column_type: ColumnType,
}

impl Column {
    /// A column.
    pub fn new(name: impl Into<String>, column_type: ColumnType) -> Self {
        Self { name: name.into(), column_type }
    }
}

/// The columns of a stream, in order; names are unique.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Schema {
    /// In output order.
    pub columns: Vec<Column>,
}

impl Schema {
    /// A schema of these columns; the caller has made sure that names are unique.
    #[must_use]
    pub fn new(columns: Vec<Column>) -> Self {
        Self { columns }
    }

    /// The column of that name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| column.name.as_str())
    }

    /// The engine's schema for these columns.
    #[must_use]
    pub fn to_arrow(&self) -> SchemaRef {
        Arc::new(ArrowSchema::new(arrow_fields(&self.columns)))
    }
}

/// Writes `(name: type, ...)`.
impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(")?;
        for (i, column) in self.columns.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{}: {}", column.name, column.column_type)?;
        }
        f.write_str(")")
    }
}

fn arrow_fields(columns: &[Column]) -> Fields {
    columns.iter().map(|column| Field::new(&column.name, column.column_type.to_arrow(), true)).collect()
}
