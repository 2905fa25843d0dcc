//! A registry whose memory of its blobs outlives them, and images in it.

use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::clients::Clients;
use crate::support::images::push_image;
use crate::support::registry::{Options, Registry, Version};

#[derive(Debug)]
pub(super) struct Scene {
    pub(super) registry: Registry,
    pub(super) clients: Clients,
    _root: TempDir,
}

impl Scene {
    /// With the in-memory descriptor cache, the default of many charts.
    pub(super) async fn new(version: Version) -> Self {
        let root = tempfile::tempdir().unwrap();
        let options = Options::new(version, root.path()).with_descriptor_cache();
        let registry = Registry::start(options).await;
        let clients = Clients::of(&registry).await;
        Self {
            registry,
            clients,
            _root: root,
        }
    }

    /// Pushes an image whose content nobody else has; yields its reference.
    pub(super) async fn push(&self, name: &str) -> String {
        let reference = format!("{}/{name}", self.registry.host());
        push_image(&self.clients, &reference, name).await;
        reference
    }

    /// The digests of all blobs of an image of one platform.
    pub(super) async fn blobs(&self, reference: &str) -> Vec<String> {
        let manifest = self.clients.crane(&["manifest", reference]).await;
        let manifest: Value = serde_json::from_str(&manifest).unwrap();
        let layers = manifest["layers"].as_array().unwrap().iter();
        layers
            .chain([&manifest["config"]])
            .map(|blob| blob["digest"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Where a blob's content lies.
    pub(super) fn data(&self, digest: &str) -> PathBuf {
        let hash = digest.strip_prefix("sha256:").unwrap();
        let blobs = self.registry.root().join("docker/registry/v2/blobs/sha256");
        blobs.join(&hash[..2]).join(hash).join("data")
    }
}
