//! All that an image is made of: the index, each platform's manifest, its config and its layers, with their
//! sizes and what is known of each. Pure: manifests are read by a function that is passed in.

use bytes::Bytes;

use super::super::picture;
use super::super::words::{self, Mark};
use crate::oci::digest::Digest;
use crate::oci::platform::Platform;
use crate::state::{ImageState, Snapshot};
use crate::verify::finding::{Finding, PlatformReport, Verdict};
use crate::verify::node::{BlobEdge, Node, Shape};

/// What is shown at most; the rest is counted.
const PLATFORMS_SHOWN: usize = 32;
const BLOBS_SHOWN: usize = 130;
const TAGS_SHOWN: usize = 5;

/// Looks up a manifest that was fetched once.
pub(in crate::http::page) type ReadManifest<'a> = dyn Fn(&Digest) -> Option<Bytes> + 'a;

pub(in crate::http::page) struct Tree {
    /// `index` or `manifest`, and how large it is; `None` where it was never read.
    pub(in crate::http::page) root: Option<(&'static str, String)>,
    pub(in crate::http::page) branches: Vec<Branch>,
    pub(in crate::http::page) more: usize,
}

/// One platform.
pub(in crate::http::page) struct Branch {
    pub(in crate::http::page) mark: Mark,
    pub(in crate::http::page) digest: String,
    /// `3 layers, 120 MiB`; `None` where its manifest was never read.
    pub(in crate::http::page) total: Option<String>,
    /// Those that name it directly, and how many more do; `None` where that is not known.
    pub(in crate::http::page) tags: Option<(String, usize)>,
    pub(in crate::http::page) blobs: Vec<Blob>,
    pub(in crate::http::page) more: usize,
}

pub(in crate::http::page) struct Blob {
    pub(in crate::http::page) kind: String,
    pub(in crate::http::page) digest: String,
    pub(in crate::http::page) bytes: String,
    /// Of the largest of them, in thousandths.
    pub(in crate::http::page) share: u64,
    pub(in crate::http::page) tone: &'static str,
    pub(in crate::http::page) sign: &'static str,
    pub(in crate::http::page) state: String,
}

impl Branch {
    /// What is wrong is seen at once.
    pub(in crate::http::page) fn is_open(&self) -> bool {
        self.mark.needed && self.mark.verdict != Verdict::Pullable
    }
}

impl Tree {
    /// `None` while nobody knows to what the reference leads.
    pub(in crate::http::page) fn of(
        image: &ImageState,
        snapshot: &Snapshot,
        read: &ReadManifest<'_>,
    ) -> Option<Self> {
        let root = image.report.digest?;
        let mut platforms: Vec<&PlatformReport> = image.report.platforms.iter().collect();
        platforms.sort_by_key(|report| {
            let is_attestation = report.platform.as_ref().is_some_and(Platform::is_unknown);
            let worst = std::cmp::Reverse(report.verdict);
            (!report.needed, is_attestation, worst)
        });
        let more = platforms.len().saturating_sub(PLATFORMS_SHOWN);
        let branches = platforms.iter().take(PLATFORMS_SHOWN);
        let branches =
            branches.filter_map(|report| Branch::of(report, image, snapshot, root, read));
        let node = read(&root).map(|body| Node::read(&body));
        Some(Self {
            root: node.map(|node| (kind(&node.shape), words::bytes(node.size))),
            branches: branches.collect(),
            more,
        })
    }
}

fn kind(shape: &Shape) -> &'static str {
    match shape {
        Shape::Index(_) => "index",
        Shape::Image { .. } | Shape::Unsupported(_) | Shape::Invalid(_) => "manifest",
    }
}

impl Branch {
    /// `None` where the index has no such platform: that is a finding, and no object.
    fn of(
        report: &PlatformReport,
        image: &ImageState,
        snapshot: &Snapshot,
        root: Digest,
        read: &ReadManifest<'_>,
    ) -> Option<Self> {
        let digest = report.digest?;
        let findings = image.report.findings.iter();
        let findings: Vec<&Finding> = findings
            .filter(|finding| finding.platform.is_none() || finding.platform == report.platform)
            .collect();
        let tags = image
            .image()
            .and_then(|image| snapshot.tags.of(&image.key, snapshot.at))
            .and_then(|answer| answer.tags(&root, &digest));
        let tags = tags.map(|tags| {
            let shown: Vec<String> = tags
                .iter()
                .take(TAGS_SHOWN)
                .map(ToString::to_string)
                .collect();
            (shown.join(", "), tags.len().saturating_sub(TAGS_SHOWN))
        });
        let node = read(&digest).map(|body| Node::read(&body));
        let parts: Vec<(String, BlobEdge)> = match node.map(|node| node.shape) {
            Some(Shape::Image { config, layers }) => {
                let layers = layers.iter().enumerate();
                let layers = layers.map(|(place, layer)| (format!("layer {}", place + 1), *layer));
                std::iter::once(("config".to_owned(), config))
                    .chain(layers)
                    .collect()
            }
            Some(Shape::Index(_) | Shape::Unsupported(_) | Shape::Invalid(_)) | None => Vec::new(),
        };
        let largest = parts.iter().map(|(_, edge)| edge.size).max();
        let bytes = parts.iter().map(|(_, edge)| edge.size);
        let bytes = bytes.fold(0_u64, u64::saturating_add);
        let layers = parts.len().saturating_sub(1);
        let blobs = parts.iter().take(BLOBS_SHOWN).map(|(kind, edge)| {
            let (verdict, state) = state(edge, report, &findings);
            Blob {
                kind: kind.clone(),
                digest: edge.digest.to_string(),
                bytes: words::bytes(edge.size),
                share: picture::seen(edge.size, largest.unwrap_or_default()),
                tone: verdict.map_or("faint", Verdict::as_str),
                sign: verdict.map_or("·", words::sign),
                state,
            }
        });
        Some(Self {
            mark: Mark {
                verdict: report.verdict,
                name: words::platform(report.platform.as_ref()),
                needed: report.needed,
            },
            digest: digest.to_string(),
            total: (!parts.is_empty()).then(|| {
                format!(
                    "{}, {}",
                    words::counted(layers, "layer"),
                    words::bytes(bytes)
                )
            }),
            tags,
            blobs: blobs.collect(),
            more: parts.len().saturating_sub(BLOBS_SHOWN),
        })
    }
}

/// What is known of one object. Only a proof says that it is there.
fn state(
    edge: &BlobEdge,
    report: &PlatformReport,
    findings: &[&Finding],
) -> (Option<Verdict>, String) {
    let mut of_it = findings.iter();
    if let Some(finding) = of_it.find(|finding| finding.subject == Some(edge.digest)) {
        let verdict = finding.code.verdict();
        return (Some(verdict), finding.code.to_string());
    }
    if !edge.is_distributable {
        return (None, "fetched from elsewhere".to_owned());
    }
    if report.verdict == Verdict::Pullable {
        return (Some(Verdict::Pullable), "there".to_owned());
    }
    // Behind a manifest that is not there, or could not be read, nobody looked.
    let is_reached = !findings.iter().any(|finding| {
        finding.subject.is_none() || finding.subject == report.digest || finding.path.is_empty()
    });
    let state = if is_reached {
        "nothing was found against it"
    } else {
        "not looked at"
    };
    (None, state.to_owned())
}
