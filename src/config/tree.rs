//! YAML as a tree in which every node knows its place.
//!
//! Serde stops at its first error. The text is therefore read once, without any expectation, into
//! this tree; whatever is expected of it is checked afterwards, so that all problems are found.
//! Only what is not YAML at all, or is built to exhaust memory, ends the reading.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Error, Location, NonFiniteFloatPolicy, Options, Spanned};

use crate::yaml;

/// More is not a configuration.
pub(super) const TEXT_BYTES_MAX: usize = 1 << 20;

const MESSAGE_CHARS_MAX: usize = 200;

/// Where something stands in the text, both counted from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Place {
    pub(super) const START: Self = Self { line: 1, column: 1 };

    fn of(location: Location) -> Self {
        let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX).max(1);
        Self {
            line: number(location.line()),
            column: number(location.column()),
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
    List(Vec<Node>),
    /// In the order of the text; a key may occur twice.
    Map(Vec<Entry>),
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_place: Place,
    pub(super) node: Node,
}

/// Why there is no tree.
#[derive(Debug)]
pub(super) struct NotYaml {
    pub(super) place: Place,
    pub(super) message: String,
}

/// The documents of a text; none if it holds nothing but comments.
pub(super) fn read(text: &str) -> Result<Vec<Node>, NotYaml> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(NotYaml {
            place: Place::START,
            message: "the file is larger than 1 MiB".to_owned(),
        });
    }
    serde_saphyr::from_multiple_with_options(text, options()).map_err(|error| NotYaml {
        place: error.location().map_or(Place::START, Place::of),
        message: message(&error),
    })
}

fn options() -> Options {
    serde_saphyr::options! {
        // Limits far above any configuration, and far below what an alias bomb wants.
        budget: serde_saphyr::budget! {
            max_depth: 32,
            flow_nesting_limit: 32,
            max_events: 200_000,
            max_nodes: 100_000,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_documents: 16,
            max_recorded_anchor_events: 100_000,
            max_total_scalar_bytes: 4 * TEXT_BYTES_MAX,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 20_000,
            max_replay_stack_depth: 8,
        },
        // For a map that is not a struct this policy hands out every entry, so that all duplicate
        // keys are seen here; `Error` would end the reading at the first one. (After a key that is a
        // number only the last of each is handed out; such a key is a problem of its own.)
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        // `yes` and `on` are words.
        strict_booleans: true,
        reject_unsupported_tags: true,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        with_snippet: false,
    }
}

fn message(error: &Error) -> String {
    let line = yaml::problem(error, "a configuration");
    line.chars()
        .take(MESSAGE_CHARS_MAX)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self {
            // Where it is written, not where an alias uses it: there it is mended.
            place: Place::of(spanned.defined),
            value: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any YAML")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(serde_json::Number::from_f64(value)
            .map_or_else(|| Value::Text(value.to_string()), Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = access.next_element()? {
            nodes.push(node);
        }
        Ok(Value::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = access.next_key::<Node>()? {
            let key_place = key.place;
            let key = match key.value {
                Value::Text(text) => text,
                Value::Null => "null".to_owned(),
                Value::Bool(value) => value.to_string(),
                Value::Number(number) => number.to_string(),
                Value::List(_) | Value::Map(_) => {
                    return Err(A::Error::custom("a key is a word, not a list or a map"));
                }
            };
            entries.push(Entry {
                key,
                key_place,
                node: access.next_value()?,
            });
        }
        Ok(Value::Map(entries))
    }
}
