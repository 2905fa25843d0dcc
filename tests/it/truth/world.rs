//! The image that most cases are about, and ways to name its parts.

use bytes::Bytes;
use pullproof::oci::digest::Digest;

use crate::support::scripted::store::{Placed, Repository};
use crate::support::scripted::{REGISTRY, Script};

pub(super) const REPOSITORY: &str = "team/app";
/// The layer that both platforms share.
pub(super) const BASE: &str = "layer base";
pub(super) const AMD64: &str = "layer amd64";
pub(super) const ARM64: &str = "layer arm64";

/// A registry with one image of two platforms under the tag `v1`.
#[derive(Debug, Clone)]
pub(super) struct Shop {
    pub(super) script: Script,
    pub(super) index: Placed,
    pub(super) amd64: Placed,
    pub(super) arm64: Placed,
}

/// `registry.example/team/app:v1`
pub(super) fn v1() -> String {
    format!("{REGISTRY}/{REPOSITORY}:v1")
}

pub(super) fn at(digest: Digest) -> String {
    format!("{REGISTRY}/{REPOSITORY}@{digest}")
}

pub(super) fn of(content: &str) -> Digest {
    Digest::of(content.as_bytes())
}

pub(super) fn shop() -> Shop {
    let mut script = Script::default();
    let repository = script.store.repository(REPOSITORY);
    let amd64 = repository.image("linux/amd64", &[BASE, AMD64]);
    let arm64 = repository.image("linux/arm64/v8", &[BASE, ARM64]);
    let children = [amd64.child("linux/amd64"), arm64.child("linux/arm64/v8")];
    let index = repository.index(&children);
    repository.tag("v1", &index);
    Shop {
        script,
        index,
        amd64,
        arm64,
    }
}

impl Shop {
    pub(super) fn repository(&mut self) -> &mut Repository {
        self.script.store.repository(REPOSITORY)
    }

    pub(super) fn without(mut self, digest: Digest) -> Self {
        assert!(
            self.repository().has(digest),
            "there is no {digest} to lose"
        );
        self.repository().lose(digest);
        self
    }

    /// Every blob is in the storage behind.
    pub(super) fn redirecting(mut self) -> Self {
        let blobs: Vec<Digest> = self.repository().blobs.keys().copied().collect();
        self.repository().redirected.extend(blobs);
        self
    }

    pub(super) fn body(&self, placed: &Placed) -> Bytes {
        self.script.store.repositories[REPOSITORY].manifests[&placed.digest]
            .body
            .clone()
    }
}
