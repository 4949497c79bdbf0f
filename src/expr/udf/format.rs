//! `format`: a template whose `{}` are replaced by values.

use arrow::array::{Array, StringViewBuilder};
use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, Expr};

use super::text::texts;
use super::{Kernel, call, column, literal_text, udf};

/// What is wrong with a template, if anything.
///
/// # Errors
///
/// Says which brace has no partner.
pub fn check_template(template: &str) -> Result<(), String> {
    parse(template).map(|_| ())
}

/// The template, then the values of its `{}`, in order.
#[must_use]
pub fn format(arguments: Vec<Expr>) -> Expr {
    let parts = arguments.first().and_then(literal_text).and_then(|template| parse(template).ok());
    call(&udf(Format { parts }), arguments)
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Part {
    Text(String),
    Value,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Format {
    /// `None` where the argument is no constant, which the caller does not allow.
    parts: Option<Vec<Part>>,
}

fn parse(template: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut characters = template.chars();
    while let Some(character) = characters.next() {
        match character {
            '{' => match characters.next() {
                Some('{') => text.push('{'),
                Some('}') => {
                    if !text.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut text)));
                    }
                    parts.push(Part::Value);
                }
                _ => return Err("`{` must be followed by `}` (a value) or `{` (the brace itself)".to_owned()),
            },
            '}' if characters.next() != Some('}') => {
                return Err("`}` must follow `{` (a value) or be doubled (the brace itself)".to_owned());
            }
            other => text.push(other),
        }
    }
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
    Ok(parts)
}

impl Kernel for Format {
    fn name(&self) -> &'static str {
        "format"
    }

    fn returns(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn evaluate(&self, arguments: &[ColumnarValue]) -> Result<ColumnarValue> {
        let Some(parts) = &self.parts else {
            return Err(DataFusionError::Plan("the template of format must be a constant".to_owned()));
        };
        let arrays = ColumnarValue::values_to_arrays(arguments)?;
        let rows = arrays.first().map_or(0, |array| array.len());
        let values = arrays.iter().skip(1).map(texts).collect::<Result<Vec<_>>>()?;
        let mut lines = StringViewBuilder::with_capacity(rows);
        let mut line = String::new();
        for row in 0..rows {
            line.clear();
            let mut values = values.iter();
            for part in parts {
                match part {
                    Part::Text(text) => line.push_str(text),
                    Part::Value => {
                        if let Some(value) = values.next().filter(|value| value.is_valid(row)) {
                            line.push_str(value.value(row));
                        }
                    }
                }
            }
            lines.append_value(&line);
        }
        Ok(column(lines.finish()))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array};

    use super::super::testing::{evaluate, text, texts};
    use super::*;

    fn run(template: &str, values: Vec<ColumnarValue>) -> Vec<String> {
        let kernel = Format { parts: parse(template).ok() };
        let mut arguments = vec![text(template)];
        arguments.extend(values);
        evaluate(&kernel, &arguments).as_string_view().iter().map(|line| line.unwrap().to_owned()).collect()
    }

    #[test]
    fn values_in_order() {
        let words = texts(&[Some("a"), None]);
        let numbers = column(Int64Array::from(vec![1, 2]));
        assert_eq!(run("{}={};", vec![words.clone(), numbers]), ["a=1;", "=2;"]);
        assert_eq!(run("{{{}}} {}", vec![words]), ["{a} ", "{} "]);
        assert_eq!(run("nothing", vec![]), ["nothing"]);
    }

    #[test]
    fn lonely_braces() {
        assert!(check_template("{").is_err());
        assert!(check_template("{x}").is_err());
        assert!(check_template("}").is_err());
        assert_eq!(check_template("{} {{}}"), Ok(()));
    }
}
