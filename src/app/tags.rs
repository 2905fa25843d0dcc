//! Asks which tags name what: after a round, in what is left of its interval, and never instead of it.
//!
//! To list and resolve every tag of a registry is what makes others' dry runs take days. So only
//! repositories are asked where something depends on it, each once in `blobInterval`; what the round has
//! resolved is not asked again; a bounded number of tags is looked at in one go, and the rest next time.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::clock::Clock;
use crate::drift::tags::{Answer, HostTags, Named, Pass, Wanted};
use crate::images::{Image, PullerKey};
use crate::oci::digest::Digest;
use crate::prover::{Learnt, Prover};
use crate::registry::client::Client;
use crate::registry::client::tags::{Tagged, Untold};
use crate::verify::finding::Code;
use crate::verify::node::Shape;
use crate::verify::table::Table;
use crate::verify::target::{AuthId, Cadence, Root, STALE_AFTER_INTERVALS};

/// How many tags of one repository are looked at in one go.
const LOOKS_MAX: usize = 500;
/// How many are looked at at once: whoever pulls goes first.
const LOOKS_AT_ONCE: usize = 8;
/// How many tags of one registry are remembered, some hundred bytes each. A repository that has more than
/// is left of them is not asked.
const TAGS_MAX: usize = 200_000;

/// How much may be asked in one go.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Of one repository.
    looks: usize,
    /// Nothing is asked after this.
    until: Option<Instant>,
}

impl Budget {
    /// Between two rounds.
    pub fn until(next_round: Instant) -> Self {
        Self {
            looks: LOOKS_MAX,
            until: Some(next_round),
        }
    }

    /// Where there is no next time.
    pub fn unlimited() -> Self {
        Self {
            looks: usize::MAX,
            until: None,
        }
    }

    fn is_spent(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }
}

/// What is known of the tags of one registry. Lives as long as its prover, whose identities it knows by
/// their numbers.
#[derive(Debug, Default)]
pub struct TagWatch {
    repositories: HashMap<(AuthId, Arc<str>), Repository>,
    known: Arc<HostTags>,
}

/// One repository, as one identity is shown it.
#[derive(Debug, Default)]
struct Repository {
    /// When it is to be asked again.
    due: Option<Timestamp>,
    pass: Option<Pass>,
    /// What its tags named when they were looked at last, but for those that rounds resolve.
    last: HashMap<Arc<str>, Tagged>,
    answer: Option<Arc<Answer>>,
}

/// What there is to ask of one repository, and what a round knows of it already.
#[derive(Debug, Default)]
struct Errand {
    wanted: Wanted,
    pullers: BTreeSet<Arc<PullerKey>>,
    /// Written beside a pinned digest: the likeliest to name it.
    beside: BTreeSet<Arc<str>>,
    resolved: HashMap<Arc<str>, Digest>,
}

impl TagWatch {
    /// Asks what is due. `images` are those of the prover's last round, and `is_named` tells of each whether
    /// somebody names it: what is only proven beside those may well have no tag. All that is known then, if
    /// it is other than before.
    pub async fn look(
        &mut self,
        prover: &Prover,
        images: &[Arc<Image>],
        is_named: &[bool],
        budget: Budget,
        clock: &dyn Clock,
    ) -> Option<Arc<HostTags>> {
        let (table, targets) = prover.learnt();
        if targets.len() != images.len() {
            // The round could not even ask.
            return None;
        }
        let mut known = HostTags::new();
        let mut seen = BTreeSet::new();
        let mut held: usize = self.repositories.values().map(Repository::held).sum();
        let mut is_over = false;
        let (mut learnt, mut is_named) = (prover.learnt_of_each(), is_named.iter());
        // In order of their keys, and so repository by repository: what there is to ask of all of them at
        // once would be as much as all images are.
        let of_repository = images.chunk_by(|one, other| {
            one.key.reference.repository() == other.key.reference.repository()
        });
        for images in of_repository {
            let Some(first) = images.first() else {
                continue;
            };
            let name = first.key.reference.shared_repository();
            let mut errands: HashMap<AuthId, Errand> = HashMap::new();
            let learnt = images.iter().zip(learnt.by_ref()).zip(is_named.by_ref());
            for ((image, learnt), _) in learnt.filter(|(_, is_named)| **is_named) {
                let errand = errands.entry(learnt.0.content).or_default();
                errand.add(image, learnt, table);
            }
            errands.retain(|_, errand| !errand.wanted.is_empty());
            for (auth, errand) in errands {
                let place = (auth, Arc::clone(&name));
                let repository = self.repositories.entry(place.clone()).or_default();
                let pullers = errand.pullers.clone();
                held -= repository.held();
                is_over |= budget.is_spent();
                if !is_over {
                    let look = Look {
                        client: prover.client(),
                        table,
                        cadence: prover.cadence(),
                        auth,
                        name: &name,
                        budget,
                        room: TAGS_MAX.saturating_sub(held),
                    };
                    is_over = !look.proceed(repository, errand, clock).await;
                }
                held += repository.held();
                if let Some(answer) = &repository.answer {
                    let places = pullers.into_iter().map(|it| (Arc::clone(&name), it));
                    known.extend(places.map(|place| (place, Arc::clone(answer))));
                }
                seen.insert(place);
            }
        }
        self.repositories.retain(|place, _| seen.contains(place));
        let is_news = known != *self.known;
        is_news.then(|| {
            self.known = Arc::new(known);
            Arc::clone(&self.known)
        })
    }
}

impl Errand {
    fn add(&mut self, image: &Image, (target, is_resolved): Learnt<'_>, table: &Table) {
        self.pullers.insert(Arc::clone(&image.key.puller));
        let root = match &target.root {
            Root::Digest(digest) => {
                self.wanted.pinned.insert(*digest);
                self.beside.extend(image.key.reference.shared_tag());
                Some(*digest)
            }
            Root::Tag(tag) => {
                let id = table.known_repository(&target.repository);
                let key = id.map(|id| (target.content, id, Arc::clone(tag)));
                let number = key.and_then(|key| table.known_tag(&key));
                let last = number.and_then(|number| table.tag(number)?.last);
                let last = last.filter(|_| is_resolved);
                let resolved = last.map(|last| (Arc::clone(tag), last));
                self.resolved.extend(resolved);
                last
            }
        };
        if let Some(root) = root.filter(|root| table.is_index(root)) {
            self.wanted.indexes.insert(root);
            self.wanted.children.extend(children(table, root));
        }
    }
}

/// The images below an index, as far as its manifests were read.
fn children(table: &Table, root: Digest) -> BTreeSet<Digest> {
    let mut below = BTreeSet::new();
    let mut level = vec![root];
    while let Some(digest) = level.pop() {
        let Some(Shape::Index(children)) = table.node(&digest).map(|node| node.shape) else {
            continue;
        };
        let manifests = children.iter().filter(|child| !child.is_blob);
        let new = manifests.filter(|child| below.insert(child.digest));
        level.extend(new.map(|child| child.digest));
    }
    below.retain(|digest| !table.is_index(digest));
    below
}

/// All that is below a manifest; `None` where a part of it was not read.
fn below(table: &Table, root: Digest) -> Option<Vec<Digest>> {
    let mut below = BTreeSet::new();
    let mut level = vec![root];
    while let Some(digest) = level.pop() {
        if let Shape::Index(children) = table.node(&digest)?.shape {
            let new = children.iter().filter(|child| below.insert(child.digest));
            let manifests = new.filter(|child| !child.is_blob);
            level.extend(manifests.map(|child| child.digest));
        }
    }
    Some(below.into_iter().collect())
}

impl Repository {
    /// How many tags are remembered for it.
    fn held(&self) -> usize {
        self.last.len() + self.pass.as_ref().map_or(0, Pass::len)
    }
}

/// One repository that is asked now.
struct Look<'a> {
    client: &'a Client,
    table: &'a Table,
    cadence: Cadence,
    auth: AuthId,
    name: &'a Arc<str>,
    budget: Budget,
    room: usize,
}

impl Look<'_> {
    /// Goes on with the pass that is under way, or begins one if it is time. False if the registry is not
    /// to be asked any more for now.
    async fn proceed(
        &self,
        repository: &mut Repository,
        errand: Errand,
        clock: &dyn Clock,
    ) -> bool {
        let now = clock.now();
        let mut pass = match repository.pass.take() {
            Some(mut pass) => {
                pass.resume();
                pass
            }
            None if repository.due.is_some_and(|due| due > now) => return true,
            None => self.begin(errand.wanted, errand.resolved),
        };
        let after = |intervals: i32| {
            let later = now.checked_add(self.cadence.blob_interval * intervals);
            later.unwrap_or(Timestamp::MAX)
        };
        repository.due = Some(after(1));
        let mut looks = self.budget.looks;
        let mut is_list_due = !pass.is_listed() && !pass.is_over();
        while !pass.is_over() || is_list_due {
            if is_list_due {
                let listed = match self.list().await {
                    Ok(listed) => listed,
                    Err(untold) => {
                        debug!(repository = %self.name, code = %untold.code, "what its tags name is not known: {}", untold.message);
                        // Whoever cannot tell does not take back what was told.
                        return !ends_all(untold.code);
                    }
                };
                repository.last.retain(|tag, _| listed.contains(tag));
                let last = &repository.last;
                let named = last.iter();
                let named = named.filter(|(_, tagged)| pass.wanted().has(&tagged.digest));
                let likely: BTreeSet<Arc<str>> = named
                    .map(|(tag, _)| Arc::clone(tag))
                    .chain(errand.beside.iter().cloned())
                    .collect();
                pass.list(listed, |tag| match tag {
                    tag if likely.contains(tag) => 0,
                    tag if !last.contains_key(tag) => 1,
                    _ => 2,
                });
            }
            let is_answered = self
                .look_at_tags(&mut pass, &mut repository.last, &mut looks)
                .await;
            if !pass.is_over() {
                repository.pass = Some(pass);
                return is_answered;
            }
            is_list_due = pass.wants_list_again();
        }
        let answer = pass.answer(after(STALE_AFTER_INTERVALS).into());
        repository.answer = Some(Arc::new(answer));
        true
    }

    /// With what the round has found out.
    fn begin(&self, wanted: Wanted, resolved: HashMap<Arc<str>, Digest>) -> Pass {
        let mut pass = Pass::begin(wanted);
        for (tag, digest) in resolved {
            if let Some(below) = below(self.table, digest) {
                let below = &below;
                pass.record(tag, Named::Manifest { digest, below });
            }
        }
        pass
    }

    async fn list(&self) -> Result<BTreeSet<Arc<str>>, Untold> {
        let tags = self.client.tags(self.auth, self.name).await?;
        if tags.len() > self.room {
            let count = tags.len();
            warn!(repository = %self.name, tags = count, "it has too many tags to be asked what they name");
            let message = format!("{count} tags are too many").into();
            return Err(Untold {
                code: Code::Unsupported,
                message,
            });
        }
        Ok(tags)
    }

    /// Looks at tags until there is enough, or the budget is spent. False if the registry is not to be
    /// asked any more for now.
    async fn look_at_tags(
        &self,
        pass: &mut Pass,
        last: &mut HashMap<Arc<str>, Tagged>,
        looks: &mut usize,
    ) -> bool {
        let has_pinned = !pass.wanted().pinned.is_empty();
        let mut is_answered = true;
        let mut asked = FuturesUnordered::new();
        loop {
            while is_answered
                && *looks > 0
                && asked.len() < LOOKS_AT_ONCE
                && !self.budget.is_spent()
                && let Some(tag) = pass.next_tag()
            {
                *looks -= 1;
                let before = last.get(&tag).copied();
                asked.push(self.look_at(tag, before, has_pinned));
            }
            let Some((tag, told)) = asked.next().await else {
                return is_answered;
            };
            match told {
                Ok(Some((tagged, below))) => {
                    last.insert(Arc::clone(&tag), tagged);
                    let (digest, below) = (tagged.digest, below.as_slice());
                    pass.record(tag, Named::Manifest { digest, below });
                }
                Ok(None) => {
                    last.remove(&tag);
                    pass.record(tag, Named::Nothing);
                }
                // It stays among those that were asked for, and is asked for again.
                Err(untold) if ends_all(untold.code) => is_answered = false,
                Err(untold) => {
                    debug!(repository = %self.name, %tag, code = %untold.code, "what it names is not known: {}", untold.message);
                    pass.record(tag, Named::Unknown);
                }
            }
        }
    }

    async fn look_at(
        &self,
        tag: Arc<str>,
        before: Option<Tagged>,
        has_pinned: bool,
    ) -> (Arc<str>, Result<Option<(Tagged, Vec<Digest>)>, Untold>) {
        let (client, auth, name) = (self.client, self.auth, self.name);
        let told = async {
            let tagged = client.tagged_manifest(auth, name, &tag, before).await?;
            let Some(tagged) = tagged else {
                return Ok(None);
            };
            let below = match below(self.table, tagged.digest) {
                // What is pinned may be below it.
                None if has_pinned && tagged.may_be_index => {
                    client.below(auth, name, tagged.digest).await?
                }
                below => below.unwrap_or_default(),
            };
            Ok(Some((tagged, below)))
        };
        let told = told.await;
        (tag, told)
    }
}

/// Whether there is no use in asking this registry for anything else now.
fn ends_all(code: Code) -> bool {
    matches!(
        code,
        Code::Unreachable | Code::Timeout | Code::Tls | Code::RateLimited
    )
}
