//! From a snapshot to the series of workloads: one row for a use of an image by a container. Pure.

use std::collections::BTreeMap;

use crate::inventory::Class;
use crate::state::{ImageState, Snapshot};
use crate::verify::finding::{Code, Finding, Verdict};

/// A label value longer than this is cut.
pub const LABEL_BYTES_MAX: usize = 256;

/// What tells rows apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowKey<'a> {
    pub cluster: Option<&'a str>,
    pub namespace: &'a str,
    pub kind: &'a str,
    pub workload: &'a str,
    pub container: &'a str,
    pub image: &'a str,
}

/// One row.
#[derive(Debug, Clone)]
pub struct Row<'a> {
    /// The strongest reason for which it is needed.
    pub class: Class,
    pub image: &'a ImageState,
}

/// The rows of a snapshot, in order. Several uses that differ only in what named them (two old
/// ReplicaSets of one Deployment) are one row, of the strongest class and the worst verdict.
pub fn rows(snapshot: &Snapshot) -> BTreeMap<RowKey<'_>, Row<'_>> {
    let mut rows: BTreeMap<RowKey<'_>, Row<'_>> = BTreeMap::new();
    for image in &snapshot.images {
        for user in image.users.iter() {
            let key = RowKey {
                cluster: user.cluster.as_deref(),
                namespace: &user.namespace,
                kind: &user.kind,
                workload: &user.name,
                container: &user.container,
                image: &image.reference,
            };
            rows.entry(key)
                .and_modify(|row| {
                    row.class = row.class.min(user.class);
                    if image.verdict() > row.image.verdict() {
                        row.image = image;
                    }
                })
                .or_insert(Row {
                    class: user.class,
                    image,
                });
        }
    }
    rows
}

/// What is broken: for each platform the first finding on the way from the tag.
pub fn failures(image: &ImageState) -> Vec<&Finding> {
    let mut first: Vec<&Finding> = Vec::new();
    for finding in &image.report.findings {
        let is_failure = finding.needed && finding.code.verdict() == Verdict::Broken;
        if is_failure && !first.iter().any(|known| known.platform == finding.platform) {
            first.push(finding);
        }
    }
    first
}

/// Why it is not known.
pub fn doubt(image: &ImageState) -> Code {
    image
        .report
        .findings
        .iter()
        .find(|finding| finding.needed && finding.code.verdict() == Verdict::Unknown)
        .map_or(Code::NeverChecked, |finding| finding.code)
}

/// A value fit for a label: bounded, and without control characters.
pub fn label(text: &str) -> String {
    let mut value = String::with_capacity(text.len().min(LABEL_BYTES_MAX));
    for character in text.chars() {
        let shown = if character.is_control() {
            '\u{fffd}'
        } else {
            character
        };
        if value.len() + shown.len_utf8() > LABEL_BYTES_MAX {
            break;
        }
        value.push(shown);
    }
    value
}
