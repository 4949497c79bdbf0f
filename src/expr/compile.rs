//! Types an expression against a schema and builds its DataFusion expression.

use datafusion::common::{Column as PlanColumn, DFSchema};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator, binary_expr, cast, lit, try_cast};
use datafusion::scalar::ScalarValue;

use super::ast::{Ast, BinaryOperator, Literal, UnaryOperator};
use super::function::{Accepts, Parameter};
use super::{ExpressionError, aggregates, functions, udf};
use crate::diagnostic::{codes, suggest};
use crate::schema::{ColumnType, Schema};

/// An expression with its type.
#[derive(Clone, Debug)]
pub struct Typed {
    /// For DataFusion; its Arrow type is the canonical one of `column_type`.
    pub expr: Expr,
    /// What it yields.
    pub column_type: ColumnType,
}

/// An expression over groups: a value over the keys and the results of aggregates.
#[derive(Clone, Debug)]
pub struct Grouped {
    /// Over the key columns and the aggregates' names.
    pub value: Typed,
    /// The aggregates it needs, under the names that `value` uses.
    pub aggregates: Vec<(String, Expr)>,
}

/// The column of that name, as an expression.
#[must_use]
pub fn column(name: &str) -> Expr {
    Expr::Column(PlanColumn::new_unqualified(name))
}

/// Compiles an expression over single rows of `schema`.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn compile_row(ast: &Ast, schema: &Schema) -> Result<Typed, ExpressionError> {
    Compiler::new(schema, None)?.compile(ast)
}

/// Compiles an expression over groups of rows of `schema`. `keys` are the key columns, which it
/// may use by name; all else must stand inside aggregates. `prefix` keeps the names of the
/// aggregates of several expressions apart.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn compile_grouped(ast: &Ast, schema: &Schema, keys: &Schema, prefix: &str) -> Result<Grouped, ExpressionError> {
    let mut compiler = Compiler::new(schema, Some(Group { keys, prefix, aggregates: Vec::new() }))?;
    let value = compiler.compile(ast)?;
    let aggregates = compiler.group.map(|group| group.aggregates).unwrap_or_default();
    Ok(Grouped { value, aggregates })
}

/// Brings `expr`, of the type `from`, to the type `to`; `None` where no value of the one is one of
/// the other.
#[must_use]
pub fn convert(expr: Expr, from: &ColumnType, to: &ColumnType) -> Option<Expr> {
    if from == to {
        return Some(expr);
    }
    let allowed = match (from, to) {
        (ColumnType::Null, _) => true,
        (from, to) if from.is_number() && to.is_number() => true,
        (ColumnType::Date, ColumnType::Timestamp) => true,
        _ => false,
    };
    allowed.then(|| cast(expr, to.to_arrow()))
}

/// The type that values of all these types can be brought to.
#[must_use]
pub fn common_type<'t>(types: impl IntoIterator<Item = &'t ColumnType>) -> Option<ColumnType> {
    types.into_iter().try_fold(ColumnType::Null, |common, next| match (common, next) {
        (ColumnType::Null, next) => Some(next.clone()),
        (common, ColumnType::Null) => Some(common),
        (common, next) if common == *next => Some(common),
        (common, next) if common.is_integer() && next.is_integer() => Some(ColumnType::Long),
        (common, next) if common.is_number() && next.is_number() => Some(ColumnType::Double),
        (ColumnType::Date, ColumnType::Timestamp) | (ColumnType::Timestamp, ColumnType::Date) => {
            Some(ColumnType::Timestamp)
        }
        _ => None,
    })
}

/// The literal NULL.
#[must_use]
pub fn null() -> Typed {
    typed_literal(&Literal::Null)
}

struct Group<'a> {
    keys: &'a Schema,
    prefix: &'a str,
    aggregates: Vec<(String, Expr)>,
}

struct Compiler<'a> {
    schema: &'a Schema,
    plan_schema: DFSchema,
    group: Option<Group<'a>>,
    in_aggregate: bool,
}

impl<'a> Compiler<'a> {
    fn new(schema: &'a Schema, group: Option<Group<'a>>) -> Result<Self, ExpressionError> {
        let mut all = schema.clone();
        if let Some(group) = &group {
            let derived = group.keys.columns.iter().filter(|key| schema.column(&key.name).is_none());
            all.columns.extend(derived.cloned());
        }
        let plan_schema = DFSchema::try_from(all.to_arrow()).map_err(|error| internal(&error))?;
        Ok(Self { schema, plan_schema, group, in_aggregate: false })
    }

    fn compile(&mut self, ast: &Ast) -> Result<Typed, ExpressionError> {
        match ast {
            Ast::Literal(literal) => Ok(typed_literal(literal)),
            Ast::Name(name) => self.name(name),
            Ast::Unary(operator, operand) => {
                let operand = self.compile(operand)?;
                unary(*operator, operand)
            }
            Ast::Binary(operator, left, right) => {
                let (left, right) = (self.compile(left)?, self.compile(right)?);
                self.binary(*operator, left, right)
            }
            Ast::Call(name, arguments) => self.call(name, arguments),
        }
    }

    fn name(&self, name: &str) -> Result<Typed, ExpressionError> {
        let visible = match &self.group {
            Some(group) if !self.in_aggregate => group.keys,
            _ => self.schema,
        };
        // The longest prefix that is a column; the rest are fields inside it.
        let ends = std::iter::once(name.len()).chain(name.rmatch_indices('.').map(|(at, _)| at));
        for end in ends {
            let Some(found) = name.get(..end).and_then(|prefix| visible.column(prefix)) else { continue };
            let mut typed = Typed { expr: column(&found.name), column_type: found.column_type.clone() };
            for field in name.get(end + 1..).into_iter().flat_map(|rest| rest.split('.')) {
                typed = get_field(typed, field).map_err(|error| error.word(name))?;
            }
            return Ok(typed);
        }
        let first = name.split('.').next().unwrap_or(name);
        if self.schema.column(first).is_some() {
            return Err(ExpressionError::new(
                codes::MISPLACED_AGGREGATE,
                format!("`{name}` is neither a key nor inside an aggregate"),
            )
            .help(format!(
                "say which of the group's values is meant: `first({name})`, `max({name})`, `collect_list({name})`"
            ))
            .word(name));
        }
        Err(ExpressionError::new(codes::UNKNOWN_COLUMN, format!("there is no column `{name}`"))
            .help(
                suggest::help(name, visible.names().collect::<Vec<_>>())
                    .unwrap_or_else(|| "there are no columns here".to_owned()),
            )
            .word(name))
    }

    fn binary(&self, operator: BinaryOperator, left: Typed, right: Typed) -> Result<Typed, ExpressionError> {
        match operator {
            BinaryOperator::And | BinaryOperator::Or => logical(operator, left, right),
            BinaryOperator::Add
            | BinaryOperator::Subtract
            | BinaryOperator::Multiply
            | BinaryOperator::Divide
            | BinaryOperator::Modulo
            | BinaryOperator::Power => self.arithmetic(operator, left, right),
            _ => comparison(operator, left, right),
        }
    }

    fn arithmetic(&self, operator: BinaryOperator, left: Typed, right: Typed) -> Result<Typed, ExpressionError> {
        let (from, to) = (left.column_type.clone(), right.column_type.clone());
        let text = |it: &ColumnType| matches!(it, ColumnType::String | ColumnType::Null);
        if operator == BinaryOperator::Add
            && text(&from)
            && text(&to)
            && (from, to) != (ColumnType::Null, ColumnType::Null)
        {
            let (left, right) = (as_type(left, &ColumnType::String)?, as_type(right, &ColumnType::String)?);
            let expr = binary_expr(left, Operator::StringConcat, right);
            return self.canonical(expr, ColumnType::String);
        }
        let common = common_type([&left.column_type, &right.column_type])
            .filter(|common| common.is_number() || *common == ColumnType::Null)
            .ok_or_else(|| mismatch(operator, &left.column_type, &right.column_type))?;
        if operator == BinaryOperator::Power {
            let (left, right) = (as_type(left, &ColumnType::Double)?, as_type(right, &ColumnType::Double)?);
            return self.canonical(udf::power(left, right), ColumnType::Double);
        }
        match common {
            ColumnType::Decimal(..) => self.decimal(operator, left, right),
            ColumnType::Float | ColumnType::Double => {
                let (left, right) = (as_type(left, &ColumnType::Double)?, as_type(right, &ColumnType::Double)?);
                let expr = match operator {
                    BinaryOperator::Add => binary_expr(left, Operator::Plus, right),
                    BinaryOperator::Subtract => binary_expr(left, Operator::Minus, right),
                    BinaryOperator::Multiply => binary_expr(left, Operator::Multiply, right),
                    BinaryOperator::Divide => udf::divide_double(left, right),
                    _ => udf::modulo_double(left, right),
                };
                Ok(Typed { expr, column_type: ColumnType::Double })
            }
            _ => {
                let (left, right) = (as_type(left, &ColumnType::Long)?, as_type(right, &ColumnType::Long)?);
                let expr = match operator {
                    BinaryOperator::Add => udf::checked_add(left, right),
                    BinaryOperator::Subtract => udf::checked_subtract(left, right),
                    BinaryOperator::Multiply => udf::checked_multiply(left, right),
                    BinaryOperator::Divide => udf::divide(left, right),
                    _ => udf::modulo(left, right),
                };
                Ok(Typed { expr, column_type: ColumnType::Long })
            }
        }
    }

    /// Two decimals of the same type; the result has the digits that DataFusion's rules give it.
    fn decimal(&self, operator: BinaryOperator, left: Typed, right: Typed) -> Result<Typed, ExpressionError> {
        let zero = lit(ScalarValue::Decimal128(Some(0), 1, 0));
        let (operator, divisor) = match operator {
            BinaryOperator::Add => (Operator::Plus, None),
            BinaryOperator::Subtract => (Operator::Minus, None),
            BinaryOperator::Multiply => (Operator::Multiply, None),
            BinaryOperator::Divide => (Operator::Divide, Some(zero)),
            _ => (Operator::Modulo, Some(zero)),
        };
        let decimal_type = right.column_type.to_arrow();
        let right = match divisor {
            // A division by zero has no result: NULL.
            Some(zero) => datafusion::functions::core::expr_fn::nullif(right.expr, cast(zero, decimal_type)),
            None => right.expr,
        };
        let expr = binary_expr(left.expr, operator, right);
        let data_type = expr.get_type(&self.plan_schema).map_err(|error| internal(&error))?;
        let column_type = ColumnType::from_arrow(&data_type).unwrap_or(ColumnType::Double);
        self.canonical(expr, column_type)
    }

    fn call(&mut self, name: &str, arguments: &[Ast]) -> Result<Typed, ExpressionError> {
        if let Some(aggregate) = aggregates::find(name) {
            return self.aggregate(aggregate, arguments);
        }
        let Some(function) = functions::find(name) else {
            let names = functions::all().map(|it| it.name).chain(aggregates::all().map(|it| it.name));
            let help = suggest::nearest(name, names).map_or_else(
                || "`streamrun list functions` shows all of them".to_owned(),
                |nearest| format!("did you mean `{nearest}`?"),
            );
            return Err(ExpressionError::new(codes::UNKNOWN_FUNCTION, format!("there is no function `{name}`"))
                .help(help)
                .word(name));
        };
        let (arguments, types) = self.arguments(name, function.parameters, arguments)?;
        self.canonical((function.build)(arguments), (function.returns)(&types)).map_err(|error| error.word(name))
    }

    fn aggregate(
        &mut self,
        aggregate: &'static super::function::Aggregate,
        arguments: &[Ast],
    ) -> Result<Typed, ExpressionError> {
        let name = aggregate.name;
        if self.group.is_none() || self.in_aggregate {
            let message = if self.in_aggregate {
                format!("`{name}()` stands inside another aggregate")
            } else {
                format!("`{name}()` is an aggregate, and rows are not grouped here")
            };
            return Err(ExpressionError::new(codes::MISPLACED_AGGREGATE, message)
                .help("aggregates stand in `reduce`, `reduce_by_key` and `group_by_key`")
                .word(name));
        }
        self.in_aggregate = true;
        let compiled = self.arguments(name, aggregate.parameters, arguments);
        self.in_aggregate = false;
        let (arguments, types) = compiled?;
        let expr = (aggregate.build)(arguments);
        let data_type = expr.get_type(&self.plan_schema).map_err(|error| unfit(&error).word(name))?;
        let column_type = (aggregate.returns)(&types);
        let Some(group) = &mut self.group else { return Err(internal(&"an aggregate without a group")) };
        let alias = match group.aggregates.iter().find(|(_, known)| *known == expr) {
            Some((alias, _)) => alias.clone(),
            None => {
                let alias = format!("{}.{}", group.prefix, group.aggregates.len());
                group.aggregates.push((alias.clone(), expr));
                alias
            }
        };
        let arrow = column_type.to_arrow();
        let expr = if data_type == arrow { column(&alias) } else { cast(column(&alias), arrow) };
        Ok(Typed { expr, column_type })
    }

    /// The arguments of a call, brought to what its parameters take, and their types after that.
    fn arguments(
        &mut self,
        function: &str,
        parameters: &[Parameter],
        arguments: &[Ast],
    ) -> Result<(Vec<Expr>, Vec<ColumnType>), ExpressionError> {
        let needed = parameters.iter().filter(|parameter| !parameter.optional).count();
        let repeats = parameters.last().is_some_and(|parameter| parameter.repeated);
        if arguments.len() < needed || (arguments.len() > parameters.len() && !repeats) {
            let given = arguments.len();
            let plural = if given == 1 { "" } else { "s" };
            return Err(ExpressionError::new(
                codes::WRONG_ARGUMENTS,
                format!("`{function}` is called with {given} argument{plural}"),
            )
            .help(format!("it is written `{}`", signature(function, parameters)))
            .word(function));
        }
        let mut compiled = Vec::with_capacity(arguments.len());
        let mut accepts = Vec::with_capacity(arguments.len());
        for (index, ast) in arguments.iter().enumerate() {
            let Some(parameter) = parameters.get(index).or(parameters.last()) else { continue };
            if let Accepts::Constant(check) = parameter.accepts {
                check_constant(function, parameter, ast, check)?;
            }
            compiled.push(self.compile(ast)?);
            accepts.push((parameter, parameter.accepts));
        }
        let shared = |accepts: Accepts| matches!(accepts, Accepts::Same | Accepts::Comparable);
        let together: Vec<&ColumnType> = compiled
            .iter()
            .zip(&accepts)
            .filter(|(_, (_, accepts))| shared(*accepts))
            .map(|(typed, _)| &typed.column_type)
            .collect();
        let common = common_type(together.iter().copied()).ok_or_else(|| {
            let types = together.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
            ExpressionError::new(codes::TYPE_MISMATCH, format!("`{function}` needs values of one type, not {types}"))
                .help("`to_string(x)`, `to_long(x)`, `to_double(x)` change a type")
                .word(function)
        })?;
        let mut exprs = Vec::with_capacity(compiled.len());
        let mut types = Vec::with_capacity(compiled.len());
        for (typed, (parameter, accepts)) in compiled.into_iter().zip(accepts) {
            let (expr, column_type) = accept(function, parameter, accepts, typed, &common)?;
            exprs.push(expr);
            types.push(column_type);
        }
        Ok((exprs, types))
    }

    /// Casts where DataFusion's type is not the canonical one.
    fn canonical(&self, expr: Expr, column_type: ColumnType) -> Result<Typed, ExpressionError> {
        let arrow = column_type.to_arrow();
        // Aggregates' results are not columns yet; their names cannot be looked up.
        match expr.get_type(&self.plan_schema) {
            Ok(data_type) if data_type == arrow => Ok(Typed { expr, column_type }),
            Ok(_) => Ok(Typed { expr: try_cast(expr, arrow), column_type }),
            Err(_) if self.group.is_some() && !self.in_aggregate => {
                Ok(Typed { expr: try_cast(expr, arrow), column_type })
            }
            Err(error) => Err(unfit(&error)),
        }
    }
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

fn accept(
    function: &str,
    parameter: &Parameter,
    accepts: Accepts,
    typed: Typed,
    common: &ColumnType,
) -> Result<(Expr, ColumnType), ExpressionError> {
    use ColumnType as T;
    let found = typed.column_type.clone();
    let wanted = match accepts {
        Accepts::Any => Some(found.clone()),
        Accepts::String | Accepts::Constant(_) => Some(T::String),
        Accepts::Boolean => Some(T::Boolean),
        Accepts::Integer => Some(T::Long).filter(|_| found.is_integer() || found == T::Null),
        Accepts::Number => Some(if found == T::Null { T::Double } else { found.clone() }).filter(T::is_number),
        Accepts::Double => Some(T::Double),
        Accepts::Comparable => Some(common.clone()).filter(T::is_ordered),
        Accepts::Same => Some(common.clone()),
        Accepts::Date => Some(T::Date),
        Accepts::Timestamp => Some(T::Timestamp),
        Accepts::List => Some(found.clone()).filter(|it| matches!(it, T::List(_) | T::Null)),
        Accepts::Map => Some(found.clone()).filter(|it| matches!(it, T::Map(..) | T::Null)),
        Accepts::Bytes => Some(found.clone()).filter(|it| matches!(it, T::String | T::Binary | T::Null)),
    };
    let converted = wanted.and_then(|wanted| Some((convert(typed.expr, &found, &wanted)?, wanted)));
    converted.ok_or_else(|| {
        let takes = match accepts {
            Accepts::Any | Accepts::Same => "a value",
            Accepts::String | Accepts::Constant(_) => "a string",
            Accepts::Boolean => "a boolean",
            Accepts::Integer => "a whole number",
            Accepts::Number | Accepts::Double => "a number",
            Accepts::Comparable => "a value that has an order",
            Accepts::Date => "a date",
            Accepts::Timestamp => "a timestamp or a date",
            Accepts::List => "a list",
            Accepts::Map => "a map",
            Accepts::Bytes => "a string or binary",
        };
        let message = format!("`{function}` takes {takes} as its `{}`, not {found}", parameter.name);
        ExpressionError::new(codes::WRONG_ARGUMENTS, message)
            .maybe_help(conversion_help(&found, accepts))
            .word(function)
    })
}

fn conversion_help(found: &ColumnType, accepts: Accepts) -> Option<&'static str> {
    match (found, accepts) {
        (ColumnType::String, Accepts::Integer) => Some("`to_long(x)` reads a number from text"),
        (ColumnType::String, Accepts::Number | Accepts::Double) => Some("`to_double(x)` reads a number from text"),
        (ColumnType::String, Accepts::Timestamp) => Some("`parse_timestamp(x)` reads a timestamp from text"),
        (ColumnType::String, Accepts::Date) => Some("`parse_date(x)` reads a date from text"),
        (_, Accepts::String) => Some("`to_string(x)` makes text of it"),
        _ => None,
    }
}

fn check_constant(
    function: &str,
    parameter: &Parameter,
    ast: &Ast,
    check: fn(&str) -> Result<(), String>,
) -> Result<(), ExpressionError> {
    let Ast::Literal(Literal::String(text)) = ast else {
        let message = format!("the `{}` of `{function}` must be a literal text", parameter.name);
        return Err(ExpressionError::new(codes::WRONG_ARGUMENTS, message)
            .help("write it in double quotes, so that it can be checked before anything runs")
            .word(function));
    };
    check(text).map_err(|reason| {
        // A regular expression's error draws a picture; its last line says what is wrong.
        let reason = reason.lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_owned();
        ExpressionError::new(
            codes::WRONG_ARGUMENTS,
            format!("the `{}` of `{function}` is not usable: {reason}", parameter.name),
        )
        .word(text)
    })
}

fn typed_literal(literal: &Literal) -> Typed {
    let (value, column_type) = match literal {
        Literal::Null => (ScalarValue::Null, ColumnType::Null),
        Literal::Boolean(value) => (ScalarValue::Boolean(Some(*value)), ColumnType::Boolean),
        Literal::Integer(value) => (ScalarValue::Int64(Some(*value)), ColumnType::Long),
        Literal::Double(value) => (ScalarValue::Float64(Some(*value)), ColumnType::Double),
        Literal::String(value) => (ScalarValue::Utf8View(Some(value.clone())), ColumnType::String),
    };
    Typed { expr: lit(value), column_type }
}

fn get_field(typed: Typed, field: &str) -> Result<Typed, ExpressionError> {
    if typed.column_type == ColumnType::Null {
        return Ok(typed);
    }
    let ColumnType::Struct(fields) = &typed.column_type else {
        return Err(ExpressionError::new(
            codes::UNKNOWN_COLUMN,
            format!("`{field}` cannot be a field: its parent is {}", typed.column_type),
        ));
    };
    let Some(found) = fields.iter().find(|column| column.name == field) else {
        return Err(ExpressionError::new(codes::UNKNOWN_COLUMN, format!("there is no field `{field}`"))
            .maybe_help(suggest::help(field, fields.iter().map(|column| column.name.as_str()).collect::<Vec<_>>())));
    };
    let column_type = found.column_type.clone();
    Ok(Typed { expr: datafusion::functions::core::expr_fn::get_field(typed.expr, field), column_type })
}

fn unary(operator: UnaryOperator, operand: Typed) -> Result<Typed, ExpressionError> {
    let Typed { expr, column_type } = operand;
    match operator {
        UnaryOperator::Not => {
            let expr = convert(expr, &column_type, &ColumnType::Boolean).ok_or_else(|| {
                ExpressionError::new(codes::TYPE_MISMATCH, format!("`!` needs a boolean, not {column_type}")).word("!")
            })?;
            Ok(Typed { expr: Expr::Not(Box::new(expr)), column_type: ColumnType::Boolean })
        }
        UnaryOperator::Negate if column_type.is_integer() => {
            let expr = as_type(Typed { expr, column_type }, &ColumnType::Long)?;
            Ok(Typed { expr: udf::negate(expr), column_type: ColumnType::Long })
        }
        UnaryOperator::Negate if column_type.is_number() || column_type == ColumnType::Null => {
            Ok(Typed { expr: Expr::Negative(Box::new(expr)), column_type })
        }
        UnaryOperator::Negate => {
            Err(ExpressionError::new(codes::TYPE_MISMATCH, format!("`-` needs a number, not {column_type}")).word("-"))
        }
    }
}

fn logical(operator: BinaryOperator, left: Typed, right: Typed) -> Result<Typed, ExpressionError> {
    let error = mismatch(operator, &left.column_type, &right.column_type);
    let boolean = |typed: Typed| convert(typed.expr, &typed.column_type, &ColumnType::Boolean);
    let (Some(left), Some(right)) = (boolean(left), boolean(right)) else { return Err(error) };
    let operator = if operator == BinaryOperator::And { Operator::And } else { Operator::Or };
    Ok(Typed { expr: binary_expr(left, operator, right), column_type: ColumnType::Boolean })
}

fn comparison(operator: BinaryOperator, left: Typed, right: Typed) -> Result<Typed, ExpressionError> {
    let (left, right) = (literal_in_time(left, &right.column_type)?, right);
    let right = literal_in_time(right, &left.column_type)?;
    let equality = matches!(operator, BinaryOperator::Equal | BinaryOperator::NotEqual);
    let common = common_type([&left.column_type, &right.column_type])
        .filter(|common| equality || common.is_ordered())
        .ok_or_else(|| mismatch(operator, &left.column_type, &right.column_type))?;
    let (left, right) = (as_type(left, &common)?, as_type(right, &common)?);
    let operator = match operator {
        BinaryOperator::Equal => Operator::Eq,
        BinaryOperator::NotEqual => Operator::NotEq,
        BinaryOperator::Less => Operator::Lt,
        BinaryOperator::LessOrEqual => Operator::LtEq,
        BinaryOperator::Greater => Operator::Gt,
        _ => Operator::GtEq,
    };
    Ok(Typed { expr: binary_expr(left, operator, right), column_type: ColumnType::Boolean })
}

/// A literal text beside a date or timestamp is one (`at > "2020-01-13"`).
fn literal_in_time(typed: Typed, other: &ColumnType) -> Result<Typed, ExpressionError> {
    let Expr::Literal(ScalarValue::Utf8View(Some(text)), _) = &typed.expr else { return Ok(typed) };
    if !matches!(other, ColumnType::Date | ColumnType::Timestamp) {
        return Ok(typed);
    }
    let column_type = if text.len() > 10 { ColumnType::Timestamp } else { ColumnType::Date };
    let array = ScalarValue::Utf8View(Some(text.clone())).cast_to(&column_type.to_arrow()).map_err(|_| {
        ExpressionError::new(codes::TYPE_MISMATCH, format!("`{text}` is no {other}"))
            .help("write it as `2020-01-13` or `2020-01-13T07:10:00Z`")
            .word(text)
    })?;
    Ok(Typed { expr: lit(array), column_type })
}

fn as_type(typed: Typed, to: &ColumnType) -> Result<Expr, ExpressionError> {
    convert(typed.expr, &typed.column_type, to)
        .ok_or_else(|| ExpressionError::new(codes::TYPE_MISMATCH, format!("{} is no {to}", typed.column_type)))
}

fn mismatch(operator: BinaryOperator, left: &ColumnType, right: &ColumnType) -> ExpressionError {
    let symbol = operator.symbol();
    let help = match (left, right) {
        (ColumnType::String, other) | (other, ColumnType::String) if other.is_number() => {
            "`to_string(x)` makes text of a number, `to_long(x)` and `to_double(x)` read one from text"
        }
        (ColumnType::Timestamp | ColumnType::Date, _) | (_, ColumnType::Timestamp | ColumnType::Date) => {
            "`add_seconds(t, n)` moves a time, `seconds_between(start, end)` subtracts two"
        }
        _ if matches!(operator, BinaryOperator::And | BinaryOperator::Or) => "both sides must be true or false",
        _ => "both sides need types that fit each other",
    };
    ExpressionError::new(codes::TYPE_MISMATCH, format!("`{symbol}` does not fit {left} and {right}"))
        .help(help)
        .word(symbol)
}

fn unfit(error: &datafusion::error::DataFusionError) -> ExpressionError {
    ExpressionError::new(codes::WRONG_ARGUMENTS, error.strip_backtrace().lines().next().unwrap_or_default().to_owned())
}

fn internal(error: &dyn std::fmt::Display) -> ExpressionError {
    ExpressionError::new(codes::BAD_EXPRESSION, format!("internal error, please report it: {error}"))
}

impl ExpressionError {
    fn maybe_help<S: Into<String>>(mut self, help: Option<S>) -> Self {
        self.help = help.map(Into::into).or(self.help);
        self
    }
}
