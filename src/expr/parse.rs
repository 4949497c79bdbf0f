//! Text to [`Ast`], in evalexpr's syntax. The only place that knows evalexpr.

use evalexpr::{EvalexprError, Node, Operator, Value};

use super::ExpressionError;
use super::ast::{Ast, BinaryOperator, Literal, UnaryOperator};
use crate::diagnostic::codes;

/// An expression has at most this many characters.
pub const MAX_LENGTH: usize = 10_000;
/// Operators, calls and parentheses an expression has at most; it bounds how deep its tree gets.
pub const MAX_PARTS: usize = 400;
/// Stands after a whole number that is too large for a long. evalexpr, which would make a double of
/// it, takes it for a name then.
const TOO_LARGE: char = '\0';

/// Parses an expression.
///
/// # Errors
/// What is wrong, in the user's terms.
pub fn parse(text: &str) -> Result<Ast, ExpressionError> {
    check_size(text)?;
    let tree = evalexpr::build_operator_tree(&mark_too_large(text)).map_err(|error| explain(text, &error))?;
    Converter { text }.convert(&tree)
}

/// Refuses what would need a deep stack. Counts outside quotes only.
fn check_size(text: &str) -> Result<(), ExpressionError> {
    let symbols = characters(text).filter(|(c, quoted)| !quoted && "(+-*/%^!&|<>=,;".contains(*c)).count();
    // Two names side by side are a call, so white space nests too.
    let words = text.split_whitespace().count() / 2;
    if text.len() > MAX_LENGTH || symbols + words > MAX_PARTS {
        return Err(ExpressionError::new(codes::EXPRESSION_TOO_LARGE, "the expression is too large")
            .help("compute parts of it in a `with_columns` step before"));
    }
    Ok(())
}

/// The characters, each with whether it stands inside quotes.
fn characters(text: &str) -> impl Iterator<Item = (char, bool)> {
    let (mut quoted, mut escaped) = (false, false);
    text.chars().map(move |c| {
        let after_backslash = std::mem::replace(&mut escaped, false);
        match c {
            '\\' if quoted && !after_backslash => escaped = true,
            '"' if !after_backslash => quoted = !quoted,
            _ => {}
        }
        (c, quoted)
    })
}

/// The text with [`TOO_LARGE`] after each whole number that is.
fn mark_too_large(text: &str) -> String {
    let mut marked = String::with_capacity(text.len() + 1);
    let mut word = String::new();
    // The last word ends, too.
    for (c, quoted) in characters(text).chain([(' ', false)]) {
        if quoted || c.is_whitespace() || "\"+-*/%^(),;=!<>&|".contains(c) {
            if !word.is_empty() && word.bytes().all(|it| it.is_ascii_digit()) && word.parse::<i64>().is_err() {
                marked.push(TOO_LARGE);
            }
            word.clear();
        } else {
            word.push(c);
        }
        marked.push(c);
    }
    marked.pop();
    marked
}

fn explain(text: &str, error: &EvalexprError) -> ExpressionError {
    let bad = |message: &str| ExpressionError::new(codes::BAD_EXPRESSION, message);
    match error {
        EvalexprError::UnmatchedLBrace => bad("a `(` is not closed"),
        EvalexprError::UnmatchedRBrace => bad("a `)` closes nothing"),
        EvalexprError::UnmatchedDoubleQuote => bad("a `\"` is not closed").help("text stands in double quotes"),
        EvalexprError::IllegalEscapeSequence(sequence) => bad(&format!("`{sequence}` is no escape inside a text"))
            .help("inside double quotes write `\\\\` for one backslash and `\\\"` for a quote"),
        EvalexprError::UnmatchedPartialToken { first, .. } => {
            let symbol = first.to_string();
            bad(&format!("a single `{symbol}` is no operator"))
                .help("operators: + - * / % ^ == != < <= > >= && || !")
                .word(&symbol)
        }
        EvalexprError::WrongOperatorArgumentAmount { .. } | EvalexprError::AppendedToLeafNode => missing_operand(text),
        EvalexprError::MissingOperatorOutsideOfBrace => {
            bad("an operator is missing before or after a `(`").maybe_help(hint(text))
        }
        other => bad(&format!("not understood: {other}")).maybe_help(hint(text)),
    }
}

fn missing_operand(text: &str) -> ExpressionError {
    ExpressionError::new(codes::BAD_EXPRESSION, "an operator lacks an operand, or two values lack an operator")
        .maybe_help(hint(text))
}

/// What other languages write, word by word, and what it is here.
const FOREIGN_WORDS: &[(&[&str], &str)] = &[
    (&["is", "not", "null"], "write `!is_null(x)`"),
    (&["is", "null"], "write `is_null(x)`"),
    (&["case"], "write `if(condition, a, b)`; `b` may be another `if(...)`"),
    (&["in"], "write `x == 1 || x == 2`, or `list_contains(list, x)` where there is a list"),
    (&["between"], "write `x >= 1 && x <= 2`"),
    (&["like"], "write `contains(text, part)`, `starts_with(text, part)` or `regex_match(text, pattern)`"),
    (&["and"], "write `&&`, not `and`"),
    (&["or"], "write `||`, not `or`"),
    (&["not"], "write `!`, not `not`"),
];

/// The same for signs.
const FOREIGN_SIGNS: &[(&str, &str)] = &[
    ("===", "write `==`"),
    ("!==", "write `!=`"),
    ("<>", "write `!=`, not `<>`"),
    ("?", "write `if(condition, a, b)`, not `condition ? a : b`"),
];

/// What to do about a text that is no expression here but would be one elsewhere.
fn hint(text: &str) -> Option<String> {
    if text.contains('\'') {
        return Some("text stands in double quotes: \"error\", not 'error'".to_owned());
    }
    let bare: String = characters(text).map(|(c, quoted)| if quoted { ' ' } else { c.to_ascii_lowercase() }).collect();
    let words: Vec<&str> = bare.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|it| !it.is_empty()).collect();
    let mut signs = FOREIGN_SIGNS.iter().filter(|(sign, _)| bare.contains(sign));
    let mut phrases = FOREIGN_WORDS.iter().filter(|(phrase, _)| words.windows(phrase.len()).any(|it| it == *phrase));
    let found = signs.next().map(|(_, help)| *help).or_else(|| phrases.next().map(|(_, help)| *help));
    found.map(str::to_owned)
}

struct Converter<'a> {
    text: &'a str,
}

impl Converter<'_> {
    fn convert(&self, node: &Node) -> Result<Ast, ExpressionError> {
        let children = node.children();
        match node.operator() {
            Operator::RootNode => match children {
                [inner] => self.convert(inner),
                _ => Err(ExpressionError::new(codes::BAD_EXPRESSION, "an expression is missing")),
            },
            Operator::Const { value } => literal(value),
            Operator::VariableIdentifierRead { identifier } => self.name(identifier),
            Operator::FunctionIdentifier { identifier } => self.call(identifier, children),
            Operator::Neg => self.unary(UnaryOperator::Negate, children),
            Operator::Not => self.unary(UnaryOperator::Not, children),
            Operator::Tuple => Err(ExpressionError::new(
                codes::BAD_EXPRESSION,
                "a comma stands only between the arguments of a function",
            )
            .word(",")),
            Operator::Chain => {
                Err(ExpressionError::new(codes::BAD_EXPRESSION, "`;` is not allowed: an expression has one value")
                    .word(";"))
            }
            operator => match binary_operator(operator) {
                Some(binary) => match children {
                    [left, right] => {
                        Ok(Ast::Binary(binary, Box::new(self.convert(left)?), Box::new(self.convert(right)?)))
                    }
                    _ => Err(missing_operand(self.text).word(binary.symbol())),
                },
                None => Err(ExpressionError::new(codes::BAD_EXPRESSION, "an expression cannot assign")
                    .help("`==` compares; a new column is the key before the expression: `column: expression`")
                    .word("=")),
            },
        }
    }

    fn unary(&self, operator: UnaryOperator, children: &[Node]) -> Result<Ast, ExpressionError> {
        let [operand] = children else { return Err(missing_operand(self.text)) };
        if operator == UnaryOperator::Negate && is_minimum_without_sign(operand) {
            return Ok(Ast::Literal(Literal::Integer(i64::MIN)));
        }
        Ok(match (operator, self.convert(operand)?) {
            (UnaryOperator::Negate, Ast::Literal(Literal::Integer(number))) if number != i64::MIN => {
                Ast::Literal(Literal::Integer(-number))
            }
            (UnaryOperator::Negate, Ast::Literal(Literal::Double(number))) => Ast::Literal(Literal::Double(-number)),
            (operator, operand) => Ast::Unary(operator, Box::new(operand)),
        })
    }

    fn name(&self, identifier: &str) -> Result<Ast, ExpressionError> {
        check_number(identifier)?;
        if identifier.eq_ignore_ascii_case("null") {
            return Ok(Ast::Literal(Literal::Null));
        }
        let error = |message: String| ExpressionError::new(codes::BAD_EXPRESSION, message).word(identifier);
        if identifier.starts_with('\'') || identifier.ends_with('\'') {
            return Err(error("text stands in double quotes".to_owned())
                .help(format!("write \"{}\"", identifier.trim_matches('\''))));
        }
        if identifier.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(error(format!("`{identifier}` is no number and no column")));
        }
        if let Some(open) = identifier.find('[') {
            let (list, index) = identifier.split_at(open);
            let index: i64 = index.trim_matches(['[', ']']).parse().unwrap_or(0);
            return Err(error("`[...]` is not part of the language".to_owned())
                .help(format!("write `element_at({list}, {})`: elements count from 1", index + 1)));
        }
        Ok(Ast::Name(identifier.to_owned()))
    }

    fn call(&self, name: &str, children: &[Node]) -> Result<Ast, ExpressionError> {
        check_number(name)?;
        if !self.is_called(name) {
            return Err(ExpressionError::new(codes::BAD_EXPRESSION, format!("an operator is missing after `{name}`"))
                .help(hint(self.text).unwrap_or_else(|| {
                    "text stands in double quotes; a function's arguments stand in `(...)`".to_owned()
                }))
                .word(name));
        }
        let arguments = match children {
            [Node { .. }] => self.arguments(&children[0])?,
            _ => Vec::new(),
        };
        Ok(Ast::Call(name.to_owned(), arguments))
    }

    /// evalexpr takes `a b` for a call of `a`; here a call has parentheses.
    fn is_called(&self, name: &str) -> bool {
        self.text
            .match_indices(name)
            .filter(|(at, _)| {
                // The end of a longer name is another name.
                let before = self.text.get(..*at).unwrap_or("");
                !before.ends_with(|c: char| c.is_alphanumeric() || c == '_')
            })
            .any(|(at, _)| self.text.get(at + name.len()..).is_some_and(|after| after.trim_start().starts_with('(')))
    }

    fn arguments(&self, node: &Node) -> Result<Vec<Ast>, ExpressionError> {
        match (node.operator(), node.children()) {
            (Operator::RootNode, []) => Ok(Vec::new()),
            (Operator::RootNode, [tuple]) if *tuple.operator() == Operator::Tuple => {
                tuple.children().iter().map(|child| self.convert(child)).collect()
            }
            _ => Ok(vec![self.convert(node)?]),
        }
    }
}

/// Refuses a number that [`mark_too_large`] has made a name of.
fn check_number(identifier: &str) -> Result<(), ExpressionError> {
    let Some(number) = identifier.strip_suffix(TOO_LARGE) else { return Ok(()) };
    Err(ExpressionError::new(codes::BAD_EXPRESSION, format!("`{number}` is too large for a long"))
        .help(format!("a long goes from {} to {}; `{number}.0` is a double", i64::MIN, i64::MAX))
        .word(number))
}

/// The smallest long has no positive counterpart, but is written as the negative of one.
fn is_minimum_without_sign(operand: &Node) -> bool {
    let Operator::VariableIdentifierRead { identifier } = operand.operator() else { return false };
    identifier.strip_suffix(TOO_LARGE).and_then(|number| number.parse().ok()) == Some(i64::MIN.unsigned_abs())
}

fn literal(value: &Value) -> Result<Ast, ExpressionError> {
    Ok(Ast::Literal(match value {
        Value::String(text) => Literal::String(text.clone()),
        Value::Float(number) if number.is_finite() => Literal::Double(*number),
        Value::Float(_) => {
            return Err(ExpressionError::new(codes::BAD_EXPRESSION, "a number is too large for a double")
                .help("`inf`, `infinity` and `nan` count as such: `rename` a column of that name"));
        }
        Value::Int(number) => Literal::Integer(*number),
        Value::Boolean(value) => Literal::Boolean(*value),
        Value::Empty => Literal::Null,
        Value::Tuple(_) => {
            return Err(ExpressionError::new(
                codes::BAD_EXPRESSION,
                "a list stands only as the argument of a function",
            ));
        }
    }))
}

fn binary_operator(operator: &Operator) -> Option<BinaryOperator> {
    Some(match operator {
        Operator::Add => BinaryOperator::Add,
        Operator::Sub => BinaryOperator::Subtract,
        Operator::Mul => BinaryOperator::Multiply,
        Operator::Div => BinaryOperator::Divide,
        Operator::Mod => BinaryOperator::Modulo,
        Operator::Exp => BinaryOperator::Power,
        Operator::Eq => BinaryOperator::Equal,
        Operator::Neq => BinaryOperator::NotEqual,
        Operator::Lt => BinaryOperator::Less,
        Operator::Leq => BinaryOperator::LessOrEqual,
        Operator::Gt => BinaryOperator::Greater,
        Operator::Geq => BinaryOperator::GreaterOrEqual,
        Operator::And => BinaryOperator::And,
        Operator::Or => BinaryOperator::Or,
        _ => return None,
    })
}
