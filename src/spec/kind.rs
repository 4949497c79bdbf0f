//! A kind of source, step or sink in its room's list.

use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;

use super::document::Node;
use crate::diagnostic::{Diagnostic, SourceFile};

/// The settings of a kind, as they stand under its key.
pub trait Settings: DeserializeOwned + JsonSchema + Send + Sync + 'static {
    /// The key.
    const KIND: &'static str;
    /// What it does, in one line, for lists and editors.
    const SUMMARY: &'static str;
}

/// Reads the settings of a kind; what does not fit becomes findings.
pub type Read<T> = fn(&Node, &Arc<SourceFile>, &mut Vec<Diagnostic>) -> Option<Box<T>>;

/// One entry of a list of kinds; `T` is the room's trait for settings that were read.
pub struct Kind<T: ?Sized> {
    /// The key.
    pub name: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// The JSON Schema of its settings.
    pub schema: fn(&mut SchemaGenerator) -> Schema,
    /// Reads its settings; what does not fit becomes findings.
    pub read: Read<T>,
}

impl<T: ?Sized> std::fmt::Debug for Kind<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// The list of a room: `kinds![dyn Step; map::Map, filter::Filter]`.
macro_rules! kinds {
    (dyn $trait:ident; $($settings:ty),+ $(,)?) => {
        &[$(
            $crate::spec::kind::Kind {
                name: <$settings as $crate::spec::kind::Settings>::KIND,
                summary: <$settings as $crate::spec::kind::Settings>::SUMMARY,
                schema: |generator| generator.subschema_for::<$settings>(),
                read: |node, file, findings| {
                    $crate::spec::typed::read::<$settings>(node, file, findings)
                        .map(|settings| Box::new(settings) as Box<dyn $trait>)
                },
            }
        ),+]
    };
}
pub(crate) use kinds;
