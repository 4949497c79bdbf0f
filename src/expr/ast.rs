//! An expression as a tree of our own, so that the parser behind it can be changed.

use std::fmt;

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Ast {
    /// A constant.
    Literal(Literal),
    /// A column, or a field inside one (`order.customer.id`).
    Name(String),
    /// An operator before its operand.
    Unary(UnaryOperator, Box<Ast>),
    /// An operator between its operands.
    Binary(BinaryOperator, Box<Ast>, Box<Ast>),
    /// `function(arguments)`.
    Call(String, Vec<Ast>),
}

/// A constant.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// `null`
    Null,
    /// `true`, `false`
    Boolean(bool),
    /// A whole number, `long`.
    Integer(i64),
    /// A number with a point or an exponent, `double`.
    Double(f64),
    /// Text in double quotes.
    String(String),
}

/// An operator with one operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnaryOperator {
    /// `-`
    Negate,
    /// `!`
    Not,
}

/// An operator with two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryOperator {
    /// `+`: a sum, or texts one after the other.
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`
    Modulo,
    /// `^`
    Power,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `&&`
    And,
    /// `||`
    Or,
}

impl BinaryOperator {
    /// As written.
    #[must_use]
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
            Self::Power => "^",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::And => "&&",
            Self::Or => "||",
        }
    }
}

impl Ast {
    /// Whether the column of that name is used anywhere inside.
    #[must_use]
    pub fn names(&self, column: &str) -> bool {
        match self {
            Self::Literal(_) => false,
            Self::Name(name) => name == column,
            Self::Unary(_, operand) => operand.names(column),
            Self::Binary(_, left, right) => left.names(column) || right.names(column),
            Self::Call(_, arguments) => arguments.iter().any(|argument| argument.names(column)),
        }
    }

    /// Whether an aggregate function is called anywhere inside.
    #[must_use]
    pub fn has_aggregate(&self) -> bool {
        match self {
            Self::Literal(_) | Self::Name(_) => false,
            Self::Unary(_, operand) => operand.has_aggregate(),
            Self::Binary(_, left, right) => left.has_aggregate() || right.has_aggregate(),
            Self::Call(name, arguments) => {
                super::aggregates::find(name).is_some() || arguments.iter().any(Self::has_aggregate)
            }
        }
    }
}

/// Writes an expression in canonical form: the same tree is always the same text. Checkpoints know
/// expressions by it.
impl fmt::Display for Ast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(literal) => write!(f, "{literal}"),
            Self::Name(name) => f.write_str(name),
            Self::Unary(UnaryOperator::Negate, operand) => write!(f, "-{}", Operand(operand)),
            Self::Unary(UnaryOperator::Not, operand) => write!(f, "!{}", Operand(operand)),
            Self::Binary(operator, left, right) => {
                write!(f, "{} {} {}", Operand(left), operator.symbol(), Operand(right))
            }
            Self::Call(name, arguments) => {
                write!(f, "{name}(")?;
                for (index, argument) in arguments.iter().enumerate() {
                    let separator = if index == 0 { "" } else { ", " };
                    write!(f, "{separator}{argument}")?;
                }
                f.write_str(")")
            }
        }
    }
}

/// Puts what has operators of its own in parentheses.
struct Operand<'a>(&'a Ast);

impl fmt::Display for Operand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            inner @ (Ast::Binary(..) | Ast::Unary(..)) => write!(f, "({inner})"),
            inner => write!(f, "{inner}"),
        }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Double(value) => write!(f, "{value:?}"),
            Self::String(value) => write!(f, "{value:?}"),
        }
    }
}
