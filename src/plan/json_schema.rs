//! The JSON Schema of a pipeline file, from the types that read it.

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::spec::kind::Kind;
use crate::spec::{Head, OnError, Reload};
use crate::{sinks, sources, transforms};

/// The schema (draft 7, which YAML language servers understand).
#[must_use]
pub fn pipeline_schema() -> Value {
    let mut root = declared_schema();
    for part in ["definitions", "properties"] {
        if let Some(part) = root.get_mut(part) {
            allow_interpolation(part);
        }
    }
    root
}

/// The schema of the settings as the program declares them, without the `${...}` that may stand for any value.
#[must_use]
pub fn declared_schema() -> Value {
    let mut generator = SchemaSettings::draft07().into_generator();
    let on_error = json!({ "on_error": generator.subschema_for::<OnError>() });
    let name = json!({
        "name": { "type": "string", "description": "The step's name, for messages, metrics and state; its kind by default." },
        "on_error": generator.subschema_for::<OnError>(),
        "reload": generator.subschema_for::<Reload>()
    });
    let from = json!({ "from": { "type": "string", "description": "The stream or source to write; needed where there are several." } });
    let source = component(&mut generator, "A source: where rows come from.", sources::KINDS, &on_error);
    let step = component(&mut generator, "A step: what happens to rows.", transforms::KINDS, &name);
    let sink = component(&mut generator, "A sink: where rows go.", sinks::KINDS, &from);

    let mut root = generator.root_schema_for::<Head>().to_value();
    let transforms = json!({ "type": "array", "description": "The chain of steps; each reads the rows of the one before.", "items": { "$ref": "#/definitions/Step" } });
    if let Some(properties) = root.get_mut("properties").and_then(Value::as_object_mut) {
        let named = |what: &str, description: &str| json!({ "type": "object", "description": description, "minProperties": 1, "additionalProperties": { "$ref": format!("#/definitions/{what}") } });
        properties.insert("sources".to_owned(), named("Source", "Where rows come from: names with a source each."));
        properties.insert("transforms".to_owned(), transforms.clone());
        properties.insert(
            "streams".to_owned(),
            json!({
                "type": "object",
                "description": "The graph form: names with a chain each.",
                "minProperties": 1,
                "additionalProperties": {
                    "type": "object",
                    "properties": {
                        "from": { "type": "string", "description": "The source or stream that is read; needed where there are several sources." },
                        "transforms": transforms
                    },
                    "additionalProperties": false
                }
            }),
        );
        properties.insert("sinks".to_owned(), named("Sink", "Where rows go: names with a sink each."));
    }
    if let Some(root) = root.as_object_mut() {
        root.insert("title".to_owned(), json!("streamrun pipeline"));
        root.insert("required".to_owned(), json!(["sources", "sinks"]));
        root.insert("not".to_owned(), json!({ "required": ["transforms", "streams"] }));
        let definitions = root.entry("definitions").or_insert_with(|| json!({}));
        if let Some(definitions) = definitions.as_object_mut() {
            definitions.insert("Source".to_owned(), source);
            definitions.insert("Step".to_owned(), step);
            definitions.insert("Sink".to_owned(), sink);
        }
    }
    root
}

/// One kind as a key, and what may stand beside it.
fn component<T: ?Sized>(
    generator: &mut SchemaGenerator,
    description: &str,
    kinds: &[Kind<T>],
    beside: &Value,
) -> Value {
    let mut properties = Map::new();
    let mut without_settings = Vec::new();
    for kind in kinds {
        let schema = (kind.schema)(generator).to_value();
        // A description beside `$ref` is ignored in draft 7, so the reference is wrapped.
        let property = if needs_nothing(generator, &schema) {
            without_settings.push(kind.name);
            json!({ "description": kind.summary, "anyOf": [schema, { "type": "null" }] })
        } else {
            json!({ "description": kind.summary, "allOf": [schema] })
        };
        properties.insert(kind.name.to_owned(), property);
    }
    let one_of: Vec<Value> = kinds.iter().map(|kind| json!({ "required": [kind.name] })).collect();
    properties.extend(beside.as_object().cloned().unwrap_or_default());
    let mapping = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
        "oneOf": one_of
    });
    let mut forms = vec![mapping];
    if !without_settings.is_empty() {
        forms.push(json!({ "enum": without_settings }));
    }
    json!({ "description": description, "anyOf": forms })
}

/// Whether a kind may do with `{}`: then it may also have nothing behind it, or stand as its name alone.
fn needs_nothing(generator: &SchemaGenerator, schema: &Value) -> bool {
    let name = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next());
    let definition = name.and_then(|name| generator.definitions().get(name)).unwrap_or(schema);
    let limits = ["required", "minProperties", "oneOf"];
    definition.get("type").and_then(Value::as_str) == Some("object")
        && limits.iter().all(|limit| definition.get(limit).is_none())
}

/// Numbers and booleans may also be `${...}`.
fn allow_interpolation(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            object.values_mut().for_each(allow_interpolation);
            let is_value = |kind: &str| matches!(kind, "integer" | "number" | "boolean");
            let kinds = match object.get("type") {
                Some(Value::String(kind)) => is_value(kind),
                Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).any(is_value),
                _ => false,
            };
            if kinds {
                let description = object.remove("description");
                let default = object.remove("default");
                let own = Value::Object(std::mem::take(object));
                object.insert("anyOf".to_owned(), json!([own, { "type": "string", "pattern": "\\$\\{" }]));
                object.extend(description.map(|it| ("description".to_owned(), it)));
                object.extend(default.map(|it| ("default".to_owned(), it)));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(allow_interpolation),
        _ => {}
    }
}

/// The text that stands in `schemas/pipeline.schema.json`.
#[must_use]
pub fn pipeline_schema_text() -> String {
    let mut text = serde_json::to_string_pretty(&pipeline_schema()).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What stands for a kind that needs no settings.
    fn without_settings(definition: &str) -> (Vec<String>, Vec<String>) {
        let schema = declared_schema();
        let forms = schema["definitions"][definition]["anyOf"].as_array().unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let alone =
            forms.get(1).map_or_else(Vec::new, |form| form["enum"].as_array().unwrap().iter().map(text).collect());
        let kinds = forms[0]["properties"].as_object().unwrap().iter();
        let or_null = kinds.filter(|(_, property)| property["anyOf"][1]["type"] == "null");
        (alone, or_null.map(|(kind, _)| kind.clone()).collect())
    }

    #[test]
    fn a_kind_that_needs_no_settings_may_have_none() {
        let sinks = vec!["console".to_owned(), "discard".to_owned()];
        assert_eq!(without_settings("Sink"), (sinks.clone(), sinks));
        let steps = ["with_columns", "rename", "cast", "count", "distinct"].map(str::to_owned).to_vec();
        assert_eq!(without_settings("Step"), (steps.clone(), steps));
    }

    #[test]
    fn a_socket_is_a_client_or_a_server() {
        assert_eq!(without_settings("Source"), (Vec::new(), Vec::new()));
        assert!(declared_schema()["definitions"]["Socket"]["oneOf"].is_array());
    }

    #[test]
    fn only_the_published_schema_allows_interpolation_for_numbers() {
        let port = |schema: &Value| schema["definitions"]["Socket"]["properties"]["port"]["anyOf"].is_array();
        assert_eq!((port(&declared_schema()), port(&pipeline_schema())), (false, true));
    }
}
