//! The manifests of a table, packed: what they name is named by its number ([`super::objects`]).

use std::hash::{BuildHasher as _, RandomState};

use super::index::Index;
use super::node::{BlobEdge, ChildEdge, Node, Shape};
use super::objects::Objects;
use super::shared::Shared;
use crate::oci::digest::Digest;
use crate::oci::platform::Platform;

mod packed;

use packed::{Edge, IMAGE, INDEX, INVALID, Packed, Reader, UNSUPPORTED};

/// Bytes come in pieces of this many, so that what grows is never copied; a longer manifest is a
/// piece of its own.
const PIECE: usize = 1 << PIECE_BITS;
const PIECE_BITS: u32 = 16;

/// Manifests by the numbers of their digests.
#[derive(Debug, Default)]
pub struct Nodes {
    /// One manifest after the other, and nothing else.
    pieces: Vec<Vec<u8>>,
    /// Where in the pieces manifests begin, by the hash of their numbers, which are the first that is
    /// written there.
    places: Index,
    len: usize,
    hasher: RandomState,
    platforms: Shared<Platform>,
}

impl Nodes {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn contains(&self, id: u32) -> bool {
        self.reader(id).is_some()
    }

    /// Keeps a manifest. One that is known stays as it is: what has its digest says the same.
    pub fn insert(&mut self, digest: Digest, node: &Node, objects: &mut Objects) {
        let id = objects.id(digest);
        if self.contains(id) {
            return;
        }
        let mut edges = Vec::new();
        let (shape, text) = match &node.shape {
            Shape::Index(children) => {
                edges.extend(children.iter().map(|child| {
                    Edge {
                        id: objects.id(child.digest),
                        size: child.size,
                        flag: child.is_blob,
                        platform: child
                            .platform
                            .clone()
                            .map(|platform| self.platforms.hold(platform)),
                    }
                }));
                (INDEX, "")
            }
            Shape::Image { config, layers } => {
                let blobs = std::iter::once(config).chain(layers);
                edges.extend(blobs.map(|blob| Edge {
                    id: objects.id(blob.digest),
                    size: blob.size,
                    flag: blob.is_distributable,
                    platform: None,
                }));
                (IMAGE, "")
            }
            Shape::Unsupported(text) => (UNSUPPORTED, &**text),
            Shape::Invalid(text) => (INVALID, &**text),
        };
        let size = node.size;
        let packed = Packed {
            id,
            size,
            shape,
            text,
        };
        let mut bytes = Vec::new();
        packed.write(&edges, &mut bytes);
        self.keep(id, &bytes);
    }

    fn keep(&mut self, id: u32, bytes: &[u8]) {
        let has_room = |piece: &&mut Vec<u8>| piece.len() + bytes.len() <= PIECE;
        let at = match self.pieces.last_mut().filter(has_room) {
            Some(piece) => {
                let at = piece.len();
                piece.extend_from_slice(bytes);
                at
            }
            None => {
                let mut piece = Vec::with_capacity(PIECE.max(bytes.len()));
                piece.extend_from_slice(bytes);
                self.pieces.push(piece);
                0
            }
        };
        let place = ((self.pieces.len() - 1) << PIECE_BITS) + at;
        let place = u32::try_from(place).expect("fewer than 2^32 bytes of manifests");
        let (pieces, hasher) = (&self.pieces, &self.hasher);
        let hash = |place: u32| hasher.hash_one(at_place(pieces, place).head().0);
        self.places.insert(hasher.hash_one(id), place, hash);
        self.len += 1;
    }

    fn reader(&self, id: u32) -> Option<Reader<'_>> {
        let hash = self.hasher.hash_one(id);
        let is_it = |place: u32| at_place(&self.pieces, place).head().0 == id;
        let place = self.places.find(hash, is_it)?;
        Some(at_place(&self.pieces, place))
    }

    /// The manifest of this number, whole again.
    pub fn get(&self, id: u32, objects: &Objects) -> Option<Node> {
        let mut edges = Vec::new();
        let packed = self.reader(id)?.manifest(&mut edges);
        let blob = |edge: &Edge| BlobEdge {
            digest: objects.digest(edge.id),
            size: edge.size,
            is_distributable: edge.flag,
        };
        let child = |edge: &Edge| ChildEdge {
            digest: objects.digest(edge.id),
            size: edge.size,
            platform: edge
                .platform
                .map(|number| self.platforms.get(number).clone()),
            is_blob: edge.flag,
        };
        let shape = match packed.shape {
            INDEX => Shape::Index(edges.iter().map(child).collect()),
            IMAGE => {
                let (config, layers) = edges.split_first().expect("an image has a config");
                Shape::Image {
                    config: blob(config),
                    layers: layers.iter().map(blob).collect(),
                }
            }
            UNSUPPORTED => Shape::Unsupported(packed.text.into()),
            _ => Shape::Invalid(packed.text.into()),
        };
        let size = packed.size;
        Some(Node { size, shape })
    }

    /// Tells `named` all numbers that these manifests name, and their own.
    pub(super) fn name(&self, is_meant: impl Fn(u32) -> bool, mut named: impl FnMut(u32)) {
        let mut edges = Vec::new();
        for piece in &self.pieces {
            let mut reader = Reader(piece);
            while !reader.is_at_end() {
                let packed = reader.manifest(&mut edges);
                if is_meant(packed.id) {
                    named(packed.id);
                    for edge in &edges {
                        named(edge.id);
                    }
                }
            }
        }
    }

    /// Tells `config` the numbers of the configs of all images.
    pub(super) fn configs(&self, mut config: impl FnMut(u32)) {
        let mut edges = Vec::new();
        for piece in &self.pieces {
            let mut reader = Reader(piece);
            while !reader.is_at_end() {
                let packed = reader.manifest(&mut edges);
                if let Some(first) = edges.first().filter(|_| packed.shape == IMAGE) {
                    config(first.id);
                }
            }
        }
    }

    /// Forgets all other manifests, after numbers have changed as `renumbered` says.
    pub(super) fn keep_only(&mut self, is_kept: impl Fn(u32) -> bool, renumbered: &[u32]) {
        // What is not named here, the places above all, goes at once.
        let Self {
            pieces, platforms, ..
        } = std::mem::take(self);
        let new = |id: u32| {
            let new = renumbered.get(id as usize);
            *new.expect("each number has a new one")
        };
        let (mut edges, mut bytes) = (Vec::new(), Vec::new());
        // Each piece goes as soon as it was copied, so that there are never two of everything.
        for piece in pieces {
            let mut reader = Reader(&piece);
            while !reader.is_at_end() {
                let mut packed = reader.manifest(&mut edges);
                if !is_kept(packed.id) {
                    continue;
                }
                packed.id = new(packed.id);
                for edge in &mut edges {
                    edge.id = new(edge.id);
                    edge.platform = edge
                        .platform
                        .map(|number| self.platforms.hold(platforms.get(number).clone()));
                }
                bytes.clear();
                packed.write(&edges, &mut bytes);
                self.keep(packed.id, &bytes);
            }
        }
    }

    /// Bytes of the manifest itself.
    pub fn size(&self, id: u32) -> Option<u64> {
        Some(self.reader(id)?.head().1)
    }

    pub fn is_index(&self, id: u32) -> bool {
        self.reader(id)
            .is_some_and(|mut reader| reader.head().2 == INDEX)
    }

    /// Bytes of the manifests and of what finds them.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.pieces.iter().map(Vec::capacity).sum::<usize>() + self.places.bytes()
    }
}

fn at_place(pieces: &[Vec<u8>], place: u32) -> Reader<'_> {
    let place = place as usize;
    let piece = pieces.get(place >> PIECE_BITS);
    let bytes = piece.and_then(|piece| piece.get(place % PIECE..));
    Reader(bytes.expect("manifests begin there"))
}

#[cfg(test)]
mod tests;
