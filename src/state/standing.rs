//! What one image was found to be, over time.

use std::sync::Arc;

use jiff::Timestamp;

use super::facts;
use super::image::ImageState;
use crate::remembered::RememberedImage;
use crate::second::Second;
use crate::verify::change::Change;
use crate::verify::finding::{Code, Report, Verdict};
use crate::verify::target::Needs;

/// What an image was found to be.
#[derive(Debug, Clone, Default)]
pub(super) struct Standing {
    /// `None` while nobody looked.
    pub(super) report: Option<Arc<Report>>,
    pub(super) proven_at: Option<Second>,
    /// `None` before it was shown or looked at.
    pub(super) since: Option<Second>,
    /// The start of the round that said so, in microseconds of Unix time: of two rounds that began in
    /// one second, one began later.
    asked_at: i64,
    /// A restart would not give it back yet.
    pub(super) is_unsaved: bool,
    /// As it was last shown, of this very report.
    pub(super) shown: Option<Arc<ImageState>>,
}

const _: () = assert!(size_of::<Standing>() <= 40);

impl Standing {
    /// What it is after one more report. A broken verdict stands until a proof: a registry that goes
    /// down while an image is missing must not resolve the page for it. What is unknown in between is
    /// shown beside it.
    pub(super) fn advance(&mut self, report: Report, asked_at: Timestamp, now: Timestamp) {
        let before = self.report.take();
        let stands = before
            .as_ref()
            .filter(|before| before.verdict == Verdict::Broken);
        let mut report = match (report.verdict, stands) {
            (Verdict::Unknown | Verdict::Broken, Some(before)) => {
                facts::with_standing(report, before)
            }
            (Verdict::Pullable | Verdict::Broken | Verdict::Unknown, _) => report,
        };
        self.proven_at = report.proven_at.or(self.proven_at);
        // Mostly nothing changed but the times: then one list serves both.
        let same = before
            .as_ref()
            .filter(|before| before.platforms == report.platforms);
        if let Some(before) = same {
            report.platforms = before.platforms.clone();
        }
        if before.is_none_or(|before| before.verdict != report.verdict) {
            self.since = Some(now.into());
        }
        self.report = Some(Arc::new(report));
        self.asked_at = asked_at.as_microsecond();
        self.shown = None;
    }

    /// Whether a round that began then is of a time that is over.
    pub(super) fn is_newer_than(&self, asked_at: Timestamp) -> bool {
        self.report.is_some() && self.asked_at > asked_at.as_microsecond()
    }

    /// What it is, and since when.
    pub(super) fn change(&self) -> Option<Change> {
        Some(Change::of(self.report.as_ref()?, self.since?))
    }

    pub(super) fn is_broken(&self) -> bool {
        let report = self.report.as_ref();
        report.is_some_and(|report| report.verdict == Verdict::Broken)
    }

    /// The same of another image.
    pub(super) fn inherited(&self) -> Self {
        Self {
            shown: None,
            is_unsaved: false,
            ..self.clone()
        }
    }

    /// What a restart has to give back.
    pub(super) fn to_remember(&self, needs: Needs) -> Option<RememberedImage> {
        Some(RememberedImage {
            needs,
            report: Arc::clone(self.report.as_ref()?),
            proven_at: self.proven_at,
            since: self.since?,
            asked_at: Timestamp::from_microsecond(self.asked_at).ok()?,
            platforms: None,
            changes: Box::default(),
        })
    }

    /// What still counts after a restart, given the platforms that count now.
    pub(super) fn recalled(before: RememberedImage, needs: &Needs) -> Option<Self> {
        let counts = match before.report.verdict {
            Verdict::Pullable => before.needs == *needs,
            Verdict::Broken | Verdict::Unknown => true,
        };
        counts.then(|| Self {
            report: Some(before.report),
            proven_at: before.proven_at,
            since: Some(before.since),
            asked_at: before.asked_at.as_microsecond(),
            is_unsaved: false,
            shown: None,
        })
    }

    /// What it says at a time: a proof that is too old by then is no proof. `None` while nobody looked.
    pub(super) fn told(&self, now: Timestamp) -> Option<Arc<Report>> {
        let report = self.report.as_ref()?;
        let is_fresh = |until: Second| now <= Timestamp::from(until);
        if report.verdict != Verdict::Pullable || report.fresh_until.is_some_and(is_fresh) {
            return Some(Arc::clone(report));
        }
        // It was told so before, then in the same words.
        let before = self.shown.as_ref().map(|shown| shown.own_report());
        let stale = before.filter(|before| !Arc::ptr_eq(before, report));
        Some(stale.map_or_else(|| Arc::new(stale_since(report)), Arc::clone))
    }
}

fn stale_since(report: &Report) -> Report {
    let message = report.proven_at.map_or_else(
        || "it was never proven".to_owned(),
        |at| format!("the last proof is of {at}, which is too old to count"),
    );
    Report {
        digest: report.digest,
        platforms: report.platforms.clone(),
        checked_at: report.checked_at,
        ..Report::only(Code::Stale, message)
    }
}
