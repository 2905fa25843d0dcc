//! Paths into an object: where a kind that Kubernetes does not know names its images.
//!
//! A small and strict part of what kubectl's `-o jsonpath` understands: `.field`, `["quoted key"]` and
//! `[*]`, which stands for every item of a list. A field that is followed by another must be there, or
//! the path does not fit the object; a `?` behind it says that it may be missing. The last field of a
//! path and a list may be missing always, since Go leaves empty ones out.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use serde_json::Value;

/// Longer paths are no paths.
const BYTES_MAX: usize = 512;

/// As `.spec.tasks[*].taskSpec?.steps[*].image`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FieldPath {
    text: Box<str>,
    steps: Box<[Step]>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Step {
    Field {
        name: Box<str>,
        may_be_missing: bool,
    },
    Each,
}

/// Why a text is no path: where, counted in characters from 1, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at character {at}: {problem}")]
pub struct InvalidPath {
    pub at: usize,
    pub problem: &'static str,
}

/// That an object is not as the path expects it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct Misfit {
    /// With indices in place of `[*]`.
    pub place: String,
    pub problem: &'static str,
}

impl FromStr for FieldPath {
    type Err = InvalidPath;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut reader = Reader { text, at: 0 };
        if text.len() > BYTES_MAX {
            return Err(reader.problem("a path has at most 512 bytes"));
        }
        let mut steps: Vec<Step> = Vec::new();
        while !reader.rest().is_empty() {
            let begin = reader.at;
            let step = reader.step()?;
            if step == Step::Each && steps.is_empty() {
                reader.at = begin;
                return Err(reader.problem("a path begins with a field, as `.spec`"));
            }
            steps.push(step);
            // Where nothing is required a `?` would only be believed to say something.
            if reader.rest().starts_with('?') {
                let Some(Step::Field { may_be_missing, .. }) = steps.last_mut() else {
                    return Err(reader.problem("a `?` stands behind a field; leave it out"));
                };
                *may_be_missing = true;
                reader.at += 1;
                if reader.rest().is_empty() || reader.rest().starts_with("[*]") {
                    reader.at -= 1;
                    let problem =
                        "the last field and a list may be missing always; leave the `?` out";
                    return Err(reader.problem(problem));
                }
            }
        }
        if steps.is_empty() {
            return Err(reader.problem("it is empty; write a path as `.spec.template`"));
        }
        Ok(Self {
            text: text.into(),
            steps: steps.into(),
        })
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn problem(&self, problem: &'static str) -> InvalidPath {
        let before = self.text.get(..self.at).unwrap_or_default();
        InvalidPath {
            at: before.chars().count() + 1,
            problem,
        }
    }

    fn step(&mut self) -> Result<Step, InvalidPath> {
        let rest = self.rest();
        if rest.starts_with("[*]") {
            self.at += 3;
            return Ok(Step::Each);
        }
        if let Some(rest) = rest.strip_prefix('.') {
            let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            let name = rest.get(..length).unwrap_or_default();
            self.at += 1;
            if name.is_empty() {
                return Err(self.problem(
                    "expected the name of a field; one with other characters than letters, digits, `-` \
                     and `_` is written as [\"name\"]",
                ));
            }
            self.at += length;
            return Ok(field(name));
        }
        let Some(quote @ ('"' | '\'')) = rest.strip_prefix('[').and_then(|it| it.chars().next())
        else {
            return Err(self.problem("expected `.field`, `[\"quoted key\"]` or `[*]`"));
        };
        let quoted = rest.get(2..).unwrap_or_default();
        let key = quoted.split(quote).next().unwrap_or_default();
        let closing = quoted.get(key.len()..).unwrap_or_default();
        if key.is_empty() || key.contains('\\') || closing.get(1..2) != Some("]") {
            return Err(self.problem("expected a key in quotes and a bracket, as [\"a.b/c\"]"));
        }
        self.at += 2 + key.len() + 2;
        Ok(field(key))
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

fn field(name: &str) -> Step {
    Step::Field {
        name: name.into(),
        may_be_missing: false,
    }
}

impl FieldPath {
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Everything in the object that the path leads to, each with its place: the path with indices.
    pub fn find<'value>(
        &self,
        object: &'value Value,
    ) -> Result<Vec<(String, &'value Value)>, Misfit> {
        let mut found = Vec::new();
        walk(object, &self.steps, "", &mut found)?;
        Ok(found)
    }
}

fn walk<'value>(
    value: &'value Value,
    steps: &[Step],
    place: &str,
    found: &mut Vec<(String, &'value Value)>,
) -> Result<(), Misfit> {
    let misfit = |place: &str, problem| {
        Err(Misfit {
            place: place.to_owned(),
            problem,
        })
    };
    let Some((step, rest)) = steps.split_first() else {
        found.push((place.to_owned(), value));
        return Ok(());
    };
    match step {
        Step::Field {
            name,
            may_be_missing,
        } => {
            let Value::Object(fields) = value else {
                return misfit(place, "it is not a map");
            };
            let mut inner = place.to_owned();
            let written = if name.chars().all(is_word) {
                write!(inner, ".{name}")
            } else {
                write!(inner, "[\"{name}\"]")
            };
            written.expect("a string takes everything");
            match fields.get(&**name) {
                Some(value) if !value.is_null() => walk(value, rest, &inner, found),
                _missing if *may_be_missing || matches!(rest, [] | [Step::Each, ..]) => Ok(()),
                _missing => misfit(&inner, "it is missing"),
            }
        }
        Step::Each => {
            let Value::Array(items) = value else {
                return misfit(place, "it is not a list");
            };
            items
                .iter()
                .enumerate()
                .try_for_each(|(index, item)| walk(item, rest, &format!("{place}[{index}]"), found))
        }
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn found(path: &str, object: &Value) -> Result<Vec<String>, String> {
        let path: FieldPath = path.parse().unwrap();
        let found = path.find(object).map_err(|misfit| misfit.to_string())?;
        Ok(found
            .into_iter()
            .map(|(place, value)| format!("{place}={value}"))
            .collect())
    }

    #[test]
    fn paths_lead_through_fields_lists_and_quoted_keys() {
        let object = json!({"spec": {"a-b_1": {"x.y/z": 1}, "list": [{"image": "a"}, {}, {"image": null}, {"image": "b"}]}});
        for (path, expected) in [
            (".spec.a-b_1[\"x.y/z\"]", vec![".spec.a-b_1[\"x.y/z\"]=1"]),
            (".spec['a-b_1']['x.y/z']", vec![".spec.a-b_1[\"x.y/z\"]=1"]),
            (
                ".spec.list[*].image",
                vec![".spec.list[0].image=\"a\"", ".spec.list[3].image=\"b\""],
            ),
            (".spec.none", vec![]),
            (".spec.none[*].image", vec![]),
            (".spec.none?.image", vec![]),
            (".spec.list[*].none?.image", vec![]),
        ] {
            assert_eq!(found(path, &object).unwrap(), expected, "{path}");
        }
    }

    #[test]
    fn an_object_that_is_not_as_the_path_expects_it_is_told_with_the_place() {
        let object = json!({"spec": {"text": "x", "list": [{"inner": {}}, 5]}, "no": null});
        for (path, expected) in [
            (".spce.template", ".spce: it is missing"),
            (".no.template", ".no: it is missing"),
            (".spec.none.image", ".spec.none: it is missing"),
            (".spec.text.image", ".spec.text: it is not a map"),
            (".spec.text[*].image", ".spec.text: it is not a list"),
            (".spec.list.image", ".spec.list: it is not a map"),
            (
                ".spec.list[*].inner.image",
                ".spec.list[1]: it is not a map",
            ),
            (".spec.none?.image", ""),
        ] {
            let told = found(path, &object).err().unwrap_or_default();
            assert_eq!(told, expected, "{path}");
        }
    }

    #[test]
    fn what_is_no_path_says_where_and_what_to_write() {
        for (path, expected) in [
            (
                "",
                "at character 1: it is empty; write a path as `.spec.template`",
            ),
            (
                "spec",
                "at character 1: expected `.field`, `[\"quoted key\"]` or `[*]`",
            ),
            (
                "[*].a",
                "at character 1: a path begins with a field, as `.spec`",
            ),
            ("{.spec}", "at character 1: expected `.field`"),
            ("$.spec", "at character 1: expected `.field`"),
            (".spec.", "at character 7: expected the name of a field"),
            (".spec..a", "at character 7: expected the name of a field"),
            (".ä", "at character 2: expected the name of a field"),
            (
                ".a[0]",
                "at character 3: expected `.field`, `[\"quoted key\"]` or `[*]`",
            ),
            (".a[\"b]", "at character 3: expected a key in quotes"),
            (".a[\"b\".c", "at character 3: expected a key in quotes"),
            (".a[\"\"]", "at character 3: expected a key in quotes"),
            (".a b", "at character 3: expected `.field`"),
            (".a[*]?.b", "at character 6: a `?` stands behind a field"),
            (
                ".a?",
                "at character 3: the last field and a list may be missing always",
            ),
            (
                ".a?[*]",
                "at character 3: the last field and a list may be missing always",
            ),
        ] {
            let told = path.parse::<FieldPath>().unwrap_err().to_string();
            assert!(told.starts_with(expected), "{path}: {told}");
        }
        assert!(".a".repeat(300).parse::<FieldPath>().is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_read_is_written_the_same(text in "(\\.[a-z]|\\[\\*\\]|\\[\"[a-z./]\"\\]|\\?|.){0,8}") {
            if let Ok(path) = text.parse::<FieldPath>() {
                prop_assert_eq!(path.to_string(), text);
                path.find(&json!({"a": [{"b": {}}], "b": {"a": "x"}})).ok();
            }
        }
    }
}
