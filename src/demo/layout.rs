//! Where distribution keeps what (its `registry/storage/paths.go`; 2.x and 3.x write the same tree).
//!
//! Pure. Names are taken as they are: whoever has them from outside checks them first, or a name
//! such as `../..` leads out of the tree.

use std::path::{Path, PathBuf};

use crate::oci::digest::Digest;

/// The paths below one `rootdirectory`.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.join("docker/registry/v2"),
        }
    }

    /// The bytes of a manifest, config or layer; shared by all repositories.
    pub(super) fn data(&self, digest: Digest) -> PathBuf {
        let hex = digest.hex();
        let shard = hex.get(..2).unwrap_or_default();
        self.root
            .join("blobs/sha256")
            .join(shard)
            .join(&hex)
            .join("data")
    }

    /// Lets a repository show a config or layer.
    pub(super) fn layer_link(&self, repository: &str, digest: Digest) -> PathBuf {
        self.repository(repository)
            .join("_layers/sha256")
            .join(digest.hex())
            .join("link")
    }

    /// Lets a repository show a manifest or index.
    pub(super) fn revision_link(&self, repository: &str, digest: Digest) -> PathBuf {
        self.repository(repository)
            .join("_manifests/revisions/sha256")
            .join(digest.hex())
            .join("link")
    }

    /// The directory of all tags of a repository.
    pub(super) fn tags(&self, repository: &str) -> PathBuf {
        self.repository(repository).join("_manifests/tags")
    }

    /// What a tag names now.
    pub(super) fn tag_current(&self, repository: &str, tag: &str) -> PathBuf {
        self.tags(repository).join(tag).join("current/link")
    }

    /// One of the digests that a tag ever named.
    pub(super) fn tag_history(&self, repository: &str, tag: &str, digest: Digest) -> PathBuf {
        self.tags(repository)
            .join(tag)
            .join("index/sha256")
            .join(digest.hex())
            .join("link")
    }

    fn repository(&self, repository: &str) -> PathBuf {
        self.root.join("repositories").join(repository)
    }
}
