//! What a manifest says, as far as it is stored. Pure.

use super::{Graph, ObjectId};
use crate::oci::digest::Digest;
use crate::oci::manifest::Manifest;
use crate::oci::media_type::{self, Kind};

/// A manifest, as far as it could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    Read(Names),
    /// What it names is not known.
    Unreadable,
}

const _: () = assert!(size_of::<Node>() <= 32);

impl Node {
    /// What it names; `None` where that is not known.
    pub fn names(&self) -> Option<&Names> {
        match self {
            Self::Read(names) => Some(names),
            Self::Unreadable => None,
        }
    }
}

/// What a manifest names and is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// The children, then the blobs.
    all: Box<[ObjectId]>,
    children: u32,
    subject: Option<ObjectId>,
    has_config: bool,
    is_not_understood: bool,
}

impl Names {
    fn of(children: Vec<ObjectId>, blobs: Vec<ObjectId>) -> Self {
        let count = u32::try_from(children.len()).expect("a manifest has 4 MiB at most");
        let mut all = children;
        all.extend(blobs);
        Self {
            all: all.into(),
            children: count,
            ..Self::default()
        }
    }

    /// Children and blobs.
    pub fn all(&self) -> &[ObjectId] {
        &self.all
    }

    /// Manifests, and whatever an index lists besides.
    pub fn children(&self) -> &[ObjectId] {
        self.all.get(..self.children as usize).unwrap_or_default()
    }

    /// Where it has one and that is stored.
    pub fn config(&self) -> Option<ObjectId> {
        let first = self.all.get(self.children as usize).copied();
        first.filter(|_| self.has_config)
    }

    /// What it refers to, where that is stored.
    pub fn subject(&self) -> Option<ObjectId> {
        self.subject
    }

    /// One of an unknown media type is kept, with all that looks like a digest in it.
    pub fn is_understood(&self) -> bool {
        !self.is_not_understood
    }
}

/// A manifest that was read.
#[derive(Debug)]
pub struct Parsed {
    pub(super) names: Names,
    /// What it names and is not stored.
    pub(super) absent: Vec<Digest>,
}

impl Parsed {
    /// What a manifest of this graph says, or what is wrong with it.
    pub(super) fn of(graph: &Graph, body: &[u8]) -> Result<Self, String> {
        let mut absent = Vec::new();
        let mut stored = |digests: &mut dyn Iterator<Item = Digest>| {
            let mut stored = Vec::new();
            for digest in digests {
                match graph.find(&digest) {
                    Some(id) => stored.push(id),
                    None => absent.push(digest),
                }
            }
            stored
        };
        let refers_to = |subject: Option<Digest>| subject.and_then(|it| graph.find(&it));
        let names = match Manifest::parse(body, None) {
            Ok(Manifest::Index { children, subject }) => {
                // Caches and other artifacts list plain blobs in an index.
                let is_manifest = |media_type: &str| media_type::kind(media_type) != Kind::Other;
                let (children, blobs): (Vec<_>, Vec<_>) = children
                    .iter()
                    .partition(|it| it.media_type.is_empty() || is_manifest(&it.media_type));
                let children = stored(&mut children.iter().map(|it| it.digest));
                let blobs = stored(&mut blobs.iter().map(|it| it.digest));
                Names {
                    subject: refers_to(subject),
                    ..Names::of(children, blobs)
                }
            }
            Ok(Manifest::Image {
                config,
                layers,
                subject,
            }) => {
                let all = [config.digest].into_iter();
                let blobs = stored(&mut all.chain(layers.iter().map(|it| it.digest)));
                Names {
                    has_config: graph.find(&config.digest).is_some(),
                    subject: refers_to(subject),
                    ..Names::of(Vec::new(), blobs)
                }
            }
            // Whatever looks like a digest in it may be one, and a manifest if it is linked as one.
            Ok(Manifest::Unsupported { .. }) => {
                let named = digests_in(body).filter_map(|it| graph.find(&it));
                let (children, blobs) = named.partition(|it| graph.linked(*it).as_manifest);
                Names {
                    is_not_understood: true,
                    ..Names::of(children, blobs)
                }
            }
            Err(problem) => return Err(problem.to_string()),
        };
        Ok(Self { names, absent })
    }
}

/// Every `sha256:<64 hex>` in a text.
fn digests_in(body: &[u8]) -> impl Iterator<Item = Digest> + '_ {
    const NAME: &[u8] = b"sha256:";
    let starts = body.windows(NAME.len()).enumerate();
    let starts = starts
        .filter(|(_, window)| *window == NAME)
        .map(|(at, _)| at);
    starts.filter_map(|at| {
        let text = body.get(at..at + NAME.len() + 64)?;
        std::str::from_utf8(text).ok()?.parse().ok()
    })
}
