//! `${env:NAME}`, `${file:/path}`, `${var:name}` inside scalar values, after parsing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::document::{Node, Scalar, Value};
use crate::diagnostic::{Diagnostic, SourceFile, Span, codes, suggest};

/// Where `${...}` looks things up. The one place where loading touches the world outside the file.
pub trait Environment {
    /// The environment variable of that name.
    fn variable(&self, name: &str) -> Option<String>;

    /// The text of a file.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn read_file(&self, path: &str) -> Result<String, String>;
}

/// The process's own environment; relative paths start at the folder of the pipeline file.
#[derive(Debug)]
pub struct ProcessEnvironment {
    folder: PathBuf,
    read: Mutex<Vec<PathBuf>>,
}

impl ProcessEnvironment {
    /// For a pipeline file in this folder.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, read: Mutex::default() }
    }

    /// The files that were asked for, also those that could not be read.
    #[must_use]
    pub fn files(self) -> Vec<PathBuf> {
        self.read.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Environment for ProcessEnvironment {
    fn variable(&self, name: &str) -> Option<String> {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
        std::env::var(name).ok()
    }

    fn read_file(&self, path: &str) -> Result<String, String> {
        let path = self.folder.join(path);
        let text = read_small_file(&path);
        self.read.lock().unwrap_or_else(PoisonError::into_inner).push(path);
        text
    }
}

/// A secret or schema is a short regular file; a device would never end.
fn read_small_file(path: &Path) -> Result<String, String> {
    const MAX_BYTES: u64 = 1 << 20;
    let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
    let too_large = || format!("it is no file of at most {MAX_BYTES} bytes");
    if !metadata.is_file() {
        return Err(too_large());
    }
    let bytes = super::read_at_most(path, MAX_BYTES).map_err(|error| error.to_string())?.ok_or_else(too_large)?;
    String::from_utf8(bytes).map_err(|_| "it is no UTF-8 text".to_owned())
}

/// Fills in every `${...}` of the document. `vars:` comes first and may not use itself.
pub fn fill_in(root: &mut Node, environment: &dyn Environment, file: &Arc<SourceFile>, findings: &mut Vec<Diagnostic>) {
    let mut variables = root.get("vars").cloned();
    let mut filler = Filler { environment, file, findings, variables: None, suggestions: suggest::Budget::default() };
    if let Some(variables) = &mut variables {
        filler.visit(variables);
    }
    filler.variables = variables.as_ref().map(by_name);
    let Value::Mapping(entries) = &mut root.value else { return };
    for entry in entries.iter_mut().filter(|entry| entry.key != "vars") {
        filler.visit(&mut entry.value);
    }
    if let (Some(entry), Some(filled)) = (entries.iter_mut().find(|entry| entry.key == "vars"), variables) {
        entry.value = filled;
    }
}

fn by_name(variables: &Node) -> BTreeMap<&str, &Node> {
    variables.entries().iter().map(|entry| (entry.key.as_str(), &entry.value)).collect()
}

struct Filler<'a, 'f> {
    environment: &'a dyn Environment,
    file: &'a Arc<SourceFile>,
    findings: &'f mut Vec<Diagnostic>,
    variables: Option<BTreeMap<&'a str, &'a Node>>,
    suggestions: suggest::Budget,
}

impl Filler<'_, '_> {
    fn visit(&mut self, node: &mut Node) {
        match &mut node.value {
            Value::Sequence(items) => items.iter_mut().for_each(|item| self.visit(item)),
            Value::Mapping(entries) => entries.iter_mut().for_each(|entry| self.visit(&mut entry.value)),
            Value::Scalar(scalar) if scalar.text.contains("${") => {
                match self.fill(&scalar.text, node.span) {
                    // What was filled in may be a number, also where quotes were needed around it.
                    Ok(text) => *scalar = Scalar { plain: scalar.plain || whole(&scalar.text), text, filled: true },
                    Err(found) => self.findings.extend(found),
                }
            }
            Value::Scalar(_) => {}
        }
    }

    /// The text with everything filled in, or all that is wrong with it.
    fn fill(&self, text: &str, span: Span) -> Result<String, Vec<Diagnostic>> {
        let mut filled = String::with_capacity(text.len());
        let mut found: Vec<Diagnostic> = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let (before, from) = rest.split_at(at);
            if let Some(escaped) = before.strip_suffix('$') {
                filled.push_str(escaped);
                filled.push_str("${");
                rest = &from[2..];
                continue;
            }
            filled.push_str(before);
            let Some(end) = from.find('}') else {
                found.push(
                    Diagnostic::new(codes::BAD_INTERPOLATION, self.file, span, "`${` is not closed by `}`")
                        .help("write `$${` for the characters `${` themselves"),
                );
                return Err(found);
            };
            match self.look_up(&from[2..end], span) {
                Ok(value) => filled.push_str(&value),
                // The same variable may be there twice.
                Err(finding) if found.iter().any(|it| it.message == finding.message) => {}
                Err(finding) => found.push(*finding),
            }
            rest = &from[end + 1..];
        }
        filled.push_str(rest);
        if found.is_empty() { Ok(filled) } else { Err(found) }
    }

    fn look_up(&self, reference: &str, span: Span) -> Result<String, Box<Diagnostic>> {
        let finding = |code, message: String| Box::new(Diagnostic::new(code, self.file, span, message));
        let (kind, rest) = reference.split_once(':').unwrap_or((reference, ""));
        match kind {
            "env" => {
                let (name, fallback) = rest.split_once(":-").map_or((rest, None), |(name, text)| (name, Some(text)));
                let (name, demand) = name.split_once(":?").map_or((name, None), |(name, text)| (name, Some(text)));
                match (self.environment.variable(name), fallback, demand) {
                    (Some(value), _, _) if !value.is_empty() => Ok(value),
                    (_, Some(fallback), _) => Ok(fallback.to_owned()),
                    (_, _, Some(demand)) => Err(Box::new(
                        finding(codes::UNKNOWN_VARIABLE, format!("`{name}` is needed: {demand}"))
                            .help(format!("set the environment variable `{name}`")),
                    )),
                    (Some(empty), None, None) => Ok(empty),
                    (None, None, None) => Err(Box::new(
                        finding(codes::UNKNOWN_VARIABLE, format!("the environment variable `{name}` is not set"))
                            .help(format!("set it, or give a default: `${{env:{name}:-default}}`")),
                    )),
                }
            }
            "file" => match self.environment.read_file(rest) {
                Ok(text) => Ok(text.trim_end_matches(['\n', '\r']).to_owned()),
                Err(reason) => {
                    Err(finding(codes::UNKNOWN_VARIABLE, format!("the file `{rest}` cannot be read: {reason}")))
                }
            },
            "var" => {
                let Some(variables) = &self.variables else {
                    return Err(Box::new(
                        finding(codes::UNKNOWN_VARIABLE, format!("there is no variable `{rest}`"))
                            .help(format!("add it at the top of the file: `vars: {{ {rest}: ... }}`")),
                    ));
                };
                match variables.get(rest).and_then(|value| value.text()) {
                    Some(text) => Ok(text.to_owned()),
                    None => {
                        let known: Vec<&str> = variables.keys().copied().collect();
                        Err(Box::new(
                            finding(codes::UNKNOWN_VARIABLE, format!("there is no variable `{rest}`"))
                                .maybe_help(self.suggestions.help(rest, &known)),
                        ))
                    }
                }
            }
            _ => Err(Box::new(
                finding(codes::BAD_INTERPOLATION, format!("`${{{reference}}}` is not understood"))
                    .help("write `${env:NAME}`, `${file:/path}` or `${var:name}`; `$${` is a literal `${`"),
            )),
        }
    }
}

/// Whether the scalar is one `${...}` and nothing else.
fn whole(text: &str) -> bool {
    text.starts_with("${") && text.find('}') == Some(text.len() - 1)
}
