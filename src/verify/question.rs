//! What is asked of a registry, and what comes back: the words between the machine and whoever puts
//! its questions.

use std::sync::Arc;

use super::depth::Depth;
use super::finding::Code;
use super::node::Node;
use super::table::ObjectKind;
use super::target::AuthId;
use crate::oci::digest::Digest;
use crate::oci::platform::Platform;

/// What to ask the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    pub auth: AuthId,
    pub repository: Arc<str>,
    pub ask: Ask,
    /// Ask by GET on a new connection: the second look at a claim.
    pub confirm: bool,
    pub(super) trace: Trace,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// HEAD: which digest the tag names. `last` is what it named before: a registry may answer that
    /// it still does, which costs it no notification and no read.
    Tag { tag: Arc<str>, last: Option<Digest> },
    /// HEAD if the manifest is `known`, else GET. `whole` reads and hashes it in any case.
    Manifest {
        digest: Digest,
        known: bool,
        whole: bool,
    },
    /// HEAD of a manifest, only to learn whether this identity may have it.
    Access { digest: Digest },
    /// HEAD, its last byte, or all of it; `size` is what its descriptor says.
    Blob {
        digest: Digest,
        size: u64,
        depth: Depth,
    },
    /// GET: the platform in the config of a manifest that no index describes.
    Config { digest: Digest },
    /// Whether the registry still answers as it should: an object proven in this round, or `/v2/`.
    Control {
        proven: Option<(Digest, ObjectKind)>,
    },
    /// The last byte of a blob, only to learn whether this registry's blobs can be read at all.
    ReadControl { digest: Digest, size: u64 },
    /// HEAD of a digest that cannot exist: a registry that has it has everything, and proves nothing.
    Canary { digest: Digest },
}

/// Which root the question was asked for, and how deep below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Trace {
    pub(super) root: u32,
    pub(super) depth: u8,
}

impl Ask {
    /// How far a proof by this question reads.
    pub(super) fn depth(&self) -> Depth {
        match self {
            Self::Blob { depth, .. } => *depth,
            Self::Manifest { whole: true, .. } => Depth::Content,
            Self::Manifest { whole: false, .. }
            | Self::Tag { .. }
            | Self::Access { .. }
            | Self::Config { .. }
            | Self::Control { .. }
            | Self::ReadControl { .. }
            | Self::Canary { .. } => Depth::Head,
        }
    }
}

/// What came back.
#[derive(Debug, Clone)]
pub enum Answer {
    Tag {
        digest: Digest,
    },
    /// `node` where the manifest was not known before.
    Manifest {
        node: Option<Arc<Node>>,
        size: Option<u64>,
    },
    Blob {
        size: Option<u64>,
    },
    Config {
        platform: Option<Platform>,
    },
    /// The control answered.
    Alive,
    /// The registry itself says that it is not there.
    Absent,
    /// The bytes that came do not have the digest that was asked for.
    WrongDigest,
    /// It was promised, and its bytes ended cleanly before the one that was asked for. So many came.
    Short {
        read: u64,
    },
    /// Anything else; the code's verdict is `unknown`.
    Failed {
        code: Code,
        message: Arc<str>,
    },
}
