//! Whether a bucket can be collected: what it has, what it removes by itself, and what may be done in it.

use std::io;
use std::time::Duration;

use super::{Rules, Vault};
use crate::collection::expiry;
use crate::storage::s3::{Lifecycle, Rule, Versioning};

const DAY: u64 = 24 * 60 * 60;

impl Vault {
    pub fn refusals(
        &self,
        purges: bool,
        quarantine_for: Duration,
        between: Duration,
    ) -> Vec<String> {
        // What nobody can stop needs two windows in which to be looked at again, before the days in which what
        // was not looked at goes back.
        let least = if self.rules.is_purged_by_lifecycle {
            let before = Duration::from_secs(expiry::BEFORE.unsigned_abs());
            let windows = between.saturating_mul(2);
            quarantine_for
                .saturating_add(windows)
                .saturating_add(before)
        } else {
            quarantine_for
        };
        self.block(async {
            let versioning = match self.s3.versioning().await {
                Ok(versioning) => versioning,
                Err(error) => {
                    return vec![format!("whether it has versions is not known: {error}")];
                }
            };
            let lifecycle = match self.s3.lifecycle().await {
                Ok(lifecycle) => Some(lifecycle),
                // A server that knows of no lifecycle removes nothing by itself.
                Err(error) if error.kind() == io::ErrorKind::Unsupported => None,
                Err(error) => {
                    return vec![format!(
                        "what the bucket removes by itself is not known: {error}"
                    )];
                }
            };
            judge(
                self.rules,
                versioning,
                lifecycle.as_ref(),
                purges,
                least,
                &|rule| self.s3.has_tree_below(&rule.prefix),
            )
        })
    }
}

impl Vault {
    pub fn purges_after(&self) -> io::Result<Option<Duration>> {
        match self.block(self.s3.lifecycle()) {
            Ok(lifecycle) => {
                let days = lifecycle.noncurrent_days().map(u64::from);
                Ok(days.map(|days| Duration::from_secs(days.saturating_mul(DAY))))
            }
            // A server that knows of no lifecycle removes nothing by itself.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Each reason why not. What was taken must be there for at least so long; `covers` says whether a rule's prefix reaches the whole tree.
fn judge(
    rules: Rules,
    versioning: Versioning,
    lifecycle: Option<&Lifecycle>,
    purges: bool,
    least: Duration,
    covers: &dyn Fn(&Rule) -> bool,
) -> Vec<String> {
    let mut refusals = Vec::new();
    let has_versions = versioning == Versioning::Enabled;
    let none = Lifecycle::default();
    let all = lifecycle.unwrap_or(&none);
    for rule in all.expiring() {
        refusals.push(format!(
            "the bucket's lifecycle rule {} removes objects as they get old, images in use and what is in \
             quarantine among them: take its `Expiration` away, or narrow it to another prefix",
            shown(rule)
        ));
    }
    for rule in &all.rules {
        let days = rule.noncurrent_days.map(u64::from);
        let is_shorter = |days: u64| days.saturating_mul(DAY) < least.as_secs();
        if let Some(days) = days.filter(|days| is_shorter(*days)) {
            refusals.push(format!(
                "the bucket's lifecycle rule {} removes what was taken after {days} days, and it has to be there for \
                 {} (`gc.quarantineFor`{}): raise its `NoncurrentDays`, or lower `gc.quarantineFor`",
                shown(rule),
                crate::config::duration::shown(least),
                if rules.is_purged_by_lifecycle {
                    ", two windows, and two days in which what was not marked again goes back"
                } else {
                    ""
                }
            ));
        }
    }
    if rules.is_purged_by_lifecycle {
        if !has_versions {
            refusals.push(format!(
                "`gc.purge` is `by: lifecycle`, and the versioning of the bucket {}: enable it, or write `by: \
                 pullproof`",
                words(versioning)
            ));
        }
        let purging = all.rules.iter().find(|rule| {
            rule.noncurrent_days.is_some()
                && rule.newer_noncurrent == 0
                && !rule.is_narrowed
                && covers(rule)
        });
        if purging.is_none() {
            refusals.push(
                "`gc.purge` is `by: lifecycle`, and no rule of the bucket removes versions that are not current \
                 from the registry's whole tree: add one with `NoncurrentVersionExpiration`, without tags, sizes \
                 and `NewerNoncurrentVersions`, or write `by: pullproof`"
                    .to_owned(),
            );
        }
    } else if purges && !has_versions && !rules.purges_without_versions {
        refusals.push(format!(
            "the versioning of the bucket {}, and what is purged there is lost for good, a push that came in \
             between included: enable it, or write `gc.mode: quarantine`, or `gc.unsafe: [purgeWithoutVersions]`",
            words(versioning)
        ));
    }
    refusals
}

fn words(versioning: Versioning) -> &'static str {
    match versioning {
        Versioning::Enabled => "is enabled",
        Versioning::Suspended => "is suspended",
        Versioning::Never => "was never enabled",
    }
}

fn shown(rule: &Rule) -> String {
    match (&rule.id, &*rule.prefix) {
        (Some(id), _) => format!("`{id}`"),
        (None, "") => "of all objects".to_owned(),
        (None, prefix) => format!("of `{prefix}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAYS: Duration = Duration::from_secs(6 * DAY);

    fn rule(prefix: &str, days: Option<u32>) -> Rule {
        Rule {
            id: None,
            prefix: prefix.to_owned(),
            is_narrowed: false,
            noncurrent_days: days,
            newer_noncurrent: 0,
            expires_current: false,
        }
    }

    fn judged(rules: Rules, versioning: Versioning, of: &[Rule], purges: bool) -> Vec<String> {
        let lifecycle = Lifecycle { rules: of.to_vec() };
        let covers = |rule: &Rule| "docker/registry/v2/".starts_with(&rule.prefix);
        judge(rules, versioning, Some(&lifecycle), purges, DAYS, &covers)
    }

    #[test]
    fn what_a_bucket_removes_by_itself_must_leave_what_was_taken() {
        let none = Rules::default();
        for versioning in [
            Versioning::Enabled,
            Versioning::Suspended,
            Versioning::Never,
        ] {
            assert_eq!(judged(none, versioning, &[], false), [""; 0]);
            assert_eq!(
                judged(none, versioning, &[rule("", Some(6))], false),
                [""; 0]
            );
            let short = judged(none, versioning, &[rule("docker/", Some(5))], false);
            assert!(
                short[0].contains("of `docker/` removes what was taken after 5 days"),
                "{short:?}"
            );
            let expiring = Rule {
                expires_current: true,
                ..rule("pullproof/", None)
            };
            let expiring = judged(none, versioning, &[expiring], false);
            assert!(expiring[0].contains("`Expiration`"), "{expiring:?}");
        }
    }

    #[test]
    fn without_versions_nothing_is_purged_unless_somebody_says_so() {
        let allowed = Rules {
            purges_without_versions: true,
            ..Rules::default()
        };
        for versioning in [Versioning::Suspended, Versioning::Never] {
            assert_eq!(judged(Rules::default(), versioning, &[], false), [""; 0]);
            let refused = judged(Rules::default(), versioning, &[], true);
            assert!(
                refused[0].contains("`gc.unsafe: [purgeWithoutVersions]`"),
                "{refused:?}"
            );
            assert_eq!(judged(allowed, versioning, &[], true), [""; 0]);
        }
        let enabled = judged(Rules::default(), Versioning::Enabled, &[], true);
        assert_eq!(enabled, [""; 0]);
    }

    #[test]
    fn only_a_rule_for_the_whole_tree_purges() {
        let by = Rules {
            is_purged_by_lifecycle: true,
            ..Rules::default()
        };
        let enabled = Versioning::Enabled;
        for good in ["", "docker/", "docker/registry/v2/"] {
            let rules = [rule("pullproof/", Some(90)), rule(good, Some(30))];
            assert_eq!(judged(by, enabled, &rules, true), [""; 0], "{good}");
        }
        let narrowed = Rule {
            is_narrowed: true,
            ..rule("", Some(30))
        };
        let keeps = Rule {
            newer_noncurrent: 3,
            ..rule("", Some(30))
        };
        let part = rule("docker/registry/v2/blobs/", Some(30));
        for bad in [narrowed, keeps, part, rule("", None)] {
            let refused = judged(by, enabled, &[bad], true);
            assert!(
                refused[0].contains("`NoncurrentVersionExpiration`"),
                "{refused:?}"
            );
        }
        let without = judged(by, Versioning::Suspended, &[rule("", Some(30))], true);
        assert!(
            without[0].contains("`by: lifecycle`, and the versioning"),
            "{without:?}"
        );
        assert_eq!(without.len(), 1);
    }
}
