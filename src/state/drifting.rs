//! What drifts: kept apart from what images are, since most of them do not.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::State;
use super::image::{Details, Endpoint};
use crate::drift::tags::{HostTags, KnownTags};
use crate::drift::{Compared, Disagreement, Drift, Kind, PlatformsBefore, Relation};
use crate::images::{self, Image, ImageKey};
use crate::inventory::User;
use crate::inventory::running::{Blame, ImageId, Place, Reason, Refusal};
use crate::second::Second;
use crate::verify::finding::{Report, Verdict};

/// The kubelet tries again within five minutes (`MaxContainerBackOff`), and a pull takes its time: who
/// still fails after so long has failed anew.
const TRIED_AGAIN: SignedDuration = SignedDuration::from_mins(10);

/// What is known of drift, of the images that have any.
#[derive(Debug, Default)]
pub(super) struct Drifting {
    compared: HashMap<Arc<ImageKey>, Compared>,
    platforms: HashMap<Arc<ImageKey>, PlatformsBefore>,
    refused: HashMap<Arc<User>, Refused>,
    /// Which tags name what; snapshots share it.
    pub(super) tags: Arc<KnownTags>,
}

/// That a node could not pull.
#[derive(Debug, Clone, Copy)]
struct Refused {
    /// When it was first seen.
    since: Second,
    blame: Blame,
}

impl Drifting {
    /// Forgets what is of no image any more.
    pub(super) fn retain(&mut self, is_there: impl Fn(&ImageKey) -> bool) {
        self.compared.retain(|key, _| is_there(key));
        self.platforms.retain(|key, _| is_there(key));
    }

    /// Forgets registries that nothing names any more.
    pub(super) fn retain_hosts(&mut self, is_there: impl Fn(&str) -> bool) {
        Arc::make_mut(&mut self.tags).retain(is_there);
    }

    fn take(&mut self, compared: Compared) {
        let key = Arc::clone(&compared.key);
        let compared = compared.after(self.compared.get(&key));
        if compared.others.is_empty() {
            self.compared.remove(&key);
        } else {
            self.compared.insert(key, compared);
        }
    }

    /// Takes one more report of an image.
    pub(super) fn proceed(&mut self, key: &Arc<ImageKey>, before: Option<&Report>, now: &Report) {
        let known = self.platforms.get(key);
        let is_proven = |report: &Report| report.verdict == Verdict::Pullable;
        let is_so_still = before.is_none_or(|before| {
            is_proven(before) && is_proven(now) && before.platforms == now.platforms
        });
        if known.is_none() && is_so_still {
            return;
        }
        let now = known.cloned().unwrap_or_default().after(before, now);
        if now.is_empty() {
            self.platforms.remove(key);
        } else {
            self.platforms.insert(Arc::clone(key), now);
        }
    }

    pub(super) fn platforms_before(&self, key: &ImageKey) -> Option<&PlatformsBefore> {
        self.platforms.get(key)
    }

    pub(super) fn recall(&mut self, key: &Arc<ImageKey>, before: PlatformsBefore) {
        self.platforms.entry(Arc::clone(key)).or_insert(before);
    }
}

impl State {
    /// Takes what runs, compared by a round that began then.
    pub(super) fn compare(&mut self, compared: Vec<Compared>, started_at: Timestamp) {
        for compared in compared {
            let position = self.standings.position(&compared.key);
            let known = position.and_then(|position| self.standings.at(position));
            if known.is_some_and(|(_, standing)| !standing.is_newer_than(started_at)) {
                self.drifting.take(compared);
            }
        }
    }

    /// Takes all that is known of the tags of one registry.
    pub fn set_tags(&mut self, host: Arc<str>, tags: Arc<HostTags>) {
        Arc::make_mut(&mut self.drifting.tags).set(host, tags);
    }

    /// Notes which nodes fail to pull now, and since when.
    pub(super) fn note_refusals(&mut self, now: Timestamp) {
        let before = std::mem::take(&mut self.drifting.refused);
        let images = Arc::clone(self.standings.images());
        let running = images
            .images
            .iter()
            .filter_map(|image| image.running.as_ref());
        for of_use in running.flat_map(|running| &running.uses) {
            let Some(refusal) = &of_use.refusal else {
                continue;
            };
            let blame = refusal.blame();
            let known = before.get(&of_use.user);
            let refused = Refused {
                since: known.map_or_else(|| now.into(), |known| known.since),
                // While it waits to try again it does not say why.
                blame: match known {
                    Some(known) if blame == Blame::Untold => known.blame,
                    Some(_) | None => blame,
                },
            };
            let user = Arc::clone(&of_use.user);
            self.drifting.refused.insert(user, refused);
        }
    }

    /// What there is to say of an image besides its report: of few there is anything.
    pub(super) fn details(
        &self,
        image: &Image,
        endpoints: Vec<Endpoint>,
        report: &Report,
        since: Second,
        now: Timestamp,
    ) -> Details {
        let mut drift = Vec::new();
        if let Some(compared) = self.drifting.compared.get(&image.key) {
            self.drift_of_running(image, compared, &mut drift);
        }
        let everybody = |kind: Kind| Drift {
            kind,
            digest: None,
            platform: None,
            registry: None,
            users: Arc::clone(&image.users),
        };
        // What is lost is told as that.
        if let Some(pinned) = image.key.reference.digest()
            && report.verdict != Verdict::Broken
            && let Some(tags) = self.drifting.tags.of(&image.key, now)
            && tags.is_untagged(&pinned)
        {
            drift.push(Drift {
                digest: Some(pinned),
                ..everybody(Kind::PinnedDigestUntagged)
            });
        }
        let before = self.drifting.platforms.get(&image.key);
        let lost = before.iter().flat_map(|before| &before.lost);
        // A platform that no node has may go.
        let lost = lost.filter(|platform| image.needs.includes(platform));
        drift.extend(lost.map(|platform| Drift {
            platform: Some(platform.clone()),
            ..everybody(Kind::PlatformMissing)
        }));
        let mut others = endpoints.iter();
        let own = others.next().and_then(|own| own.report.digest);
        let others = others.filter(|other| own.is_some() && other.report.digest.is_some());
        let others = others.filter(|other| other.report.digest != own);
        drift.extend(others.map(|other| Drift {
            digest: other.report.digest,
            registry: Some(Arc::clone(&other.image.registry)),
            ..everybody(Kind::RegistryDisagreement)
        }));
        Details {
            disagreements: self.disagreements(image, report, since, now),
            endpoints,
            drift,
        }
    }

    fn drift_of_running(&self, image: &Image, compared: &Compared, drift: &mut Vec<Drift>) {
        for (id, relation) in &compared.others {
            let users = users_of(image, *id);
            if users.is_empty() {
                continue;
            }
            let running = |kind: Kind| Drift {
                kind,
                digest: Some(id.digest),
                platform: None,
                registry: None,
                users: users.clone(),
            };
            if *relation == Relation::Moved {
                drift.push(running(Kind::TagMoved));
            }
            if id.place == Place::Named && self.is_broken_by_digest(image, *id) {
                drift.push(running(Kind::RunningDigestMissing));
            }
        }
    }

    /// Whether what runs was looked for by its digest, and cannot be pulled.
    fn is_broken_by_digest(&self, image: &Image, id: ImageId) -> bool {
        let reference = images::of_digest(&image.key.reference, id.digest);
        let key = reference.map(|reference| ImageKey {
            reference,
            puller: Arc::clone(&image.key.puller),
        });
        let position = key.and_then(|key| self.standings.position(&key));
        let standing = position.and_then(|position| self.standings.at(position));
        standing.is_some_and(|(_, standing)| standing.is_broken())
    }

    /// Who says that it cannot be pulled, although it was proven to be there: failed after the proof, or
    /// fails on and on. And who has pulled it since it is said to be broken.
    fn disagreements(
        &self,
        image: &Image,
        report: &Report,
        since: Second,
        now: Timestamp,
    ) -> Vec<Disagreement> {
        if report.verdict == Verdict::Broken {
            return pulled_since(image, since);
        }
        if self.drifting.refused.is_empty() || report.verdict != Verdict::Pullable {
            return Vec::new();
        }
        let is_long = |since: Second| now.duration_since(since.into()) >= TRIED_AGAIN;
        let uses = image.running.iter().flat_map(|running| &running.uses);
        let disagree = uses.filter_map(|of_use| {
            let refusal = of_use.refusal.as_deref()?;
            let refused = self.drifting.refused.get(&of_use.user)?;
            let is_after_proof = report.proven_at.is_some_and(|at| refused.since > at);
            let is_lasting = is_long(refused.since) && is_long(since);
            let is_registrys = refused.blame == Blame::Registry;
            (is_registrys && (is_after_proof || is_lasting)).then(|| Disagreement {
                user: Arc::clone(&of_use.user),
                refusal: refusal.clone(),
            })
        });
        disagree.collect()
    }
}

/// Which nodes have pulled it since then.
fn pulled_since(image: &Image, since: Second) -> Vec<Disagreement> {
    let uses = image.running.iter().flat_map(|running| &running.uses);
    let pulled = uses.filter_map(|of_use| {
        let at = of_use.pulled.filter(|at| *at > since)?;
        Some(Disagreement {
            user: Arc::clone(&of_use.user),
            refusal: Refusal {
                reason: Reason::Pulled,
                message: format!("a node has pulled it at {at}").into(),
            },
        })
    });
    pulled.collect()
}

/// Who runs this.
fn users_of(image: &Image, id: ImageId) -> Arc<[Arc<User>]> {
    let uses = image.running.iter().flat_map(|running| &running.uses);
    let running = uses.filter(|of_use| of_use.running.iter().any(|one| one.id == id));
    running.map(|of_use| Arc::clone(&of_use.user)).collect()
}
