//! From a snapshot to the series of workloads: one row for a use of an image by a container. Pure.

use std::borrow::Cow;

use crate::drift::Kind;
use crate::inventory::marks::Marking;
use crate::inventory::{Class, TopOwner, User};
use crate::state::{ImageState, Snapshot};
use crate::verify::finding::{Code, Finding, Report, Verdict};

/// A label value longer than this is cut.
pub const LABEL_BYTES_MAX: usize = 256;

/// One row.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    pub user: &'a User,
    pub image: &'a ImageState,
    /// The strongest reason for which it is needed.
    pub class: Class,
    /// What people say of alerts about its workload.
    pub marking: Marking<'a>,
}

impl<'a> Row<'a> {
    /// What tells rows of one reference apart.
    fn key(&self) -> [&'a str; 5] {
        let User {
            owner,
            container,
            image: _,
            class: _,
            via: _,
            since: _,
            idle: _,
        } = self.user;
        let TopOwner {
            cluster,
            namespace,
            kind,
            name,
        } = &**owner;
        let cluster = cluster.as_deref().unwrap_or_default();
        [cluster, namespace, kind, name, container]
    }
}

/// The rows of a snapshot, image by image. Several uses that differ only in what named them (two old
/// ReplicaSets of one Deployment) are one row, of the strongest class and the worst verdict.
pub fn rows(snapshot: &Snapshot) -> Vec<Row<'_>> {
    let mut rows: Vec<Row<'_>> = Vec::new();
    for images in snapshot.by_reference() {
        let mut new: Vec<Row<'_>> = Vec::new();
        for image in images {
            new.extend(image.users().iter().map(|user| Row {
                user,
                image,
                class: user.class,
                marking: Marking::default(),
            }));
        }
        new.sort_by(|one, other| one.key().cmp(&other.key()));
        new.dedup_by(|again, first| {
            let is_same = again.key() == first.key();
            if is_same {
                first.class = first.class.min(again.class);
                if again.image.verdict() > first.image.verdict() {
                    first.image = again.image;
                }
            }
            is_same
        });
        for row in &mut new {
            row.marking = snapshot.marks.of(row.user);
        }
        rows.append(&mut new);
    }
    rows
}

/// How it drifts for this row's user: each kind once.
pub fn drift(row: &Row<'_>) -> Vec<Kind> {
    let of_row = |user: &User| user.owner == row.user.owner && user.container == row.user.container;
    let drift = row.image.drift().iter();
    let drift = drift.filter(|drift| drift.users.iter().any(|user| of_row(user)));
    let mut kinds: Vec<Kind> = drift.map(|drift| drift.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

/// Whether this row's user cannot pull it, as its node says.
pub fn is_disputed(row: &Row<'_>) -> bool {
    let mut disagreements = row.image.disagreements().iter();
    disagreements
        .any(|one| one.user.owner == row.user.owner && one.user.container == row.user.container)
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
pub fn doubt(report: &Report) -> Code {
    report
        .findings
        .iter()
        .find(|finding| finding.needed && finding.code.verdict() == Verdict::Unknown)
        .map_or(Code::NeverChecked, |finding| finding.code)
}

/// A value fit for a label: bounded, and without control characters.
pub fn label(text: &str) -> Cow<'_, str> {
    if text.len() <= LABEL_BYTES_MAX && !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
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
    Cow::Owned(value)
}

/// The kind of a workload as dashboards have it, in lower case.
pub fn kind(text: &str) -> Cow<'_, str> {
    match text {
        "CronJob" => "cronjob".into(),
        "DaemonSet" => "daemonset".into(),
        "Deployment" => "deployment".into(),
        "Job" => "job".into(),
        "List" => "list".into(),
        "Pod" => "pod".into(),
        "StatefulSet" => "statefulset".into(),
        other => label(&other.to_lowercase()).into_owned().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_bounded_and_has_no_control_characters() {
        assert!(matches!(label("plain ü"), Cow::Borrowed("plain ü")));
        assert_eq!(label("a\nb"), "a\u{fffd}b");
        let long = "ü".repeat(LABEL_BYTES_MAX);
        assert_eq!(label(&long), "ü".repeat(LABEL_BYTES_MAX / 2));
    }

    #[test]
    fn the_kinds_written_out_are_those_in_lower_case() {
        for name in [
            "CronJob",
            "DaemonSet",
            "Deployment",
            "Job",
            "List",
            "Pod",
            "StatefulSet",
            "Rollout",
        ] {
            assert_eq!(kind(name), name.to_lowercase());
        }
    }
}
