//! The tree against the schema: unknown and repeated keys, wrong types, numbers out of range.
//!
//! The schema comes from the types of `raw`, so keys are listed once. What is left of the tree is
//! JSON that those types accept; what was refused is left out of it, and lists keep their length, so
//! that the paths of later problems stay right.

use serde_json::{Map, Value as Json};

use crate::oci::reference::shown;

use super::later;
use super::problem::{Report, is_secret};
use super::suggest::nearest;
use super::tree::{Entry, Node, Value};
use super::wanted::Wanted;

/// Checks a document and gives what is good of it.
pub(super) fn decode(root: &Node, schema: &Json, report: &mut Report<'_>) -> Json {
    let mut decoder = Decoder { schema, report };
    decoder.report.place("", root.place);
    if matches!(root.value, Value::Null) {
        return Json::Object(Map::new());
    }
    decoder
        .node(root, schema, "")
        .unwrap_or_else(|| Json::Object(Map::new()))
}

struct Decoder<'a, 'text> {
    schema: &'a Json,
    report: &'a mut Report<'text>,
}

impl Decoder<'_, '_> {
    fn node(&mut self, node: &Node, schema: &Json, path: &str) -> Option<Json> {
        self.report.place(path, node.place);
        let root = self.schema;
        let wanted = Wanted::of(root, schema);
        match (&wanted, &node.value) {
            (Wanted::Map { keys, required }, Value::Map(entries)) => {
                Some(self.map(node, keys, required, entries, path))
            }
            (Wanted::List(items), Value::List(nodes)) => {
                let list = nodes.iter().enumerate().map(|(index, item)| {
                    let good = self.node(item, items, &format!("{path}[{index}]"));
                    good.unwrap_or_else(|| Wanted::of(root, items).placeholder())
                });
                Some(Json::Array(list.collect()))
            }
            (Wanted::Bool, Value::Bool(value)) => Some(Json::Bool(*value)),
            (Wanted::Number { .. }, Value::Number(number)) if wanted.admits(number) => {
                Some(Json::Number(number.clone()))
            }
            (Wanted::Text { .. }, Value::Text(text)) => Some(Json::String(text.clone())),
            (Wanted::Word(words), Value::Text(text)) if words.contains(&text.as_str()) => {
                Some(Json::String(text.clone()))
            }
            (_, value) => {
                let message = format!("expected {wanted}, found {}", found(value, &wanted));
                self.report.refuse(path, message);
                None
            }
        }
    }

    fn map(
        &mut self,
        node: &Node,
        keys: &Map<String, Json>,
        required: &[&str],
        entries: &[Entry],
        path: &str,
    ) -> Json {
        let mut good = Map::new();
        let mut seen: Vec<(&str, usize)> = Vec::new();
        for Entry {
            key,
            key_place,
            node,
        } in entries
        {
            let key_path = join(path, &shown(key));
            if let Some((_, line)) = seen.iter().find(|(name, _)| name == key) {
                let message = format!("`{}` is already written in line {line}", shown(key));
                self.report.add_at(*key_place, &key_path, message);
                continue;
            }
            seen.push((key, key_place.line));
            match keys.get(key) {
                // A key without a value is a key that is not written: charts leave them behind.
                Some(_) if matches!(node.value, Value::Null) => {}
                Some(schema) => {
                    if let Some(value) = self.node(node, schema, &key_path) {
                        good.insert(key.clone(), value);
                    }
                }
                None => {
                    let message = unknown(path, key, keys);
                    self.report.add_at(*key_place, &key_path, message);
                }
            }
        }
        for key in required {
            let is_written =
                |entry: &Entry| entry.key == **key && !matches!(entry.node.value, Value::Null);
            let key_path = join(path, key);
            if !entries.iter().any(is_written) && !self.report.has(&key_path) {
                self.report
                    .add_at(node.place, &key_path, format!("`{key}` is missing"));
            }
        }
        Json::Object(good)
    }
}

/// The path of a key in a map.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

fn unknown(path: &str, key: &str, keys: &Map<String, Json>) -> String {
    if later::has_key(path, key) {
        return format!(
            "`{key}` is known, but this version does not have it yet: it would have no effect; \
             take it out"
        );
    }
    if let Some(nearest) = nearest(key, keys.keys()) {
        return format!("unknown key `{}`; did you mean `{nearest}`?", shown(key));
    }
    if is_secret(key) || key.eq_ignore_ascii_case("username") {
        return format!(
            "`{}` would be a secret written inline; secrets are only read from files that the \
             configuration names, as `credentials: {{dockerConfig: {{file: FILE}}}}`",
            shown(key)
        );
    }
    let keys: Vec<&str> = keys.keys().map(String::as_str).collect();
    let keys = keys.join(", ");
    format!("unknown key `{}`; known here: {keys}", shown(key))
}

/// Text is only quoted where text is expected: elsewhere it may be a secret in the wrong place.
fn found(value: &Value, wanted: &Wanted<'_>) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(value) => format!("`{value}`"),
        Value::Number(number) => format!("the number {number}"),
        Value::Text(text) => match wanted {
            Wanted::Map { .. } | Wanted::List(_) => "text".to_owned(),
            Wanted::Bool | Wanted::Number { .. } | Wanted::Text { .. } | Wanted::Word(_) => {
                super::problem::quoted(text)
            }
        },
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a map".to_owned(),
    }
}
