//! Types an expression against a schema and builds its DataFusion expression.

use datafusion::common::{Column as PlanColumn, DFSchema};
use datafusion::logical_expr::{Expr, ExprSchemable, lit, try_cast};
use datafusion::scalar::ScalarValue;

use super::ast::{Ast, Literal};
use super::function::{Accepts, Parameter};
use super::partial::InParts;
use super::{ExpressionError, aggregates, functions, operators};
use crate::diagnostic::{codes, suggest};
use crate::schema::{ColumnType, Schema};

pub use super::function::signature;
pub use super::operators::{common_type, convert};

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

/// An expression over what is kept of groups: a value over the keys and the results of aggregates.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Over the key columns and the aggregates' names.
    pub value: Typed,
    /// The aggregates it needs. The name of each is its text in canonical form.
    pub aggregates: Vec<(String, InParts)>,
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
    let group = Group { keys, prefix, aggregates: Vec::new(), in_parts: None };
    let mut compiler = Compiler::new(schema, Some(group))?;
    let value = compiler.compile(ast)?;
    let aggregates = compiler.group.map(|group| group.aggregates).unwrap_or_default();
    Ok(Grouped { value, aggregates })
}

/// As [`compile_grouped`], for groups of which rows arrive bit by bit.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn compile_kept(ast: &Ast, schema: &Schema, keys: &Schema) -> Result<Kept, ExpressionError> {
    let group = Group { keys, prefix: "", aggregates: Vec::new(), in_parts: Some(Vec::new()) };
    let mut compiler = Compiler::new(schema, Some(group))?;
    let value = compiler.compile(ast)?;
    let aggregates = compiler.group.and_then(|group| group.in_parts).unwrap_or_default();
    Ok(Kept { value, aggregates })
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
    /// The aggregates bit by bit, where they are wanted that way.
    in_parts: Option<Vec<(String, InParts)>>,
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
                operators::unary(*operator, operand)
            }
            Ast::Binary(operator, left, right) => {
                let (left, right) = (self.compile(left)?, self.compile(right)?);
                operators::binary(*operator, left, right)
            }
            Ast::Call(name, arguments) => self.call(ast, name, arguments),
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
        let truth = ["true", "false"].into_iter().find(|truth| truth.eq_ignore_ascii_case(name));
        let help = match truth {
            Some(truth) => format!("write `{truth}`, in small letters"),
            None => suggest::help(name, visible.names().collect::<Vec<_>>())
                .unwrap_or_else(|| "there are no columns here".to_owned()),
        };
        let message = format!("there is no column `{name}`");
        Err(ExpressionError::new(codes::UNKNOWN_COLUMN, message).help(help).word(name))
    }

    fn call(&mut self, ast: &Ast, name: &str, arguments: &[Ast]) -> Result<Typed, ExpressionError> {
        if let Some(aggregate) = aggregates::find(name) {
            return self.aggregate(aggregate, arguments, ast);
        }
        let Some(function) = functions::find(name) else {
            return Err(ExpressionError::new(codes::UNKNOWN_FUNCTION, format!("there is no function `{name}`"))
                .help(functions::foreign::help(name))
                .word(name));
        };
        let (arguments, types) = self.arguments(name, function.parameters, arguments)?;
        self.canonical((function.build)(arguments), (function.returns)(&types)).map_err(|error| error.word(name))
    }

    fn aggregate(
        &mut self,
        aggregate: &'static super::function::Aggregate,
        arguments: &[Ast],
        ast: &Ast,
    ) -> Result<Typed, ExpressionError> {
        let name = aggregate.name;
        if self.group.is_none() || self.in_aggregate {
            let message = if self.in_aggregate {
                format!("`{name}()` stands inside another aggregate")
            } else {
                format!("`{name}()` is an aggregate, and rows are not grouped here")
            };
            return Err(ExpressionError::new(codes::MISPLACED_AGGREGATE, message)
                .help("aggregates stand in `reduce`, `reduce_by_key`, `group_by_key` and the steps with windows and state")
                .word(name));
        }
        self.in_aggregate = true;
        let compiled = self.arguments(name, aggregate.parameters, arguments);
        self.in_aggregate = false;
        let (arguments, types) = compiled?;
        if let Some(in_parts) = self.group.as_mut().and_then(|group| group.in_parts.as_mut()) {
            let text = ast.to_string();
            if !in_parts.iter().any(|(known, _)| *known == text) {
                in_parts.push((text.clone(), (aggregate.divide)(arguments, &types, &text)));
            }
            return Ok(Typed { expr: column(&text), column_type: (aggregate.returns)(&types) });
        }
        let expr = (aggregate.build)(arguments, &types);
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
        // A sum of decimals may not fit its type: it is NULL then.
        let expr = if data_type == arrow { column(&alias) } else { try_cast(column(&alias), arrow) };
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

fn unfit(error: &datafusion::error::DataFusionError) -> ExpressionError {
    ExpressionError::new(codes::WRONG_ARGUMENTS, error.strip_backtrace().lines().next().unwrap_or_default().to_owned())
}

fn internal(error: &dyn std::fmt::Display) -> ExpressionError {
    ExpressionError::new(codes::BAD_EXPRESSION, format!("internal error, please report it: {error}"))
}
