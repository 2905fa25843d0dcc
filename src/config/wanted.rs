//! What our schema wants of a value: the few shapes that it is made of.

use std::fmt;

use serde_json::{Map, Value as Json};

/// What a schema wants.
pub(super) enum Wanted<'a> {
    Map {
        keys: &'a Map<String, Json>,
        required: Vec<&'a str>,
    },
    List(&'a Json),
    Bool,
    Number {
        is_whole: bool,
        least: Option<f64>,
        above: Option<f64>,
        most: Option<f64>,
    },
    Text {
        example: Option<&'a str>,
    },
    Word(Vec<&'a str>),
}

impl<'a> Wanted<'a> {
    pub(super) fn of(root: &'a Json, schema: &'a Json) -> Self {
        let schema = resolved(root, schema);
        let number = |key| schema.get(key).and_then(Json::as_f64);
        match kind(schema) {
            "object" => Self::Map {
                keys: schema
                    .get("properties")
                    .and_then(Json::as_object)
                    .expect("our schema names the keys of each of its maps"),
                required: words(schema.get("required")).collect(),
            },
            "array" => Self::List(
                schema
                    .get("items")
                    .expect("our schema describes the items of each of its lists"),
            ),
            "boolean" => Self::Bool,
            kind @ ("integer" | "number") => Self::Number {
                is_whole: kind == "integer",
                least: number("minimum"),
                above: number("exclusiveMinimum"),
                most: number("maximum"),
            },
            _text => match schema.get("oneOf").and_then(Json::as_array) {
                Some(variants) => Self::Word(
                    variants
                        .iter()
                        .filter_map(|variant| variant.get("const")?.as_str())
                        .collect(),
                ),
                None if schema.get("enum").is_some() => {
                    Self::Word(words(schema.get("enum")).collect())
                }
                None => Self::Text {
                    example: words(schema.get("examples")).next(),
                },
            },
        }
    }

    pub(super) fn admits(&self, number: &serde_json::Number) -> bool {
        let Self::Number {
            is_whole,
            least,
            above,
            most,
        } = self
        else {
            return false;
        };
        let Some(value) = number.as_f64() else {
            return false;
        };
        (!is_whole || number.is_u64())
            && least.is_none_or(|least| value >= least)
            && above.is_none_or(|above| value > above)
            && most.is_none_or(|most| value <= most)
    }

    /// Stands in a list for what was refused.
    pub(super) fn placeholder(&self) -> Json {
        match self {
            Self::Map { .. } => Json::Object(Map::new()),
            Self::List(_) => Json::Array(Vec::new()),
            Self::Bool => Json::Bool(false),
            Self::Number { .. } => Json::from(0),
            Self::Text { .. } => Json::String(String::new()),
            Self::Word(words) => Json::from(words.first().copied().unwrap_or_default()),
        }
    }
}

impl fmt::Display for Wanted<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Map { keys, .. } => {
                let keys: Vec<&str> = keys.keys().map(String::as_str).collect();
                write!(formatter, "a map (keys: {})", keys.join(", "))
            }
            Self::List(_) => formatter.write_str("a list"),
            Self::Bool => formatter.write_str("true or false"),
            Self::Number {
                is_whole,
                least,
                above,
                most,
            } => {
                let number = if *is_whole { "whole number" } else { "number" };
                write!(formatter, "a {number}")?;
                match (least, above, most) {
                    (Some(least), _, Some(most)) => write!(formatter, " from {least} to {most}"),
                    (Some(least), _, None) => write!(formatter, " of at least {least}"),
                    (None, Some(above), Some(most)) => {
                        write!(formatter, " above {above}, at most {most}")
                    }
                    (None, Some(above), None) => write!(formatter, " above {above}"),
                    (None, None, Some(most)) => write!(formatter, " of at most {most}"),
                    (None, None, None) => Ok(()),
                }
            }
            Self::Text { example: None } => formatter.write_str("text (in quotes if need be)"),
            Self::Text {
                example: Some(example),
            } => write!(formatter, "text, as \"{example}\""),
            Self::Word(words) => write!(formatter, "{}", words.join(" or ")),
        }
    }
}

/// Follows references, and takes the alternative that is not null.
pub(super) fn resolved<'a>(root: &'a Json, schema: &'a Json) -> &'a Json {
    let mut schema = schema;
    loop {
        let pointer = schema.get("$ref").and_then(Json::as_str);
        let alternatives = schema.get("anyOf").and_then(Json::as_array);
        let next = match (pointer, alternatives) {
            (Some(pointer), _) => root.pointer(pointer.trim_start_matches('#')),
            (None, Some(alternatives)) => alternatives.iter().find(|one| kind(one) != "null"),
            (None, None) => return schema,
        };
        schema = next.expect("our schema's references lead somewhere");
    }
}

fn kind(schema: &Json) -> &str {
    match schema.get("type") {
        Some(Json::Array(kinds)) => kinds
            .iter()
            .filter_map(Json::as_str)
            .find(|kind| *kind != "null")
            .unwrap_or_default(),
        Some(kind) => kind.as_str().unwrap_or_default(),
        None => "",
    }
}

fn words(list: Option<&Json>) -> impl Iterator<Item = &str> {
    list.and_then(Json::as_array)
        .into_iter()
        .flatten()
        .filter_map(Json::as_str)
}
