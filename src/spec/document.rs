//! A YAML text as a tree whose every part knows its place.
//!
//! One pass over the parser's events builds the tree and reports duplicate keys, YAML's traps and
//! what is too large. Scalars stay text until a typed reader asks for a number or a string (see
//! [`super::typed`]), so `no`, `1e3` and `007` are strings where a string belongs.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError};

use super::traps;
use crate::diagnostic::{Diagnostic, SourceFile, Span, codes};

/// Mappings and lists nest at most this deep.
const MAX_DEPTH: usize = 64;
/// A document has at most this many values after its aliases are filled in.
const MAX_NODES: usize = 200_000;

/// A value with its place.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it stands.
    pub span: Span,
    /// What it is.
    pub value: Value,
}

/// The three shapes of YAML.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text; a number, boolean or null when a reader asks for one.
    Scalar(Scalar),
    /// A list.
    Sequence(Vec<Node>),
    /// Keys and values, in order, keys unique.
    Mapping(Vec<Entry>),
}

/// A scalar's text after unquoting.
#[derive(Clone, Debug, PartialEq)]
pub struct Scalar {
    /// The text.
    pub text: String,
    /// Written without quotes (or filled in by `${...}`), so that it may be a number.
    pub plain: bool,
    /// Holds what came from outside the file: messages do not show it, it may be a secret.
    pub filled: bool,
}

/// One line of a mapping.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key's text.
    pub key: String,
    /// Where the key stands.
    pub key_span: Span,
    /// What it is set to.
    pub value: Node,
}

/// Equal content, wherever it stands: what a reload compares.
impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key && self.value == other.value
    }
}

impl Node {
    /// A plain scalar at a place.
    pub fn plain(text: impl Into<String>, span: Span) -> Self {
        Self { span, value: Value::Scalar(Scalar { text: text.into(), plain: true, filled: false }) }
    }

    /// An empty mapping at a place.
    #[must_use]
    pub fn empty(span: Span) -> Self {
        Self { span, value: Value::Mapping(Vec::new()) }
    }

    /// The entries of a mapping; none for anything else.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Mapping(entries) => entries,
            _ => &[],
        }
    }

    /// The entry of that key.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The value of that key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The items of a list; none for anything else.
    #[must_use]
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::Sequence(items) => items,
            _ => &[],
        }
    }

    /// The text of a scalar.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) => Some(&scalar.text),
            _ => None,
        }
    }

    /// Nothing, `~` or `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(Scalar { text, plain: true, .. })
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// The value at a path of keys and indices; the nearest one above where the path ends early.
    #[must_use]
    pub fn nearest(&self, path: &[&str]) -> &Node {
        let Some((first, rest)) = path.split_first() else { return self };
        let below = match &self.value {
            Value::Mapping(_) => self.get(first),
            Value::Sequence(items) => first.parse().ok().and_then(|index: usize| items.get(index)),
            Value::Scalar(_) => None,
        };
        below.map_or(self, |node| node.nearest(rest))
    }

    /// The value below for changing it: an item of a list, or a key's value, which is added with that
    /// place where a mapping has no such key.
    pub(super) fn below(&mut self, key: &str, span: Span) -> Option<&mut Node> {
        match &mut self.value {
            Value::Mapping(entries) => {
                let at = entries.iter().position(|entry| entry.key == key).unwrap_or_else(|| {
                    entries.push(Entry { key: key.to_owned(), key_span: span, value: Self::empty(span) });
                    entries.len() - 1
                });
                entries.get_mut(at).map(|entry| &mut entry.value)
            }
            Value::Sequence(items) => key.parse().ok().and_then(|at: usize| items.get_mut(at)),
            Value::Scalar(_) => None,
        }
    }

    /// Whether anything in it came from outside the file.
    #[must_use]
    pub fn is_filled_in(&self) -> bool {
        match &self.value {
            Value::Scalar(scalar) => scalar.filled,
            Value::Sequence(items) => items.iter().any(Self::is_filled_in),
            Value::Mapping(entries) => entries.iter().any(|entry| entry.value.is_filled_in()),
        }
    }

    /// What the value is, for messages.
    #[must_use]
    pub fn shape(&self) -> &'static str {
        match &self.value {
            _ if self.is_null() => "nothing",
            Value::Scalar(_) => "a single value",
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
        }
    }
}

/// The tree of a file, if it is YAML at all, and everything that is wrong with it as YAML.
pub fn read(file: &Arc<SourceFile>, findings: &mut Vec<Diagnostic>) -> Option<Node> {
    let parser = Parser::new_from_str(file.text());
    let mut reader = Reader { file, parser, cursor: Cursor::default(), anchors: HashMap::new(), nodes: 0, findings };
    match reader.document() {
        Ok(node) => Some(node),
        Err(Stop::Scan(error)) => {
            let finding = traps::explain_scan_error(file, &error);
            findings.push(finding);
            None
        }
        Err(Stop::Found(finding)) => {
            findings.push(*finding);
            None
        }
    }
}

enum Stop {
    Scan(ScanError),
    Found(Box<Diagnostic>),
}

impl From<ScanError> for Stop {
    fn from(error: ScanError) -> Self {
        Self::Scan(error)
    }
}

impl From<Diagnostic> for Stop {
    fn from(finding: Diagnostic) -> Self {
        Self::Found(Box::new(finding))
    }
}

struct Reader<'a, 'f> {
    file: &'a Arc<SourceFile>,
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    cursor: Cursor,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    findings: &'f mut Vec<Diagnostic>,
}

/// The place of the last event, from which the next one is not far: a file may be one long line.
#[derive(Default)]
pub(super) struct Cursor {
    line: usize,
    column: usize,
    byte: usize,
}

impl Cursor {
    /// The byte a parser's marker stands at: it counts lines and characters.
    pub(super) fn byte_of(&self, file: &SourceFile, marker: &Marker) -> usize {
        let line = file.line_range(marker.line());
        let ahead = self.line == marker.line() && self.column <= marker.col();
        let (column, byte) = if ahead { (self.column, self.byte) } else { (0, line.start) };
        let rest = file.text().get(byte..line.end).unwrap_or("");
        byte + rest.char_indices().nth(marker.col() - column).map_or(rest.len(), |(at, _)| at)
    }

    fn move_to(&mut self, file: &SourceFile, marker: &Marker) -> usize {
        let byte = self.byte_of(file, marker);
        *self = Self { line: marker.line(), column: marker.col(), byte };
        byte
    }
}

impl<'a> Reader<'a, '_> {
    fn document(&mut self) -> Result<Node, Stop> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::DocumentStart(_) if root.is_some() => {
                    let message = "the file holds more than one YAML document";
                    return Err(Diagnostic::new(codes::SEVERAL_DOCUMENTS, self.file, span, message)
                        .help("one file is one pipeline: move what follows `---` to a file of its own")
                        .into());
                }
                Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
                event => root = Some(self.node(event, span, 0)?),
            }
        }
        root.ok_or_else(|| {
            Diagnostic::about_file(codes::SEVERAL_DOCUMENTS, self.file, "the file is empty")
                .help("a pipeline needs `sources`, `transforms` and `sinks`")
                .into()
        })
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Stop> {
        match self.parser.next_event() {
            None => Ok((Event::StreamEnd, Span::default())),
            Some(result) => {
                let (event, span) = result?;
                let start = self.cursor.move_to(self.file, &span.start);
                Ok((event, Span::new(start, self.cursor.byte_of(self.file, &span.end))))
            }
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Stop> {
        self.nodes += 1;
        if depth > MAX_DEPTH {
            let message = format!("values nest deeper than {MAX_DEPTH} levels");
            return Err(Diagnostic::new(codes::FILE_TOO_LARGE, self.file, span, message).into());
        }
        if self.nodes > MAX_NODES {
            let message = format!("the file has more than {MAX_NODES} values once its aliases are filled in");
            return Err(Diagnostic::new(codes::FILE_TOO_LARGE, self.file, span, message).into());
        }
        let (node, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let mut plain = style == ScalarStyle::Plain;
                if let Some(tag) = tag {
                    if tag.is_yaml_core_schema() {
                        plain &= tag.suffix != "str";
                    } else {
                        self.findings.push(traps::tag(self.file, span, &tag.to_string()));
                    }
                }
                let value = Value::Scalar(Scalar { text: text.into_owned(), plain, filled: false });
                (Node { span, value }, anchor)
            }
            Event::SequenceStart(anchor, _) => (self.sequence(span, depth)?, anchor),
            Event::MappingStart(anchor, _) => (self.mapping(span, depth)?, anchor),
            Event::Alias(anchor) => {
                let Some(target) = self.anchors.get(&anchor) else {
                    return Err(traps::alias(self.file, span).into());
                };
                let node = Node { span, value: target.value.clone() };
                self.nodes += count(&node);
                if self.nodes > MAX_NODES {
                    let message = format!("the file has more than {MAX_NODES} values once its aliases are filled in");
                    return Err(Diagnostic::new(codes::FILE_TOO_LARGE, self.file, span, message).into());
                }
                return Ok(node);
            }
            _ => return Err(Diagnostic::new(codes::NOT_YAML, self.file, span, "a value is missing").into()),
        };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    /// From the start of a list or mapping to its end, without the white space that the parser has
    /// read past it.
    fn closed(&self, start: Span, end: Span) -> Span {
        let text = self.file.text().get(start.start..end.end).unwrap_or("");
        Span::new(start.start, start.start + text.trim_end().len())
    }

    fn sequence(&mut self, start: Span, depth: usize) -> Result<Node, Stop> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Node { span: self.closed(start, span), value: Value::Sequence(items) });
            }
            items.push(self.node(event, span, depth + 1)?);
        }
    }

    fn mapping(&mut self, start: Span, depth: usize) -> Result<Node, Stop> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut first_seen: HashMap<String, Span> = HashMap::new();
        let mut merges = Vec::new();
        let in_flow = self.file.text().as_bytes().get(start.start) == Some(&b'{');
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                merge(&mut entries, merges);
                let mut node = Node { span: self.closed(start, span), value: Value::Mapping(entries) };
                if in_flow {
                    traps::cut_values(self.file, &mut node, self.findings);
                }
                return Ok(node);
            }
            let key = self.node(event, span, depth + 1)?;
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            let Value::Scalar(Scalar { text, .. }) = key.value else {
                let message = format!("a key must be a single value, this is {}", key.shape());
                self.findings.push(
                    Diagnostic::new(codes::NOT_YAML, self.file, key.span, message)
                        .help("quote a value that holds `{` or `[`"),
                );
                continue;
            };
            if text == "<<" {
                merges.push(value);
            } else if let Some(first) = first_seen.get(&text) {
                let message = format!("the key `{text}` is there twice");
                self.findings.push(
                    Diagnostic::new(codes::DUPLICATE_KEY, self.file, key.span, message)
                        .related(*first, "first here")
                        .help("keep one of the two, or merge what they hold"),
                );
            } else {
                first_seen.insert(text.clone(), key.span);
                entries.push(Entry { key: text, key_span: key.span, value });
            }
        }
    }
}

/// `<<:` fills in the keys that the mapping does not have itself.
fn merge(entries: &mut Vec<Entry>, merges: Vec<Node>) {
    if merges.is_empty() {
        return;
    }
    let mut known: HashSet<String> = entries.iter().map(|entry| entry.key.clone()).collect();
    for node in merges {
        let sources = match node.value {
            Value::Sequence(items) => items,
            _ => vec![node],
        };
        for entry in sources.iter().flat_map(Node::entries) {
            if known.insert(entry.key.clone()) {
                entries.push(entry.clone());
            }
        }
    }
}

fn count(node: &Node) -> usize {
    1 + match &node.value {
        Value::Scalar(_) => 0,
        Value::Sequence(items) => items.iter().map(count).sum(),
        Value::Mapping(entries) => entries.iter().map(|entry| count(&entry.value)).sum(),
    }
}
