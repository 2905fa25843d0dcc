//! What is known of all images now, as one value. Pure: events in, a [`Snapshot`] out.
//!
//! Everything that is shown (page, metrics, API) is a function of one snapshot, so that no two of
//! them can disagree, and what is gone from the inventory is gone from all of them at once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::baseline::Baseline;
use crate::images::{Image, ImageKey, Images, Puller};
use crate::inventory::{Inventory, User};
use crate::mirrors::{self, Role};
use crate::oci::digest::Digest;
use crate::remembered::{self, RegistryMemory, Remembered, RememberedImage, Unsaved};
use crate::verify::finding::{Code, Finding, Report, Verdict};
use crate::verify::target::Needs;

/// One image as it stands.
#[derive(Debug, Clone)]
pub struct ImageState {
    /// Canonical, or as it was written where it is malformed.
    pub reference: Arc<str>,
    /// The registry's host; empty where the reference is malformed.
    pub registry: Arc<str>,
    pub is_pinned: bool,
    /// Which pull secret; `None` for the registry entry's own credential or nobody's.
    pub credential: Option<Arc<str>>,
    pub users: Arc<[Arc<User>]>,
    /// What the workload can pull, by all endpoints that its node would try.
    pub report: Arc<Report>,
    /// Where there are others: each with what it says, the one that is written first.
    pub endpoints: Arc<[Endpoint]>,
    /// The last proof, also while something else is the case now.
    pub proven_at: Option<Timestamp>,
    /// Since when the verdict is what it is.
    pub since: Timestamp,
    /// It was broken before pullproof came, and never proven since.
    pub is_known: bool,
}

/// One place where an image is looked for.
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub role: Role,
    pub reference: Arc<str>,
    pub registry: Arc<str>,
    pub report: Arc<Report>,
}

impl ImageState {
    pub fn verdict(&self) -> Verdict {
        self.report.verdict
    }

    /// What the endpoint says that is written, whatever the others say.
    pub fn own_report(&self) -> &Report {
        self.endpoints
            .first()
            .map_or(&*self.report, |endpoint| &*endpoint.report)
    }
}

/// One source of the inventory.
#[derive(Debug, Clone)]
pub struct SourceStatus {
    pub name: Arc<str>,
    pub incomplete: Option<String>,
    pub complete_at: Option<Timestamp>,
    pub references: usize,
}

/// Distinct objects of one registry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ObjectCounts {
    pub blobs: u64,
    pub bytes: u64,
}

/// One registry.
#[derive(Debug, Clone)]
pub struct RegistryStatus {
    pub host: Arc<str>,
    /// `None` before the first round ended.
    pub is_up: Option<bool>,
    pub last_completed_at: Option<Timestamp>,
    /// The end of the last complete round without anything broken or unknown.
    pub last_clean_at: Option<Timestamp>,
    pub last_duration: Option<SignedDuration>,
    pub interval: SignedDuration,
    /// By verdict, in the order of [`Verdict::ALL`].
    pub objects: [ObjectCounts; 3],
    pub rate_limit_remaining: Option<i64>,
    pub requests_per_day: u64,
}

/// All that is known, at one time.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub at: Timestamp,
    /// Counts published snapshots.
    pub sequence: u64,
    pub sources: Vec<SourceStatus>,
    /// Entries of one reference stand together.
    pub images: Vec<ImageState>,
    /// Other endpoints of some of them, which nobody names.
    pub endpoints: Vec<ImageState>,
    pub registries: Vec<RegistryStatus>,
    /// Every image was looked at, and every source read in full, at least once.
    pub is_ready: bool,
    pub baseline_images: usize,
}

impl Snapshot {
    /// The entries of each reference: one for each credential that pulls it.
    pub fn by_reference(&self) -> impl Iterator<Item = &[ImageState]> {
        by_reference(&self.images)
    }

    /// The same of every endpoint, whether somebody names it or not.
    pub fn by_endpoint(&self) -> impl Iterator<Item = &[ImageState]> {
        by_reference(&self.images).chain(by_reference(&self.endpoints))
    }

    pub fn count(&self, verdict: Verdict) -> usize {
        self.images
            .iter()
            .filter(|image| image.verdict() == verdict)
            .count()
    }
}

fn by_reference(images: &[ImageState]) -> impl Iterator<Item = &[ImageState]> {
    images.chunk_by(|one, other| one.reference == other.reference && one.registry == other.registry)
}

/// What was found of one image, with the platforms that counted when the round began.
pub type Found = (Arc<ImageKey>, Needs, Report);

/// What a round found of some of its images: told as soon as it is judged, so that a large registry's
/// reports are never all there twice.
#[derive(Debug)]
pub struct RoundPart {
    pub started_at: Timestamp,
    pub ended_at: Timestamp,
    pub reports: Vec<Found>,
}

/// What one round over one registry found.
#[derive(Debug)]
pub struct RoundResult {
    pub host: Arc<str>,
    pub started_at: Timestamp,
    pub ended_at: Timestamp,
    pub duration: SignedDuration,
    /// Over all images of the registry, not only new ones.
    pub is_full: bool,
    /// False where the registry could not even be asked.
    pub was_asked: bool,
    pub is_up: bool,
    /// Those that no [`RoundPart`] has told.
    pub reports: Vec<Found>,
    /// How many were told in parts, by verdict, in the order of [`Verdict::ALL`].
    pub told: [usize; 3],
    pub objects: [ObjectCounts; 3],
    /// What the next round goes on from; only from rounds over all images.
    pub memory: Option<RegistryMemory>,
    pub rate_limit_remaining: Option<i64>,
    pub requests_per_day: u64,
    pub interval: SignedDuration,
}

/// What an image was found to be, over time.
#[derive(Debug, Clone)]
struct Standing {
    report: Arc<Report>,
    proven_at: Option<Timestamp>,
    since: Timestamp,
    /// The start of the round that said so.
    asked_at: Timestamp,
}

impl Standing {
    /// What a restart has to give back.
    fn to_remember(&self, needs: Needs) -> RememberedImage {
        RememberedImage {
            needs,
            report: Arc::clone(&self.report),
            proven_at: self.proven_at,
            since: self.since,
            asked_at: self.asked_at,
        }
    }

    /// What still counts after a restart, given the platforms that count now.
    fn recalled(before: RememberedImage, needs: &Needs) -> Option<Self> {
        let counts = match before.report.verdict {
            Verdict::Pullable => before.needs == *needs,
            Verdict::Broken | Verdict::Unknown => true,
        };
        counts.then_some(Self {
            report: before.report,
            proven_at: before.proven_at,
            since: before.since,
            asked_at: before.asked_at,
        })
    }
}

/// What a restart would not give back yet.
#[derive(Debug, Default)]
struct Changed {
    proven: HashSet<Arc<str>>,
    images: HashSet<Arc<ImageKey>>,
    /// Names of what nothing names any more.
    forgotten: Vec<Digest>,
    registries: HashMap<Arc<str>, RegistryMemory>,
}

/// The state that events change.
#[derive(Debug, Default)]
pub struct State {
    images: Arc<Images>,
    sources: Vec<SourceStatus>,
    standings: HashMap<Arc<ImageKey>, Standing>,
    registries: BTreeMap<Arc<str>, RegistryStatus>,
    /// Canonical references that were proven once, ever, with the second of their last proof.
    proven: HashMap<Arc<str>, i64>,
    /// What was not taken for safekeeping yet.
    unsaved: Changed,
    /// What was remembered, and is not in the inventory yet.
    remembered: Remembered,
    baseline: Baseline,
    sequence: u64,
}

impl State {
    /// Starts with what was remembered.
    pub fn new(mut remembered: Remembered, baseline: Option<Baseline>) -> Self {
        Self {
            proven: std::mem::take(&mut remembered.proven)
                .into_iter()
                .map(|(reference, second)| (reference.into(), second))
                .collect(),
            remembered,
            baseline: baseline.unwrap_or_default(),
            ..Self::default()
        }
    }

    pub fn set_baseline(&mut self, baseline: Option<Baseline>) {
        self.baseline = baseline.unwrap_or_default();
    }

    /// Takes a new inventory. What it no longer names is forgotten at once.
    pub fn set_inventory(&mut self, inventory: &Inventory, images: Arc<Images>) {
        self.sources = inventory
            .sources
            .iter()
            .map(|source| SourceStatus {
                name: Arc::clone(&source.name),
                incomplete: source.incomplete.clone(),
                complete_at: source.complete_at,
                references: source.uses.len(),
            })
            .collect();
        let gone: Vec<Arc<ImageKey>> = self
            .standings
            .keys()
            .filter(|key| images.get(key).is_none())
            .cloned()
            .collect();
        for key in gone {
            let Some(standing) = self.standings.remove(&key) else {
                continue;
            };
            let name = remembered::name(&self.remembered.salt, &key);
            self.unsaved.forgotten.push(name);
            // The same image by another credential (a secret rotated, or cannot be read now): what
            // was missing stays missing until a proof.
            let heirs = images.of_reference(&key.reference).iter();
            for heir in heirs.filter(|_| standing.report.verdict == Verdict::Broken) {
                self.standings
                    .entry(Arc::clone(&heir.key))
                    .or_insert_with(|| standing.clone());
            }
        }
        let hosts = images.hosts();
        self.registries.retain(|host, _| hosts.contains(&**host));
        self.images = images;
        self.recall(inventory.is_complete());
    }

    /// Gives images and registries that have just appeared what was known of them before a restart.
    fn recall(&mut self, is_complete: bool) {
        if self.remembered.images.is_empty() && self.remembered.registries.is_empty() {
            return;
        }
        for image in self.images.all() {
            let name = remembered::name(&self.remembered.salt, &image.key);
            if let Some(before) = self.remembered.images.remove(&name)
                && let Some(standing) = Standing::recalled(before, &image.needs)
            {
                self.standings.entry(image.key.clone()).or_insert(standing);
            }
            let Some(memory) = self.remembered.registries.remove(image.host()) else {
                continue;
            };
            let host: Arc<str> = image.host().into();
            self.registries
                .entry(Arc::clone(&host))
                .or_insert_with(|| RegistryStatus {
                    host,
                    is_up: None,
                    last_completed_at: memory.last_completed_at,
                    last_clean_at: memory.last_clean_at,
                    last_duration: None,
                    interval: memory.interval.unwrap_or_default(),
                    objects: [ObjectCounts::default(); 3],
                    rate_limit_remaining: None,
                    requests_per_day: 0,
                });
        }
        // Once everything was read, what nothing names any more is no longer needed.
        if is_complete {
            let gone = self.remembered.images.drain().map(|(name, _)| name);
            self.unsaved.forgotten.extend(gone);
            self.remembered.registries.clear();
        }
    }

    /// Takes a part of what a round found. The round itself is recorded when it is over.
    pub fn record_part(&mut self, part: RoundPart) {
        let RoundPart {
            started_at,
            ended_at,
            reports,
        } = part;
        for found in reports {
            self.record_image(found, started_at, ended_at);
        }
    }

    fn record_image(&mut self, found: Found, started_at: Timestamp, ended_at: Timestamp) {
        let (key, needs, report) = found;
        // A long round may end after a quicker one that began later, or after the inventory has
        // changed: what it says is of a time that is over.
        let is_over = self
            .standings
            .get(&key)
            .is_some_and(|standing| standing.asked_at > started_at);
        let Some(image) = self.images.get(&key).filter(|image| image.needs == needs) else {
            return;
        };
        if is_over {
            return;
        }
        if let Some(at) = report.proven_at {
            // The key that is there may be a text of its own: taken out, so that it is shared.
            self.proven.remove(&image.name);
            self.proven.insert(Arc::clone(&image.name), at.as_second());
            self.unsaved.proven.insert(Arc::clone(&image.name));
        }
        let key = Arc::clone(&image.key);
        let before = self.standings.remove(&key);
        let standing = advance(before.as_ref(), report, started_at, ended_at);
        self.unsaved.images.insert(Arc::clone(&key));
        self.standings.insert(key, standing);
    }

    /// Takes the results of a round.
    pub fn record(&mut self, round: RoundResult) {
        let RoundResult {
            host,
            started_at,
            ended_at,
            was_asked,
            duration,
            is_full,
            is_up,
            reports,
            told,
            ..
        } = round;
        let [_, unknown, broken] = told;
        let mut is_clean = unknown == 0 && broken == 0;
        for found in reports {
            is_clean &= found.2.verdict == Verdict::Pullable;
            self.record_image(found, started_at, ended_at);
        }
        if !self.images.all().any(|image| image.host() == &*host) {
            return;
        }
        if !is_full {
            // A round over new images says nothing of the registry as a whole but that it answers.
            if let Some(status) = self.registries.get_mut(&host) {
                status.is_up = Some(is_up);
            }
            return;
        }
        let last_clean_at = if is_clean {
            Some(ended_at)
        } else {
            self.registries
                .get(&host)
                .and_then(|before| before.last_clean_at)
        };
        let status = RegistryStatus {
            host: Arc::clone(&host),
            is_up: Some(is_up),
            last_completed_at: if was_asked {
                Some(ended_at)
            } else {
                self.registries
                    .get(&host)
                    .and_then(|before| before.last_completed_at)
            },
            last_clean_at,
            last_duration: Some(duration),
            interval: round.interval,
            objects: round.objects,
            rate_limit_remaining: round.rate_limit_remaining,
            requests_per_day: round.requests_per_day,
        };
        if let Some(memory) = round.memory {
            let memory = RegistryMemory {
                last_completed_at: status.last_completed_at,
                last_clean_at: status.last_clean_at,
                interval: Some(status.interval),
                ..memory
            };
            self.unsaved.registries.insert(Arc::clone(&host), memory);
        }
        self.registries.insert(host, status);
    }

    /// What changed since this was last asked.
    pub fn take_unsaved(&mut self) -> Unsaved {
        let Changed {
            proven,
            images,
            forgotten,
            registries,
        } = std::mem::take(&mut self.unsaved);
        let salt = &self.remembered.salt;
        let all = forgotten.len() + images.len();
        let found = images.into_iter().filter_map(|key| {
            let needs = self.images.get(&key)?.needs.clone();
            let standing = self.standings.get(&key)?;
            let name = remembered::name(salt, &key);
            Some((name, Some(standing.to_remember(needs))))
        });
        let proven = proven.into_iter().filter_map(|reference| {
            let second = *self.proven.get(&reference)?;
            Some((reference, second))
        });
        // In this order: what is named again after it was gone is kept.
        let forgotten = forgotten.into_iter().map(|name| (name, None));
        let mut images = Vec::with_capacity(all);
        images.extend(forgotten.chain(found));
        Unsaved {
            proven: proven.collect(),
            images,
            registries,
        }
    }

    /// What a baseline made now would hold: broken, and never proven.
    pub fn never_whole(&self) -> Vec<String> {
        self.standings
            .iter()
            .filter(|(_, standing)| standing.report.verdict == Verdict::Broken)
            .map(|(key, _)| key.reference.to_string())
            .filter(|reference| !self.proven.contains_key(reference.as_str()))
            .collect()
    }

    /// All of it, as of `now`: a proof that is too old by then is no proof.
    pub fn snapshot(&mut self, now: Timestamp) -> Snapshot {
        self.sequence += 1;
        // One for all: before the first round of a large registry ends, it is the report of each.
        let unchecked = Arc::new(Report::never_checked());
        let nowhere_else: Arc<[Endpoint]> = [].into();
        let mut images: Vec<ImageState> = self
            .images
            .images
            .iter()
            .map(|image| self.image_state(image, &unchecked, &nowhere_else, now))
            .collect();
        images.extend(self.images.malformed.iter().map(|malformed| {
            let message = malformed.problem.to_string();
            ImageState {
                reference: malformed.problem.text.as_str().into(),
                registry: "".into(),
                is_pinned: false,
                credential: None,
                users: Arc::clone(&malformed.users),
                report: Arc::new(Report::only(Code::ReferenceInvalid, message)),
                endpoints: [].into(),
                proven_at: None,
                since: now,
                is_known: self.baseline.knows(&malformed.problem.text, now),
            }
        }));
        let endpoints = self.images.endpoints.iter();
        let endpoints = endpoints
            .map(|image| self.image_state(image, &unchecked, &nowhere_else, now))
            .collect();
        // Before the first inventory there is no source: that is not an empty inventory.
        let is_complete = !self.sources.is_empty()
            && self
                .sources
                .iter()
                .all(|source| source.incomplete.is_none());
        let is_checked = self
            .images
            .all()
            .all(|image| self.standings.contains_key(&image.key));
        Snapshot {
            at: now,
            sequence: self.sequence,
            sources: self.sources.clone(),
            images,
            endpoints,
            registries: self.registries.values().cloned().collect(),
            is_ready: is_complete && is_checked,
            baseline_images: self.baseline.images.len(),
        }
    }

    fn image_state(
        &self,
        image: &Image,
        unchecked: &Arc<Report>,
        nowhere_else: &Arc<[Endpoint]>,
        now: Timestamp,
    ) -> ImageState {
        let (report, proven_at, since) = match self.standings.get(&image.key) {
            None => (Arc::clone(unchecked), None, now),
            Some(standing) => {
                let report = stale_or(&standing.report, now);
                (report, standing.proven_at, standing.since)
            }
        };
        let endpoints = self
            .endpoints(image, &report, now)
            .unwrap_or_else(|| Arc::clone(nowhere_else));
        let mirrors: Vec<Arc<Report>> = endpoints
            .iter()
            .filter(|endpoint| endpoint.role == Role::Mirror)
            .map(|endpoint| Arc::clone(&endpoint.report))
            .collect();
        let report = mirrors::together(&report, &mirrors);
        let remembered = self.proven.get(&image.name);
        let proven_at = proven_at
            .or_else(|| remembered.and_then(|second| Timestamp::from_second(*second).ok()));
        ImageState {
            is_known: remembered.is_none() && self.baseline.knows(&image.name, now),
            registry: Arc::clone(&image.registry),
            is_pinned: image.key.reference.digest().is_some(),
            credential: match &*image.puller {
                Puller::Own => None,
                Puller::Secrets { label, .. } | Puller::Unavailable { label, .. } => {
                    Some(Arc::clone(label))
                }
            },
            users: Arc::clone(&image.users),
            reference: Arc::clone(&image.name),
            report,
            endpoints,
            proven_at,
            since,
        }
    }

    /// All places where an image is looked for; none where it is only the one that is written.
    fn endpoints(
        &self,
        image: &Image,
        own: &Arc<Report>,
        now: Timestamp,
    ) -> Option<Arc<[Endpoint]>> {
        let others = self.images.others.get(&image.key)?;
        let origin = Endpoint {
            role: Role::Origin,
            reference: Arc::clone(&image.name),
            registry: Arc::clone(&image.registry),
            report: Arc::clone(own),
        };
        let others = others.iter().filter_map(|other| {
            let endpoint = self.images.get(&other.key)?;
            let standing = self.standings.get(&other.key);
            Some(Endpoint {
                role: other.role,
                reference: Arc::clone(&endpoint.name),
                registry: Arc::clone(&endpoint.registry),
                report: standing.map_or_else(
                    || Arc::new(Report::never_checked()),
                    |standing| stale_or(&standing.report, now),
                ),
            })
        });
        Some(std::iter::once(origin).chain(others).collect())
    }
}

/// What an image is after one more report. A broken verdict stands until a proof: a registry that
/// goes down while an image is missing must not resolve the page for it. What is unknown in between
/// is shown beside it.
fn advance(
    before: Option<&Standing>,
    report: Report,
    asked_at: Timestamp,
    now: Timestamp,
) -> Standing {
    let proven_at = report
        .proven_at
        .or_else(|| before.and_then(|before| before.proven_at));
    let stands = before.filter(|before| before.report.verdict == Verdict::Broken);
    let mut report = match (report.verdict, stands) {
        (Verdict::Unknown | Verdict::Broken, Some(before)) => with_standing(report, &before.report),
        (Verdict::Pullable | Verdict::Broken | Verdict::Unknown, _) => report,
    };
    // Mostly nothing changed but the times: then one list serves both.
    let same = before.filter(|before| before.report.platforms == report.platforms);
    if let Some(before) = same {
        report.platforms = before.report.platforms.clone();
    }
    let since = before
        .filter(|before| before.report.verdict == report.verdict)
        .map_or(now, |before| before.since);
    Standing {
        report: Arc::new(report),
        proven_at,
        since,
        asked_at,
    }
}

/// The facts of an earlier report that the new one did not reach. Where the new one is all doubt,
/// every fact stands; where it has facts of its own about the same root, those that it is in doubt
/// about, itself or on the way to them. What it looked at again and found well is forgotten.
fn with_standing(report: Report, before: &Report) -> Report {
    let is_fact = |finding: &Finding| finding.code.verdict() == Verdict::Broken;
    let (facts, doubts): (Vec<Finding>, Vec<Finding>) = report
        .findings
        .iter()
        .cloned()
        .partition(|finding| is_fact(finding));
    let is_in_doubt = |fact: &Finding| {
        doubts.iter().any(|doubt| {
            doubt.subject.is_some()
                && (doubt.subject == fact.subject
                    || doubt
                        .subject
                        .is_some_and(|subject| fact.path.contains(&subject)))
        })
    };
    let is_new = |fact: &Finding| {
        !facts
            .iter()
            .any(|new| new.subject == fact.subject && new.platform == fact.platform)
    };
    let all_doubt = report.verdict == Verdict::Unknown;
    let stands = before.findings.iter().filter(|fact| {
        is_fact(fact)
            && (all_doubt || report.digest == before.digest && is_in_doubt(fact) && is_new(fact))
    });
    let standing: Vec<Finding> = stands.cloned().collect();
    let mut report = if all_doubt {
        Report {
            checked_at: report.checked_at,
            ..before.clone()
        }
    } else {
        report
    };
    for platform in report.platforms.iter_mut() {
        if standing
            .iter()
            .any(|fact| fact.platform.is_some() && fact.platform == platform.platform)
        {
            platform.verdict = Verdict::Broken;
        }
    }
    let facts = if all_doubt { Vec::new() } else { facts };
    report.findings = standing.into_iter().chain(facts).chain(doubts).collect();
    report
}

fn stale_or(report: &Arc<Report>, now: Timestamp) -> Arc<Report> {
    if report.verdict == Verdict::Pullable && report.fresh_until.is_none_or(|until| until < now) {
        let message = report.proven_at.map_or_else(
            || "it was never proven".to_owned(),
            |at| format!("the last proof is of {at}, which is too old to count"),
        );
        let stale = Report::only(Code::Stale, message);
        return Arc::new(Report {
            digest: report.digest,
            platforms: report.platforms.clone(),
            checked_at: report.checked_at,
            ..stale
        });
    }
    Arc::clone(report)
}

#[cfg(test)]
mod tests;
