//! `join: {with: stream, key: user_id, how: left_outer}`: joins the rows of this batch with those
//! that the other stream has in the same batch (`DStream.join` and its outer forms).

use datafusion::common::JoinType;
use datafusion::error::{DataFusionError, Result};
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{CheckedStep, Key, StepCheck, StepSettings};
use crate::diagnostic::codes;
use crate::expr::compile::{Typed, column, common_type, convert};
use crate::schema::{Column, Schema};
use crate::spec::kind::Settings;

/// A join with another stream or source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// The other stream or source.
    with: String,
    /// What must be equal on both sides. NULL equals nothing.
    key: Key,
    /// Which rows without a partner are kept.
    #[serde(default)]
    how: How,
}

/// The kinds of join.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// Only pairs.
    #[default]
    Inner,
    /// All rows of this stream.
    LeftOuter,
    /// All rows of the other stream.
    RightOuter,
    /// All rows of both.
    FullOuter,
    /// The rows of this stream that have a partner, without its columns.
    LeftSemi,
    /// The rows of this stream that have no partner.
    LeftAnti,
}

impl How {
    fn join_type(self) -> JoinType {
        match self {
            Self::Inner => JoinType::Inner,
            Self::LeftOuter => JoinType::Left,
            Self::RightOuter => JoinType::Right,
            Self::FullOuter => JoinType::Full,
            Self::LeftSemi => JoinType::LeftSemi,
            Self::LeftAnti => JoinType::LeftAnti,
        }
    }

    fn has_right_columns(self) -> bool {
        !matches!(self, Self::LeftSemi | Self::LeftAnti)
    }
}

impl Settings for Join {
    const KIND: &'static str = "join";
    const SUMMARY: &'static str = "join with the rows of another stream by key";
}

impl StepSettings for Join {
    fn streams(&self, _: &[&str]) -> Vec<String> {
        vec![self.with.clone()]
    }

    fn check(self: Box<Self>, step: &mut StepCheck<'_, '_>) -> Option<CheckedStep> {
        let right = (step.stream)(&self.with)?;
        let keys = JoinKeys::check(step, &self.key, &right, &self.with)?;
        let mut columns = keys.columns.clone();
        let rest = |side: &Schema| -> Vec<Column> {
            side.columns.iter().filter(|it| !keys.columns.iter().any(|key| key.name == it.name)).cloned().collect()
        };
        let (left_rest, right_rest) =
            (rest(step.input), if self.how.has_right_columns() { rest(&right) } else { Vec::new() });
        columns.extend(left_rest.iter().chain(&right_rest).cloned());
        let before = step.check.findings.len();
        let known_wrong = step.check.is_known_wrong();
        if !step.unique(&["with"], &columns) {
            // With another key or `how`, the columns might be other ones.
            if known_wrong {
                step.check.findings.truncate(before);
            }
            return None;
        }
        let how = self.how;
        let lower = move |inputs: Vec<LogicalPlan>| {
            let (left, right) = keys.sides(inputs, &left_rest, &right_rest)?;
            let (left_keys, right_keys) = keys.names();
            let joined = left.join(right.build()?, how.join_type(), (left_keys, right_keys), None)?;
            let key_exprs = keys.columns.iter().enumerate().map(|(index, key)| {
                let (left, right) = (column(&left_name(index)), column(&right_name(index)));
                let value = match how {
                    How::RightOuter => right,
                    How::FullOuter => coalesce(vec![left, right]),
                    _ => left,
                };
                value.alias(&key.name)
            });
            let others = left_rest.iter().chain(&right_rest).map(|it| column(&it.name));
            joined.project(key_exprs.chain(others).collect::<Vec<_>>())?.build()
        };
        Some(CheckedStep::relational(Schema::new(columns), lower))
    }
}

/// The key of a join or cogroup, typed on both sides and brought to common types.
pub(super) struct JoinKeys {
    /// Names and common types.
    pub(super) columns: Vec<Column>,
    left: Vec<Expr>,
    right: Vec<Expr>,
}

/// The name of a key inside the join, on the left.
pub(super) fn left_name(index: usize) -> String {
    format!("left key {index}")
}

/// The name of a key inside the join, on the right.
pub(super) fn right_name(index: usize) -> String {
    format!("right key {index}")
}

impl JoinKeys {
    pub(super) fn check(step: &mut StepCheck<'_, '_>, key: &Key, right: &Schema, with: &str) -> Option<Self> {
        let left = key.check(step, &["key"]);
        let before = step.check.findings.len();
        let mut other = StepCheck { check: &mut *step.check, input: right, ..*step };
        let right = key.check(&mut other, &["key"]);
        for finding in step.check.findings.iter_mut().skip(before) {
            finding.message = format!("in `{with}`: {}", finding.message);
        }
        let mut keys = Self { columns: Vec::new(), left: Vec::new(), right: Vec::new() };
        for ((name, left), (_, right)) in left.into_iter().zip(right) {
            let Some(common) = common_type([&left.column_type, &right.column_type]) else {
                let message = format!("`{name}` is {} here and {} in `{with}`", left.column_type, right.column_type);
                let help = "bring both to one type with `cast`".to_owned();
                step.check.report(codes::SCHEMA_MISMATCH, &["key"], message, Some(help));
                return None;
            };
            let as_common = |typed: Typed| convert(typed.expr, &typed.column_type, &common);
            keys.left.push(as_common(left)?);
            keys.right.push(as_common(right)?);
            keys.columns.push(Column::new(name, common));
        }
        Some(keys)
    }

    /// Both inputs with the keys under names of their own, and the columns that are kept.
    pub(super) fn sides(
        &self,
        inputs: Vec<LogicalPlan>,
        left_rest: &[Column],
        right_rest: &[Column],
    ) -> Result<(LogicalPlanBuilder, LogicalPlanBuilder)> {
        let mut inputs = inputs.into_iter();
        let (Some(left), Some(right)) = (inputs.next(), inputs.next()) else {
            return Err(DataFusionError::Internal("a join without two inputs".to_owned()));
        };
        let side = |plan: LogicalPlan, keys: &[Expr], name: fn(usize) -> String, rest: &[Column]| {
            let keys = keys.iter().enumerate().map(|(index, key)| key.clone().alias(name(index)));
            let rest = rest.iter().map(|it| column(&it.name));
            LogicalPlanBuilder::from(plan).project(keys.chain(rest).collect::<Vec<_>>())
        };
        Ok((side(left, &self.left, left_name, left_rest)?, side(right, &self.right, right_name, right_rest)?))
    }

    /// The names of the keys on both sides.
    pub(super) fn names(&self) -> (Vec<datafusion::common::Column>, Vec<datafusion::common::Column>) {
        let name = |name: fn(usize) -> String| {
            (0..self.columns.len()).map(|index| datafusion::common::Column::new_unqualified(name(index))).collect()
        };
        (name(left_name), name(right_name))
    }
}
