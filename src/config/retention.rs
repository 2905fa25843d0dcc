//! Retention: the values and their check.

use std::time::Duration;

use super::check::Checker;
use super::problem::quoted;
use super::{Config, Registry, duration, raw};
use crate::retention::pattern::TagPattern;
use crate::retention::policy::{Policy, RELEASES, Rule, Untagged};

/// Which tags may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    pub mode: RetentionMode,
    /// Only what was in every plan for so long is deleted.
    pub rehearsal: Duration,
    /// May be empty: then nothing goes.
    pub policies: Vec<Policy>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetentionMode {
    /// Nothing is touched.
    Plan,
    Delete,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            mode: RetentionMode::Plan,
            rehearsal: Duration::from_hours(7 * 24),
            policies: Vec::new(),
        }
    }
}

impl Config {
    /// Registries whose tags are decided about.
    pub fn retained(&self) -> impl Iterator<Item = &Registry> {
        let registries = self.registries.iter();
        registries.filter(|it| it.is_retained())
    }
}

impl Registry {
    /// Whether anything decides about its tags.
    pub fn is_retained(&self) -> bool {
        !self.retention.policies.is_empty()
    }
}

impl Checker<'_, '_> {
    /// What is written under `retention`, over the defaults given. `keep_seen` is how long what was in use is
    /// remembered.
    pub(super) fn retention(
        &mut self,
        path: &str,
        raw: raw::Retention,
        defaults: &Retention,
        keep_seen: Duration,
    ) -> Retention {
        let raw::Retention {
            mode,
            rehearsal,
            policies,
        } = raw;
        Retention {
            mode: match mode {
                None => defaults.mode,
                Some(raw::RetentionMode::Plan) => RetentionMode::Plan,
                Some(raw::RetentionMode::Delete) => RetentionMode::Delete,
            },
            rehearsal: rehearsal.map_or(defaults.rehearsal, |text| {
                self.duration(&format!("{path}.rehearsal"), &text)
            }),
            policies: match policies {
                None => defaults.policies.clone(),
                Some(all) => {
                    let all = all.into_iter().enumerate();
                    let policy = |(index, raw)| {
                        self.policy(&format!("{path}.policies[{index}]"), raw, keep_seen)
                    };
                    all.map(policy).collect()
                }
            },
        }
    }

    /// Says that `mode: delete`, written under `path`, deletes nothing: whoever writes it expects that something
    /// goes.
    pub(super) fn deletes_by_no_policy(&mut self, path: &str) {
        if self.report.is_below(&format!("{path}.policies")) {
            return;
        }
        let message = "no policy says what stays, and without one nothing goes; add `policies: [{repositories: \
                       [\"**\"], keep: [{newest: 10}]}]` beside it, or leave this out";
        self.report.add(&format!("{path}.mode"), message);
    }

    fn policy(&mut self, path: &str, raw: raw::Policy, keep_seen: Duration) -> Policy {
        let raw::Policy {
            repositories,
            keep,
            latest,
            releases,
            immutable,
            untagged,
        } = raw;
        let of = |key: &str| format!("{path}.{key}");
        let keep = keep.unwrap_or_default();
        if keep.is_empty() && !self.report.has(&of("keep")) {
            let message = "without a rule everything goes that nobody needs now; if that is meant, say it: \
                           `keep: [{youngerThan: 0s}]`";
            self.report.add(&of("keep"), message);
        }
        let keep = keep.into_iter().enumerate();
        let keep =
            keep.map(|(index, raw)| self.rule(&format!("{path}.keep[{index}]"), raw, keep_seen));
        let keep = keep.collect();
        Policy {
            repositories: self.patterns(&of("repositories"), repositories.unwrap_or_default()),
            keep,
            keeps_latest: latest != Some(raw::Latest::Decide),
            releases: match releases {
                None => vec![RELEASES.parse().expect("it is a pattern")],
                Some(all) => self.tag_patterns(&of("releases"), all),
            },
            immutable: self.tag_patterns(&of("immutable"), immutable.unwrap_or_default()),
            untagged: untagged.map(|raw| self.untagged_rule(&of("untagged"), raw)),
        }
    }

    fn rule(&mut self, path: &str, raw: raw::Rule, keep_seen: Duration) -> Rule {
        let raw::Rule {
            tags,
            except,
            newest,
            younger_than,
            used_within,
        } = raw;
        let of = |key: &str| format!("{path}.{key}");
        let rule = Rule {
            tags: self.tag_patterns(&of("tags"), tags.unwrap_or_default()),
            except: self.tag_patterns(&of("except"), except.unwrap_or_default()),
            newest,
            younger_than: younger_than.map(|text| self.duration(&of("youngerThan"), &text)),
            used_within: used_within.map(|text| self.duration(&of("usedWithin"), &text)),
        };
        if rule == Rule::default() && !self.report.is_below(path) {
            let message = "it says nothing; write what it keeps, as `newest: 10`";
            self.report.add(path, message);
        }
        if let Some(used) = rule.used_within
            && used > keep_seen
        {
            let message = format!(
                "{} is longer than `inventory.keepSeen`, which is {}: what was in use is remembered only so long",
                duration::shown(used),
                duration::shown(keep_seen),
            );
            self.report.add(&of("usedWithin"), message);
        }
        rule
    }

    fn untagged_rule(&mut self, path: &str, raw: raw::UntaggedRule) -> Untagged {
        let raw::UntaggedRule {
            newest,
            younger_than,
        } = raw;
        if newest.is_none() && younger_than.is_none() && !self.report.is_below(path) {
            let message = "it says nothing; write what it keeps, as `youngerThan: 7d`";
            self.report.add(path, message);
        }
        Untagged {
            newest,
            younger_than: younger_than
                .map(|text| self.duration(&format!("{path}.youngerThan"), &text)),
        }
    }

    fn tag_patterns(&mut self, path: &str, texts: Vec<String>) -> Vec<TagPattern> {
        let mut patterns = Vec::with_capacity(texts.len());
        for (index, text) in texts.into_iter().enumerate() {
            match text.parse() {
                Ok(pattern) => patterns.push(pattern),
                Err(problem) => {
                    let problem: String = problem;
                    let message = format!("{} is no pattern of tags: {problem}", quoted(&text));
                    self.report.add(&format!("{path}[{index}]"), message);
                }
            }
        }
        patterns
    }
}
