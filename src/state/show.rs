//! From the state to a snapshot. What did not change is shown by the very same allocation as before:
//! a snapshot costs what changed.

use std::sync::Arc;

use jiff::Timestamp;

use super::State;
use super::image::{Detailed, Endpoint, ImageState, Malformed, Named};
use super::snapshot::Snapshot;
use crate::images;
use crate::mirrors::{self, Role};
use crate::second::Second;
use crate::verify::finding::{Code, Report};

impl State {
    /// All of it, as of `now`: a proof that is too old by then is no proof.
    pub fn snapshot(&mut self, now: Timestamp) -> Snapshot {
        self.sequence += 1;
        self.note_refusals(now);
        let all = Arc::clone(self.standings.images());
        let count = all.images.len();
        let mut images = Vec::with_capacity(count + all.malformed.len());
        images.extend((0..count).filter_map(|position| self.show(position, now)));
        let endpoints = count..count + all.endpoints.len();
        let endpoints = endpoints.filter_map(|position| self.show(position, now));
        let endpoints = endpoints.collect();
        self.show_malformed(&all.malformed, now);
        images.extend(self.malformed.iter().cloned());
        // Before the first inventory there is no source: that is not an empty inventory.
        let is_complete =
            !self.sources.is_empty() && self.sources.iter().all(|source| source.is_settled(now));
        let mut standings = self.standings.all();
        let is_checked = standings.all(|(_, standing)| standing.report.is_some());
        Snapshot {
            at: now,
            sequence: self.sequence,
            sources: self.sources.clone(),
            images,
            endpoints,
            registries: self.registries.values().cloned().collect(),
            marks: self.marks.clone(),
            tags: Arc::clone(&self.drifting.tags),
            histories: Arc::clone(&self.histories),
            is_ready: is_complete && is_checked,
            baseline_images: self.baseline.images.len(),
        }
    }

    fn show(&mut self, position: usize, now: Timestamp) -> Option<Arc<ImageState>> {
        let (image, standing) = self.standings.at(position)?;
        let own = self.told(position, now)?;
        let proven_at = standing
            .proven_at
            .or_else(|| self.proven_elsewhere(position));
        let is_known = proven_at.is_none() && self.baseline.knows(&image.name, now);
        let since = standing.since.unwrap_or(now.into());
        let endpoints = self.endpoints(position, &own, now);
        let mirrors: Vec<Arc<Report>> = endpoints
            .iter()
            .filter(|endpoint| endpoint.role == Role::Mirror)
            .map(|endpoint| Arc::clone(&endpoint.report))
            .collect();
        let report = mirrors::together(&own, &mirrors);
        let details = self.details(image, endpoints, &report, since, now);
        let is_so = |shown: &&Arc<ImageState>| {
            let is_told = !details.endpoints.is_empty() || Arc::ptr_eq(shown.own_report(), &own);
            is_told
                && shown.has_details(&details)
                && shown.proven_at == proven_at
                && shown.since == since
                && shown.is_known == is_known
        };
        if let Some(shown) = standing.shown.as_ref().filter(is_so) {
            return Some(Arc::clone(shown));
        }
        let image = Arc::clone(image);
        let shown = Arc::new(ImageState {
            report,
            named: if details.is_empty() {
                Named::Image(image)
            } else {
                Named::Detailed(Arc::new(Detailed { image, details }))
            },
            proven_at,
            since,
            is_known,
        });
        let standing = self.standings.at_mut(position)?;
        standing.since = Some(since);
        standing.shown = Some(Arc::clone(&shown));
        Some(shown)
    }

    /// What is said of one place, whatever the others say.
    fn told(&self, position: usize, now: Timestamp) -> Option<Arc<Report>> {
        let (_, standing) = self.standings.at(position)?;
        let told = standing.told(now);
        Some(told.unwrap_or_else(|| Arc::clone(&self.unchecked.0)))
    }

    /// The last proof of a reference by another credential than this one's, or before it went from the
    /// inventory and came back.
    pub(super) fn proven_elsewhere(&self, position: usize) -> Option<Second> {
        let (image, _) = self.standings.at(position)?;
        let by_others = self.standings.proven_by_any(position);
        by_others.max(self.proven.get(&image.name).copied())
    }

    /// All places where an image is looked for; none where it is only the one that is written.
    fn endpoints(&self, position: usize, own: &Arc<Report>, now: Timestamp) -> Vec<Endpoint> {
        let Some((image, _)) = self.standings.at(position) else {
            return Vec::new();
        };
        let Some(others) = self.standings.images().others.get(&image.key) else {
            return Vec::new();
        };
        let origin = Endpoint {
            role: Role::Origin,
            image: Arc::clone(image),
            report: Arc::clone(own),
        };
        let others = others.iter().filter_map(|other| {
            let position = self.standings.position(&other.key)?;
            let (image, _) = self.standings.at(position)?;
            Some(Endpoint {
                role: other.role,
                image: Arc::clone(image),
                report: self.told(position, now)?,
            })
        });
        std::iter::once(origin).chain(others).collect()
    }

    /// What is no reference, in order of what is written.
    fn show_malformed(&mut self, malformed: &[images::Malformed], now: Timestamp) {
        let before = std::mem::take(&mut self.malformed);
        let show = |malformed: &images::Malformed| {
            let text = &*malformed.problem.text;
            let before = before
                .binary_search_by(|shown| shown.reference().cmp(text))
                .ok()
                .and_then(|position| before.get(position));
            let is_known = self.baseline.knows(text, now);
            let is_so = |shown: &&Arc<ImageState>| {
                shown.is_known == is_known && shown.users() == &*malformed.users
            };
            if let Some(shown) = before.filter(is_so) {
                return Arc::clone(shown);
            }
            let message = malformed.problem.to_string();
            Arc::new(ImageState {
                named: Named::Malformed(Arc::new(Malformed {
                    reference: text.into(),
                    users: Arc::clone(&malformed.users),
                })),
                report: Arc::new(Report::only(Code::ReferenceInvalid, message)),
                proven_at: None,
                since: before.map_or(now.into(), |before| before.since),
                is_known,
            })
        };
        self.malformed = malformed.iter().map(show).collect();
    }
}
