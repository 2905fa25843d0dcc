//! When a verdict became another.

use serde::{Deserialize, Serialize};

use super::finding::{Code, Report, Verdict};
use crate::second::Second;

/// From when on a verdict held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub at: Second,
    pub verdict: Verdict,
    /// What decided it, where it is not a proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
}

impl Change {
    pub fn of(report: &Report, at: Second) -> Self {
        let decides = report.findings.iter().filter(|finding| finding.needed);
        let mut decides = decides.filter(|finding| finding.code.verdict() == report.verdict);
        Self {
            at,
            verdict: report.verdict,
            code: decides.next().map(|finding| finding.code),
        }
    }
}
