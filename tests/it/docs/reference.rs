//! The reference of the configuration, made from its schema. `make deploy` writes it anew.

#![expect(clippy::indexing_slicing, reason = "a panic is how a test fails")]

use std::fmt::Write as _;

use serde_json::Value;

use super::{path, read};
use crate::support::daemon;

const PAGE: &str = "docs/configuration-reference.md";

const HEAD: &str = "# Configuration reference

Every key, as `pullproof config schema` has it; `pullproof config example` is the same as a file with comments. A key that is left out
has its default. What is `required` is so once the map around it is there. Durations are written `90s`, `10m`, `2h`, `7d` or `1h30m`; files
are named relative to the configuration.
";

struct Reference {
    schema: Value,
    rows: String,
}

impl Reference {
    /// A property's own schema: through what may be null, and by name.
    fn resolved<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let of_some = schema["anyOf"].as_array().and_then(|all| {
            let is_some = |one: &&Value| one["type"] != "null";
            all.iter().find(is_some)
        });
        let schema = of_some.unwrap_or(schema);
        match schema["$ref"]
            .as_str()
            .and_then(|name| name.strip_prefix("#/$defs/"))
        {
            Some(name) => &self.schema["$defs"][name],
            None => schema,
        }
    }

    fn write(&mut self, key: &str, property: &Value, is_required: bool) {
        let schema = self.resolved(property).clone();
        let items = schema
            .get("items")
            .map(|items| self.resolved(items).clone());
        let inner = items.clone().unwrap_or_else(|| schema.clone());
        let default = match property.get("default").or_else(|| schema.get("default")) {
            Some(value) if !value.is_null() => format!("`{}`", shown(value)),
            _ if is_required => "required".to_owned(),
            _ => String::new(),
        };
        let meaning = property["description"]
            .as_str()
            .or(schema["description"].as_str());
        let meaning = meaning
            .unwrap_or_default()
            .replace('\n', " ")
            .replace('|', "\\|");
        let list = if items.is_some() { "list of " } else { "" };
        let key = format!("{key}{}", if items.is_some() { "[]" } else { "" });
        writeln!(
            self.rows,
            "| `{key}` | {list}{} | {default} | {meaning} |",
            kind(&inner)
        )
        .unwrap();
        // What differs for a registry has the keys that all have.
        if ["registries[].gc", "registries[].verify"].contains(&&*key) {
            return;
        }
        self.children(&key, &inner);
    }

    fn children(&mut self, key: &str, schema: &Value) {
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let is_required = required.iter().any(|it| it == name);
            self.write(&format!("{key}.{name}"), property, is_required);
        }
    }
}

fn kind(schema: &Value) -> String {
    let words = schema["enum"].as_array().cloned().or_else(|| {
        let all = schema["oneOf"].as_array()?.iter();
        let words = all.map(|one| one.get("const").cloned());
        words.collect::<Option<Vec<Value>>>()
    });
    if let Some(words) = words {
        let words = words.iter().filter(|it| !it.is_null());
        let words: Vec<String> = words.map(|word| format!("`{}`", shown(word))).collect();
        return words.join(" ");
    }
    if schema["pattern"]
        .as_str()
        .is_some_and(|it| it.starts_with("^([0-9]+d)?"))
    {
        return "duration".to_owned();
    }
    let types = match &schema["type"] {
        Value::Array(all) => all
            .iter()
            .filter_map(Value::as_str)
            .find(|it| *it != "null"),
        one => one.as_str(),
    };
    match types {
        Some("object") => "map".to_owned(),
        Some(other) => other.to_owned(),
        None => String::new(),
    }
}

fn shown(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), ToOwned::to_owned)
}

fn reference() -> String {
    let home = tempfile::tempdir().unwrap();
    let schema = daemon::command(home.path())
        .args(["config", "schema"])
        .output()
        .unwrap();
    let schema: Value = serde_json::from_slice(&schema.stdout).unwrap();
    let mut page = HEAD.to_owned();
    for (name, property) in schema["properties"].as_object().unwrap() {
        let mut reference = Reference {
            schema: schema.clone(),
            rows: String::new(),
        };
        reference.write(name, property, false);
        write!(
            page,
            "\n## {name}\n\n| key | value | default | meaning |\n|---|---|---|---|\n{}",
            reference.rows
        )
        .unwrap();
    }
    page
}

#[test]
fn the_reference_of_the_configuration_is_its_schema() {
    let reference = reference();
    let writes = std::env::var_os("PULLPROOF_WRITE").is_some();
    if writes {
        std::fs::write(path(PAGE), &reference).unwrap();
    }
    assert!(
        read(PAGE) == reference,
        "{PAGE} is old: make deploy writes it anew"
    );
}
