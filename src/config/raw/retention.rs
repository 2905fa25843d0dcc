//! The keys of retention.

use schemars::JsonSchema;
use serde::Deserialize;

use super::DurationText;

/// Which tags may go. Nothing here deletes content: that is a collection's.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::config) struct Retention {
    /// Whether tags are deleted, within windows and through the gate, or only planned.
    #[schemars(extend("default" = "plan"))]
    pub(in crate::config) mode: Option<RetentionMode>,
    /// A tag is deleted only after it was in every plan for so long.
    #[schemars(with = "Option<DurationText>", extend("default" = "7d"))]
    pub(in crate::config) rehearsal: Option<String>,
    /// The first whose pattern fits a repository decides about it. Where none fits, nothing goes.
    #[schemars(extend("default" = []))]
    pub(in crate::config) policies: Option<Vec<Policy>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum RetentionMode {
    /// Nothing is touched.
    Plan,
    /// What was planned for long enough is deleted.
    Delete,
}

/// What is kept of some repositories. What is needed by anybody is kept before any of it is asked.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["repositories", "keep"]))]
pub(in crate::config) struct Policy {
    /// By name; `*` stands for a part of a name without `/`, `**` for any.
    #[schemars(extend("examples" = [["team/**"]]))]
    pub(in crate::config) repositories: Option<Vec<String>>,
    /// A tag stays that any of these keeps.
    #[schemars(extend("examples" = [[{"newest": 10}, {"youngerThan": "90d"}]]))]
    pub(in crate::config) keep: Option<Vec<Rule>>,
    /// Whether `latest` stays whatever `keep` says, or is decided by it.
    #[schemars(extend("default" = "keep"))]
    pub(in crate::config) latest: Option<Latest>,
    /// Tags that are releases stay whatever `keep` says: patterns as in `tags`. By default three numbers with
    /// dots between them, with or without a `v`.
    #[schemars(extend("default" = ["/v?[0-9]+[.][0-9]+[.][0-9]+/"]))]
    pub(in crate::config) releases: Option<Vec<String>>,
    /// Tags that never go, whatever `keep` says: patterns as in `tags`.
    #[schemars(extend("default" = []))]
    pub(in crate::config) immutable: Option<Vec<String>>,
    /// Manifests without a tag that stay in a collection although `gc.untagged` is `delete`. Either of its keys
    /// keeps one.
    pub(in crate::config) untagged: Option<UntaggedRule>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum Latest {
    Keep,
    Decide,
}

/// A tag is kept of which all holds that it says. It says at least one thing.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
pub(in crate::config) struct Rule {
    /// Only tags that one of these fits as a whole: as a shell has them (`v*`), or a regular expression between
    /// two `/`.
    #[schemars(extend("examples" = [["v*", "/release-[0-9]+/"]]))]
    pub(in crate::config) tags: Option<Vec<String>>,
    /// No tags that one of these fits.
    pub(in crate::config) except: Option<Vec<String>>,
    /// Those of the newest so many images, counted by their digests among the tags of this rule.
    #[schemars(range(min = 1))]
    pub(in crate::config) newest: Option<u32>,
    /// Those that were pushed less than so long ago, as the storage tells; where pullproof does not read it, those
    /// that it saw first less than so long ago.
    #[schemars(with = "Option<DurationText>")]
    pub(in crate::config) younger_than: Option<String>,
    /// Those that were seen in use less than so long ago. What was seen in use within `inventory.keepSeen` stays by
    /// every policy, so this is at most as long.
    #[schemars(with = "Option<DurationText>")]
    pub(in crate::config) used_within: Option<String>,
}

/// Which manifests without a tag stay.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
pub(in crate::config) struct UntaggedRule {
    /// The newest so many of a repository.
    #[schemars(range(min = 1))]
    pub(in crate::config) newest: Option<u32>,
    /// Those that were pushed less than so long ago.
    #[schemars(with = "Option<DurationText>")]
    pub(in crate::config) younger_than: Option<String>,
}
