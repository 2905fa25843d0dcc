//! Findings as they are told: those that say the same of the same place are one. Pure.

use std::collections::{BTreeSet, HashMap};

use super::words::{self, Piece};
use crate::inventory::User;
use crate::oci::digest::Digest;
use crate::oci::platform::Platform;
use crate::state::ImageState;
use crate::verify::finding::explanation::{Explanation, explain};
use crate::verify::finding::{Code, Finding, Report, Verdict};

/// Objects drawn below one parent, and platforms named in a row; the rest is counted.
const OBJECTS_SHOWN: usize = 8;
const PLATFORMS_SHOWN: usize = 8;

/// One thing that is the case, on some platforms.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub code: Code,
    pub explanation: Explanation,
    pub platforms: Vec<String>,
    pub needed: bool,
    /// Of the first finding.
    pub message: Vec<Piece>,
    /// Distinct objects, where they are more than one.
    pub objects: Option<usize>,
}

impl Told {
    pub(super) fn verdict(&self) -> Verdict {
        self.code.verdict()
    }
}

/// What decides the verdict first, the rest after it; each in the order of the walk.
pub(super) fn sorted(report: &Report) -> Vec<&Finding> {
    let mut findings: Vec<&Finding> = report.findings.iter().collect();
    findings.sort_by_key(|finding| (!finding.needed, std::cmp::Reverse(finding.code.verdict())));
    findings
}

/// The findings of one image, by what they say.
pub(super) fn told(report: &Report) -> Vec<Told> {
    let mut groups: Vec<(Told, BTreeSet<String>, BTreeSet<Option<Digest>>)> = Vec::new();
    let mut places: HashMap<(Code, bool), usize> = HashMap::new();
    for finding in sorted(report) {
        let place = *places
            .entry((finding.code, finding.needed))
            .or_insert(groups.len());
        if place == groups.len() {
            let told = Told {
                code: finding.code,
                explanation: explain(finding.code),
                platforms: Vec::new(),
                needed: finding.needed,
                message: words::pieces(&finding.message),
                objects: None,
            };
            groups.push((told, BTreeSet::new(), BTreeSet::new()));
        }
        let Some((_, platforms, subjects)) = groups.get_mut(place) else {
            continue;
        };
        if finding.platform.is_some() {
            platforms.insert(words::platform(finding.platform.as_ref()));
        }
        subjects.insert(finding.subject);
    }
    groups
        .into_iter()
        .map(|(told, platforms, subjects)| {
            let more = platforms.len().saturating_sub(PLATFORMS_SHOWN);
            let more = (more > 0).then(|| format!("{more} more"));
            Told {
                platforms: platforms
                    .into_iter()
                    .take(PLATFORMS_SHOWN)
                    .chain(more)
                    .collect(),
                objects: Some(subjects.len()).filter(|objects| *objects > 1),
                ..told
            }
        })
        .collect()
}

/// One line of the way from the tag to what a finding is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// How far it is indented.
    pub depth: usize,
    pub kind: &'static str,
    /// Of a tag, or of a platform that the index lacks.
    pub name: String,
    pub digest: Option<String>,
    pub platform: Option<String>,
    /// The finding is about this.
    pub is_subject: bool,
}

/// Findings of one code in one place, with the way there.
#[derive(Debug, Clone)]
pub(super) struct Located {
    pub code: Code,
    pub explanation: Explanation,
    pub platform: Option<String>,
    pub needed: bool,
    pub message: Vec<Piece>,
    pub first: Vec<Piece>,
    pub way: Vec<Step>,
    /// How far the last of it is indented.
    pub depth: usize,
    /// Objects of the same place that are not drawn.
    pub more: usize,
}

impl Located {
    pub(super) fn verdict(&self) -> Verdict {
        self.code.verdict()
    }

    pub(super) fn sign(&self) -> &'static str {
        words::sign(self.verdict())
    }
}

/// The findings of one image, each with its way, and those of one place together.
pub(super) fn located(image: &ImageState) -> Vec<Located> {
    type Place<'a> = (Code, bool, Option<&'a Platform>, &'a [Digest]);
    let mut groups: Vec<(&Finding, Vec<Digest>)> = Vec::new();
    let mut places: HashMap<Place<'_>, usize> = HashMap::new();
    for finding in sorted(&image.report) {
        let place = (
            finding.code,
            finding.needed,
            finding.platform.as_ref(),
            finding.path.as_slice(),
        );
        let index = *places.entry(place).or_insert(groups.len());
        if index == groups.len() {
            groups.push((finding, Vec::new()));
        }
        if let Some((_, subjects)) = groups.get_mut(index) {
            subjects.extend(finding.subject);
        }
    }
    groups
        .into_iter()
        .map(|(finding, subjects)| {
            let way = way(image, finding, &subjects);
            let platform = finding.platform.as_ref();
            Located {
                code: finding.code,
                explanation: explain(finding.code),
                platform: platform.map(|platform| words::platform(Some(platform))),
                needed: finding.needed,
                message: words::pieces(&finding.message),
                first: words::pieces(explain(finding.code).first),
                depth: way.last().map_or(0, |step| step.depth),
                way,
                more: subjects.len().saturating_sub(OBJECTS_SHOWN),
            }
        })
        .collect()
}

fn way(image: &ImageState, finding: &Finding, subjects: &[Digest]) -> Vec<Step> {
    let name = words::Name::of(image.reference());
    let is_about_tag = subjects.is_empty() && finding.path.is_empty();
    if name.host.is_empty() || is_about_tag && finding.code.verdict() == Verdict::Unknown {
        // Nothing was reached from the reference: there is no way to draw.
        return Vec::new();
    }
    let mut way = vec![Step {
        depth: 0,
        kind: if name.tag.is_empty() { "digest" } else { "tag" },
        name: format!("{}{}{}", name.repository, name.tag, name.digest),
        digest: None,
        platform: None,
        is_subject: is_about_tag,
    }];
    let platform_of = |digest: Digest| {
        let platforms = &image.report.platforms;
        let report = platforms
            .iter()
            .find(|report| report.digest == Some(digest))?;
        Some(words::platform(report.platform.as_ref()))
    };
    for digest in &finding.path {
        let platform = platform_of(*digest);
        way.push(Step {
            depth: way.len(),
            kind: if platform.is_some() {
                "manifest"
            } else {
                "index"
            },
            name: String::new(),
            digest: Some(digest.to_string()),
            platform,
            is_subject: false,
        });
    }
    let depth = way.len();
    let is_lacking = finding.code == Code::PlatformMissing;
    for digest in subjects.iter().take(OBJECTS_SHOWN) {
        let platform = platform_of(*digest);
        way.push(Step {
            depth,
            kind: kind(finding, platform.is_some()),
            name: String::new(),
            digest: Some(digest.to_string()),
            platform,
            is_subject: !is_lacking,
        });
    }
    if is_lacking {
        way.push(Step {
            depth: way.len(),
            kind: "manifest",
            name: words::platform(finding.platform.as_ref()),
            digest: None,
            platform: None,
            is_subject: true,
        });
    }
    way
}

/// What kind of object a finding is about, as far as it tells.
fn kind(finding: &Finding, is_platform: bool) -> &'static str {
    match finding.code {
        Code::ConfigMissing => "config",
        Code::LayerMissing | Code::LayerArchived => "layer",
        Code::ManifestMissing | Code::ChildMissing => "manifest",
        Code::PlatformMissing => "index",
        Code::TagMissing
        | Code::SizeMismatch
        | Code::DigestMismatch
        | Code::ManifestInvalid
        | Code::ReferenceInvalid
        | Code::Unauthorized
        | Code::Forbidden
        | Code::CredentialUnavailable
        | Code::RateLimited
        | Code::Unreachable
        | Code::Tls
        | Code::Timeout
        | Code::ServerError
        | Code::Untrusted
        | Code::Unsupported
        | Code::NeverChecked
        | Code::Stale => {
            if is_platform {
                "manifest"
            } else if finding.path.is_empty() {
                "root"
            } else {
                "object"
            }
        }
    }
}

/// A workload that uses an image, in one line.
pub(super) fn user(user: &User) -> String {
    let cluster = user
        .cluster
        .as_deref()
        .map(|cluster| format!("{cluster}: "));
    let namespace = if user.namespace.is_empty() {
        String::new()
    } else {
        format!("{}/", user.namespace)
    };
    format!(
        "{}{namespace}{}/{}",
        cluster.unwrap_or_default(),
        user.kind,
        user.name
    )
}
