//! Patterns of repositories' names, as `team/*` and `sandbox/**`. Pure.

use std::fmt;
use std::str::FromStr;

use globset::{GlobBuilder, GlobMatcher};

/// A pattern. `*` and `?` stand for what is between two slashes, `**` for whole parts of a name.
#[derive(Clone)]
pub struct Pattern {
    text: String,
    matcher: GlobMatcher,
}

impl Pattern {
    /// `**`
    pub fn all() -> Self {
        "**".parse().expect("it is a pattern")
    }

    pub fn matches(&self, repository: &str) -> bool {
        self.matcher.is_match(repository)
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let problem = match text {
            "" => Some("it is empty"),
            _ if text.starts_with('/') || text.ends_with('/') => {
                Some("a repository's name neither begins nor ends with /")
            }
            _ if text.contains(char::is_uppercase) => Some("repositories have no capitals"),
            _ => None,
        };
        if let Some(problem) = problem {
            return Err(problem.to_owned());
        }
        let glob = GlobBuilder::new(text)
            .literal_separator(true)
            .backslash_escape(false)
            .build();
        let glob = glob.map_err(|error| error.kind().to_string())?;
        Ok(Self {
            text: text.to_owned(),
            matcher: glob.compile_matcher(),
        })
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stays_within_a_part_and_two_do_not() {
        for (pattern, name, expected) in [
            ("**", "a", true),
            ("**", "a/b/c", true),
            ("team/*", "team/app", true),
            ("team/*", "team/app/web", false),
            ("team/*", "team", false),
            ("team/**", "team/app/web", true),
            ("team/**", "teams/app", false),
            ("**/cache", "cache", true),
            ("**/cache", "team/app/cache", true),
            ("**/cache", "team/app-cache", false),
            ("team/{web,api}", "team/api", true),
            ("team/app", "team/app", true),
            ("team/app", "xteam/app", false),
            ("team/app-[0-9]", "team/app-3", true),
            ("team/app?", "team/app/", false),
        ] {
            let parsed: Pattern = pattern.parse().unwrap();
            assert_eq!(parsed.matches(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn what_could_match_nothing_is_refused() {
        for text in ["", "/team", "team/", "Team/*", "team/[", "team/{a"] {
            assert!(text.parse::<Pattern>().is_err(), "{text}");
        }
    }
}
