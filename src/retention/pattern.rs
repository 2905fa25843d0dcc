//! Patterns of tags: `v*` as a shell has them, or `/v[0-9]+/` for a regular expression. Pure.

use std::fmt;
use std::str::FromStr;

use globset::{GlobBuilder, GlobMatcher};
use regex::bytes::{Regex, RegexBuilder};

/// A compiled expression takes at most so much memory.
const SIZE_MAX: usize = 1 << 20;

/// A pattern. It fits a tag as a whole. No tag has a `/`, so that what stands between two of them is a regular
/// expression and nothing else; it takes time linear in the tag, whatever it says.
#[derive(Clone)]
pub struct TagPattern {
    text: String,
    matcher: Matcher,
}

#[derive(Clone)]
enum Matcher {
    Glob(GlobMatcher),
    Expression(Regex),
}

impl TagPattern {
    pub fn matches(&self, tag: &str) -> bool {
        match &self.matcher {
            Matcher::Glob(glob) => glob.is_match(tag),
            Matcher::Expression(expression) => expression.is_match(tag.as_bytes()),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for TagPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let inner = text.strip_prefix('/').and_then(|it| it.strip_suffix('/'));
        let matcher = match inner {
            Some("") => return Err("between the two / stands nothing".to_owned()),
            Some(inner) => Matcher::Expression(expression(inner)?),
            None if text.is_empty() => return Err("it is empty".to_owned()),
            None if text.contains('/') => {
                let problem = "no tag has a /; a regular expression stands between two of them";
                return Err(problem.to_owned());
            }
            None => {
                let glob = GlobBuilder::new(text).backslash_escape(false).build();
                let glob = glob.map_err(|error| error.kind().to_string())?;
                Matcher::Glob(glob.compile_matcher())
            }
        };
        Ok(Self {
            text: text.to_owned(),
            matcher,
        })
    }
}

fn expression(inner: &str) -> Result<Regex, String> {
    // Tags are ASCII.
    let compile = |text: &str| {
        let mut builder = RegexBuilder::new(text);
        let built = builder.unicode(false).size_limit(SIZE_MAX).build();
        // The last line says what is wrong, those before it where.
        built.map_err(|error| {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            last.trim_start_matches("error: ").to_owned()
        })
    };
    // By itself first: what closes a parenthesis that it did not open would not be anchored below.
    compile(inner)?;
    compile(&format!("^(?:{inner})$"))
}

impl PartialEq for TagPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for TagPattern {}

impl fmt::Debug for TagPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_fits_a_tag_as_a_whole() {
        for (pattern, tag, expected) in [
            ("v*", "v1.2", true),
            ("v*", "dev1", false),
            ("*", ".sig", true),
            ("release-?", "release-1", true),
            ("release-?", "release-10", false),
            ("{main,master}", "main", true),
            ("[0-9]*", "1-arm64", true),
            ("V1", "v1", false),
            ("/v[0-9]+/", "v12", true),
            ("/v[0-9]+/", "v12-rc1", false),
            ("/v[0-9]+/", "dev12", false),
            ("/a|b/", "a", true),
            ("/a|b/", "ab", false),
            (r"/\d+\.\d+\.\d+/", "1.20.3", true),
            ("/(?i)MAIN/", "main", true),
        ] {
            let parsed: TagPattern = pattern.parse().unwrap();
            assert_eq!(parsed.matches(tag), expected, "{pattern} {tag}");
        }
    }

    #[test]
    fn what_is_no_pattern_says_why() {
        for (text, part) in [
            ("", "it is empty"),
            ("//", "stands nothing"),
            ("team/v*", "no tag has a /"),
            ("[a", "unclosed character class"),
            ("/(/", "unclosed group"),
            ("/a)|(b/", "unopened group"),
            (r"/(a)\1/", "backreferences are not supported"),
            ("/(?=a)/", "look-around"),
            ("/(a{1000}){1000}/", "exceeds size limit"),
        ] {
            let problem = text.parse::<TagPattern>().unwrap_err();
            assert!(problem.contains(part), "{text}: {problem}");
        }
    }

    #[test]
    fn an_expression_is_linear_in_the_tag() {
        // One that backtracks would not come back from this in a lifetime.
        let pattern: TagPattern = "/(a*)*(a*)*(a*)*b/".parse().unwrap();
        assert!(!pattern.matches(&"a".repeat(128)));
        assert!(pattern.matches(&format!("{}b", "a".repeat(127))));
    }
}
