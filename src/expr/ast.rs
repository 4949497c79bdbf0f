//! An expression as a tree of our own, so that the parser behind it can be changed.

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
