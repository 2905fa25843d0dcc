//! A manifest reduced to what verification needs: which objects it names, how large they must be.
//!
//! About 50 bytes an edge, so that a hundred thousand images fit in memory.

use std::sync::Arc;

use crate::oci::descriptor::Descriptor;
use crate::oci::digest::Digest;
use crate::oci::manifest::{InvalidManifest, Manifest};
use crate::oci::media_type;
use crate::oci::platform::Platform;

/// A parsed manifest, known by its digest and therefore never changing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Bytes of the manifest itself.
    pub size: u64,
    pub shape: Shape,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    Index(Box<[ChildEdge]>),
    Image {
        config: BlobEdge,
        layers: Box<[BlobEdge]>,
    },
    /// Its references cannot be followed: what they need is not known.
    Unsupported(Arc<str>),
    /// It has the right digest and is no manifest: nobody can pull it.
    Invalid(Arc<str>),
}

/// A child of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildEdge {
    pub digest: Digest,
    pub size: u64,
    pub platform: Option<Platform>,
    /// Build caches list layers as children of an index.
    pub is_blob: bool,
}

/// A config or a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobEdge {
    pub digest: Digest,
    pub size: u64,
    /// A foreign layer has `urls`, where nodes fetch it: it counts as present and is not asked for.
    pub is_distributable: bool,
}

impl Node {
    /// Reads a body that is known to have the right digest. By the body alone, which is what the
    /// digest covers: a header may say something else tomorrow.
    pub fn read(body: &[u8]) -> Self {
        let shape = match Manifest::parse(body, None) {
            Ok(Manifest::Index {
                children,
                subject: _,
            }) => Shape::Index(children.into_iter().map(ChildEdge::from).collect()),
            Ok(Manifest::Image {
                config,
                layers,
                subject: _,
            }) => Shape::Image {
                config: (&config).into(),
                layers: layers.iter().map(BlobEdge::from).collect(),
            },
            Ok(Manifest::Unsupported { media_type }) => Shape::Unsupported(media_type.into()),
            // Our own limits are not the image's fault: it is not known, not broken.
            Err(
                error @ (InvalidManifest::TooLarge
                | InvalidManifest::TooManyChildren
                | InvalidManifest::OtherAlgorithm(_)),
            ) => Shape::Unsupported(error.to_string().into()),
            Err(
                error @ (InvalidManifest::NotJson(_)
                | InvalidManifest::NoShape
                | InvalidManifest::Data(_)),
            ) => Shape::Invalid(error.to_string().into()),
        };
        Self {
            size: body.len() as u64,
            shape,
        }
    }

    /// The layers that count as present and are not asked for; `None` of what is no image manifest.
    pub fn foreign_layers(&self) -> Option<Vec<Digest>> {
        let Shape::Image { layers, .. } = &self.shape else {
            return None;
        };
        let foreign = layers.iter().filter(|layer| !layer.is_distributable);
        Some(foreign.map(|layer| layer.digest).collect())
    }
}

impl From<Descriptor> for ChildEdge {
    fn from(descriptor: Descriptor) -> Self {
        let Descriptor {
            media_type,
            digest,
            size,
            platform,
            has_urls: _,
        } = descriptor;
        // A manifest of an unknown kind still calls itself one; whatever else stands among the
        // children is a blob, and asking for it as a manifest would find it missing.
        let is_blob = media_type::kind(&media_type) == media_type::Kind::Other
            && !media_type.is_empty()
            && !media_type.contains("manifest")
            && !media_type.contains("index");
        Self {
            digest,
            size,
            platform,
            is_blob,
        }
    }
}

impl From<&Descriptor> for BlobEdge {
    fn from(descriptor: &Descriptor) -> Self {
        Self {
            digest: descriptor.digest,
            size: descriptor.size,
            // Not by its media type: a non-distributable one without URLs is had from the registry or not
            // at all (go-containerregistry leaves such layers out when it copies).
            is_distributable: !descriptor.has_urls,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_is_foreign_by_its_urls_whatever_its_kind() {
        let digests = ["a", "b", "c"].map(|content| Digest::of(content.as_bytes()));
        let [plain, elsewhere, kind] = digests;
        let body = serde_json::json!({
            "config": {"mediaType": media_type::OCI_CONFIG, "digest": plain, "size": 1},
            "layers": [
                {"mediaType": media_type::OCI_LAYER_GZIP, "digest": plain, "size": 1, "urls": []},
                {"mediaType": media_type::OCI_LAYER_GZIP, "digest": elsewhere, "size": 1,
                 "urls": ["https://elsewhere.example/layer"]},
                {"mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar",
                 "digest": kind, "size": 1}]});
        let node = Node::read(body.to_string().as_bytes());
        assert_eq!(node.foreign_layers(), Some(vec![elsewhere]));
        assert_eq!(Node::read(br#"{"manifests":[]}"#).foreign_layers(), None);
    }
}
