//! What a client does besides pushing an image.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::recipe::{Image, index};
use super::super::world::{Tag, Target, World};
use super::{Change, DEPLOYED, Pusher, TAGS};
use crate::support::registry::Version;

impl Pusher {
    /// Gives the tag what another one of its repository names.
    pub(super) async fn retag(&mut self, target: &Target) {
        let number = self.random.usize(..TAGS);
        let other = self.tag(&target.repository, number);
        if let Some(Tag::Is(digest)) = self.world.tag(&other) {
            self.put_again(target, &digest).await;
        }
    }

    /// Gives a tag to an image that lost its own, by its digest, as a rollback does.
    pub(super) async fn tag_what_had_one(&mut self, target: &Target) {
        let here = self
            .past
            .iter()
            .filter(|(it, _, _)| *it == target.repository);
        let digests: Vec<String> = here.map(|(_, digest, _)| digest.clone()).collect();
        if !digests.is_empty() {
            let digest = digests[self.random.usize(..digests.len())].clone();
            self.put_again(target, &digest).await;
        }
    }

    /// Puts a manifest of the repository by a tag, without its layers; where that is refused, the tag stays
    /// what it was.
    async fn put_again(&mut self, target: &Target, digest: &str) {
        let url = self.wire.any(&mut self.random);
        let found = self.puller.manifest(&url, &target.repository, digest).await;
        let Ok(manifest) = found else { return };
        let before = self.world.tag(target);
        self.world.changes(target);
        let url = self.wire.any(&mut self.random);
        let (repository, reference) = (&target.repository, &target.reference);
        let put = self.wire.put(
            &url,
            repository,
            reference,
            &manifest.media_type,
            &manifest.bytes,
        );
        match (put.await, before) {
            (Change::Done, _) => self.world.acknowledged(target, digest),
            (Change::Refused(_), before) => {
                World::count(&self.world.counts.refused);
                match before {
                    Some(Tag::Is(before)) => self.world.is_again(target, &before),
                    _ => self.world.deleted(target),
                }
            }
            // Nobody knows what it names now: so it is pushed over.
            (Change::Unclear, _) => {
                let recipe = self.fresh();
                self.push(target, &recipe, None).await;
            }
        }
    }

    /// Two children by their digests, and then what lists them.
    pub(super) async fn push_index(&mut self, target: &Target) {
        let children = [self.fresh().image(), self.fresh().image()];
        let list = index(&children);
        let mut images: Vec<(Image, String)> = children
            .into_iter()
            .map(|child| (child.clone(), child.manifest.digest))
            .collect();
        let digest = list.digest.clone();
        let list = Image {
            blobs: Vec::new(),
            manifest: list,
        };
        self.world.changes(target);
        images.push((list, target.reference.clone()));
        self.insist(target, &images, None).await;
        self.world.acknowledged(target, &digest);
    }

    /// By the digest, which takes all tags of it along, or by the tag alone where that is known.
    pub(super) async fn delete(&mut self, target: &Target) {
        let Some(Tag::Is(digest)) = self.world.tag(target) else {
            return;
        };
        let repository = &target.repository;
        let first = self.world.tag(&self.tag(repository, 0));
        if Self::is_first(target)
            || first == Some(Tag::Is(digest.clone()))
            || self.world.is_kept(repository, &digest)
        {
            return;
        }
        let by_tag = self.site.setup.version == Version::V3 && self.random.bool();
        let reference = if by_tag {
            self.world.tag_goes(target);
            &target.reference
        } else {
            self.world.goes(repository, &digest);
            &digest
        };
        loop {
            let url = self.wire.any(&mut self.random);
            match self.wire.delete(&url, repository, reference).await {
                Change::Done => break,
                // It was done before, and nobody said so.
                Change::Refused(said) if said.starts_with("404") => break,
                Change::Refused(said) => panic!("{target}: {said}"),
                Change::Unclear => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
        World::count(&self.world.counts.deleted);
        if by_tag {
            self.world.deleted(target);
        } else {
            self.world.gone(repository, &format!("c{}-", self.number));
        }
    }

    /// A workload uses by its digest what the tag names, or what had a tag once and can be pulled still; or
    /// one ends.
    pub(super) async fn deploy(&mut self, target: &Target) {
        if self.deployed.len() >= DEPLOYED {
            let ended = self.deployed.remove(self.random.usize(..DEPLOYED));
            self.world.keep(&ended, false);
            return;
        }
        let tagged = match self.world.tag(target) {
            Some(Tag::Is(digest)) if self.random.bool() => Some(digest),
            _ => None,
        };
        let (used, is_old) = match tagged {
            Some(digest) => (Target::new(&target.repository, &digest), false),
            None if self.past.is_empty() => return,
            None => {
                let (repository, digest, _) = &self.past[self.random.usize(..self.past.len())];
                (Target::new(repository, digest), true)
            }
        };
        if self.deployed.contains(&used) {
            return;
        }
        // What is being purged is not wanted back in that very moment.
        let Ok(_held) = self.world.purging.try_read() else {
            return;
        };
        let url = self.wire.any(&mut self.random);
        let pulled = self.puller.whole(&url, &used.repository, &used.reference);
        if pulled.await.is_err() {
            return;
        }
        self.world.keep(&used, true);
        self.deployed.push(used);
        World::count(&self.world.counts.deployed);
        if is_old {
            World::count(&self.world.counts.rolled_back);
        }
    }

    /// Copies, tags or appends by a program that people use.
    pub(super) async fn by_client(&mut self, target: &Target) {
        let tags = self.world.needed();
        let own = format!("c{}-", self.number);
        let own: BTreeMap<Target, String> = tags
            .into_iter()
            .filter(|(it, _)| !it.is_digest() && it.reference.starts_with(&own) && it != target)
            .filter_map(|(target, digest)| Some((target, digest?)))
            .collect();
        let Some((source, digest)) = self.random.choice(own.iter()) else {
            return;
        };
        let (source, digest) = (source.clone(), digest.clone());
        let host = self.wire.any(&mut self.random).replace("http://", "");
        let at = |target: &Target| format!("{host}/{target}");
        let (from, to) = (at(&source), at(target));
        self.world.changes(target);
        let done = match self.random.u32(..3) {
            0 => {
                self.clients
                    .attempt("crane", &["copy", "--insecure", &from, &to])
                    .await
            }
            1 => {
                self.clients
                    .attempt("regctl", &["image", "copy", &from, &to])
                    .await
            }
            _ if source.repository == target.repository => {
                let words = ["tag", "--insecure", &from, &target.reference];
                self.clients.attempt("crane", &words).await
            }
            _ => {
                self.clients
                    .attempt("crane", &["copy", "--insecure", &from, &to])
                    .await
            }
        };
        match done {
            Ok(_) => {
                World::count(&self.world.counts.by_clients);
                self.world.acknowledged(target, &digest);
            }
            // Nobody knows how far it came: so it is pushed over.
            Err(_) => {
                let recipe = self.fresh();
                self.push(target, &recipe, None).await;
            }
        }
    }
}
