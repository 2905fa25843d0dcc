//! The platforms that a cluster's nodes had: a pool that is scaled to zero comes back, and pulls. Pure.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::oci::platform::Platform;

/// A platform that a node had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    pub platform: Platform,
    /// When a node had it last.
    pub last: Timestamp,
}

/// What is remembered once nodes have these now; what was seen longer ago than `keep` is not. In order.
#[must_use]
pub fn after(
    before: &[Seen],
    there: &[Platform],
    keep: SignedDuration,
    now: Timestamp,
) -> Vec<Seen> {
    let gone = before
        .iter()
        .filter(|seen| !there.contains(&seen.platform) && now.duration_since(seen.last) <= keep);
    let there = there.iter().map(|platform| Seen {
        platform: platform.clone(),
        last: now,
    });
    let mut seen: Vec<Seen> = there.chain(gone.cloned()).collect();
    seen.sort_by(|one, other| one.platform.cmp(&other.platform));
    seen.dedup_by(|one, other| one.platform == other.platform);
    seen
}

/// These, and those that were seen. In order.
pub fn with(there: &[Platform], seen: &[Seen]) -> Vec<Platform> {
    let seen = seen.iter().map(|seen| &seen.platform);
    let mut all: Vec<Platform> = there.iter().chain(seen).cloned().collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_is_needed_for_as_long_as_is_kept_what_was_seen() {
        let [amd, arm] = ["linux/amd64", "linux/arm64"].map(|it| it.parse::<Platform>().unwrap());
        let at = |hour: i64| Timestamp::from_second(hour * 3600).unwrap();
        let keep = SignedDuration::from_hours(48);
        let names = |seen: &[Seen]| with(&[], seen).len();
        let both = after(&[], &[arm.clone(), amd.clone()], keep, at(0));
        assert_eq!(with(&[], &both), [amd.clone(), arm]);
        let later = after(&both, std::slice::from_ref(&amd), keep, at(48));
        assert_eq!(names(&later), 2);
        assert_eq!(
            names(&after(&later, std::slice::from_ref(&amd), keep, at(49))),
            1
        );
        // All nodes are away: what they were is not forgotten before its time.
        assert_eq!(names(&after(&later, &[], keep, at(90))), 1);
    }
}
