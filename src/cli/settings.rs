//! Settings as text for people, read off the JSON Schema that editors use.

use serde_json::Value;

const WIDTH: usize = 100;

/// A JSON Schema with the definitions that its `$ref`s name.
#[derive(Clone, Copy)]
pub(super) struct Schema<'a>(pub(super) &'a Value);

impl<'a> Schema<'a> {
    /// What stands behind a reference or a wrapper around a single schema, and the name of the last reference.
    fn resolve(self, schema: &'a Value) -> (Option<&'a str>, &'a Value) {
        if let Some(path) = schema.get("$ref").and_then(Value::as_str) {
            let found = self.0.pointer(path.trim_start_matches('#')).unwrap_or(&Value::Null);
            let (name, found) = self.resolve(found);
            return (name.or_else(|| path.rsplit('/').next()), found);
        }
        match only(schema, "allOf").or_else(|| only(schema, "anyOf")) {
            Some(inner) => self.resolve(inner),
            None => (None, schema),
        }
    }

    /// The names of a kind's settings; none for one that is a single value.
    pub(super) fn names(self, kind: &'a Value) -> Vec<String> {
        let (_, kind) = self.resolve(kind);
        let needed = needed(kind);
        let mark = |name: &str| if needed.contains(&name) { " (required)" } else { "" };
        properties(kind).map(|(name, _)| format!("{name}{}", mark(name))).collect()
    }

    /// What a kind does and all of its settings, `indent` spaces from the left.
    pub(super) fn describe(self, kind: &'a Value, indent: usize, text: &mut String) {
        // Only one step down: `filter` has its own words for an expression.
        let wrapped = only(kind, "allOf").or_else(|| only(kind, "anyOf")).unwrap_or(kind);
        let path = wrapped.get("$ref").and_then(Value::as_str);
        let own = path.and_then(|path| self.0.pointer(path.trim_start_matches('#'))).unwrap_or(wrapped);
        if let Some(description) = own.get("description").and_then(Value::as_str) {
            wrap(description, indent, text);
        }
        let (_, target) = self.resolve(own);
        if target.get("properties").is_some() {
            text.push('\n');
            self.settings(target, indent, text);
        } else if target.get("additionalProperties") != Some(&Value::Bool(false)) {
            text.push('\n');
            line(&format!("value: {}", self.type_of(own)), indent, text);
        }
    }

    fn settings(self, of: &'a Value, indent: usize, text: &mut String) {
        let names = needed(of);
        for (name, setting) in properties(of) {
            self.setting(name, setting, names.contains(&name.as_str()), indent, text);
        }
        // A choice between settings, not between words.
        if of.get("properties").is_some() && of.get("oneOf").is_some() {
            let choices: Vec<String> = parts(of, "oneOf").into_iter().map(|it| needed(it).join(" and ")).collect();
            line(&format!("needed: {}", choices.join(", or ")), indent, text);
        }
    }

    /// One setting: its name, type and default, what it means, and the settings in it.
    pub(super) fn setting(self, name: &str, setting: &'a Value, required: bool, indent: usize, text: &mut String) {
        let default = setting.get("default").filter(|default| !default.is_null());
        let need = match default {
            _ if required => "required".to_owned(),
            Some(Value::String(default)) => format!("default `{default}`"),
            Some(default) => format!("default `{default}`"),
            None => "optional".to_owned(),
        };
        line(&format!("{name}: {}, {need}", self.type_of(setting)), indent, text);
        let (_, target) = self.resolve(setting);
        let description = setting.get("description").or_else(|| target.get("description"));
        if let Some(description) = description.and_then(Value::as_str) {
            wrap(description, indent + 4, text);
        }
        for choice in parts(target, "oneOf") {
            if let (Some(word), Some(meaning)) = (choice.get("const"), choice.get("description")) {
                let (word, meaning) = (word.as_str().unwrap_or_default(), meaning.as_str().unwrap_or_default());
                wrap(&format!("`{word}`: {meaning}"), indent + 4, text);
            }
        }
        self.settings(target, indent + 4, text);
    }

    fn type_of(self, schema: &'a Value) -> String {
        let (name, target) = self.resolve(schema);
        let words = words(target);
        if !words.is_empty() {
            return words.join(" | ");
        }
        let forms = parts(target, "anyOf");
        if !forms.is_empty() {
            return forms.into_iter().map(|form| self.type_of(form)).collect::<Vec<_>>().join(" or ");
        }
        let types: Vec<&str> = match target.get("type") {
            Some(Value::String(only)) => vec![only.as_str()],
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let types: Vec<&str> = types.into_iter().filter(|it| *it != "null").collect();
        match (name, types.as_slice()) {
            (_, []) => "any value".to_owned(),
            // A kind of text that has a name: a duration, a size, an expression.
            (Some(name), ["string", ..]) => name.to_lowercase(),
            (_, types) => types.iter().map(|it| self.simple(it, target)).collect::<Vec<_>>().join(" or "),
        }
    }

    fn simple(self, type_name: &str, schema: &'a Value) -> String {
        match type_name {
            "string" => "text".to_owned(),
            "boolean" => "true | false".to_owned(),
            "integer" => format!("whole number{}", range(schema)),
            "number" => format!("number{}", range(schema)),
            "array" => {
                schema.get("items").map_or_else(|| "list".to_owned(), |it| format!("list of {}", self.type_of(it)))
            }
            "object" => match schema.get("additionalProperties") {
                Some(values @ Value::Object(_)) => format!("mapping of names to {}", self.type_of(values)),
                _ => "mapping".to_owned(),
            },
            other => other.to_owned(),
        }
    }
}

/// The schemas under a key such as `anyOf`, without the one for nothing at all.
fn parts<'a>(schema: &'a Value, key: &str) -> Vec<&'a Value> {
    let parts = schema.get(key).and_then(Value::as_array).into_iter().flatten();
    parts.filter(|part| part.get("type").and_then(Value::as_str) != Some("null")).collect()
}

/// The schema under such a key if it is the only one.
fn only<'a>(schema: &'a Value, key: &str) -> Option<&'a Value> {
    let mut parts = parts(schema, key);
    let last = parts.pop()?;
    parts.is_empty().then_some(last)
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema.get("properties").and_then(Value::as_object).into_iter().flatten()
}

fn needed(schema: &Value) -> Vec<&str> {
    let names = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    names.filter_map(Value::as_str).collect()
}

/// The words that a value is one of, also those that may have settings (`format: json`).
fn words(schema: &Value) -> Vec<&str> {
    let mut words: Vec<&str> = Vec::new();
    for part in std::iter::once(schema).chain(parts(schema, "oneOf")) {
        let listed = part.get("enum").and_then(Value::as_array).into_iter().flatten();
        words.extend(listed.chain(part.get("const")).filter_map(Value::as_str));
        if !std::ptr::eq(part, schema) {
            words.extend(properties(part).map(|(name, _)| name.as_str()));
        }
    }
    let mut seen = std::collections::HashSet::new();
    words.retain(|word| seen.insert(*word));
    words
}

fn range(schema: &Value) -> String {
    match (schema.get("minimum"), schema.get("maximum")) {
        (Some(least), Some(most)) => format!(" from {least} to {most}"),
        (Some(least), None) => format!(" of at least {least}"),
        (None, Some(most)) => format!(" of at most {most}"),
        (None, None) => String::new(),
    }
}

fn line(content: &str, indent: usize, text: &mut String) {
    text.push_str(&format!("{}{content}\n", " ".repeat(indent)));
}

/// Breaks a description, whatever line breaks it has, into lines that fit.
fn wrap(description: &str, indent: usize, text: &mut String) {
    let mut current = String::new();
    for word in description.split_whitespace() {
        if !current.is_empty() && indent + current.chars().count() + 1 + word.chars().count() > WIDTH {
            line(&current, indent, text);
            current.clear();
        }
        if !current.is_empty() {
            current.push(' ');
        }
        current.push_str(word);
    }
    line(&current, indent, text);
}
