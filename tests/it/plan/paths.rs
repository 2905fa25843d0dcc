//! Where a registry keeps things, below its `rootdirectory`.

use std::path::{Path, PathBuf};

pub(crate) fn v2(root: &Path) -> PathBuf {
    root.join("docker/registry/v2")
}

fn repositories(root: &Path, repository: &str) -> PathBuf {
    v2(root).join("repositories").join(repository)
}

pub(crate) fn data(root: &Path, digest: &str) -> PathBuf {
    let hex = hex(digest);
    let shard = v2(root).join("blobs/sha256").join(&hex[..2]);
    shard.join(hex).join("data")
}

pub(crate) fn layer(root: &Path, repository: &str, digest: &str) -> PathBuf {
    let layers = repositories(root, repository).join("_layers/sha256");
    layers.join(hex(digest)).join("link")
}

pub(crate) fn revision(root: &Path, repository: &str, digest: &str) -> PathBuf {
    let revisions = repositories(root, repository).join("_manifests/revisions/sha256");
    revisions.join(hex(digest)).join("link")
}

pub(crate) fn current(root: &Path, repository: &str, tag: &str) -> PathBuf {
    let tags = repositories(root, repository).join("_manifests/tags");
    tags.join(tag).join("current/link")
}

pub(crate) fn history(root: &Path, repository: &str, tag: &str, digest: &str) -> PathBuf {
    let tags = repositories(root, repository).join("_manifests/tags");
    tags.join(tag)
        .join("index/sha256")
        .join(hex(digest))
        .join("link")
}

pub(crate) fn hex(digest: &str) -> &str {
    digest.strip_prefix("sha256:").unwrap()
}
