//! Platforms that an image had, and has no more.

use serde::{Deserialize, Serialize};

use crate::oci::platform::Platform;
use crate::verify::finding::{Code, Finding, Report, Verdict};

/// What is remembered of an image's platforms besides those of its last report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlatformsBefore {
    /// Those of its last proof, where the last report is none.
    had: Vec<Platform>,
    /// Those that an earlier proof had and that the index has no more.
    pub lost: Vec<Platform>,
}

impl PlatformsBefore {
    pub fn is_empty(&self) -> bool {
        self.had.is_empty() && self.lost.is_empty()
    }

    /// What is to be remembered after one more report, given the one before.
    #[must_use]
    pub fn after(&self, before: Option<&Report>, now: &Report) -> Self {
        let proven = before.filter(|before| before.verdict == Verdict::Pullable);
        let mut had: Vec<Platform> = self.had.clone();
        had.extend(proven.into_iter().flat_map(proven_platforms).cloned());
        had.sort_unstable();
        had.dedup();
        let Some(offered) = offered(now) else {
            return Self {
                had,
                lost: self.lost.clone(),
            };
        };
        let is_lost = |had: &&Platform| !offered.iter().any(|platform| platform.suits(had));
        let mut lost: Vec<Platform> = self
            .lost
            .iter()
            .chain(&had)
            .filter(is_lost)
            .cloned()
            .collect();
        lost.sort_unstable();
        lost.dedup();
        if now.verdict == Verdict::Pullable {
            // From now on this report tells what it had.
            had.clear();
        }
        Self { had, lost }
    }
}

fn proven_platforms(report: &Report) -> impl Iterator<Item = &Platform> {
    let there = report
        .platforms
        .iter()
        .filter(|platform| platform.verdict == Verdict::Pullable && platform.digest.is_some());
    let platforms = there.filter_map(|platform| platform.platform.as_ref());
    platforms.filter(|platform| !platform.is_unknown())
}

/// All platforms that there are, be they broken; `None` where it is not known that these are all.
fn offered(report: &Report) -> Option<Vec<&Platform>> {
    // What was not followed to its end may have more.
    let is_open = |finding: &Finding| {
        matches!(
            finding.code,
            Code::Unsupported | Code::NeverChecked | Code::ManifestMissing
        )
    };
    let is_told = report.digest.is_some()
        && report.verdict != Verdict::Unknown
        && !report.platforms.is_empty()
        && !report.findings.iter().any(is_open);
    if !is_told {
        return None;
    }
    let there = report.platforms.iter().filter(|one| one.digest.is_some());
    there.map(|one| one.platform.as_ref()).collect()
}
