//! The document as written: sections split into components, nothing resolved.

use std::collections::HashMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::document::{Entry, Node, Value};
use super::quantity::{Duration, Size};
use super::typed;
use crate::diagnostic::suggest::{self, Budget};
use crate::diagnostic::{Diagnostic, SourceFile, Span, codes};

/// The kinds a build knows, by section.
#[derive(Clone, Copy, Debug)]
pub struct Kinds<'a> {
    /// Source kinds.
    pub sources: &'a [&'static str],
    /// Step kinds.
    pub steps: &'a [&'static str],
    /// Sink kinds.
    pub sinks: &'a [&'static str],
}

/// What happens to a row that cannot be decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// The batch fails, and with it the run.
    #[default]
    Fail,
    /// The row is left out, counted and shown in the progress.
    Skip,
}

/// How the engine runs the pipeline.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Engine {
    /// How many threads work on a batch; the machine's cores by default.
    #[schemars(range(min = 1, max = 1024))]
    pub parallelism: Option<usize>,
    /// How much a receiver holds at most that no batch has taken yet; then it stops reading.
    pub receive_buffer: Size,
    /// How much memory the steps of a batch may take; then the batch fails instead of the machine.
    pub memory_limit: Option<Size>,
    /// How much memory the states of all steps may take together; half of the memory by default. At 80 % of
    /// it there is a warning, at all of it the pipeline stops after a complete batch.
    pub state_limit: Option<Size>,
    /// Slows receivers down to what the engine can process.
    pub backpressure: Backpressure,
    /// How batches are made up for that were missed while the pipeline did not run; with a checkpoint.
    pub catch_up: CatchUp,
}

impl Default for Engine {
    fn default() -> Self {
        Self {
            parallelism: None,
            receive_buffer: Size::from_bytes(64 << 20),
            memory_limit: None,
            state_limit: None,
            backpressure: Backpressure::default(),
            catch_up: CatchUp::default(),
        }
    }
}

/// The terms of the rate estimator (Spark's `PIDRateEstimator`).
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Backpressure {
    /// Whether the rate is limited at all (besides `max_rate`).
    pub enabled: bool,
    /// Weight of the difference between the last rate and the processing rate.
    pub proportional: f64,
    /// Weight of the rows that wait because of scheduling delay.
    pub integral: f64,
    /// Weight of the change of the difference.
    pub derivative: f64,
    /// Rows per second that a source may always have.
    pub min_rate: f64,
}

impl Default for Backpressure {
    fn default() -> Self {
        Self { enabled: true, proportional: 1.0, integral: 0.2, derivative: 0.0, min_rate: 100.0 }
    }
}

/// Where a pipeline keeps what it must know after a crash: how far its sources are, and the state of its
/// steps.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// A folder. The checkpoint is kept in a folder of it that has the pipeline's name.
    #[schemars(example = "./checkpoints")]
    pub path: String,
    /// Every so often, at the latest, the whole state of a step is written; in between, each batch writes
    /// what it has changed.
    #[serde(default = "default_checkpoint_interval")]
    #[schemars(default = "default_checkpoint_interval")]
    pub interval: Duration,
    /// How many batches before the last one are kept, to go back to when files are damaged.
    #[serde(default = "default_retain")]
    #[schemars(default = "default_retain")]
    pub retain: u64,
}

fn default_checkpoint_interval() -> Duration {
    Duration::from_millis(600_000)
}

fn default_retain() -> u64 {
    10
}

/// How often a row that comes in has an effect, also when the program crashes and starts again. Each one
/// is stronger than those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// Rows may be lost.
    AtMostOnce,
    /// No row is lost, some may come twice.
    AtLeastOnce,
    /// No row is lost, none comes twice.
    ExactlyOnce,
}

impl Delivery {
    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::AtMostOnce => "at most once",
            Self::AtLeastOnce => "at least once",
            Self::ExactlyOnce => "exactly once",
        }
    }
}

/// As a pipeline file writes it.
impl std::fmt::Display for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.words().replace(' ', "_"))
    }
}

/// What happens after a time in which the pipeline did not run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// The next batch takes everything that has come meanwhile.
    #[default]
    Merge,
    /// Every batch that was missed is run, one after the other, as Spark does.
    Each,
}

/// What a reload, or a start with a checkpoint, may do with a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Reload {
    /// What happens when the step keeps something else than before: another key, other aggregates,
    /// another window.
    pub on_state_change: OnStateChange,
}

/// What happens when a step keeps something else than before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnStateChange {
    /// The change is refused: the old version runs on, or the start fails.
    #[default]
    Refuse,
    /// The state begins anew. With a checkpoint the old one is kept there under a name of its own.
    Reset,
}

/// The keys of a pipeline file besides its components. The doc comments here are what an editor
/// shows.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The pipeline's name, for messages and state; the file's name by default.
    pub name: Option<String>,
    /// Every so often a batch is cut and processed.
    #[serde(default = "default_batch_interval")]
    #[schemars(default = "default_batch_interval")]
    pub batch_interval: Duration,
    /// Every so often a receiver cuts what it got into a block; a block is a partition of the
    /// batch. 200ms by default, or the batch interval where that is shorter.
    pub block_interval: Option<Duration>,
    /// What happens to rows that cannot be decoded; sources and steps may say otherwise.
    #[serde(default)]
    pub on_error: OnError,
    /// How the engine runs the pipeline.
    #[serde(default)]
    pub engine: Engine,
    /// Where it is kept how far the pipeline is. Without it every start is the first one.
    pub checkpoint: Option<Checkpoint>,
    /// What the pipeline claims: that rows have an effect so often, also when the program crashes and starts
    /// again. The claim is checked. By default the best that holds.
    pub delivery: Option<Delivery>,
    /// Values for `${var:name}`.
    #[serde(rename = "vars")]
    #[schemars(with = "Option<std::collections::BTreeMap<String, serde_json::Value>>")]
    pub(super) _vars: Option<IgnoredAny>,
    #[serde(rename = "sources")]
    #[schemars(skip)]
    pub(super) _sources: Option<IgnoredAny>,
    #[serde(rename = "transforms")]
    #[schemars(skip)]
    pub(super) _transforms: Option<IgnoredAny>,
    #[serde(rename = "streams")]
    #[schemars(skip)]
    pub(super) _streams: Option<IgnoredAny>,
    #[serde(rename = "sinks")]
    #[schemars(skip)]
    pub(super) _sinks: Option<IgnoredAny>,
}

fn default_batch_interval() -> Duration {
    Duration::from_millis(1_000)
}

/// A word with its place.
#[derive(Clone, Debug)]
pub struct Name {
    /// The word.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

/// A source, a step or a sink: a kind with its settings, and what stands beside the kind.
#[derive(Clone, Debug)]
pub struct Component {
    /// Its key in `sources` or `sinks`; a step's `name:`, or `<kind>`, `<kind>-2`, ...
    pub name: Name,
    /// The kind, one that the build knows.
    pub kind: Name,
    /// The value of the kind's key.
    pub settings: Node,
    /// Its own `on_error`, where that is allowed.
    pub on_error: Option<OnError>,
    /// What a sink reads.
    pub from: Option<Name>,
    /// What a reload may do with a step.
    pub reload: Reload,
    /// All of it, for comparing versions.
    pub node: Node,
}

impl Component {
    /// A component with nothing beside its kind.
    #[must_use]
    pub fn new(name: Name, kind: Name, settings: Node) -> Self {
        let node = settings.clone();
        Self { name, kind, settings, on_error: None, from: None, reload: Reload::default(), node }
    }
}

/// A chain of steps.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Its name; `None` for the one chain under `transforms`.
    pub name: Option<Name>,
    /// What it reads, if it says so.
    pub from: Option<Name>,
    /// In order.
    pub steps: Vec<Component>,
    /// Where it starts.
    pub span: Span,
}

/// A pipeline file, every key known, nothing resolved.
#[derive(Debug)]
pub struct Pipeline {
    /// The file.
    pub file: Arc<SourceFile>,
    /// The file's tree after `${...}` were filled in.
    pub document: Node,
    /// The keys besides the components.
    pub head: Head,
    /// In order.
    pub sources: Vec<Component>,
    /// The names of sources without a kind that is known: they are there, so to read them is no mistake.
    pub unusable_sources: Vec<Name>,
    /// In order; one without a name for the chain form.
    pub streams: Vec<Stream>,
    /// In order.
    pub sinks: Vec<Component>,
}

/// Splits a document into its components.
pub(super) fn split(
    root: Node,
    file: &Arc<SourceFile>,
    kinds: Kinds<'_>,
    findings: &mut Vec<Diagnostic>,
) -> Option<Pipeline> {
    if !matches!(root.value, Value::Mapping(_)) {
        let message = format!("a pipeline is a mapping, this is {}", root.shape());
        findings.push(Diagnostic::new(codes::WRONG_TYPE, file, root.span, message));
        return None;
    }
    let (head, mended) = typed::read_and_mend::<Head>(&root, file, findings);
    // What stands under a mistyped `sources:` is checked as well.
    let root = mended.unwrap_or(root);
    let mut splitter = Splitter { file, findings, unusable: Vec::new(), suggestions: Budget::default() };
    let sources = splitter.named(&root, "sources", "source", kinds.sources, &["on_error"]);
    let unusable_sources = std::mem::take(&mut splitter.unusable);
    let sinks = splitter.named(&root, "sinks", "sink", kinds.sinks, &["from"]);
    let streams = splitter.streams(&root, kinds.steps);
    Some(Pipeline { file: Arc::clone(file), document: root, head: head?, sources, unusable_sources, streams, sinks })
}

struct Splitter<'a> {
    file: &'a Arc<SourceFile>,
    findings: &'a mut Vec<Diagnostic>,
    /// The names of the components that came to nothing.
    unusable: Vec<Name>,
    suggestions: Budget,
}

impl Splitter<'_> {
    fn report(&mut self, finding: Diagnostic) {
        self.findings.push(finding);
    }

    /// The components of a section that maps names to them.
    fn named(
        &mut self,
        root: &Node,
        section: &str,
        what: &str,
        kinds: &[&'static str],
        beside: &[&str],
    ) -> Vec<Component> {
        let Some(node) = root.get(section) else {
            let message = format!("the key `{section}` is missing");
            let start = Span::new(root.span.start, root.span.start + 1);
            self.report(
                Diagnostic::new(codes::MISSING_KEY, self.file, start, message)
                    .help(format!("a pipeline needs at least one {what}")),
            );
            return Vec::new();
        };
        let entries = node.entries();
        if entries.is_empty() {
            let message = not_named(section, &format!("{what}s"), node);
            self.report(
                Diagnostic::new(codes::WRONG_TYPE, self.file, node.span, message)
                    .help(format!("write `{section}: {{ a_name: {{ {}: ... }} }}`", kinds.first().unwrap_or(&"kind"))),
            );
        }
        let mut components = Vec::new();
        for Entry { key, key_span, value } in entries {
            let name = Name { text: key.clone(), span: *key_span };
            self.check_name(&name, what);
            match self.component(Some(name.clone()), value, what, kinds, beside) {
                Some(component) => components.push(component),
                None => self.unusable.push(name),
            }
        }
        components
    }

    fn streams(&mut self, root: &Node, kinds: &[&'static str]) -> Vec<Stream> {
        let chain = root.entry("transforms");
        let Some(streams) = root.entry("streams") else {
            let span = chain.map_or(root.span, |entry| entry.key_span);
            let steps = chain.map_or_else(Vec::new, |entry| self.steps(&entry.value, kinds));
            return vec![Stream { name: None, from: None, steps, span }];
        };
        if let Some(chain) = chain {
            let message = "`transforms` and `streams` cannot stand side by side";
            self.report(
                Diagnostic::new(codes::CONFLICTING_KEYS, self.file, chain.key_span, message)
                    .related(streams.key_span, "the graph form")
                    .help("move the chain into `streams:` under a name of its own"),
            );
        }
        if streams.value.entries().is_empty() {
            let message = not_named("streams", "chains", &streams.value);
            self.report(Diagnostic::new(codes::WRONG_TYPE, self.file, streams.value.span, message));
        }
        streams.value.entries().iter().map(|entry| self.stream(entry, kinds)).collect()
    }

    fn stream(&mut self, entry: &Entry, kinds: &[&'static str]) -> Stream {
        let name = Name { text: entry.key.clone(), span: entry.key_span };
        self.check_name(&name, "stream");
        let mut stream = Stream { name: Some(name), from: None, steps: Vec::new(), span: entry.key_span };
        for Entry { key, key_span, value } in entry.value.entries() {
            match key.as_str() {
                "from" => stream.from = self.name_value(value),
                "transforms" => stream.steps = self.steps(value, kinds),
                _ => self.report(
                    Diagnostic::new(
                        codes::UNKNOWN_KEY,
                        self.file,
                        *key_span,
                        format!("the key `{key}` is not known here"),
                    )
                    .maybe_help(suggest::help(key, ["from", "transforms"])),
                ),
            }
        }
        stream
    }

    fn steps(&mut self, node: &Node, kinds: &[&'static str]) -> Vec<Component> {
        if !matches!(node.value, Value::Sequence(_)) && !node.is_null() {
            let message = format!("`transforms` is a list of steps, this is {}", node.shape());
            self.report(
                Diagnostic::new(codes::WRONG_TYPE, self.file, node.span, message).help("put `- ` before every step"),
            );
        }
        let mut steps: Vec<Component> = Vec::new();
        let mut taken: HashMap<String, Span> = HashMap::new();
        let mut numbers: HashMap<String, usize> = HashMap::new();
        for item in node.items() {
            let Some(mut step) = self.component(None, item, "step", kinds, &["name", "on_error", "reload"]) else {
                continue;
            };
            if step.name.text.is_empty() {
                step.name.text = free_name(&step.kind.text, &taken, &mut numbers);
            } else if let Some(first) = taken.get(&step.name.text) {
                let message = format!("two steps are named `{}`", step.name.text);
                let finding = Diagnostic::new(codes::DUPLICATE_NAME, self.file, step.name.span, message)
                    .related(*first, "first here");
                self.report(finding);
            }
            taken.entry(step.name.text.clone()).or_insert(step.name.span);
            steps.push(step);
        }
        steps
    }

    /// One component: exactly one key is its kind, the others may stand beside it.
    fn component(
        &mut self,
        name: Option<Name>,
        node: &Node,
        what: &str,
        kinds: &[&'static str],
        beside: &[&str],
    ) -> Option<Component> {
        // `- distinct` is `- distinct: {}`.
        if let Some(text) = node.text().filter(|_| !node.is_null()) {
            let entry = Entry { key: text.to_owned(), key_span: node.span, value: Node::empty(node.span) };
            let node = Node { span: node.span, value: Value::Mapping(vec![entry]) };
            return self.component(name, &node, what, kinds, beside);
        }
        let (others, kind_keys): (Vec<&Entry>, Vec<&Entry>) =
            node.entries().iter().partition(|entry| beside.contains(&entry.key.as_str()));
        let kind = self.kind(node, &kind_keys, what, kinds, beside)?;
        let name = name.unwrap_or(Name { text: String::new(), span: kind.key_span });
        let kind_name = Name { text: kind.key.clone(), span: kind.key_span };
        let mut component = Component::new(name, kind_name, kind.value.clone());
        component.node = node.clone();
        for entry in others {
            match entry.key.as_str() {
                "on_error" => component.on_error = typed::read(&entry.value, self.file, self.findings),
                "from" => component.from = self.name_value(&entry.value),
                "reload" => {
                    component.reload = typed::read(&entry.value, self.file, self.findings).unwrap_or_default();
                }
                _ => {
                    if let Some(name) = self.name_value(&entry.value) {
                        self.check_name(&name, what);
                        component.name = name;
                    }
                }
            }
        }
        Some(component)
    }

    /// The one key that is a kind; `None`, with findings, where there is none or more than one.
    fn kind<'e>(
        &mut self,
        node: &Node,
        keys: &[&'e Entry],
        what: &str,
        kinds: &[&'static str],
        beside: &[&str],
    ) -> Option<&'e Entry> {
        let known: Vec<&'e Entry> = keys.iter().copied().filter(|entry| kinds.contains(&entry.key.as_str())).collect();
        match (keys, known.as_slice()) {
            ([], _) => {
                let message = format!("a {what} names its kind, this is {}", node.shape());
                let help = format!("known {what}s: {}", kinds.join(", "));
                self.report(Diagnostic::new(codes::NO_KIND, self.file, node.span, message).help(help));
                None
            }
            (_, [first, second, ..]) => {
                let message = format!("this {what} has two kinds, `{}` and `{}`", first.key, second.key);
                self.report(
                    Diagnostic::new(codes::NO_KIND, self.file, second.key_span, message)
                        .related(first.key_span, "the first one")
                        .help(format!("one {what} has one kind: make two of it")),
                );
                None
            }
            (_, [kind]) => {
                for entry in keys.iter().filter(|entry| entry.key != kind.key) {
                    let message = format!("the key `{}` is not known here", entry.key);
                    let help = format!("a setting of `{0}` stands inside `{0}:`", kind.key);
                    self.report(Diagnostic::new(codes::UNKNOWN_KEY, self.file, entry.key_span, message).help(help));
                }
                Some(kind)
            }
            (_, []) => {
                let all: Vec<&str> = kinds.iter().copied().chain(beside.iter().copied()).collect();
                for entry in keys {
                    let message = format!("there is no {what} `{}`", entry.key);
                    let finding = Diagnostic::new(codes::UNKNOWN_KIND, self.file, entry.key_span, message);
                    let help = self.suggestions.help(&entry.key, &all);
                    self.report(finding.maybe_help(help));
                }
                None
            }
        }
    }

    fn name_value(&mut self, node: &Node) -> Option<Name> {
        let text = typed::read::<String>(node, self.file, self.findings)?;
        Some(Name { text, span: node.span })
    }

    fn check_name(&mut self, name: &Name, what: &str) {
        let fits = name.text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        if !fits {
            let message = format!("`{}` cannot be the name of a {what}", name.text);
            self.report(
                Diagnostic::new(codes::INVALID_VALUE, self.file, name.span, message)
                    .help("names start with a letter and hold letters, digits, `_` and `-`"),
            );
        }
    }
}

/// What is wrong with a section without a single name.
fn not_named(section: &str, what: &str, node: &Node) -> String {
    match node.value {
        Value::Mapping(_) => format!("`{section}` is empty"),
        _ => format!("`{section}` maps names to {what}, this is {}", node.shape()),
    }
}

/// `<kind>`, or the first of `<kind>-2`, `<kind>-3`, ... that no step before has. `numbers` remembers how far
/// each kind has come.
fn free_name(kind: &str, taken: &HashMap<String, Span>, numbers: &mut HashMap<String, usize>) -> String {
    let last = numbers.entry(kind.to_owned()).or_default();
    loop {
        *last += 1;
        let name = if *last == 1 { kind.to_owned() } else { format!("{kind}-{last}") };
        if !taken.contains_key(&name) {
            return name;
        }
    }
}
