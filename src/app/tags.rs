//! Asks which tags name what: after a round, in what is left of its interval, and never instead of it.
//!
//! To list and resolve every tag of a registry is what makes others' dry runs take days. So only
//! repositories are asked where something depends on it, each once in `blobInterval`; what the round has
//! resolved is not asked again; a bounded number of tags is looked at in one go, and the rest next time.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use tokio::time::Instant;

use self::look::Look;

use crate::clock::Clock;
use crate::drift::tags::{Answer, HostTags, Pass, Wanted};
use crate::images::{Image, PullerKey};
use crate::oci::digest::Digest;
use crate::prover::{Learnt, Prover};
use crate::registry::client::tags::Tagged;
use crate::verify::node::Shape;
use crate::verify::table::Table;
use crate::verify::target::{AuthId, Root};

mod look;

/// How many tags of one repository are looked at in one go.
const LOOKS_MAX: usize = 500;
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

impl Repository {
    /// How many tags are remembered for it.
    fn held(&self) -> usize {
        self.last.len() + self.pass.as_ref().map_or(0, Pass::len)
    }
}
