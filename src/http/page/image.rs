//! One image: what is known of it, and for everything that is wrong the way there. Pure.

use std::sync::Arc;

use askama::Template;
use jiff::Timestamp;

use self::history::History;
use self::tree::{ReadManifest, Tree};
use super::super::filter::Filter;
use super::address;
use super::drift;
use super::list::is_malformed;
use super::told::{self, Located};
use super::words::{self, Mark, Moment, Name, Piece};
use crate::inventory::marks::AllMarks;
use crate::inventory::{Idle, User};
use crate::oci::platform::Platform;
use crate::oci::reference;
use crate::state::{Endpoint, ImageState, Snapshot};
use crate::verify::finding::{PlatformReport, Verdict};

mod history;
mod tree;

/// What is shown at most; the rest is counted, and in the API.
const PLATFORMS_SHOWN: usize = 200;
const FINDINGS_SHOWN: usize = 50;
/// More than these are not said in a sentence.
const PLATFORMS_NAMED: usize = 3;
const USERS_SHOWN: usize = 500;
const DRIFT_SHOWN: usize = 50;

#[derive(Template)]
#[template(path = "image.html")]
pub(super) struct ImagePage {
    version: &'static str,
    name: Name,
    title: String,
    at: Moment,
    /// One for each pull secret.
    sections: Vec<Section>,
    json: String,
}

struct Section {
    verdict: Verdict,
    tone: &'static str,
    sentence: String,
    credential: Option<String>,
    digest: Option<String>,
    is_pinned: bool,
    is_known: bool,
    is_malformed: bool,
    since: Moment,
    proof: Option<Moment>,
    fresh_until: Option<Moment>,
    checked: Option<Moment>,
    /// Where it is looked for, if there is more than the place that is written.
    endpoints: Vec<EndpointRow>,
    /// In words.
    drift: Vec<String>,
    /// What nodes say other than we do, in words.
    kubelet: Vec<String>,
    tree: Option<Tree>,
    history: Option<History>,
    platforms: Vec<PlatformRow>,
    platforms_more: usize,
    findings: Vec<Located>,
    findings_more: usize,
    users: Vec<UserRow>,
    users_more: usize,
}

struct EndpointRow {
    role: &'static str,
    tone: &'static str,
    sign: &'static str,
    reference: String,
    says: String,
}

impl EndpointRow {
    fn of(endpoint: &Endpoint) -> Self {
        let report = &endpoint.report;
        let first = report.findings.iter().find(|finding| finding.needed);
        let says = match first {
            Some(finding) => format!("{}, {}", report.verdict, finding.code),
            None => report.verdict.to_string(),
        };
        Self {
            role: endpoint.role.as_str(),
            tone: report.verdict.as_str(),
            sign: words::sign(report.verdict),
            reference: endpoint.reference().to_owned(),
            says,
        }
    }
}

struct PlatformRow {
    mark: Mark,
    digest: Option<String>,
}

struct UserRow {
    cluster: String,
    namespace: String,
    workload: String,
    container: String,
    class: &'static str,
    via: String,
    since: String,
    idle: Option<Idle>,
    /// Why its alerts are silenced.
    ignored: Option<Arc<str>>,
    /// As it is written there, where that is not the reference itself.
    written: Option<String>,
}

/// Nothing has this reference.
#[derive(Template)]
#[template(path = "missing.html")]
pub(super) struct Missing {
    version: &'static str,
    reference: String,
    at: Moment,
    search: Option<String>,
    is_ready: bool,
}

impl ImagePage {
    /// None where no image has this reference.
    pub(super) fn of(
        snapshot: &Snapshot,
        reference: &str,
        read: &ReadManifest<'_>,
        now: Timestamp,
    ) -> Option<Self> {
        let mut images: Vec<&ImageState> = snapshot
            .images
            .iter()
            .map(|image| &**image)
            .filter(|image| image.reference() == reference)
            .collect();
        images.sort_by_key(|image| (std::cmp::Reverse(image.verdict()), image.credential()));
        let worst = images.first()?.verdict();
        let only = Filter {
            q: reference.to_owned(),
            ..Filter::default()
        };
        Some(Self {
            version: env!("CARGO_PKG_VERSION"),
            title: format!("{worst}: {reference}"),
            name: Name::of(reference),
            at: Moment::of(snapshot.at, now),
            sections: images
                .into_iter()
                .map(|image| Section::of(image, snapshot, read, now))
                .collect(),
            json: address::filtered("/api/v1/images", &only, 0),
        })
    }
}

impl Section {
    fn sign(&self) -> &'static str {
        words::sign(self.verdict)
    }

    /// A column that is empty for all is none.
    fn has_cluster(&self) -> bool {
        self.users.iter().any(|user| !user.cluster.is_empty())
    }

    fn has_since(&self) -> bool {
        self.users.iter().any(|user| !user.since.is_empty())
    }

    fn has_via(&self) -> bool {
        self.users.iter().any(|user| !user.via.is_empty())
    }

    fn of(
        image: &ImageState,
        snapshot: &Snapshot,
        read: &ReadManifest<'_>,
        now: Timestamp,
    ) -> Self {
        let report = &image.report;
        let key = image.image().map(|image| &image.key);
        let changes = key.map(|key| snapshot.histories.of(key));
        let verdict = image.verdict();
        let is_known = image.is_known && verdict == Verdict::Broken;
        let mut findings = told::located(image);
        let findings_more = findings.len().saturating_sub(FINDINGS_SHOWN);
        findings.truncate(FINDINGS_SHOWN);
        let mut platforms: Vec<_> = report.platforms.iter().collect();
        platforms.sort_by_key(|report| {
            let is_attestation = report.platform.as_ref().is_some_and(Platform::is_unknown);
            (!report.needed, is_attestation)
        });
        let rows = platforms
            .iter()
            .take(PLATFORMS_SHOWN)
            .map(|report| PlatformRow {
                mark: Mark {
                    verdict: report.verdict,
                    name: words::platform(report.platform.as_ref()),
                    needed: report.needed,
                },
                digest: report.digest.map(|digest| digest.to_string()),
            });
        let users = image.users().iter().filter(|user| !user.is_argument());
        let first = findings.first().map(|finding| finding.explanation.what);
        Self {
            verdict,
            tone: if is_known {
                "unknown"
            } else {
                verdict.as_str()
            },
            sentence: match verdict {
                Verdict::Pullable => {
                    "Every object was proven to be there, for every platform that is needed."
                        .to_owned()
                }
                Verdict::Unknown => format!(
                    "It is not known whether it can be pulled: {}.",
                    lower(first.unwrap_or("no reason was given"))
                ),
                Verdict::Broken if is_malformed(image) => {
                    "It cannot be pulled by anybody: this is not an image reference.".to_owned()
                }
                Verdict::Broken => whom_it_fails(image),
            },
            credential: image.credential().map(ToOwned::to_owned),
            digest: report.digest.map(|digest| digest.to_string()),
            is_pinned: image.is_pinned(),
            is_known,
            is_malformed: is_malformed(image),
            since: Moment::of(image.since.into(), now),
            proof: image.proven_at.map(|at| Moment::of(at.into(), now)),
            fresh_until: report.fresh_until.map(|at| Moment::of(at.into(), now)),
            checked: report.checked_at.map(|at| Moment::of(at.into(), now)),
            endpoints: image.endpoints().iter().map(EndpointRow::of).collect(),
            drift: drift::drift(image, DRIFT_SHOWN),
            kubelet: drift::kubelet(image, DRIFT_SHOWN),
            tree: Tree::of(image, snapshot, read),
            history: History::of(changes.unwrap_or_default(), now),
            platforms: rows.collect(),
            platforms_more: platforms.len().saturating_sub(PLATFORMS_SHOWN),
            findings,
            findings_more,
            users_more: users.clone().count().saturating_sub(USERS_SHOWN),
            users: users
                .take(USERS_SHOWN)
                .map(|user| UserRow::of(user, image.reference(), &snapshot.marks))
                .collect(),
        }
    }
}

fn whom_it_fails(image: &ImageState) -> String {
    let needed = image.report.platforms.iter().filter(|report| report.needed);
    let is_broken = |report: &&PlatformReport| report.verdict == Verdict::Broken;
    let broken: Vec<String> = needed
        .clone()
        .filter(is_broken)
        .map(|report| words::platform(report.platform.as_ref()))
        .collect();
    if broken.is_empty() || broken.len() == needed.count() || broken.len() > PLATFORMS_NAMED {
        return "Nodes that do not have it cached cannot pull it.".to_owned();
    }
    format!(
        "{} nodes that do not have it cached cannot pull it.",
        broken.join(" and ")
    )
}

/// A sentence's beginning within another one; a name stays as it is.
fn lower(sentence: &str) -> String {
    let mut characters = sentence.chars();
    characters.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(characters).collect()
    })
}

impl UserRow {
    fn of(user: &User, image: &str, marks: &AllMarks) -> Self {
        Self {
            cluster: user.cluster.as_deref().unwrap_or_default().to_owned(),
            namespace: user.namespace.to_string(),
            workload: format!("{}/{}", user.kind, user.name),
            container: user.container.to_string(),
            class: user.class.as_str(),
            via: user
                .via
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            since: user.since.map(words::day).unwrap_or_default(),
            idle: user.idle,
            ignored: marks.of(user).ignored().cloned(),
            written: (*user.image != *image).then(|| reference::shown(&user.image)),
        }
    }
}

impl Missing {
    pub(super) fn of(snapshot: &Snapshot, reference: &str, now: Timestamp) -> Self {
        let name = Name::of(reference);
        let search = (!name.host.is_empty()).then(|| {
            let like = Filter {
                q: name.repository,
                ..Filter::default()
            };
            address::filtered("/", &like, 0)
        });
        Self {
            version: env!("CARGO_PKG_VERSION"),
            reference: reference.chars().take(REFERENCE_SHOWN).collect(),
            at: Moment::of(snapshot.at, now),
            search,
            is_ready: snapshot.is_ready,
        }
    }
}

/// Characters of an address's reference that are said back.
const REFERENCE_SHOWN: usize = 512;
