//! One round over the images in question, with everything kept that a tree is made of.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::once::{self, Proven};
use super::registries::Registries;
use crate::credentials::Credential;
use crate::explain::referrer::{self, COSIGN_TAGS, Referrer, Referrers, Way};
use crate::explain::tree::{self, Kind, Look, Object};
use crate::images::{self, Image, ImageKey, Images, Puller};
use crate::mirrors::Other;
use crate::oci::digest::Digest;
use crate::oci::reference::Reference;
use crate::oci::referrer::DigestTagKind;
use crate::prover::Prover;
use crate::registry::client::Client;
use crate::registry::client::lookup::{Lookup, Pages};
use crate::registry::exchange::Exchange;
use crate::registry::manifest_cache::ManifestCache;
use crate::state::RoundResult;
use crate::verify::engine::Progress;
use crate::verify::target::{AuthId, Target};

/// Most objects of an image whose referrers are asked for.
const SUBJECTS_MAX: usize = 8;

/// A cache of manifests that also keeps what goes through it, so that a tree can say what they are.
#[derive(Debug)]
pub struct Kept {
    inner: Arc<dyn ManifestCache>,
    seen: Mutex<HashMap<Digest, Bytes>>,
}

impl Kept {
    pub fn new(inner: Arc<dyn ManifestCache>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            seen: Mutex::default(),
        })
    }

    /// A manifest that was read.
    pub fn seen(&self, digest: &Digest) -> Option<Bytes> {
        self.seen
            .lock()
            .expect("never held across a panic")
            .get(digest)
            .cloned()
    }

    fn see(&self, digest: &Digest, body: &Bytes) {
        let mut seen = self.seen.lock().expect("never held across a panic");
        seen.insert(*digest, body.clone());
    }
}

impl ManifestCache for Kept {
    fn get(&self, digest: &Digest) -> Option<Bytes> {
        let body = self.seen(digest).or_else(|| self.inner.get(digest))?;
        self.see(digest, &body);
        Some(body)
    }

    fn put(&self, digest: &Digest, body: &Bytes) {
        self.see(digest, body);
        self.inner.put(digest, body);
    }
}

/// What the round over one registry found.
#[derive(Debug)]
pub struct Explained {
    pub round: RoundResult,
    pub trees: HashMap<Arc<ImageKey>, Object>,
    /// Of what is written, where that is on this registry and one image is to be explained.
    pub referrers: Option<Referrers>,
}

/// Of all images only those of one reference, with their other endpoints. What somebody names besides
/// is here an endpoint and nothing more; it keeps the platforms of those who name it.
pub fn only(images: &Images, reference: &Reference) -> Images {
    let kept = images.of_reference(reference).to_vec();
    let others = kept.iter().filter_map(|image| {
        let others = images.others.get(&image.key)?;
        Some((Arc::clone(&image.key), others.clone()))
    });
    let others: HashMap<Arc<ImageKey>, Vec<Other>> = others.collect();
    // In their order.
    let keys: BTreeSet<&Arc<ImageKey>> = others.values().flatten().map(|one| &one.key).collect();
    let elsewhere = keys
        .into_iter()
        .filter(|key| images::find(&kept, key).is_none());
    Images {
        endpoints: elsewhere
            .filter_map(|key| images.get(key))
            .cloned()
            .collect(),
        images: kept,
        malformed: Vec::new(),
        others,
    }
}

/// Proves these images once. Referrers are asked for where there is one reference to explain.
pub async fn prove(
    images: &Images,
    registries: &Registries,
    manifests: &Kept,
    wants_referrers: bool,
    on_progress: &(dyn Fn(Progress) + Sync),
) -> Vec<Explained> {
    let clock = &registries.clock;
    let then = async |proven: Proven| {
        let written = wants_referrers.then_some(images.images.as_slice());
        explained(proven, manifests, written.unwrap_or_default()).await
    };
    once::prove_each(images, registries, clock, on_progress, then).await
}

/// `written` are the images of which the referrers are wanted.
async fn explained(proven: Proven, manifests: &Kept, written: &[Arc<Image>]) -> Explained {
    let Proven {
        images,
        round,
        prover,
    } = proven;
    let Some(prover) = prover else {
        return Explained {
            round,
            trees: HashMap::new(),
            referrers: None,
        };
    };
    let trees = trees(&prover, &round, manifests);
    // As somebody who was shown the image.
    let (_, targets) = prover.learnt();
    let mut seen = images
        .iter()
        .zip(targets)
        .filter(|(image, _)| images::find(written, &image.key).is_some());
    let seen = seen.find_map(|(image, target)| Some((trees.get(&image.key)?, target)));
    let referrers = match seen {
        Some((tree, target)) => Some(find_referrers(prover.client(), target, tree).await),
        None => None,
    };
    Explained {
        round,
        trees,
        referrers,
    }
}

fn trees(prover: &Prover, round: &RoundResult, manifests: &Kept) -> HashMap<Arc<ImageKey>, Object> {
    let (table, targets) = prover.learnt();
    let reports = round.reports.iter().zip(targets);
    let trees = reports.filter_map(|((key, _, report), target)| {
        let look = Look {
            table,
            target,
            report,
            bodies: &|digest| manifests.seen(digest),
        };
        Some((key.clone(), tree::tree(&look)?))
    });
    trees.collect()
}

async fn find_referrers(client: &Client, target: &Target, tree: &Object) -> Referrers {
    let mut referrers = Referrers::default();
    let is_image = |object: &&Object| matches!(object.kind, Kind::Index | Kind::Manifest);
    let all = [tree]
        .into_iter()
        .chain(tree.children.iter().filter(is_image));
    let mut subjects: Vec<Digest> = all.filter_map(|object| object.digest).collect();
    if subjects.len() > SUBJECTS_MAX {
        referrers.problems.push(format!(
            "only the first {SUBJECTS_MAX} of {} manifests were asked about",
            subjects.len()
        ));
        subjects.truncate(SUBJECTS_MAX);
    }
    for subject in &subjects {
        let of = Subject {
            client,
            auth: target.content,
            repository: &target.repository,
            digest: *subject,
        };
        of.listed(&mut referrers).await;
        of.tagged(&mut referrers).await;
    }
    referrers.subjects = subjects;
    // A registry that cannot answer says the same of each.
    referrers.problems.dedup();
    referrers
}

/// One object whose referrers are asked for.
struct Subject<'a> {
    client: &'a Client,
    auth: AuthId,
    repository: &'a Arc<str>,
    digest: Digest,
}

impl Subject<'_> {
    /// By the API, or by the tag in its place.
    async fn listed(&self, referrers: &mut Referrers) {
        let api = self
            .client
            .referrers(self.auth, self.repository, &self.digest);
        let (bodies, unread) = match api.await {
            Pages::Absent => return self.listed_by_tag(referrers).await,
            Pages::Failed { code, message } => {
                return referrers.problems.push(format!("{code}: {message}"));
            }
            Pages::Listed { bodies, unread } => (bodies, unread),
        };
        // A list that changes while it is read may have one on two pages.
        let mut seen = HashSet::new();
        for body in bodies {
            match referrer::parse(self.digest, Way::Api, &body) {
                Ok(found) => {
                    let new = found.into_iter().filter(|one| seen.insert(one.digest));
                    referrers.found.extend(new);
                }
                Err(problem) => referrers.problems.push(problem),
            }
        }
        let problem = unread.map(|why| format!("the list has a page that was not read: {why}"));
        referrers.problems.extend(problem);
    }

    async fn listed_by_tag(&self, referrers: &mut Referrers) {
        let tag = referrer::tag(self.digest, DigestTagKind::Referrers);
        let tagged = self.client.tagged(self.auth, self.repository, &tag, true);
        match tagged.await {
            Lookup::Found { body, .. } => match referrer::parse(self.digest, Way::Tag, &body) {
                Ok(found) => referrers.found.extend(found),
                Err(problem) => referrers.problems.push(problem),
            },
            Lookup::Absent => {}
            Lookup::Failed { code, message } => {
                referrers.problems.push(format!("{code}: {message}"));
            }
        }
    }

    async fn tagged(&self, referrers: &mut Referrers) {
        for (stands_for, kind) in COSIGN_TAGS {
            let tag = referrer::tag(self.digest, stands_for);
            let lookup = self.client.tagged(self.auth, self.repository, &tag, false);
            match lookup.await {
                Lookup::Found { digest, size, .. } => referrers.found.push(Referrer {
                    subject: self.digest,
                    way: Way::CosignTag,
                    kind,
                    digest,
                    size,
                    artifact_type: None,
                    tag: Some(tag),
                }),
                Lookup::Absent => {}
                Lookup::Failed { code, message } => {
                    referrers.problems.push(format!("{code}: {message}"));
                }
            }
        }
    }
}

/// Names credentials without telling them: a workload's pull secret by its name, all others by `own`.
pub fn label(exchange: &Exchange, images: &[Arc<Image>], own: &str) -> String {
    let Some(credential) = &exchange.credential else {
        return "anonymous".to_owned();
    };
    let is_same = |other: &Arc<Credential>| other.id() == credential.id();
    let secret = images.iter().find_map(|image| match &*image.puller {
        Puller::Secrets {
            label, credentials, ..
        } => credentials.iter().any(is_same).then(|| Arc::clone(label)),
        Puller::Own | Puller::Unavailable { .. } => None,
    });
    secret.map_or_else(|| own.to_owned(), |label| format!("pull secret {label}"))
}
