//! The manifests of a table, packed: an edge is the number of its digest ([`super::objects`]), its
//! size and a flag, about seven bytes.
//!
//! Numbers are written as in LEB128: seven bits a byte, the lowest first.

use std::collections::HashMap;

use super::node::{BlobEdge, ChildEdge, Node, Shape};
use super::objects::Objects;
use crate::oci::digest::Digest;
use crate::oci::platform::Platform;

/// Bytes come in pieces of this many, so that what grows is never copied; a longer manifest is a
/// piece of its own.
const PIECE: usize = 1 << 16;

const INDEX: u64 = 0;
const IMAGE: u64 = 1;
const UNSUPPORTED: u64 = 2;
const INVALID: u64 = 3;

/// Manifests by the numbers of their digests.
#[derive(Debug, Default)]
pub struct Nodes {
    /// Piece, and where in it.
    places: HashMap<u32, (u32, u32)>,
    pieces: Vec<Vec<u8>>,
    /// Each platform that a child has, once.
    platforms: Vec<Platform>,
    platform_ids: HashMap<Platform, u64>,
    /// One at a time is written here first.
    scratch: Vec<u8>,
}

impl Nodes {
    pub fn len(&self) -> usize {
        self.places.len()
    }

    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub fn contains(&self, id: u32) -> bool {
        self.places.contains_key(&id)
    }

    /// Keeps a manifest. One that is known stays as it is: what has its digest says the same.
    pub fn insert(&mut self, digest: Digest, node: &Node, objects: &mut Objects) {
        let id = objects.id(digest);
        if self.contains(id) {
            return;
        }
        let mut bytes = std::mem::take(&mut self.scratch);
        bytes.clear();
        write(&mut bytes, node.size);
        match &node.shape {
            Shape::Index(children) => {
                write(&mut bytes, INDEX);
                write(&mut bytes, children.len() as u64);
                for child in children {
                    let platform = child.platform.as_ref();
                    let platform = platform.map_or(0, |platform| 1 + self.platform_id(platform));
                    write(&mut bytes, u64::from(objects.id(child.digest)));
                    write(&mut bytes, child.size);
                    write(&mut bytes, platform << 1 | u64::from(child.is_blob));
                }
            }
            Shape::Image { config, layers } => {
                write(&mut bytes, IMAGE);
                write(&mut bytes, layers.len() as u64);
                for edge in std::iter::once(config).chain(layers) {
                    let id = u64::from(objects.id(edge.digest));
                    write(&mut bytes, id << 1 | u64::from(edge.is_distributable));
                    write(&mut bytes, edge.size);
                }
            }
            Shape::Unsupported(text) => write_text(&mut bytes, UNSUPPORTED, text),
            Shape::Invalid(text) => write_text(&mut bytes, INVALID, text),
        }
        self.keep(id, &bytes);
        self.scratch = bytes;
    }

    fn platform_id(&mut self, platform: &Platform) -> u64 {
        if let Some(id) = self.platform_ids.get(platform) {
            return *id;
        }
        let id = self.platforms.len() as u64;
        self.platforms.push(platform.clone());
        self.platform_ids.insert(platform.clone(), id);
        id
    }

    fn keep(&mut self, id: u32, bytes: &[u8]) {
        let has_room = |piece: &&mut Vec<u8>| piece.capacity() - piece.len() >= bytes.len();
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
        let number = |number: usize| u32::try_from(number).expect("a manifest is at most 4 MiB");
        let place = (number(self.pieces.len() - 1), number(at));
        self.places.insert(id, place);
    }

    fn reader(&self, id: u32) -> Option<Reader<'_>> {
        let (piece, at) = self.places.get(&id)?;
        let bytes = self.pieces.get(*piece as usize)?.get(*at as usize..)?;
        Some(Reader(bytes))
    }

    /// The manifest of this number, whole again.
    pub fn get(&self, id: u32, objects: &Objects) -> Option<Node> {
        self.unpack(id, &mut |id| objects.digest(id))
    }

    /// The same, where `digest` tells whose number one is.
    fn unpack(&self, id: u32, digest: &mut dyn FnMut(u32) -> Digest) -> Option<Node> {
        let mut reader = self.reader(id)?;
        let size = reader.number();
        let (shape, count) = (reader.number(), reader.number());
        let shape = match shape {
            INDEX => Shape::Index(
                (0..count)
                    .map(|_| self.child(&mut reader, digest))
                    .collect(),
            ),
            IMAGE => Shape::Image {
                config: blob(&mut reader, digest),
                layers: (0..count).map(|_| blob(&mut reader, digest)).collect(),
            },
            UNSUPPORTED => Shape::Unsupported(reader.text(count).into()),
            _ => Shape::Invalid(reader.text(count).into()),
        };
        Some(Node { size, shape })
    }

    fn child(&self, reader: &mut Reader<'_>, digest: &mut dyn FnMut(u32) -> Digest) -> ChildEdge {
        let (id, size, flags) = (reader.number(), reader.number(), reader.number());
        let platform = (flags >> 1).checked_sub(1).map(|id| {
            let id = usize::try_from(id).ok();
            let known = id.and_then(|id| self.platforms.get(id));
            known.expect("it was put there").clone()
        });
        ChildEdge {
            digest: digest(small(id)),
            size,
            platform,
            is_blob: flags & 1 == 1,
        }
    }

    /// Tells `named` all numbers that these manifests name, and their own.
    pub(super) fn name(&self, ids: impl Iterator<Item = u32>, mut named: impl FnMut(u32)) {
        for id in ids {
            named(id);
            self.unpack(id, &mut |id| {
                named(id);
                Digest::default()
            });
        }
    }

    /// These manifests, after numbers have changed as `renumbered` says.
    pub(super) fn keep_only(
        &mut self,
        ids: impl Iterator<Item = u32>,
        renumbered: &[u32],
        objects: &mut Objects,
    ) {
        let old = std::mem::take(self);
        for id in ids {
            let new = |id: u32| {
                let new = renumbered.get(id as usize);
                *new.expect("each number has a new one")
            };
            if let Some(node) = old.unpack(id, &mut |id| objects.digest(new(id))) {
                self.insert(objects.digest(new(id)), &node, objects);
            }
        }
    }

    /// Bytes of the manifest itself.
    pub fn size(&self, id: u32) -> Option<u64> {
        Some(self.reader(id)?.number())
    }

    pub fn is_index(&self, id: u32) -> bool {
        self.reader(id).is_some_and(|mut reader| {
            reader.number();
            reader.number() == INDEX
        })
    }

    /// The numbers of all manifests.
    pub fn ids(&self) -> impl Iterator<Item = u32> + '_ {
        self.places.keys().copied()
    }
}

fn blob(reader: &mut Reader<'_>, digest: &mut dyn FnMut(u32) -> Digest) -> BlobEdge {
    let flagged = reader.number();
    let size = reader.number();
    BlobEdge {
        digest: digest(small(flagged >> 1)),
        size,
        is_distributable: flagged & 1 == 1,
    }
}

fn small(id: u64) -> u32 {
    u32::try_from(id).expect("it was one")
}

fn write(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push((number & 0x7f) as u8);
}

fn write_text(bytes: &mut Vec<u8>, shape: u64, text: &str) {
    write(bytes, shape);
    write(bytes, text.len() as u64);
    bytes.extend_from_slice(text.as_bytes());
}

/// What was written is read in the same order.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn number(&mut self) -> u64 {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let (byte, rest) = self.0.split_first().expect("it was written");
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        number
    }

    fn text(&mut self, length: u64) -> String {
        let length = usize::try_from(length).expect("it was one");
        let bytes = self.0.get(..length).expect("it was written");
        String::from_utf8_lossy(bytes).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn some_digest() -> impl Strategy<Value = Digest> {
        any::<u8>().prop_map(|n| Digest::of(&[n]))
    }

    fn size() -> impl Strategy<Value = u64> {
        prop_oneof![any::<u64>(), 0_u64..300, Just(u64::MAX), Just(0)]
    }

    fn some_blob() -> impl Strategy<Value = BlobEdge> {
        (some_digest(), size(), any::<bool>()).prop_map(|(digest, size, is_distributable)| {
            BlobEdge {
                digest,
                size,
                is_distributable,
            }
        })
    }

    fn some_child() -> impl Strategy<Value = ChildEdge> {
        let platform = proptest::option::of("[a-c]/[a-c]");
        (some_digest(), size(), platform, any::<bool>()).prop_map(
            |(digest, size, platform, is_blob)| ChildEdge {
                digest,
                size,
                platform: platform.map(|platform| platform.parse().unwrap()),
                is_blob,
            },
        )
    }

    fn some_node() -> impl Strategy<Value = Node> {
        let blobs = prop::collection::vec(some_blob(), 0..20);
        let children = prop::collection::vec(some_child(), 0..20);
        let shape = prop_oneof![
            (some_blob(), blobs).prop_map(|(config, layers)| Shape::Image {
                config,
                layers: layers.into()
            }),
            children.prop_map(|children| Shape::Index(children.into())),
            ".{0,300}".prop_map(|text| Shape::Unsupported(text.into())),
            ".{0,300}".prop_map(|text| Shape::Invalid(text.into())),
        ];
        (size(), shape).prop_map(|(size, shape)| Node { size, shape })
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_out_whole(
            nodes in prop::collection::vec((some_digest(), some_node()), 0..60),
        ) {
            let (mut objects, mut packed) = (Objects::default(), Nodes::default());
            let mut map: HashMap<Digest, Node> = HashMap::new();
            for (digest, node) in nodes {
                packed.insert(digest, &node, &mut objects);
                map.entry(digest).or_insert(node);
            }
            prop_assert_eq!(packed.len(), map.len());
            for (digest, node) in map {
                let id = objects.known_id(&digest).unwrap();
                prop_assert_eq!(packed.size(id), Some(node.size));
                prop_assert_eq!(packed.is_index(id), matches!(node.shape, Shape::Index(_)));
                prop_assert_eq!(packed.get(id, &objects), Some(node));
            }
        }
    }

    #[test]
    fn a_manifest_may_be_longer_than_a_piece() {
        let (mut objects, mut packed) = (Objects::default(), Nodes::default());
        let long: String = "x".repeat(3 * PIECE);
        for text in ["short", &long, "after"] {
            let node = Node {
                size: 1,
                shape: Shape::Invalid(text.into()),
            };
            packed.insert(Digest::of(text.as_bytes()), &node, &mut objects);
        }
        for text in ["short", &long, "after"] {
            let id = objects.known_id(&Digest::of(text.as_bytes())).unwrap();
            let node = packed.get(id, &objects).unwrap();
            assert_eq!(node.shape, Shape::Invalid(text.into()));
        }
    }
}
