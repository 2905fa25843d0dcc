//! A client that pushes, retags, deletes, deploys and uses old content again, one thing after the other.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use super::recipe::{Image, Recipe};
use super::site::Site;
use super::world::{Target, World};
use crate::support::clients::Clients;
use crate::support::pull::Puller;

mod steps;
mod wire;

use wire::Wire;

const REPOSITORIES: [&str; 3] = ["soak/one", "soak/two", "other/three"];
const TAGS: usize = 5;
/// Layers that everybody uses, again and again.
const LAYERS: u64 = 40;
/// So many of the last images are remembered, to be pushed again: also those that were purged long ago.
const PAST: usize = 1000;
/// So many workloads of a client's own images there are at most.
const DEPLOYED: usize = 5;
/// Refused so often, a push never comes to its end.
const ATTEMPTS: usize = 100;

pub(super) struct Pusher {
    number: usize,
    site: Arc<Site>,
    world: Arc<World>,
    random: Rng,
    pause: Duration,
    wire: Wire,
    puller: Puller,
    clients: Clients,
    /// What was pushed, with its repository and digest, the last one last.
    past: Vec<(String, String, Recipe)>,
    deployed: Vec<Target>,
    /// The next number of what is this client's alone.
    next: u64,
}

/// What the registry said to a change.
#[derive(Debug)]
pub(super) enum Change {
    Done,
    /// The registry says that something is missing, or that there is no such thing.
    Refused(String),
    /// It may have been done.
    Unclear,
}

impl Pusher {
    pub(super) async fn new(
        number: usize,
        site: &Arc<Site>,
        world: &Arc<World>,
        random: Rng,
        pause: Duration,
    ) -> Self {
        let mut clients = Clients::new();
        for url in site.urls() {
            clients.reach_plainly(&url.replace("http://", "")).await;
        }
        Self {
            number,
            site: Arc::clone(site),
            world: Arc::clone(world),
            random,
            pause,
            wire: Wire::new(site),
            puller: Puller::new(),
            clients,
            past: Vec::new(),
            deployed: Vec::new(),
            next: 0,
        }
    }

    /// Pushes to all its tags once, and deploys the first of each repository, which is never deleted.
    pub(super) async fn settle_in(&mut self) {
        for repository in REPOSITORIES {
            for number in 0..TAGS {
                let target = self.tag(repository, number);
                let recipe = self.fresh();
                self.push(&target, &recipe, None).await;
            }
            self.world.keep(&self.tag(repository, 0), true);
        }
    }

    pub(super) async fn run(mut self) {
        while self.world.is_open() {
            self.step().await;
            // People and pipelines do not push all the time.
            let most = u64::try_from(self.pause.as_millis()).unwrap();
            let pause = Duration::from_millis(self.random.u64(..=most));
            tokio::time::sleep(pause).await;
        }
    }

    async fn step(&mut self) {
        let target = self.any_tag();
        match self.random.u32(..100) {
            0..28 => {
                let recipe = self.fresh();
                self.push(&target, &recipe, None).await;
            }
            28..44 => self.push_again(&target, true).await,
            44..56 => self.push_again(&target, false).await,
            56..62 => self.retag(&target).await,
            62..70 => self.tag_what_had_one(&target).await,
            70..78 => self.push_index(&target).await,
            78..88 => self.delete(&target).await,
            88..95 => self.deploy(&target).await,
            _ => self.by_client(&target).await,
        }
    }

    fn tag(&self, repository: &str, number: usize) -> Target {
        Target::new(repository, &format!("c{}-{number}", self.number))
    }

    fn any_tag(&mut self) -> Target {
        let repository = REPOSITORIES[self.random.usize(..REPOSITORIES.len())];
        let number = self.random.usize(..TAGS);
        self.tag(repository, number)
    }

    /// The first of a repository is never deleted.
    fn is_first(target: &Target) -> bool {
        target.reference.ends_with("-0")
    }

    /// An image that never was there, of layers that mostly were.
    fn fresh(&mut self) -> Recipe {
        self.next += 1;
        let mut layers: Vec<u64> = (0..self.random.usize(1..=3))
            .map(|_| self.random.u64(..LAYERS))
            .collect();
        if self.random.bool() {
            layers.push(1000 * (self.number as u64 + 1) * 1000 + self.next);
        }
        layers.sort_unstable();
        layers.dedup();
        Recipe {
            layers,
            number: format!("{}-{}", self.number, self.next),
        }
    }

    /// Pushes until it is acknowledged, as everybody does whose push failed.
    async fn push(&mut self, target: &Target, recipe: &Recipe, from: Option<&str>) {
        let image = recipe.image();
        let digest = image.manifest.digest.clone();
        self.world.changes(target);
        self.insist(target, &[(image, target.reference.clone())], from)
            .await;
        self.world.acknowledged(target, &digest);
        self.past
            .push((target.repository.clone(), digest, recipe.clone()));
        if self.past.len() > PAST {
            self.past.remove(0);
        }
    }

    async fn insist(&mut self, target: &Target, images: &[(Image, String)], from: Option<&str>) {
        for (image, reference) in images {
            let mut said = Vec::new();
            while said.len() < ATTEMPTS {
                let repository = &target.repository;
                let pushed = self
                    .wire
                    .image(&mut self.random, repository, reference, image, from);
                match pushed.await {
                    (Change::Done, sent) => {
                        sent.count(&self.world);
                        break;
                    }
                    (other, sent) => {
                        sent.count(&self.world);
                        World::count(&self.world.counts.refused);
                        said.push(other);
                        // A registry that is started again is back in a moment.
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
            }
            assert!(said.len() < ATTEMPTS, "{target}: {:?}", said.last());
        }
    }

    /// The identical manifest, where it was before or in another repository, with the layers mounted.
    async fn push_again(&mut self, target: &Target, is_same: bool) {
        if self.past.is_empty() {
            return;
        }
        let (repository, _, recipe) = self.past[self.random.usize(..self.past.len())].clone();
        let target = if is_same {
            Target::new(&repository, &target.reference)
        } else {
            target.clone()
        };
        let from = (repository != target.repository).then_some(repository);
        self.push(&target, &recipe, from.as_deref()).await;
    }
}
