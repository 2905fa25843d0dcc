//! The images of one page of the overview: what is wrong with each and whom it hurts. Pure.

use std::sync::Arc;

use jiff::Timestamp;

use super::address;
use super::told::{self, Told};
use super::words::{self, Mark, Moment, Name, Piece};
use crate::inventory::marks::AllMarks;
use crate::inventory::{Idle, User};
use crate::oci::platform::Platform;
use crate::state::ImageState;
use crate::verify::finding::{Code, Verdict};

/// What is shown of one image; the rest is counted, and on its own page.
const FINDINGS_SHOWN: usize = 3;
const USERS_SHOWN: usize = 2;
const MARKS_SHOWN: usize = 16;

pub(super) struct Group {
    pub(super) verdict: Verdict,
    pub(super) title: &'static str,
    pub(super) entries: Vec<Entry>,
}

/// One image in the list.
pub(super) struct Entry {
    pub(super) href: String,
    pub(super) name: Name,
    pub(super) is_known: bool,
    pub(super) credential: Option<String>,
    pub(super) since: Option<Moment>,
    pub(super) proof: Option<Moment>,
    pub(super) told: Vec<Told>,
    pub(super) told_more: usize,
    pub(super) first: Vec<Piece>,
    pub(super) marks: Vec<Mark>,
    pub(super) marks_more: usize,
    pub(super) users: Vec<UserLine>,
    pub(super) users_more: usize,
}

pub(super) struct UserLine {
    pub(super) name: String,
    pub(super) container: String,
    pub(super) class: &'static str,
    pub(super) idle: Option<Idle>,
    /// Why its alerts are silenced.
    pub(super) ignored: Option<Arc<str>>,
}

pub(super) fn groups(page: &[&ImageState], marks: &AllMarks, now: Timestamp) -> Vec<Group> {
    let titles = [
        (Verdict::Broken, "Broken"),
        (Verdict::Unknown, "Unknown"),
        (Verdict::Pullable, "Pullable"),
    ];
    let group = |(verdict, title)| {
        let images = page.iter().filter(|image| image.verdict() == verdict);
        let entries: Vec<Entry> = images.map(|image| Entry::of(image, marks, now)).collect();
        (!entries.is_empty()).then_some(Group {
            verdict,
            title,
            entries,
        })
    };
    titles.into_iter().filter_map(group).collect()
}

impl Entry {
    fn of(image: &ImageState, all: &AllMarks, now: Timestamp) -> Self {
        let mut told = told::told(&image.report);
        // What no node needs decides nothing; its mark says enough here.
        told.retain(|told| told.needed);
        let told_more = told.len().saturating_sub(FINDINGS_SHOWN);
        told.truncate(FINDINGS_SHOWN);
        let (marks, marks_more) = marks(image);
        let mut users: Vec<&User> = image
            .users()
            .iter()
            .map(AsRef::as_ref)
            .filter(|it| !it.is_argument())
            .collect();
        users.sort_by_key(|user| user.class);
        let is_dated = image.verdict() == Verdict::Broken && !is_malformed(image);
        Self {
            href: address::image(image.reference()),
            name: Name::of(image.reference()),
            is_known: image.is_known && image.verdict() == Verdict::Broken,
            credential: image.credential().map(ToOwned::to_owned),
            since: is_dated.then(|| Moment::of(image.since.into(), now)),
            proof: image.proven_at.map(|at| Moment::of(at.into(), now)),
            first: told
                .first()
                .map_or_else(Vec::new, |told| words::pieces(told.explanation.first)),
            told,
            told_more,
            marks,
            marks_more,
            users_more: users.len().saturating_sub(USERS_SHOWN),
            users: users
                .into_iter()
                .take(USERS_SHOWN)
                .map(|user| UserLine::of(user, all))
                .collect(),
        }
    }
}

impl UserLine {
    fn of(user: &User, marks: &AllMarks) -> Self {
        Self {
            name: told::user(user),
            container: user.container.to_string(),
            class: user.class.as_str(),
            idle: user.idle,
            ignored: marks.of(user).ignored().cloned(),
        }
    }
}

/// A malformed reference was always so: it has no time from which on.
pub(super) fn is_malformed(image: &ImageState) -> bool {
    let mut findings = image.report.findings.iter();
    findings.any(|finding| finding.code == Code::ReferenceInvalid)
}

/// Platforms, what hurts first. Attestations are no platform that anybody asks for.
fn marks(image: &ImageState) -> (Vec<Mark>, usize) {
    let mut platforms: Vec<_> = image
        .report
        .platforms
        .iter()
        .filter(|report| {
            let is_attestation = report.platform.as_ref().is_some_and(Platform::is_unknown);
            !(is_attestation && report.verdict == Verdict::Pullable)
        })
        .collect();
    platforms.sort_by_key(|report| (!report.needed, std::cmp::Reverse(report.verdict)));
    let more = platforms.len().saturating_sub(MARKS_SHOWN);
    let marks = platforms.iter().take(MARKS_SHOWN).map(|report| Mark {
        verdict: report.verdict,
        name: words::platform(report.platform.as_ref()),
        needed: report.needed,
    });
    (marks.collect(), more)
}
