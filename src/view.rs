//! The JSON that leaves the program: `verify`, `inventory`, `/api/v1`. Keys are stable; they are only
//! added to. Apart from the domain's types, so that those can change. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Deref;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};

use crate::drift::{self, Disagreement, Drift};
use crate::inventory::completeness::{self, Facts, Refusal, Shrunk};
use crate::inventory::marks::AllMarks;
use crate::inventory::running::Reason;
use crate::inventory::{Inventory, User};
use crate::mirrors::Role;
use crate::oci::digest::Digest;
use crate::oci::platform::Platform;
use crate::registry::stats::Requests;
use crate::state::answers::{Answer, Answers, Question};
use crate::state::{Endpoint, ImageState, RegistryStatus, Snapshot, SourceStatus};
use crate::verify::depth::Depth;
use crate::verify::finding::{Code, Finding, Verdict};

pub use self::keepset::{ForPeer, KeepSetAnswer, Said};

pub mod answers;
pub mod collections;
pub mod findings;
mod keepset;
pub mod plan;
pub mod registries;
pub mod retention;
pub mod retentions;
pub mod windows;

/// `verify -o json`.
#[derive(Debug, Clone, Serialize)]
pub struct Verify {
    pub schema: &'static str,
    pub depth: Depth,
    pub duration_seconds: f64,
    pub requests: Requests,
    pub summary: Summary,
    pub answers: AnswersView,
    pub images: Vec<Image>,
}

/// Can I lose a node, fail over, roll back?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct AnswersView {
    pub lose_node: Answer,
    pub fail_over: Answer,
    pub roll_back: Answer,
}

impl From<Answers> for AnswersView {
    fn from(answers: Answers) -> Self {
        Self {
            lose_node: answers.answer(Question::LoseNode),
            fail_over: answers.answer(Question::FailOver),
            roll_back: answers.answer(Question::RollBack),
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    pub images: usize,
    pub pullable: usize,
    pub broken: usize,
    pub unknown: usize,
}

impl Summary {
    /// A reference counts once, by its worst entry, however many credentials pull it.
    pub fn of(snapshot: &Snapshot) -> Self {
        let mut summary = Self::default();
        for entries in snapshot.by_reference() {
            summary.add(entries);
        }
        summary
    }

    /// The same of each registry.
    pub fn by_registry(snapshot: &Snapshot) -> HashMap<&str, Self> {
        let mut summaries: HashMap<&str, Self> = HashMap::new();
        for entries in snapshot.by_reference() {
            if let Some(image) = entries.first() {
                summaries.entry(image.registry()).or_default().add(entries);
            }
        }
        summaries
    }

    /// One reference.
    fn add(&mut self, entries: &[Arc<ImageState>]) {
        self.images += 1;
        match entries.iter().map(|image| image.verdict()).max() {
            Some(Verdict::Broken) => self.broken += 1,
            Some(Verdict::Unknown) => self.unknown += 1,
            Some(Verdict::Pullable) | None => self.pullable += 1,
        }
    }
}

/// One entry of `images`: one (reference, credential).
#[derive(Debug, Clone, Serialize)]
pub struct Image {
    pub reference: String,
    pub digest: Option<Digest>,
    pub verdict: Verdict,
    pub pinned: bool,
    /// The pull secret; null for the registry entry's own credential, or nobody's.
    pub credential: Option<String>,
    pub namespaces: Vec<String>,
    pub registry: String,
    /// Broken before pullproof came, and never whole since.
    pub known: bool,
    pub last_proof: Option<Timestamp>,
    pub platforms: Vec<PlatformView>,
    pub findings: Vec<Finding>,
    /// Where the image has mirrors, or is one: every endpoint, with what it says itself.
    pub endpoints: Vec<EndpointView>,
    pub drift: Vec<DriftView>,
    /// Where nodes say that they cannot pull what was proven to be there.
    pub kubelet: Vec<DisagreementView>,
    pub used_by: Vec<UserView>,
}

/// Who uses an image, and whether anybody is to be told of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct UserView {
    #[serde(flatten)]
    pub user: User,
    /// Why its alerts are silenced; null where they are not. It is kept and proven all the same.
    pub ignored: Option<Arc<str>>,
}

impl UserView {
    pub fn of(user: &User, marks: &AllMarks) -> Self {
        Self {
            user: user.clone(),
            ignored: marks.of(user).ignored().cloned(),
        }
    }
}

impl Deref for UserView {
    type Target = User;

    fn deref(&self) -> &User {
        &self.user
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct EndpointView {
    pub role: Role,
    pub registry: String,
    pub reference: String,
    pub digest: Option<Digest>,
    pub verdict: Verdict,
    pub findings: Vec<Finding>,
}

impl From<&Endpoint> for EndpointView {
    fn from(endpoint: &Endpoint) -> Self {
        Self {
            role: endpoint.role,
            registry: endpoint.registry().to_owned(),
            reference: endpoint.reference().to_owned(),
            digest: endpoint.report.digest,
            verdict: endpoint.report.verdict,
            findings: endpoint.report.findings.to_vec(),
        }
    }
}

/// One thing that drifts.
#[derive(Debug, Clone, Serialize)]
pub struct DriftView {
    pub drift: drift::Kind,
    /// What runs, what is pinned, or what the other registry serves.
    pub digest: Option<Digest>,
    pub platform: Option<Platform>,
    /// The endpoint that serves another digest.
    pub registry: Option<String>,
    /// Whom it is about.
    pub used_by: Vec<UserView>,
}

impl DriftView {
    fn of(drift: &Drift, marks: &AllMarks) -> Self {
        let users = drift.users.iter();
        Self {
            drift: drift.kind,
            digest: drift.digest,
            platform: drift.platform.clone(),
            registry: drift.registry.as_deref().map(ToOwned::to_owned),
            used_by: users.map(|user| UserView::of(user, marks)).collect(),
        }
    }
}

/// What a node says other than we do.
#[derive(Debug, Clone, Serialize)]
pub struct DisagreementView {
    pub reason: Reason,
    pub message: String,
    pub used_by: UserView,
}

impl DisagreementView {
    fn of(disagreement: &Disagreement, marks: &AllMarks) -> Self {
        Self {
            reason: disagreement.refusal.reason,
            message: disagreement.refusal.message.to_string(),
            used_by: UserView::of(&disagreement.user, marks),
        }
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct PlatformView {
    pub platform: Option<Platform>,
    pub digest: Option<Digest>,
    pub verdict: Verdict,
    pub needed: bool,
    /// The tags that name this platform's manifest directly: all, or at least one of them. Null where that
    /// was not asked, or could not be told.
    pub tags: Option<Vec<String>>,
    /// Layers that nodes fetch from elsewhere (Docker's foreign, OCI's non-distributable ones): they count
    /// as present and nobody asked for them. Null where that was not looked at.
    pub foreign_layers: Option<Vec<Digest>>,
}

impl Image {
    /// An image of a snapshot, with what is known of the tags beside it.
    pub fn of(image: &ImageState, snapshot: &Snapshot) -> Self {
        let marks = &snapshot.marks;
        let users = image.users().iter().filter(|user| !user.is_argument());
        let mut namespaces: Vec<String> = users
            .clone()
            .map(|user| user.namespace.to_string())
            .filter(|namespace| !namespace.is_empty())
            .collect();
        namespaces.sort();
        namespaces.dedup();
        let answer = image.image();
        let answer = answer.and_then(|image| snapshot.tags.of(&image.key, snapshot.at));
        let tags = |digest: &Digest| {
            let tags = answer?.tags(&image.report.digest?, digest)?;
            Some(tags.iter().map(ToString::to_string).collect())
        };
        let platforms = image.report.platforms.iter().map(|platform| PlatformView {
            platform: platform.platform.clone(),
            digest: platform.digest,
            verdict: platform.verdict,
            needed: platform.needed,
            tags: platform.digest.as_ref().and_then(tags),
            foreign_layers: None,
        });
        Self {
            reference: image.reference().to_owned(),
            digest: image.report.digest,
            verdict: image.verdict(),
            pinned: image.is_pinned(),
            credential: image.credential().map(ToOwned::to_owned),
            namespaces,
            registry: image.registry().to_owned(),
            known: image.is_known,
            last_proof: image.proven_at.map(Timestamp::from),
            platforms: platforms.collect(),
            findings: image.report.findings.to_vec(),
            endpoints: image.endpoints().iter().map(EndpointView::from).collect(),
            drift: image
                .drift()
                .iter()
                .map(|drift| DriftView::of(drift, marks))
                .collect(),
            kubelet: image
                .disagreements()
                .iter()
                .map(|one| DisagreementView::of(one, marks))
                .collect(),
            used_by: users.map(|user| UserView::of(user, marks)).collect(),
        }
    }
}

impl Verify {
    pub fn of(
        depth: Depth,
        snapshot: &Snapshot,
        requests: Requests,
        duration_seconds: f64,
    ) -> Self {
        Self {
            schema: "pullproof.dev/verify/v1",
            depth,
            duration_seconds,
            requests,
            summary: Summary::of(snapshot),
            answers: Answers::of(snapshot).into(),
            images: snapshot
                .images
                .iter()
                .map(|image| Image::of(image, snapshot))
                .collect(),
        }
    }

    /// Says of each platform which layers of its manifest were not asked for. What is not in the map was
    /// not read.
    pub fn tell_foreign_layers(&mut self, of_manifests: &HashMap<Digest, Vec<Digest>>) {
        let platforms = self
            .images
            .iter_mut()
            .flat_map(|image| &mut image.platforms);
        for platform in platforms {
            let of_digest = platform.digest.and_then(|digest| of_manifests.get(&digest));
            platform.foreign_layers = of_digest.cloned();
        }
    }
}

/// `inventory -o json`.
#[derive(Debug, Clone, Serialize)]
pub struct InventoryView {
    pub schema: &'static str,
    pub complete: bool,
    /// What closes the gates of a collection.
    pub refusals: Vec<Refusal>,
    pub sources: Vec<SourceView>,
    pub images: Vec<InventoryImage>,
}

#[derive(Debug, Clone, Serialize)]
pub struct SourceView {
    pub name: String,
    pub complete: bool,
    pub reason: Option<String>,
    pub last_complete: Option<Timestamp>,
    pub references: usize,
    /// Whether it may not be away.
    pub required: bool,
    /// Until when its last complete state stands in for one that is not complete now.
    pub stands_until: Option<Timestamp>,
    pub shrunk: Option<Shrunk>,
    /// What is not granted or not there and does not make it incomplete.
    pub absent: Vec<String>,
}

impl From<&SourceStatus> for SourceView {
    fn from(source: &SourceStatus) -> Self {
        Self {
            name: source.name.to_string(),
            complete: source.incomplete.is_none(),
            reason: source.incomplete.clone(),
            last_complete: source.complete_at,
            references: source.references,
            required: source.rules.is_required,
            stands_until: source.stands_until(),
            shrunk: source.shrunk.clone(),
            absent: source.absent.clone(),
        }
    }
}

impl SourceView {
    pub fn all(inventory: &Inventory) -> Vec<Self> {
        let sources = inventory.sources.iter();
        let sources = sources.map(|source| Self::from(&SourceStatus::from(&**source)));
        sources.collect()
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct InventoryImage {
    pub reference: String,
    /// Why it is no image reference; null if it is one.
    pub invalid: Option<String>,
    pub classes: Vec<String>,
    /// The digests that Pods run of it, whatever they are of and whatever it leads to now: all are kept.
    pub running: Vec<Digest>,
    /// Which pull secret could not be read, and why, where without it nothing can be told of the image.
    pub unavailable: Option<String>,
    pub used_by: Vec<UserView>,
}

impl InventoryView {
    pub fn of(inventory: &Inventory, now: Timestamp) -> Self {
        let mut images: BTreeMap<String, InventoryImage> = BTreeMap::new();
        let told = inventory.running();
        let marks = inventory.marks();
        let uses = inventory.sources.iter();
        let uses = uses.flat_map(|source| source.uses.iter().map(move |it| (&**source, it)));
        for (source, image_use) in uses {
            let (reference, invalid) = match &image_use.reference {
                Ok(reference) => (reference.to_string(), None),
                Err(problem) => (problem.text.clone(), Some(problem.to_string())),
            };
            let image = images
                .entry(reference.clone())
                .or_insert_with(|| InventoryImage {
                    reference,
                    invalid,
                    classes: Vec::new(),
                    running: Vec::new(),
                    unavailable: None,
                    used_by: Vec::new(),
                });
            if image.unavailable.is_none() {
                image.unavailable = crate::images::unavailable(image_use, source);
            }
            image.used_by.push(UserView::of(&image_use.user, &marks));
            let of_use = told.get(&*image_use.user);
            let running = of_use.iter().flat_map(|of_use| &of_use.running);
            image.running.extend(running.map(|one| one.id.digest));
        }
        for image in images.values_mut() {
            image.used_by.sort();
            image.used_by.dedup();
            image.running.sort_unstable();
            image.running.dedup();
            image.classes = classes(&image.used_by);
        }
        let facts = inventory
            .sources
            .iter()
            .map(|source| Facts::from(&**source));
        let refusals = completeness::refusals(facts, now);
        Self {
            schema: INVENTORY_SCHEMA,
            complete: inventory.is_complete(),
            refusals,
            sources: SourceView::all(inventory),
            images: images.into_values().collect(),
        }
    }
}

/// `/api/v1/inventory`: the same of a daemon, which also says when, and what it remembers.
#[derive(Debug, Serialize)]
pub struct DaemonInventoryView<'a> {
    pub schema: &'static str,
    pub at: Timestamp,
    pub complete: bool,
    pub refusals: Vec<Refusal>,
    pub sources: Vec<SourceView>,
    #[serde(serialize_with = "reference_by_reference")]
    pub images: &'a Snapshot,
}

impl<'a> From<&'a Snapshot> for DaemonInventoryView<'a> {
    fn from(snapshot: &'a Snapshot) -> Self {
        let mut sources = snapshot.sources.iter();
        Self {
            schema: INVENTORY_SCHEMA,
            at: snapshot.at,
            complete: !snapshot.sources.is_empty()
                && sources.all(|source| source.incomplete.is_none()),
            refusals: snapshot.refusals(),
            sources: snapshot.sources.iter().map(SourceView::from).collect(),
            images: snapshot,
        }
    }
}

/// All of them at once would be the whole snapshot again, as text.
fn reference_by_reference<S: Serializer>(
    snapshot: &Snapshot,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let image = |entries: &[Arc<ImageState>]| {
        let first = entries.first()?;
        let users = entries.iter().flat_map(|entry| entry.users());
        let users = users.map(|user| UserView::of(user, &snapshot.marks));
        let mut used_by: Vec<UserView> = users.collect();
        used_by.sort();
        used_by.dedup();
        let images = entries.iter().filter_map(|entry| entry.image());
        let running: BTreeSet<Digest> = images
            .flat_map(crate::images::Image::running_ids)
            .map(|id| id.digest)
            .collect();
        Some(InventoryImage {
            reference: first.reference().to_owned(),
            invalid: invalid(first),
            classes: classes(&used_by),
            running: running.into_iter().collect(),
            unavailable: entries
                .iter()
                .find_map(|entry| entry.image()?.puller.unavailable()),
            used_by,
        })
    };
    serializer.collect_seq(snapshot.by_reference().filter_map(image))
}

/// What is wrong with what is no reference.
fn invalid(image: &ImageState) -> Option<String> {
    let mut findings = image.report.findings.iter();
    let invalid = findings.find(|finding| finding.code == Code::ReferenceInvalid);
    invalid.map(|finding| finding.message.clone())
}

fn classes(users: &[UserView]) -> Vec<String> {
    let classes: BTreeSet<_> = users.iter().map(|user| user.class).collect();
    classes.iter().map(ToString::to_string).collect()
}

const INVENTORY_SCHEMA: &str = "pullproof.dev/inventory/v1";

/// `/api/v1/images`, and the file for commands beside the daemon.
#[derive(Debug, Clone, Serialize)]
pub struct ImagesView<'a> {
    pub schema: &'static str,
    pub at: Timestamp,
    pub summary: Summary,
    /// How many match, of which `images` is one page.
    pub matching: usize,
    pub images: PageView<'a>,
}

/// Images of a snapshot, in the order in which they are shown.
#[derive(Debug, Clone)]
pub struct PageView<'a> {
    snapshot: &'a Snapshot,
    images: Vec<&'a ImageState>,
}

impl<'a> ImagesView<'a> {
    /// One page of the images that match.
    pub fn of(snapshot: &'a Snapshot, images: Vec<&'a ImageState>) -> Self {
        Self {
            schema: "pullproof.dev/images/v1",
            at: snapshot.at,
            summary: Summary::of(snapshot),
            matching: images.len(),
            images: PageView { snapshot, images },
        }
    }
}

impl Serialize for PageView<'_> {
    /// One by one: all of them at once would be the whole snapshot again, as text.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let images = self.images.iter();
        serializer.collect_seq(images.map(|image| Image::of(image, self.snapshot)))
    }
}

/// `/api/v1/status`.
#[derive(Debug, Clone, Serialize)]
pub struct StatusView {
    pub schema: &'static str,
    pub version: &'static str,
    pub at: Timestamp,
    pub ready: bool,
    pub summary: Summary,
    pub answers: AnswersView,
    pub baseline: usize,
    pub sources: Vec<SourceView>,
    pub registries: Vec<RegistryView>,
}

#[derive(Debug, Clone, Serialize)]
pub struct RegistryView {
    pub registry: String,
    pub up: Option<bool>,
    pub last_completed: Option<Timestamp>,
    pub last_clean: Option<Timestamp>,
    pub duration_seconds: Option<f64>,
    pub interval_seconds: f64,
    pub ratelimit_remaining: Option<i64>,
    pub estimated_requests_per_day: u64,
    pub objects: u64,
    pub object_bytes: u64,
}

impl From<&RegistryStatus> for RegistryView {
    fn from(registry: &RegistryStatus) -> Self {
        Self {
            registry: registry.host.to_string(),
            up: registry.is_up,
            last_completed: registry.last_completed_at,
            last_clean: registry.last_clean_at,
            duration_seconds: registry
                .last_duration
                .map(|duration| duration.as_secs_f64()),
            interval_seconds: registry.interval.as_secs_f64(),
            ratelimit_remaining: registry.rate_limit_remaining,
            estimated_requests_per_day: registry.requests_per_day,
            objects: registry.objects.iter().map(|count| count.blobs).sum(),
            object_bytes: registry.objects.iter().map(|count| count.bytes).sum(),
        }
    }
}

impl StatusView {
    pub fn of(snapshot: &Snapshot) -> Self {
        let sources = snapshot.sources.iter().map(SourceView::from);
        let registries = snapshot.registries.iter().map(RegistryView::from);
        Self {
            schema: "pullproof.dev/status/v1",
            version: env!("CARGO_PKG_VERSION"),
            at: snapshot.at,
            ready: snapshot.is_ready,
            summary: Summary::of(snapshot),
            answers: Answers::of(snapshot).into(),
            baseline: snapshot.baseline_images,
            sources: sources.collect(),
            registries: registries.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::{Class, TopOwner};

    #[test]
    fn a_user_has_all_its_keys_whatever_is_known_of_it() {
        let user = User {
            owner: Arc::new(TopOwner {
                cluster: None,
                namespace: "shop".into(),
                kind: "Deployment".into(),
                name: "web".into(),
            }),
            container: "app".into(),
            image: "app:1".into(),
            class: Class::Runtime,
            via: None,
            since: None,
            idle: None,
        };
        let user = UserView::of(&user, &AllMarks::default());
        let expected = serde_json::json!({"cluster": null, "namespace": "shop", "kind": "Deployment",
            "name": "web", "container": "app", "image": "app:1", "class": "runtime", "via": null,
            "since": null, "idle": null, "ignored": null});
        assert_eq!(serde_json::to_value(user).unwrap(), expected);
    }
}
