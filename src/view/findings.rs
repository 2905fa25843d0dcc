//! `/api/v1/findings`: what is wrong and not known, one entry for each finding.

use jiff::Timestamp;
use serde::Serialize;

use crate::oci::digest::Digest;
use crate::oci::platform::Platform;
use crate::state::{ImageState, Snapshot};
use crate::verify::finding::{Code, Verdict};

/// The findings of one page of images.
#[derive(Debug, Serialize)]
pub struct FindingsView<'a> {
    schema: &'static str,
    at: Timestamp,
    /// How many images match, of which this has the findings of a page.
    matching: usize,
    findings: Vec<OfImage<'a>>,
}

#[derive(Debug, Serialize)]
struct OfImage<'a> {
    reference: &'a str,
    registry: &'a str,
    /// That of the image; what no needed platform has changes nothing of it.
    verdict: Verdict,
    /// Broken before pullproof came, and never whole since.
    known: bool,
    /// Since when the image's verdict is what it is.
    since: Timestamp,
    code: Code,
    subject: Option<Digest>,
    platform: Option<&'a Platform>,
    needed: bool,
    path: &'a [Digest],
    message: &'a str,
}

impl<'a> FindingsView<'a> {
    pub fn of(snapshot: &Snapshot, matching: usize, page: Vec<&'a ImageState>) -> Self {
        let findings = page.into_iter().flat_map(|image| {
            let findings = image.report.findings.iter();
            findings.map(|finding| OfImage {
                reference: image.reference(),
                registry: image.registry(),
                verdict: image.verdict(),
                known: image.is_known,
                since: image.since.into(),
                code: finding.code,
                subject: finding.subject,
                platform: finding.platform.as_ref(),
                needed: finding.needed,
                path: &finding.path,
                message: &finding.message,
            })
        });
        Self {
            schema: "pullproof.dev/findings/v1",
            at: snapshot.at,
            matching,
            findings: findings.collect(),
        }
    }
}
