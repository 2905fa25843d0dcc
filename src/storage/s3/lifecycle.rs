//! What a bucket does to its objects by itself, by its lifecycle configuration. Pure.

use serde::Deserialize;

use super::page::{Fault, NoPage};

/// The enabled rules that reach a tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lifecycle {
    pub rules: Vec<Rule>,
}

/// An enabled rule of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// `None` where it has no name.
    pub id: Option<String>,
    /// What the keys that it reaches begin with; whole keys, with the `rootdirectory`. Empty reaches all.
    pub prefix: String,
    /// Whether it reaches only some of them, by tags or by size: which, is not known here.
    pub is_narrowed: bool,
    /// Versions that are not what their key is now are removed for good so many days after they ceased to
    /// be it. `None` where they are not removed.
    pub noncurrent_days: Option<u32>,
    /// So many of the newest of them are kept of each key, however old.
    pub newer_noncurrent: u32,
    /// Whether it removes what keys are now: images that are in use.
    pub expires_current: bool,
}

impl Lifecycle {
    /// After so many days the bucket removes what was taken, by the rule that is first to do so. `None`
    /// where nothing is removed.
    pub fn noncurrent_days(&self) -> Option<u32> {
        self.rules
            .iter()
            .filter_map(|rule| rule.noncurrent_days)
            .min()
    }

    /// The rules that remove what keys are now.
    pub fn expiring(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(|rule| rule.expires_current)
    }
}

#[derive(Deserialize)]
enum Document {
    LifecycleConfiguration(Written),
    Error(Fault),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Written {
    #[serde(default)]
    rule: Vec<WrittenRule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WrittenRule {
    #[serde(rename = "ID")]
    id: Option<String>,
    status: String,
    /// As it was written before there were filters.
    prefix: Option<String>,
    filter: Option<Filter>,
    noncurrent_version_expiration: Option<Noncurrent>,
    expiration: Option<Expiration>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Filter {
    prefix: Option<String>,
    and: Option<Box<Filter>>,
    tag: Vec<Tag>,
    object_size_greater_than: Option<String>,
    object_size_less_than: Option<String>,
}

#[derive(Deserialize)]
struct Tag {}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Noncurrent {
    noncurrent_days: u32,
    #[serde(default)]
    newer_noncurrent_versions: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Expiration {
    days: Option<String>,
    date: Option<String>,
}

/// Reads the body of a success: the rules that reach any key below one of these prefixes.
pub(super) fn read(body: &[u8], below: &[&str]) -> Result<Lifecycle, NoPage> {
    let malformed = |problem: &str| NoPage::Malformed(problem.to_owned());
    let text = std::str::from_utf8(body).map_err(|_place| malformed("it is not text"))?;
    let document = quick_xml::de::from_str(text).map_err(|error| malformed(&error.to_string()))?;
    let written = match document {
        Document::LifecycleConfiguration(written) => written,
        Document::Error(fault) => return Err(NoPage::Fault(fault)),
    };
    let mut rules = Vec::new();
    for rule in written.rule {
        let is_enabled = match rule.status.as_str() {
            "Enabled" => true,
            "Disabled" => false,
            other => return Err(malformed(&format!("a rule's status is `{other}`"))),
        };
        let rule = understood(rule);
        let reaches = |tree: &&str| tree.starts_with(&rule.prefix) || rule.prefix.starts_with(tree);
        if is_enabled && below.iter().any(reaches) {
            rules.push(rule);
        }
    }
    Ok(Lifecycle { rules })
}

fn understood(written: WrittenRule) -> Rule {
    let (mut prefix, mut is_narrowed) = (written.prefix, false);
    let mut filter = written.filter;
    while let Some(Filter {
        prefix: own,
        and,
        tag,
        object_size_greater_than,
        object_size_less_than,
    }) = filter
    {
        prefix = own.or(prefix);
        is_narrowed |= !tag.is_empty()
            || object_size_greater_than.is_some()
            || object_size_less_than.is_some();
        filter = and.map(|and| *and);
    }
    let noncurrent = written.noncurrent_version_expiration;
    // With neither it removes markers below which nothing is.
    let expires_current = written
        .expiration
        .is_some_and(|it| it.days.is_some() || it.date.is_some());
    Rule {
        id: written.id.filter(|id| !id.is_empty()),
        prefix: prefix.unwrap_or_default(),
        is_narrowed,
        noncurrent_days: noncurrent.as_ref().map(|it| it.noncurrent_days),
        newer_noncurrent: noncurrent.map_or(0, |it| it.newer_noncurrent_versions),
        expires_current,
    }
}

#[cfg(test)]
mod tests;
