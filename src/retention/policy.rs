//! What is kept of the repositories that a pattern fits. Pure.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::time::Duration;

use super::pattern::TagPattern;
use crate::config::duration::shown;
use crate::gc::graph::{Link, ObjectId, Repository};
use crate::oci::digest::Digest;
use crate::pattern::Pattern;
use crate::second::Second;

/// The tag that clients mean when they say none.
pub const LATEST: &str = "latest";

/// What looks like a release where a policy says nothing else: three numbers, with or without a `v`.
pub const RELEASES: &str = "/v?[0-9]+[.][0-9]+[.][0-9]+/";

/// What one policy says. Of several, the first of which a pattern fits a repository decides about it alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// At least one.
    pub repositories: Vec<Pattern>,
    /// A tag is kept that any of them keeps. At least one.
    pub keep: Vec<Rule>,
    /// Whether `latest` stays, whatever the rules say.
    pub keeps_latest: bool,
    /// What looks like a release stays, whatever the rules say.
    pub releases: Vec<TagPattern>,
    /// What never goes, whatever the rules say.
    pub immutable: Vec<TagPattern>,
    /// What of the manifests without a tag stays although `gc.untagged` is `delete`; `None`: nothing more.
    pub untagged: Option<Untagged>,
}

/// A tag is kept by it of which all holds that it says. It says something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    /// Only these; empty: all.
    pub tags: Vec<TagPattern>,
    /// Not these.
    pub except: Vec<TagPattern>,
    /// Those of the newest so many images among them.
    pub newest: Option<u32>,
    pub younger_than: Option<Duration>,
    /// Seen in use within so long: at most as long as what was seen is remembered.
    pub used_within: Option<Duration>,
}

/// Manifests that no tag names stay that either of them keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Untagged {
    pub newest: Option<u32>,
    pub younger_than: Option<Duration>,
}

impl Policy {
    /// Whether it is for this repository.
    pub fn has(&self, repository: &str) -> bool {
        let mut patterns = self.repositories.iter();
        patterns.any(|pattern| pattern.matches(repository))
    }

    /// A digest of all that it says: one that says something else has to wait anew.
    pub fn hash(&self) -> String {
        Digest::of(self.text().as_bytes()).short()
    }

    fn text(&self) -> String {
        let Self {
            repositories,
            keep,
            keeps_latest,
            releases,
            immutable,
            untagged,
        } = self;
        let repositories: Vec<&str> = repositories.iter().map(Pattern::as_str).collect();
        let rules: Vec<String> = keep.iter().map(Rule::text).collect();
        let untagged = untagged.map(|it| (it.newest, it.younger_than.map(shown)));
        format!(
            "{repositories:?} {rules:?} {keeps_latest} {:?} {:?} {untagged:?}",
            texts(releases),
            texts(immutable),
        )
    }
}

impl Untagged {
    /// The manifests of a repository that no tag names and that stay by it, in order. What has no time is of now.
    pub fn stay(self, repository: &Repository, now: Second) -> Vec<ObjectId> {
        let tagged: HashSet<ObjectId> = {
            let tags = repository.tags.iter();
            tags.filter_map(|tag| tag.current).collect()
        };
        let links = repository.revisions.iter();
        let mut links: Vec<&Link> = links
            .filter(|link| !tagged.contains(&link.object))
            .collect();
        let time = |link: &Link| link.modified.map_or(i64::MAX, Second::get);
        links.sort_by_key(|link| std::cmp::Reverse((time(link), link.object)));
        let newest = self.newest.map_or(0, |newest| newest as usize);
        let is_young = |link: &Link| {
            self.younger_than.is_some_and(|long| {
                let long = i64::try_from(long.as_secs()).unwrap_or(i64::MAX);
                let age = now.get().saturating_sub(time(link));
                age < long
            })
        };
        let links = links.into_iter().enumerate();
        let stay = links.filter(|(at, link)| *at < newest || is_young(link));
        let mut stay: Vec<ObjectId> = stay.map(|(_, link)| link.object).collect();
        stay.sort_unstable();
        stay
    }
}

impl Rule {
    /// Whether it is about this tag at all, by its name.
    pub fn selects(&self, tag: &str) -> bool {
        let fits = |patterns: &[TagPattern]| patterns.iter().any(|it| it.matches(tag));
        (self.tags.is_empty() || fits(&self.tags)) && !fits(&self.except)
    }

    /// As it is written.
    pub fn text(&self) -> String {
        let Self {
            tags,
            except,
            newest,
            younger_than,
            used_within,
        } = self;
        let mut text = String::new();
        let mut add = |key: &str, value: String| {
            let comma = if text.is_empty() { "" } else { ", " };
            write!(text, "{comma}{key}: {value}").expect("writing into a text never fails");
        };
        if !tags.is_empty() {
            add("tags", texts(tags));
        }
        if !except.is_empty() {
            add("except", texts(except));
        }
        if let Some(newest) = newest {
            add("newest", newest.to_string());
        }
        if let Some(younger) = younger_than {
            add("youngerThan", shown(*younger));
        }
        if let Some(used) = used_within {
            add("usedWithin", shown(*used));
        }
        text
    }
}

fn texts(patterns: &[TagPattern]) -> String {
    let patterns: Vec<&str> = patterns.iter().map(TagPattern::as_str).collect();
    format!("[{}]", patterns.join(", "))
}
