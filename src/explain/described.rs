//! What a manifest says of itself and of what it names, for people: media types, what an attestation
//! attests. Nothing here decides a verdict, so what cannot be read is only not told.

use std::collections::HashMap;

use serde::Deserialize;

use crate::oci::digest::Digest;
use crate::oci::reference::shown;

/// Of which child an attestation speaks (BuildKit, "Attestation storage").
const ATTESTS: &str = "vnd.docker.reference.digest";
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";

/// A manifest's own words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Described {
    pub media_type: Option<String>,
    pub artifact_type: Option<String>,
    /// What this manifest refers to.
    pub subject: Option<Digest>,
    named: HashMap<Digest, Named>,
}

/// How a manifest describes an object that it names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    pub media_type: Option<String>,
    pub artifact_type: Option<String>,
    pub is_attestation: bool,
    pub attests: Option<Digest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    media_type: Option<String>,
    artifact_type: Option<String>,
    subject: Option<RawDescriptor>,
    config: Option<RawDescriptor>,
    layers: Option<Vec<RawDescriptor>>,
    manifests: Option<Vec<RawDescriptor>>,
    blobs: Option<Vec<RawDescriptor>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor {
    media_type: Option<String>,
    artifact_type: Option<String>,
    digest: Option<String>,
    annotations: Option<HashMap<String, serde_json::Value>>,
}

impl Described {
    /// Reads a manifest's body; nothing is known of one that cannot be read.
    pub fn read(body: &[u8]) -> Self {
        let Ok(raw) = serde_json::from_slice::<Raw>(body) else {
            return Self::default();
        };
        let Raw {
            media_type,
            artifact_type,
            subject,
            config,
            layers,
            manifests,
            blobs,
        } = raw;
        // An artifact that has no type of its own has that of its config (image-spec, manifest.md).
        let config_type = config.as_ref().and_then(|config| config.media_type.clone());
        let lists = [layers, manifests, blobs];
        let all = lists.into_iter().flatten().flatten().chain(config);
        let mut named = HashMap::new();
        for descriptor in all {
            if let Some(digest) = digest(descriptor.digest.as_deref()) {
                named.entry(digest).or_insert_with(|| Named::of(descriptor));
            }
        }
        let artifact_type = artifact_type
            .filter(|kind| !kind.is_empty())
            .or_else(|| config_type.filter(|kind| is_artifact(kind)));
        Self {
            media_type: text(media_type),
            artifact_type: text(artifact_type),
            subject: subject.and_then(|subject| digest(subject.digest.as_deref())),
            named,
        }
    }

    pub fn named(&self, digest: &Digest) -> Named {
        self.named.get(digest).cloned().unwrap_or_default()
    }
}

impl Named {
    fn of(descriptor: RawDescriptor) -> Self {
        let RawDescriptor {
            media_type,
            artifact_type,
            annotations,
            ..
        } = descriptor;
        let annotations = annotations.unwrap_or_default();
        let annotation = |key: &str| annotations.get(key).and_then(serde_json::Value::as_str);
        Self {
            media_type: text(media_type),
            artifact_type: text(artifact_type),
            is_attestation: annotation(REFERENCE_TYPE) == Some("attestation-manifest"),
            attests: digest(annotation(ATTESTS)),
        }
    }
}

/// Whether this config is not that of an image, nor the empty one that says nothing.
fn is_artifact(config_type: &str) -> bool {
    !["container.image.", "oci.image.config.", "oci.empty."]
        .iter()
        .any(|image| config_type.contains(image))
}

fn digest(text: Option<&str>) -> Option<Digest> {
    text?.parse().ok()
}

/// Whoever pushed the manifest wrote it: made fit for a line of text.
fn text(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
        .map(|text| shown(&text))
}

/// What a blob is, in a word or two: `gzip`, `zstd`, `tar`, or its media type without its common parts.
pub fn layer_word(media_type: &str) -> &str {
    let bare = media_type.split(';').next().unwrap_or_default().trim();
    match bare.rsplit_once(['+', '.']) {
        Some((_, word @ ("gzip" | "zstd" | "tar"))) if is_layer(bare) => word,
        _ => bare
            .strip_prefix("application/vnd.")
            .or_else(|| bare.strip_prefix("application/"))
            .unwrap_or(bare),
    }
}

fn is_layer(media_type: &str) -> bool {
    media_type.contains(".image.layer.") || media_type.contains(".image.rootfs.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attestations_name_what_they_attest_and_layers_their_compression() {
        let (child, attestation) = (Digest::of(b"child"), Digest::of(b"attestation"));
        let body = serde_json::json!({"mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [
            {"digest": child, "size": 1, "mediaType": "m"},
            {"digest": attestation, "size": 1, "annotations":
                {REFERENCE_TYPE: "attestation-manifest", ATTESTS: child}}]});
        let described = Described::read(body.to_string().as_bytes());
        assert_eq!(described.named(&attestation).attests, Some(child));
        assert!(described.named(&attestation).is_attestation);
        assert!(!described.named(&child).is_attestation);
        assert_eq!(described.named(&Digest::of(b"x")), Named::default());
        for (media_type, word) in [
            ("application/vnd.oci.image.layer.v1.tar+gzip", "gzip"),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", "gzip"),
            ("application/vnd.oci.image.layer.v1.tar+zstd", "zstd"),
            ("application/vnd.oci.image.layer.v1.tar", "tar"),
            ("application/vnd.in-toto+json", "in-toto+json"),
            ("text/plain", "text/plain"),
        ] {
            assert_eq!(layer_word(media_type), word);
        }
    }

    #[test]
    fn what_is_written_in_a_manifest_cannot_move_the_cursor() {
        let body = br#"{"mediaType":"a\u001b[2Jb","manifests":[]}"#;
        let media_type = Described::read(body).media_type.unwrap();
        assert!(!media_type.contains('\x1b'), "{media_type}");
        assert_eq!(Described::read(b"<html>"), Described::default());
    }
}
