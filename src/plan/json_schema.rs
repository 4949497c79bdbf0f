//! The JSON Schema of a pipeline file, from the types that read it.

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::spec::kind::Kind;
use crate::spec::{Head, OnError};
use crate::{sinks, sources, transforms};

/// The schema (draft 7, which YAML language servers understand).
#[must_use]
pub fn pipeline_schema() -> Value {
    let mut generator = SchemaSettings::draft07().into_generator();
    let on_error = json!({ "on_error": generator.subschema_for::<OnError>() });
    let name = json!({
        "name": { "type": "string", "description": "The step's name, for messages, metrics and state; its kind by default." },
        "on_error": generator.subschema_for::<OnError>()
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
            for definition in definitions.values_mut() {
                allow_interpolation(definition);
            }
        }
        if let Some(properties) = root.get_mut("properties") {
            allow_interpolation(properties);
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
    for kind in kinds {
        let schema = (kind.schema)(generator);
        // A description beside `$ref` is ignored in draft 7, so the reference is wrapped.
        properties.insert(kind.name.to_owned(), json!({ "description": kind.summary, "allOf": [schema] }));
    }
    let one_of: Vec<Value> = kinds.iter().map(|kind| json!({ "required": [kind.name] })).collect();
    properties.extend(beside.as_object().cloned().unwrap_or_default());
    let without_settings: Vec<&str> = kinds
        .iter()
        .map(|kind| kind.name)
        .filter(|kind| matches!(*kind, "count" | "distinct" | "console" | "discard"))
        .collect();
    let mapping = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
        "oneOf": one_of
    });
    json!({ "description": description, "anyOf": [mapping, { "enum": without_settings }] })
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
