//! Images made of numbers, so that the same one can be pushed again.

use serde_json::{Value, json};

use crate::plan::tree::{OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST};
use crate::support::pull::digest;

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

    fn descriptor(&self, media_type: &str) -> Value {
        json!({"mediaType": media_type, "digest": self.digest, "size": self.bytes.len()})
    }
}

/// What makes an image.
#[derive(Debug, Clone)]
pub(super) struct Recipe {
    /// Numbers of layers, which many images share.
    pub(super) layers: Vec<u64>,
    /// Makes it another one than all the rest.
    pub(super) number: String,
}

/// What is pushed of it.
#[derive(Debug, Clone)]
pub(super) struct Image {
    /// The config, and the layers.
    pub(super) blobs: Vec<Blob>,
    pub(super) manifest: Blob,
}

impl Recipe {
    pub(super) fn image(&self) -> Image {
        let layers = self.layers.iter();
        let layers: Vec<Blob> = layers
            .map(|number| Blob::of(format!("layer {number} ").repeat(50).into_bytes()))
            .collect();
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "config": {"Labels": {"number": self.number}},
            "rootfs": {
                "type": "layers",
                "diff_ids": layers.iter().map(|it| &it.digest).collect::<Vec<_>>(),
            },
        });
        let config = Blob::of(config.to_string().into_bytes());
        let described = layers.iter().map(|it| it.descriptor(OCI_LAYER));
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": config.descriptor(OCI_CONFIG),
            "layers": described.collect::<Vec<_>>(),
        });
        let mut blobs = vec![config];
        blobs.extend(layers);
        Image {
            blobs,
            manifest: Blob::of(manifest.to_string().into_bytes()),
        }
    }
}

/// An index of these, one for each platform.
pub(super) fn index(children: &[Image]) -> Blob {
    let children = children.iter().zip(["amd64", "arm64"]);
    let children = children.map(|(child, architecture)| {
        let mut descriptor = child.manifest.descriptor(OCI_MANIFEST);
        descriptor["platform"] = json!({"os": "linux", "architecture": architecture});
        descriptor
    });
    let body = json!({
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": children.collect::<Vec<_>>(),
    });
    Blob::of(body.to_string().into_bytes())
}
