//! What another pullproof answered, read piece by piece: of a large keep-set the text is never in memory
//! as a whole, and what many uses have in common is kept once. Pure.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::io::Read;
use std::sync::Arc;

use jiff::Timestamp;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::Digests;
use super::told::ToldUse;
use crate::inventory::completeness::Refusal;
use crate::inventory::extract::{Interner, fitting};
use crate::inventory::marks::{Mark, Marked, Marks, sorted};
use crate::inventory::running::{Running, RunningUse};
use crate::inventory::{
    Class, ImageUse, NodeConstraint, PullSecret, PullSecrets, TopOwner, User, Via, keepset,
};
use crate::oci::digest::{Digest, Hasher};
use crate::oci::platform::Platform;
use crate::oci::reference::{Reference, Sharing};

const UNREAD: &str =
    "it is in a cluster of another pullproof, which alone can say whether it serves";

/// The document, as far as it is needed.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    /// First of all keys: one of another version says so before anything does not fit.
    #[serde(rename = "schema")]
    _schema: Schema,
    pub(super) daemon: Digest,
    pub(super) configuration: Digest,
    pub(super) sequence: u64,
    pub(super) at: Timestamp,
    pub(super) complete: bool,
    pub(super) refusals: Vec<Refusal>,
    /// Not there in answers of versions that know no peers.
    #[serde(default)]
    pub(super) first_hand: bool,
    #[serde(default)]
    pub(super) complete_at: Option<Timestamp>,
    #[serde(default)]
    pub(super) content: Option<Digest>,
    #[serde(default)]
    pub(super) unchanged: bool,
    pub(super) references: Option<Built>,
    #[serde(default)]
    malformed: Option<Vec<ToldUse>>,
    pub(super) hash: Option<Digest>,
}

#[derive(Debug, Deserialize)]
enum Schema {
    #[serde(rename = "pullproof.dev/keepset/v1")]
    V1,
}

/// Reads one; the text has nothing else.
pub(super) fn read(from: impl Read) -> serde_json::Result<Answer> {
    serde_json::from_reader(std::io::BufReader::with_capacity(64 << 10, from))
}

/// What is kept, and who uses it.
#[derive(Debug, Deserialize)]
struct Entry {
    reference: Reference,
    classes: Vec<Class>,
    digests: Box<[Digest]>,
    #[serde(default)]
    used_by: Vec<ToldUse>,
}

/// What was made of the references.
#[derive(Debug, Default)]
pub(super) struct Built {
    uses: Vec<ImageUse>,
    /// By the place of the use.
    running: Vec<(usize, Box<[Running]>)>,
    kept: Vec<(Reference, Vec<Class>, Box<[Digest]>)>,
    marks: HashMap<Arc<TopOwner>, Arc<Mark>>,
    platforms: BTreeSet<Platform>,
}

impl<'de> Deserialize<'de> for Built {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = Built;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list of references")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Built, A::Error> {
                let mut builder = Builder::default();
                while let Some(entry) = list.next_element()? {
                    builder.add(entry);
                }
                Ok(builder.built)
            }
        }

        deserializer.deserialize_seq(List)
    }
}

/// Keeps once what many uses have in common.
#[derive(Debug, Default)]
struct Builder {
    built: Built,
    interner: Interner,
    sharing: Sharing,
    owners: HashSet<Arc<TopOwner>>,
    secrets: BTreeSet<Arc<[Arc<str>]>>,
    constraints: BTreeSet<Arc<NodeConstraint>>,
}

impl Builder {
    fn add(&mut self, entry: Entry) {
        let Entry {
            reference,
            mut classes,
            digests,
            used_by,
        } = entry;
        let reference = self.sharing.share(reference);
        for told in used_by {
            let image_use = self.image_use(told, Ok(reference.clone()));
            self.built.uses.push(image_use);
        }
        classes.shrink_to_fit();
        self.built.kept.push((reference, classes, digests));
    }

    fn malformed(&mut self, told: ToldUse) {
        let reference = match told.user.image.parse() {
            Ok(reference) => Ok(self.sharing.share(reference)),
            Err(invalid) => Err(Box::new(invalid)),
        };
        let image_use = self.image_use(told, reference);
        self.built.uses.push(image_use);
    }

    fn image_use(
        &mut self,
        told: ToldUse,
        reference: Result<Reference, Box<crate::oci::reference::InvalidReference>>,
    ) -> ImageUse {
        let ToldUse {
            user,
            pull_secrets,
            platforms,
            running,
            ignored,
        } = told;
        if !running.is_empty() {
            let at = self.built.uses.len();
            let running = running.into_vec().into_iter().map(|one| Running {
                by: self.interner.text(&one.by),
                ..one
            });
            self.built.running.push((at, running.collect()));
        }
        self.built
            .platforms
            .extend(platforms.iter().flat_map(|it| it.iter().cloned()));
        let constraint = NodeConstraint {
            // None at all is any.
            platforms: Some(platforms.unwrap_or_default()),
            ..NodeConstraint::default()
        };
        let user = self.user(user);
        let mark = ignored
            .filter(|reason| !reason.trim().is_empty())
            .map(|reason| Mark {
                ignore: Some(self.interner.text(reason.trim())),
                labels: Box::default(),
            });
        if let Some(mark) = mark.and_then(|mark| self.interner.share(mark)) {
            self.built.marks.insert(Arc::clone(&user.owner), mark);
        }
        ImageUse {
            user: Arc::new(user),
            reference,
            pull_secrets: self.secrets(&pull_secrets),
            constraint: self.constraint(constraint),
        }
    }

    fn user(&mut self, user: User) -> User {
        let owner = match self.owners.get(&user.owner) {
            Some(known) => Arc::clone(known),
            None => {
                let owner = Arc::new(TopOwner {
                    cluster: user.owner.cluster.as_ref().map(|it| self.interner.text(it)),
                    namespace: self.interner.text(&user.owner.namespace),
                    kind: self.interner.text(&user.owner.kind),
                    name: self.interner.text(&user.owner.name),
                });
                self.owners.insert(Arc::clone(&owner));
                owner
            }
        };
        User {
            owner,
            container: self.interner.text(&user.container),
            image: self.interner.text(&user.image),
            ..user
        }
    }

    fn secrets(&mut self, secrets: &[Arc<str>]) -> Arc<[Arc<str>]> {
        if let Some(known) = self.secrets.get(secrets) {
            return Arc::clone(known);
        }
        let secrets: Arc<[Arc<str>]> = secrets.iter().map(|it| self.interner.text(it)).collect();
        self.secrets.insert(Arc::clone(&secrets));
        secrets
    }

    fn constraint(&mut self, constraint: NodeConstraint) -> Arc<NodeConstraint> {
        if let Some(known) = self.constraints.get(&constraint) {
            return Arc::clone(known);
        }
        let constraint = Arc::new(constraint);
        self.constraints.insert(Arc::clone(&constraint));
        constraint
    }
}

/// What a source says of it.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) uses: Arc<[ImageUse]>,
    pub(super) running: Arc<[Arc<RunningUse>]>,
    pub(super) pull_secrets: Arc<PullSecrets>,
    pub(super) platforms: Option<Arc<[Platform]>>,
    pub(super) marks: Marks,
    pub(super) digests: Digests,
}

impl Answer {
    /// Takes what it lists as the uses of a source of this name; `None` where it lists nothing.
    pub(super) fn made(&mut self, name: &str) -> Option<Made> {
        let mut builder = Builder {
            built: self.references.take()?,
            ..Builder::default()
        };
        for told in self.malformed.take().into_iter().flatten() {
            builder.malformed(told);
        }
        let Built {
            mut uses,
            running,
            kept,
            marks,
            platforms,
        } = builder.built;
        let mut marked = Vec::new();
        let mut names = Names::of(name);
        let mut pull_secrets = PullSecrets::new();
        for image_use in &mut uses {
            let user = User::clone(&image_use.user);
            let mark = marks.get(&user.owner);
            image_use.user = Arc::new(names.user(user));
            marked.extend(mark.map(|mark| Marked {
                owner: Arc::clone(&image_use.user.owner),
                mark: Arc::clone(mark),
            }));
            for secret in image_use.pull_secrets.iter() {
                let key = (Arc::clone(&image_use.user.namespace), Arc::clone(secret));
                let unread = || PullSecret::Unreadable(UNREAD.to_owned());
                pull_secrets.entry(key).or_insert_with(unread);
            }
        }
        let running = running.into_iter().filter_map(|(at, running)| {
            Some(Arc::new(RunningUse {
                user: Arc::clone(&uses.get(at)?.user),
                running,
                refusal: None,
                pulled: None,
            }))
        });
        let running = running.collect();
        let digests = kept
            .into_iter()
            .map(|(reference, _, digests)| (reference, digests));
        Some(Made {
            running,
            uses: uses.into(),
            pull_secrets: Arc::new(pull_secrets),
            platforms: (!platforms.is_empty()).then(|| platforms.into_iter().collect()),
            marks: Marks::new(sorted(marked).into(), Vec::new()),
            digests: digests.collect(),
        })
    }

    /// Whether what it lists is what its hash is of, and each of it is somebody's.
    pub(super) fn is_whole(&self) -> bool {
        let Some(built) = &self.references else {
            return false;
        };
        let mut hasher = Hasher::default();
        let Self {
            daemon,
            configuration,
            sequence,
            at,
            ..
        } = self;
        hasher.update(format!("{daemon} {configuration} {sequence} {at}\n").as_bytes());
        let mut uses = built.uses.iter().peekable();
        for (reference, classes, digests) in &built.kept {
            let line = keepset::line(reference, classes.iter(), digests.iter());
            hasher.update(line.as_bytes());
            let is_of_it = |one: &&ImageUse| one.reference.as_ref() == Ok(reference);
            if uses.next_if(is_of_it).is_none() {
                return false;
            }
            while uses.next_if(is_of_it).is_some() {}
        }
        self.hash == Some(hasher.finish())
    }
}

/// Tells whose a use is: two daemons may give their clusters the same name, and each may name none.
struct Names {
    peer: Arc<str>,
    /// Of those who name no cluster.
    owner: Option<(Arc<TopOwner>, Arc<TopOwner>)>,
    vias: HashSet<Arc<str>>,
}

impl Names {
    fn of(peer: &str) -> Self {
        Self {
            peer: peer.into(),
            owner: None,
            vias: HashSet::new(),
        }
    }

    fn user(&mut self, user: User) -> User {
        let via = match &user.via {
            None => format!("peer {}", self.peer),
            Some(via) => format!("{}, peer {}", fitting(&via.to_string()), self.peer),
        };
        let via = match self.vias.get(&*via) {
            Some(known) => Arc::clone(known),
            None => {
                let via: Arc<str> = via.into();
                self.vias.insert(Arc::clone(&via));
                via
            }
        };
        User {
            owner: self.owner(&user.owner),
            via: Some(Via::Object(via)),
            ..user
        }
    }

    fn owner(&mut self, told: &Arc<TopOwner>) -> Arc<TopOwner> {
        if told.cluster.is_some() {
            return Arc::clone(told);
        }
        if let Some((before, named)) = &self.owner
            && before == told
        {
            return Arc::clone(named);
        }
        let named = Arc::new(TopOwner {
            cluster: Some(Arc::clone(&self.peer)),
            ..TopOwner::clone(told)
        });
        self.owner = Some((Arc::clone(told), Arc::clone(&named)));
        named
    }
}
