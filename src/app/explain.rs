//! One round over the images in question, with everything kept that a tree is made of.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::future::join_all;

use super::registries::Registries;
use crate::clock::Clock;
use crate::credentials::Credential;
use crate::explain::referrer::{self, COSIGN_TAGS, Referrer, Referrers, Way};
use crate::explain::tree::{self, Kind, Look, Object};
use crate::images::{Image, ImageKey, Images, Puller};
use crate::oci::digest::Digest;
use crate::oci::referrer::DigestTagKind;
use crate::prover::{self, Prover};
use crate::registry::client::Client;
use crate::registry::client::lookup::Lookup;
use crate::registry::exchange::Exchange;
use crate::registry::manifest_cache::ManifestCache;
use crate::state::RoundResult;
use crate::verify::depth::Rotation;
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
pub struct Proven {
    pub round: RoundResult,
    pub trees: HashMap<Arc<ImageKey>, Object>,
    /// Of one image only; empty otherwise.
    pub referrers: Referrers,
}

/// Proves these images once. Referrers are asked for where there is one reference to explain.
pub async fn prove(
    images: &Images,
    registries: &Registries,
    manifests: &Kept,
    clock: &Arc<dyn Clock>,
    wants_referrers: bool,
    on_progress: &(dyn Fn(Progress) + Sync),
) -> Vec<Proven> {
    let hosts: Vec<Arc<str>> = images.hosts().into_iter().map(Into::into).collect();
    let rounds = hosts.iter().map(|host| async move {
        let of_host = images.of_host(host);
        let rotation = Rotation::default();
        let mut prover = match registries.prover(host, rotation, Arc::default()) {
            Ok(prover) => prover,
            Err(problem) => {
                let interval = registries.cadence(host).interval;
                let problem = format!("{problem:#}");
                let round = prover::unaskable(host, &of_host, &problem, true, interval, clock);
                return Proven {
                    round,
                    trees: HashMap::new(),
                    referrers: Referrers::default(),
                };
            }
        };
        let round = prover.round(&of_host, true, clock, on_progress).await;
        let trees = trees(&prover, &round, manifests);
        // As somebody who was shown the image.
        let (_, targets) = prover.learnt();
        let mut seen = of_host.iter().zip(targets);
        let seen = seen.find_map(|(image, target)| Some((trees.get(&image.key)?, target)));
        let referrers = match seen.filter(|_| wants_referrers) {
            Some((tree, target)) => find_referrers(prover.client(), target, tree).await,
            None => Referrers::default(),
        };
        Proven {
            round,
            trees,
            referrers,
        }
    });
    join_all(rounds).await
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
        let (way, lookup) = match api.await {
            Lookup::Absent => {
                let tag = referrer::tag(self.digest, DigestTagKind::Referrers);
                let tagged = self.client.tagged(self.auth, self.repository, &tag, true);
                (Way::Tag, tagged.await)
            }
            lookup => (Way::Api, lookup),
        };
        match lookup {
            Lookup::Found { body, .. } => match referrer::parse(self.digest, way, &body) {
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
