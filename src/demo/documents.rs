//! The JSON of images: configs, manifests and indexes, from descriptors to bytes. Pure.
//!
//! Fields are written in a fixed order, so that the same input has the same digest everywhere.

use std::collections::BTreeMap;

use serde::Serialize;

use super::tree::{Dialect, Image};
use crate::oci::descriptor::Descriptor;
use crate::oci::digest::Digest;
use crate::oci::platform::Platform;

/// When everything here says that it was built.
const CREATED: &str = "2026-01-05T09:00:00Z";

#[derive(Serialize)]
struct ConfigJson<'a> {
    created: &'a str,
    architecture: &'a str,
    os: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<&'a str>,
    config: RuntimeJson<'a>,
    rootfs: RootfsJson,
    history: Vec<HistoryJson<'a>>,
}

#[derive(Serialize)]
struct RuntimeJson<'a> {
    #[serde(rename = "Env")]
    env: [&'a str; 1],
    #[serde(rename = "Labels")]
    labels: BTreeMap<&'a str, &'a str>,
}

#[derive(Serialize)]
struct RootfsJson {
    r#type: &'static str,
    diff_ids: Vec<Digest>,
}

#[derive(Serialize)]
struct HistoryJson<'a> {
    created: &'a str,
    created_by: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ManifestJson<'a> {
    schema_version: u8,
    media_type: &'a str,
    config: DescriptorJson<'a>,
    layers: Vec<DescriptorJson<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IndexJson<'a> {
    schema_version: u8,
    media_type: &'a str,
    manifests: Vec<DescriptorJson<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DescriptorJson<'a> {
    media_type: &'a str,
    digest: Digest,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<PlatformJson<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<&'a str, String>,
}

#[derive(Serialize)]
struct PlatformJson<'a> {
    architecture: &'a str,
    os: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<&'a str>,
}

pub(super) fn config(image: &Image<'_>) -> Vec<u8> {
    let Image {
        dialect: _,
        platform,
        version,
        layers,
    } = image;
    let history = layers
        .iter()
        .map(|layer| HistoryJson {
            created: CREATED,
            created_by: format!("COPY {} /", layer.diff_id.short()),
        })
        .collect();
    bytes(&ConfigJson {
        created: CREATED,
        architecture: &platform.architecture,
        os: &platform.os,
        variant: platform.variant.as_deref(),
        config: RuntimeJson {
            env: ["PATH=/usr/local/bin:/usr/bin:/bin"],
            labels: BTreeMap::from([("org.opencontainers.image.version", *version)]),
        },
        rootfs: RootfsJson {
            r#type: "layers",
            diff_ids: layers.iter().map(|layer| layer.diff_id).collect(),
        },
        history,
    })
}

pub(super) fn manifest<'a>(
    dialect: Dialect,
    config: &Descriptor,
    layers: impl Iterator<Item = &'a Descriptor>,
) -> Vec<u8> {
    bytes(&ManifestJson {
        schema_version: 2,
        media_type: dialect.manifest(),
        config: descriptor(config),
        layers: layers.map(descriptor).collect(),
    })
}

/// A child of platform `unknown/unknown` is annotated as `BuildKit` does it: as the attestation of the
/// child before it.
pub(super) fn index(dialect: Dialect, children: &[Descriptor]) -> Vec<u8> {
    let mut subject = None;
    let manifests = children
        .iter()
        .map(|child| {
            let mut json = descriptor(child);
            json.platform = child.platform.as_ref().map(platform);
            if child.platform.as_ref().is_some_and(Platform::is_unknown) {
                let kind = "attestation-manifest".to_owned();
                json.annotations.insert("vnd.docker.reference.type", kind);
                if let Some(subject) = subject {
                    let subject = Digest::to_string(&subject);
                    json.annotations
                        .insert("vnd.docker.reference.digest", subject);
                }
            } else {
                subject = Some(child.digest);
            }
            json
        })
        .collect();
    bytes(&IndexJson {
        schema_version: 2,
        media_type: dialect.index(),
        manifests,
    })
}

fn descriptor(descriptor: &Descriptor) -> DescriptorJson<'_> {
    DescriptorJson {
        media_type: &descriptor.media_type,
        digest: descriptor.digest,
        size: descriptor.size,
        platform: None,
        annotations: BTreeMap::new(),
    }
}

fn platform(platform: &Platform) -> PlatformJson<'_> {
    PlatformJson {
        architecture: &platform.architecture,
        os: &platform.os,
        variant: platform.variant.as_deref(),
    }
}

fn bytes(document: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(document).expect("strings, numbers and lists of them are always JSON")
}
