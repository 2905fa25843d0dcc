//! What one walk found out about one image. There is one for each image, for as long as it is known:
//! its size counts.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Code, Finding, Findings, Verdict};
use crate::oci::digest::Digest;
use crate::oci::platform::Platform;
use crate::second::Second;

/// One platform of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlatformReport {
    /// `None` where neither the index nor the config says.
    pub platform: Option<Platform>,
    /// `None` for a needed platform that the index lacks.
    pub digest: Option<Digest>,
    pub verdict: Verdict,
    pub needed: bool,
}

/// The platforms of an image. Copies share them until one changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlatformReports(Arc<[PlatformReport]>);

impl PlatformReports {
    pub fn push(&mut self, report: PlatformReport) {
        self.0 = self.iter().cloned().chain([report]).collect();
    }
}

impl Deref for PlatformReports {
    type Target = [PlatformReport];

    fn deref(&self) -> &[PlatformReport] {
        &self.0
    }
}

impl DerefMut for PlatformReports {
    fn deref_mut(&mut self) -> &mut [PlatformReport] {
        Arc::make_mut(&mut self.0)
    }
}

impl From<Vec<PlatformReport>> for PlatformReports {
    fn from(reports: Vec<PlatformReport>) -> Self {
        Self(reports.into())
    }
}

impl FromIterator<PlatformReport> for PlatformReports {
    fn from_iter<I: IntoIterator<Item = PlatformReport>>(reports: I) -> Self {
        Self(reports.into_iter().collect())
    }
}

/// What one walk found out about one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The root that the verdict is about.
    pub digest: Option<Digest>,
    pub verdict: Verdict,
    pub platforms: PlatformReports,
    pub findings: Findings,
    /// The time of the oldest object of the proof; only if the verdict is `pullable`.
    pub proven_at: Option<Second>,
    /// Until when the proof counts: three times the interval that each object is due in.
    pub fresh_until: Option<Second>,
    /// When the walk ended.
    pub checked_at: Option<Second>,
}

const _: () = assert!(size_of::<Report>() <= 72);

impl Report {
    /// An image of which only one thing is known.
    pub fn only(code: Code, message: String) -> Self {
        Self {
            digest: None,
            verdict: code.verdict(),
            platforms: PlatformReports::default(),
            findings: [Finding {
                code,
                subject: None,
                platform: None,
                needed: true,
                path: Vec::new(),
                message,
            }]
            .into(),
            proven_at: None,
            fresh_until: None,
            checked_at: None,
        }
    }

    /// Makes the verdict what the findings say. Only a proof without needed findings is pullable.
    pub fn settle(&mut self) {
        let findings = self.findings.iter().filter(|finding| finding.needed);
        self.verdict = findings
            .map(|finding| finding.code.verdict())
            .max()
            .unwrap_or(Verdict::Pullable);
        if self.verdict != Verdict::Pullable {
            self.proven_at = None;
            self.fresh_until = None;
        }
    }

    pub fn never_checked() -> Self {
        Self::only(Code::NeverChecked, "it was not checked yet".to_owned())
    }
}
