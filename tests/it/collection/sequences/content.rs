//! What is pushed: images in two repositories that share layers with their neighbours.

use serde_json::json;

use crate::plan::tree::{OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, digest};

pub(super) const IMAGES: usize = 5;
pub(super) const TAGS: usize = 3;

#[derive(Debug, Clone)]
pub(super) struct Blob {
    pub(super) digest: String,
    pub(super) bytes: Vec<u8>,
}

impl Blob {
    fn of(bytes: Vec<u8>) -> Self {
        Self {
            digest: digest(&bytes),
            bytes,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Image {
    pub(super) repository: &'static str,
    pub(super) manifest: Blob,
    /// A config and two layers.
    pub(super) named: Vec<Blob>,
}

impl Image {
    /// Whatever of it has bytes.
    pub(super) fn blobs(&self) -> impl Iterator<Item = &Blob> {
        std::iter::once(&self.manifest).chain(&self.named)
    }
}

pub(super) fn images() -> Vec<Image> {
    (0..IMAGES).map(image).collect()
}

fn image(number: usize) -> Image {
    let layer = |number: usize| Blob::of(format!("the layer {}", number % IMAGES).into_bytes());
    let config = json!({"architecture": "amd64", "os": "linux", "number": number});
    let config = Blob::of(config.to_string().into_bytes());
    let layers = [layer(number), layer(number + 1)];
    let descriptor = |media_type: &str, blob: &Blob| json!({"mediaType": media_type, "digest": blob.digest, "size": blob.bytes.len()});
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(OCI_CONFIG, &config),
        "layers": layers.iter().map(|it| descriptor(OCI_LAYER, it)).collect::<Vec<_>>(),
    });
    Image {
        repository: if number < 3 { "app" } else { "other" },
        manifest: Blob::of(manifest.to_string().into_bytes()),
        named: std::iter::once(config).chain(layers).collect(),
    }
}
