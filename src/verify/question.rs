//! What is asked of a registry, and what comes back: the words between the machine and whoever puts
//! its questions.

use std::sync::Arc;

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
    /// HEAD: which digest the tag names.
    Tag(Arc<str>),
    /// HEAD if the manifest is `known`, else GET.
    Manifest { digest: Digest, known: bool },
    /// HEAD of a manifest, only to learn whether this identity may have it.
    Access { digest: Digest },
    /// HEAD.
    Blob { digest: Digest },
    /// GET: the platform in the config of a manifest that no index describes.
    Config { digest: Digest },
    /// Whether the registry still answers as it should: an object proven in this round, or `/v2/`.
    Control {
        proven: Option<(Digest, ObjectKind)>,
    },
    /// HEAD of a digest that cannot exist: a registry that has it has everything, and proves nothing.
    Canary { digest: Digest },
}

/// Which root the question was asked for, and how deep below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Trace {
    pub(super) root: u32,
    pub(super) depth: u8,
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
    /// Anything else; the code's verdict is `unknown`.
    Failed {
        code: Code,
        message: Arc<str>,
    },
}
