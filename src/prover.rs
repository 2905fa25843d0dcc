//! Proves the images of one registry, round after round: who asks, what is asked, what it means.

use std::collections::HashMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};

use crate::clock::Clock;
use crate::credential_source::{self, CredentialSource, Unavailable};
use crate::credentials::{Credential, Keyring};
use crate::drift::{self, Compared};
use crate::images::{self, Image, Puller};
use crate::oci::digest::Digest;
use crate::oci::reference::Reference;
use crate::registry::auth::Identity;
use crate::registry::client::Client;
use crate::remembered::RegistryMemory;
use crate::state::{Found, ObjectCounts, RoundPart, RoundResult};
use crate::verify::depth::{Policy, Rotation};
use crate::verify::engine::{self, Progress};
use crate::verify::finding::{Code, Report, Verdict};
use crate::verify::judge;
use crate::verify::round::{Resolved, Round};
use crate::verify::suspects::Suspects;
use crate::verify::table::{Fact, ObjectKind, Table};
use crate::verify::target::{AuthId, Cadence, Root, Target};

/// Whoever is told what a round found, part by part. Who no longer listens is no fault.
pub type Tell<'a> = dyn Fn(RoundPart) -> BoxFuture<'a, ()> + Sync + 'a;

/// How many images a part is of.
const PART_IMAGES: usize = 500;

/// What is judged when a round's questions are answered.
struct Judged<'a> {
    images: &'a [Arc<Image>],
    targets: &'a [Target],
    resolved: &'a Resolved,
    started_at: Timestamp,
    now: Timestamp,
}

/// The last part of what was judged.
struct Last {
    reports: Vec<Found>,
    compared: Vec<Compared>,
    /// How many of each verdict were told before it.
    told: [usize; 3],
    /// Of each image whether it was found out to what its name leads.
    resolved: Vec<bool>,
}

/// What a table has, counted in one walk.
#[derive(Debug, Default)]
struct Tally {
    /// Distinct objects by verdict.
    objects: [ObjectCounts; 3],
    /// Manifests, by each identity that asks for them.
    manifests: u64,
    blobs: u64,
}

/// The prover of one registry.
#[derive(Debug)]
pub struct Prover {
    host: Arc<str>,
    client: Arc<Client>,
    cadence: Cadence,
    policy: Policy,
    rotation: Rotation,
    suspects: Arc<Suspects>,
    /// The registry entry's own credentials.
    own: Arc<dyn CredentialSource>,
    table: Table,
    identities: Vec<Arc<Identity>>,
    /// By the ids of the credentials, in order: the same credentials are the same identity for as
    /// long as the process lives, so that their proofs are found again.
    ids: HashMap<Vec<String>, AuthId>,
    /// Of the last round, in the order of its images.
    targets: Arc<[Target]>,
    resolved: Vec<bool>,
}

/// What the last round was to prove of one image, and whether it found out to what its name leads.
pub type Learnt<'a> = (&'a Target, bool);

impl Prover {
    pub fn new(
        host: Arc<str>,
        client: Arc<Client>,
        cadence: Cadence,
        own: Arc<dyn CredentialSource>,
    ) -> Self {
        Self {
            host,
            client,
            cadence,
            policy: Policy::default(),
            rotation: Rotation::default(),
            suspects: Arc::default(),
            own,
            table: Table::default(),
            // The first is nobody.
            identities: vec![Arc::default()],
            ids: HashMap::new(),
            targets: [].into(),
            resolved: Vec::new(),
        }
    }

    /// How far it reads, where its rotation goes on, and what it knows to be broken inside.
    #[must_use]
    pub fn reading(mut self, policy: Policy, rotation: Rotation, suspects: Arc<Suspects>) -> Self {
        self.policy = policy;
        self.rotation = rotation;
        self.suspects = suspects;
        self
    }

    /// One round over these images. `is_full` says that they are all that the registry has to prove.
    pub async fn round(
        &mut self,
        images: &[Arc<Image>],
        is_full: bool,
        clock: &Arc<dyn Clock>,
        on_progress: &(dyn Fn(Progress) + Sync),
    ) -> RoundResult {
        self.round_in_parts(images, is_full, clock, on_progress, None)
            .await
    }

    /// The same. With `tell`, what was found is told in parts as it is judged, and only the last part
    /// is in the result.
    pub async fn round_in_parts(
        &mut self,
        images: &[Arc<Image>],
        is_full: bool,
        clock: &Arc<dyn Clock>,
        on_progress: &(dyn Fn(Progress) + Sync),
        tell: Option<&Tell<'_>>,
    ) -> RoundResult {
        let started_at = clock.now();
        let own = match self.own.current().await {
            Ok(own) => own,
            // Not asked as anybody else: what a stranger is told is no fact about what is there.
            Err(problem) => {
                (self.targets, self.resolved) = ([].into(), Vec::new());
                let report =
                    Report::only(Code::CredentialUnavailable, format!("not asked: {problem}"));
                let interval = self.cadence.interval;
                return not_asked(&self.host, images, &report, is_full, interval, clock);
            }
        };
        // The last round's go before these come: they are as many.
        self.targets = [].into();
        self.resolved = Vec::new();
        let targets: Arc<[Target]> = images
            .iter()
            .map(|image| self.target(image, &own))
            .collect();
        self.targets = Arc::clone(&targets);
        self.client.set_identities(self.identities.clone());
        // Of nothing that anybody has pushed: the time and the process are in it.
        let canary = Digest::of(
            format!("canary {} {started_at} {}", self.host, std::process::id()).as_bytes(),
        );
        let effort = if is_full {
            self.policy.full_round(&mut self.rotation)
        } else {
            self.policy.partial_round()
        };
        let mut table = std::mem::take(&mut self.table);
        self.suspects.tell(&mut table);
        let round = Round::begin(
            table,
            Arc::clone(&targets),
            self.cadence,
            effort,
            canary,
            started_at,
        );
        let concurrency = self.client.concurrency();
        let renew = credential_source::follow(self.own.as_ref(), |own| {
            let identities = self
                .identities
                .iter()
                .map(|identity| renewed(identity, own));
            self.client.set_identities(identities.collect());
        });
        let run = engine::run(round, self.client.as_ref(), concurrency, clock, on_progress);
        let finished = tokio::select! {
            finished = run => finished,
            never = renew => match never {},
        };
        self.table = finished.table;
        self.suspects.learn(&self.table);
        if let Some(scrub) = finished.scrub {
            self.rotation.scrub = scrub;
        }
        let now = clock.now();
        let judged = Judged {
            images,
            targets: &targets,
            resolved: &finished.resolved,
            started_at,
            now,
        };
        let Last {
            reports,
            compared,
            told,
            resolved,
        } = self.judge(&judged, tell).await;
        self.resolved = resolved;
        drop(finished.resolved);
        // Its own table: what this round did not reach, this prover has no more business with.
        self.table.forget_unreached();
        let tally = self.tally();
        RoundResult {
            host: Arc::clone(&self.host),
            started_at,
            ended_at: now,
            duration: now.duration_since(started_at),
            is_full,
            was_asked: true,
            is_up: finished.is_up,
            reports,
            compared,
            told,
            objects: tally.objects,
            memory: is_full.then(|| RegistryMemory {
                rotation: self.rotation,
                suspects: self.suspects.list(),
                ..RegistryMemory::default()
            }),
            rate_limit_remaining: self.client.rate_limit_remaining(),
            requests_per_day: self.requests_per_day(&targets, &tally),
            interval: self.cadence.interval,
        }
    }

    /// What the last round learnt, and what it was to prove, in the order of its images.
    pub fn learnt(&self) -> (&Table, &[Target]) {
        (&self.table, &self.targets)
    }

    /// The same of each image; nothing where the round did not ask.
    pub fn learnt_of_each(&self) -> impl Iterator<Item = Learnt<'_>> {
        self.targets.iter().zip(self.resolved.iter().copied())
    }

    pub fn host(&self) -> &str {
        &self.host
    }

    /// As whom the registry's entry asks for a repository, without a round. An error is why there is no
    /// credential now.
    pub async fn own(&mut self, reference: &Reference) -> Result<AuthId, Unavailable> {
        let own = self.own.current().await?;
        let id = self.intern(own.matching(reference));
        self.client.set_identities(self.identities.clone());
        Ok(id)
    }

    pub fn cadence(&self) -> Cadence {
        self.cadence
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Judges image by image.
    async fn judge(&self, judged: &Judged<'_>, tell: Option<&Tell<'_>>) -> Last {
        let is_refused = |report: &Report| {
            let mut findings = report.findings.iter();
            findings.any(|finding| finding.code.verdict_is_about_credentials())
        };
        let Judged {
            resolved,
            started_at,
            now,
            ..
        } = *judged;
        let mut was_refused = false;
        let mut told = [0; 3];
        let mut reports: Vec<Found> = Vec::new();
        let mut compared: Vec<Compared> = Vec::new();
        let mut is_resolved = Vec::with_capacity(judged.targets.len());
        for (image, target) in judged.images.iter().zip(judged.targets) {
            if let Some(tell) = tell.filter(|_| reports.len() == PART_IMAGES) {
                for (_, _, report) in &reports {
                    if let Some(count) = told.get_mut(report.verdict as usize) {
                        *count += 1;
                    }
                }
                tell(RoundPart {
                    started_at,
                    ended_at: now,
                    reports: std::mem::take(&mut reports),
                    compared: std::mem::take(&mut compared),
                })
                .await;
            }
            let report = judge::judge(target, &self.table, resolved, self.cadence, now);
            is_resolved.push(report.digest.is_some());
            compared.extend(drift::compare(image, &report, |digest| {
                self.table.node(digest)
            }));
            let by_secrets = matches!(*image.puller, Puller::Secrets { .. });
            let own_is_anonymous =
                target.access.is_none() && (by_secrets || target.content == AuthId::OWN);
            let report = images::with_puller(report, &image.puller, own_is_anonymous);
            was_refused |= is_refused(&report);
            reports.push((image.key.clone(), image.needs.clone(), report));
        }
        if was_refused {
            self.own.refused();
        }
        Last {
            reports,
            compared,
            told,
            resolved: is_resolved,
        }
    }

    fn target(&mut self, image: &Image, own: &Keyring) -> Target {
        let reference = &image.key.reference;
        let own = own.matching(reference);
        let own_id = self.intern(own);
        let (content, access) = match &*image.puller {
            Puller::Own | Puller::Unavailable { .. } => (own_id, None),
            Puller::Secrets { credentials, .. } => {
                let secrets = self.intern(credentials.clone());
                match own_id {
                    AuthId::OWN => (secrets, None),
                    // Whether it exists is asked as the registry entry says, whether the workload
                    // may have it as the workload would: two facts.
                    own => (own, Some(secrets).filter(|secrets| *secrets != own)),
                }
            }
        };
        Target {
            repository: reference.shared_repository(),
            root: match (reference.digest(), reference.shared_tag()) {
                (Some(digest), _) => Root::Digest(digest),
                (None, Some(tag)) => Root::Tag(tag),
                (None, None) => Root::Tag("latest".into()),
            },
            content,
            access,
            needs: image.needs.clone(),
        }
    }

    fn intern(&mut self, credentials: Vec<Arc<Credential>>) -> AuthId {
        if credentials.is_empty() {
            return AuthId::OWN;
        }
        let key: Vec<String> = credentials
            .iter()
            .map(|credential| credential.id().to_owned())
            .collect();
        let identity = Arc::new(Identity { credentials });
        if let Some(id) = self.ids.get(&key) {
            // The same one, perhaps with a newer token.
            if let Some(known) = self.identities.get_mut(id.0 as usize) {
                *known = identity;
            }
            return *id;
        }
        let number = u32::try_from(self.identities.len()).expect("fewer than 2^32 identities");
        self.identities.push(identity);
        self.ids.insert(key, AuthId(number));
        AuthId(number)
    }

    /// What is in the table. A size is known where the registry told it or a manifest was read.
    fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for (key, state) in self.table.objects.iter() {
            match key.kind {
                ObjectKind::Manifest => tally.manifests += 1,
                ObjectKind::Blob => tally.blobs += 1,
                ObjectKind::Access => {
                    tally.manifests += 1;
                    continue;
                }
            }
            let (verdict, size) = match state.fact {
                Fact::Present { size } => (Verdict::Pullable, size),
                Fact::Missing | Fact::WrongDigest | Fact::Short { .. } => (Verdict::Broken, None),
                Fact::Unknown { .. } | Fact::Unasked => (Verdict::Unknown, None),
            };
            let size = size.or_else(|| self.table.node_size(&key.digest));
            if let Some(count) = tally.objects.get_mut(verdict as usize) {
                count.blobs += 1;
                count.bytes += size.unwrap_or(0);
            }
        }
        tally
    }

    fn requests_per_day(&self, targets: &[Target], tally: &Tally) -> u64 {
        let per_day = |every: SignedDuration| 86_400 / every.as_secs().max(1).unsigned_abs();
        (targets.len() as u64 + tally.manifests) * per_day(self.cadence.interval)
            + tally.blobs * per_day(self.cadence.blob_interval)
    }
}

/// A host that cannot be asked at all, for instance since its authorities cannot be read: everything
/// on it is unknown, for this reason.
pub fn unaskable(
    host: &Arc<str>,
    images: &[Arc<Image>],
    problem: &str,
    is_full: bool,
    interval: SignedDuration,
    clock: &Arc<dyn Clock>,
) -> RoundResult {
    let report = Report::only(Code::Unreachable, problem.to_owned());
    not_asked(host, images, &report, is_full, interval, clock)
}

/// The same identity with what its credentials are now.
fn renewed(identity: &Arc<Identity>, own: &Keyring) -> Arc<Identity> {
    let credentials = identity.credentials.iter();
    let credentials =
        credentials.map(|credential| own.by_id(credential.id()).unwrap_or(credential));
    Arc::new(Identity {
        credentials: credentials.cloned().collect(),
    })
}

fn not_asked(
    host: &Arc<str>,
    images: &[Arc<Image>],
    report: &Report,
    is_full: bool,
    interval: SignedDuration,
    clock: &Arc<dyn Clock>,
) -> RoundResult {
    let reports = images
        .iter()
        .map(|image| (image.key.clone(), image.needs.clone(), report.clone()))
        .collect();
    RoundResult {
        host: Arc::clone(host),
        started_at: clock.now(),
        ended_at: clock.now(),
        duration: SignedDuration::ZERO,
        is_full,
        was_asked: false,
        is_up: false,
        reports,
        compared: Vec::new(),
        told: [0; 3],
        objects: [ObjectCounts::default(); 3],
        memory: None,
        rate_limit_remaining: None,
        requests_per_day: 0,
        interval,
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn prover() -> Prover {
        use crate::app::registries::Registries;
        // It fails when another test has installed it before; that is the same one.
        drop(rustls::crypto::ring::default_provider().install_default());
        let registries = Registries {
            config: Arc::default(),
            named: std::collections::BTreeSet::new(),
            plain_http: std::collections::BTreeSet::new(),
            personal: Arc::default(),
            sources: credential_source::Sources::default(),
            depth: None,
            memory: None,
            exchanges: None,
            stats: crate::registry::stats::Stats::default(),
            manifests: Arc::new(crate::registry::manifest_cache::InMemory::default()),
            clock: Arc::new(crate::clock::SystemClock),
        };
        registries
            .prover(
                &"registry.example".into(),
                Rotation::default(),
                Arc::default(),
            )
            .unwrap()
    }

    #[test]
    fn a_token_that_is_new_each_time_is_one_identity_with_the_newest_token() {
        let token = |text: &str| {
            let credential = Credential::new("AWS".to_owned(), text.into(), None, None);
            Arc::new(credential.with_id("ecr:registry.example"))
        };
        let mut prover = prover();
        let first = prover.intern(vec![token("one")]);
        for text in ["two", "three"] {
            assert_eq!(prover.intern(vec![token(text)]), first);
        }
        assert_eq!((prover.identities.len(), prover.ids.len()), (2, 1));
        let own = &prover.identities[first.0 as usize];
        assert_eq!(own.credentials[0].password.expose_secret(), "three");
        let credential = Credential::new("AWS".to_owned(), "four".into(), None, None);
        let later = Keyring::of_host(
            "registry.example",
            credential.with_id("ecr:registry.example"),
        );
        let renewed = renewed(own, &later);
        assert_eq!(renewed.credentials[0].password.expose_secret(), "four");
    }
}
