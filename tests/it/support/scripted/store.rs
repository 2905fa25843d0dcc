//! What a scripted registry holds: repositories of tags, manifests and blobs, with true digests.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use pullproof::oci::digest::Digest;
use serde_json::{Value, json};

pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

#[derive(Debug, Default, Clone)]
pub(crate) struct Store {
    pub(crate) repositories: BTreeMap<String, Repository>,
}

impl Store {
    pub(crate) fn repository(&mut self, name: &str) -> &mut Repository {
        self.repositories.entry(name.to_owned()).or_default()
    }

    /// An object of any repository, as the storage behind a registry has it.
    pub(crate) fn anywhere(&self, hex: &str) -> Option<&Bytes> {
        let digest: Digest = format!("sha256:{hex}").parse().ok()?;
        self.repositories.values().find_map(|repository| {
            repository
                .blobs
                .get(&digest)
                .or_else(|| repository.manifests.get(&digest).map(|stored| &stored.body))
        })
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) media_type: String,
    pub(crate) body: Bytes,
}

#[derive(Debug, Default, Clone)]
pub(crate) struct Repository {
    pub(crate) tags: BTreeMap<String, Digest>,
    pub(crate) manifests: BTreeMap<Digest, Stored>,
    pub(crate) blobs: BTreeMap<Digest, Bytes>,
    /// Blobs for which the registry sends its clients to the storage.
    pub(crate) redirected: BTreeSet<Digest>,
}

/// An object that was put somewhere, as a manifest describes it.
#[derive(Debug, Clone)]
pub(crate) struct Placed {
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: usize,
}

impl Placed {
    pub(crate) fn descriptor(&self) -> Value {
        json!({"mediaType": self.media_type, "digest": self.digest.to_string(), "size": self.size})
    }

    /// As an index lists it; an empty platform is not written.
    pub(crate) fn child(&self, platform: &str) -> Value {
        let mut descriptor = self.descriptor();
        let mut parts = platform.split('/');
        if let (Some(os), Some(architecture)) = (parts.next(), parts.next()) {
            descriptor["platform"] = json!({"os": os, "architecture": architecture});
            if let Some(variant) = parts.next() {
                descriptor["platform"]["variant"] = variant.into();
            }
        }
        descriptor
    }
}

impl Repository {
    pub(crate) fn blob(&mut self, media_type: &str, content: impl Into<Bytes>) -> Placed {
        let content = content.into();
        let digest = Digest::of(&content);
        let size = content.len();
        self.blobs.insert(digest, content);
        Placed {
            media_type: media_type.to_owned(),
            digest,
            size,
        }
    }

    pub(crate) fn manifest(&mut self, media_type: &str, body: impl Into<Bytes>) -> Placed {
        let body = body.into();
        let digest = Digest::of(&body);
        let size = body.len();
        let media_type = media_type.to_owned();
        self.manifests.insert(
            digest,
            Stored {
                media_type: media_type.clone(),
                body,
            },
        );
        Placed {
            media_type,
            digest,
            size,
        }
    }

    /// A manifest over objects that may or may not be here.
    pub(crate) fn image_of(&mut self, config: &Value, layers: &[Value]) -> Placed {
        let body =
            json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
        self.manifest(MANIFEST, body.to_string())
    }

    /// A whole image of one platform, with layers of these contents.
    pub(crate) fn image(&mut self, platform: &str, layers: &[&str]) -> Placed {
        let mut parts = platform.split('/');
        let (os, architecture) = (parts.next(), parts.next());
        let config = json!({"os": os, "architecture": architecture, "variant": parts.next(), "layers": layers});
        let config = self.blob(CONFIG, config.to_string()).descriptor();
        let layers: Vec<Value> = layers
            .iter()
            .map(|content| self.blob(LAYER, (*content).to_owned()).descriptor())
            .collect();
        self.image_of(&config, &layers)
    }

    pub(crate) fn index(&mut self, children: &[Value]) -> Placed {
        let body = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children});
        self.manifest(INDEX, body.to_string())
    }

    pub(crate) fn tag(&mut self, tag: &str, placed: &Placed) {
        self.tags.insert(tag.to_owned(), placed.digest);
    }

    /// Takes an object away, whatever it is.
    pub(crate) fn lose(&mut self, digest: Digest) {
        self.manifests.remove(&digest);
        self.blobs.remove(&digest);
    }

    pub(crate) fn has(&self, digest: Digest) -> bool {
        self.manifests.contains_key(&digest) || self.blobs.contains_key(&digest)
    }
}
