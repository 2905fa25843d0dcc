//! Manifests and indexes: from bytes to the objects that they name.
//!
//! Every limit has a name. A body that breaks one is invalid, never half read: a manifest of which
//! only a part was understood would prove only that part.

use serde::Deserialize;

use super::descriptor::{Descriptor, RawDescriptor};
use super::digest::Digest;
use super::media_type::{self, Kind};

/// The largest manifest that is read: registries must take 4 MiB (distribution-spec, "Pushing
/// Manifests") and refuse more.
pub const MANIFEST_BYTES_MAX: usize = 4 << 20;
/// Most children that an index, and most layers that a manifest may have.
pub const CHILDREN_MAX: usize = 512;

/// A parsed manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Manifest {
    /// Also the withdrawn artifact manifest, whose children are blobs.
    Index {
        children: Vec<Descriptor>,
        subject: Option<Digest>,
    },
    Image {
        config: Descriptor,
        layers: Vec<Descriptor>,
        subject: Option<Digest>,
    },
    /// Well-formed, of a kind whose references cannot be followed: its media type, or what it is and
    /// the way out.
    Unsupported { media_type: String },
}

/// Why a body is not a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidManifest {
    #[error("it is not a JSON object of the expected shape: {0}")]
    NotJson(String),
    #[error("it is larger than 4 MiB")]
    TooLarge,
    #[error("it names more than {CHILDREN_MAX} objects")]
    TooManyChildren,
    #[error("it names objects by `{0}`, and only sha256 is supported")]
    OtherAlgorithm(String),
    #[error("it has neither `manifests` nor `config` and `layers`")]
    NoShape,
    #[error("the `data` beside {0} is not the content of that digest")]
    Data(Digest),
}

#[derive(Debug, Deserialize)]
struct Raw {
    #[serde(rename = "mediaType")]
    media_type: Option<String>,
    #[serde(rename = "schemaVersion")]
    schema_version: Option<u32>,
    manifests: Option<Vec<RawDescriptor>>,
    config: Option<RawDescriptor>,
    layers: Option<Vec<RawDescriptor>>,
    /// Only of an artifact manifest.
    blobs: Option<Vec<RawDescriptor>>,
    subject: Option<RawSubject>,
}

/// Who pulls an image does not look at its subject, so what is wrong with it breaks nothing.
#[derive(Debug, Deserialize)]
struct RawSubject {
    digest: Option<String>,
}

/// Its layers have no sizes and its digest is not that of its bytes: nothing of it can be proven.
const SCHEMA1: &str = "a Docker manifest of schema 1, which current registries and runtimes refuse; \
    build or convert the image anew and push it (skopeo copy --format oci)";

impl Manifest {
    /// Reads a body. `content_type` is the registry's header; the body's own `mediaType` is believed
    /// first, since it is what the digest covers.
    pub fn parse(body: &[u8], content_type: Option<&str>) -> Result<Self, InvalidManifest> {
        if body.len() > MANIFEST_BYTES_MAX {
            return Err(InvalidManifest::TooLarge);
        }
        let raw: Raw = serde_json::from_slice(body)
            .map_err(|error| InvalidManifest::NotJson(error.to_string()))?;
        let declared = raw
            .media_type
            .as_deref()
            .or(content_type)
            .unwrap_or_default();
        if raw.schema_version == Some(1) || media_type::kind(declared) == Kind::Schema1 {
            return Ok(Self::Unsupported {
                media_type: SCHEMA1.to_owned(),
            });
        }
        let subject = raw.subject.and_then(|subject| subject.digest?.parse().ok());
        if media_type::is_artifact(declared) {
            return match raw.blobs {
                // Each of its blobs must be there, as each child of an index.
                Some(blobs) if !blobs.is_empty() => Ok(Self::Index {
                    children: bounded(blobs)?,
                    subject,
                }),
                Some(_) | None => Ok(Self::Unsupported {
                    media_type: "an artifact manifest without blobs".to_owned(),
                }),
            };
        }
        match (raw.manifests, raw.config, raw.layers) {
            (Some(children), None, None) => Ok(Self::Index {
                children: bounded(children)?,
                subject,
            }),
            (None, Some(config), layers) => Ok(Self::Image {
                config: config.try_into()?,
                layers: bounded(layers.unwrap_or_default())?,
                subject,
            }),
            // An index that also has a config would be read differently by different clients.
            (Some(_), _, _) | (None, None, _) => match media_type::kind(declared) {
                Kind::Index | Kind::Manifest | Kind::Schema1 => Err(InvalidManifest::NoShape),
                Kind::Other if declared.is_empty() => Ok(Self::Unsupported {
                    media_type: "a JSON object without a media type".to_owned(),
                }),
                Kind::Other => Ok(Self::Unsupported {
                    media_type: declared.to_owned(),
                }),
            },
        }
    }
}

fn bounded(raw: Vec<RawDescriptor>) -> Result<Vec<Descriptor>, InvalidManifest> {
    if raw.len() > CHILDREN_MAX {
        return Err(InvalidManifest::TooManyChildren);
    }
    raw.into_iter().map(Descriptor::try_from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn index_and_manifest_are_told_apart_by_shape() {
        let index = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{}","digest":"{D}","size":7,
               "platform":{{"os":"linux","architecture":"arm64","variant":"v8"}},"annotations":{{}}}}]}}"#,
            media_type::OCI_MANIFEST
        );
        let Manifest::Index {
            children,
            subject: None,
        } = Manifest::parse(index.as_bytes(), Some(media_type::OCI_INDEX)).unwrap()
        else {
            panic!("not an index")
        };
        assert_eq!(
            children[0].platform.as_ref().unwrap().to_string(),
            "linux/arm64/v8"
        );
        let image = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"c","digest":"{D}","size":2}},
               "layers":[{{"mediaType":"l","digest":"{D}","size":3,"urls":["https://x.example/"]}}]}}"#
        );
        let Manifest::Image { config, layers, .. } =
            Manifest::parse(image.as_bytes(), None).unwrap()
        else {
            panic!("not an image")
        };
        assert_eq!((config.size, layers[0].has_urls), (2, true));
    }

    #[test]
    fn bad_bodies_are_invalid_and_unknown_kinds_are_unsupported() {
        for body in [
            "",
            "<html>",
            "[]",
            "{}",
            r#"{"manifests":[{"digest":"x","size":1}]}"#,
            r#"{"config":{"digest":"sha256:00","size":1}}"#,
        ] {
            assert!(
                Manifest::parse(body.as_bytes(), Some(media_type::OCI_MANIFEST)).is_err(),
                "{body}"
            );
        }
        let children = vec![format!(r#"{{"digest":"{D}","size":1}}"#); CHILDREN_MAX + 1].join(",");
        let wide = format!(r#"{{"manifests":[{children}]}}"#);
        assert_eq!(
            Manifest::parse(wide.as_bytes(), None),
            Err(InvalidManifest::TooManyChildren)
        );
        let large = vec![b' '; MANIFEST_BYTES_MAX + 1];
        assert_eq!(
            Manifest::parse(&large, None),
            Err(InvalidManifest::TooLarge)
        );
        let signed = r#"{"schemaVersion":1,"fsLayers":[]}"#;
        assert!(matches!(
            Manifest::parse(signed.as_bytes(), None),
            Ok(Manifest::Unsupported { .. })
        ));
        let wasm = r#"{"mediaType":"application/vnd.other+json","x":1}"#;
        assert!(matches!(
            Manifest::parse(wasm.as_bytes(), None),
            Ok(Manifest::Unsupported { .. })
        ));
    }

    #[test]
    fn our_own_limits_are_told_from_the_images_faults() {
        let sha512 = format!("sha512:{}", "0".repeat(128));
        let other = format!(r#"{{"manifests":[{{"digest":"{sha512}","size":1}}]}}"#);
        assert_eq!(
            Manifest::parse(other.as_bytes(), None),
            Err(InvalidManifest::OtherAlgorithm("sha512".to_owned()))
        );
        // Without a media type of its own there is nothing that it fails to be.
        assert!(matches!(
            Manifest::parse(b"{}", None),
            Ok(Manifest::Unsupported { .. })
        ));
    }

    #[test]
    fn a_withdrawn_artifact_manifest_needs_its_blobs() {
        let artifact = |blobs: &str| {
            let kind = media_type::OCI_ARTIFACT;
            let body = format!(r#"{{"mediaType":"{kind}","artifactType":"a"{blobs}}}"#);
            Manifest::parse(body.as_bytes(), None)
        };
        let one = format!(r#","blobs":[{{"mediaType":"text/plain","digest":"{D}","size":3}}]"#);
        let Ok(Manifest::Index { children, .. }) = artifact(&one) else {
            panic!("not its blobs")
        };
        assert_eq!((children.len(), children[0].size), (1, 3));
        // An artifact without blobs is none without children: it is nobody's platform that it lacks.
        for none in ["", r#","blobs":null"#, r#","blobs":[]"#] {
            assert!(matches!(artifact(none), Ok(Manifest::Unsupported { .. })));
        }
    }

    #[test]
    fn data_that_is_not_the_content_spoils_a_manifest() {
        use base64::Engine as _;
        let content = b"content";
        let parse = |data: &str| {
            let digest = Digest::of(content);
            let body = format!(
                r#"{{"config":{{"digest":"{digest}","size":7,"data":{data}}},"layers":null,
                   "subject":{{"digest":"nonsense"}}}}"#
            );
            Manifest::parse(body.as_bytes(), None)
        };
        let text = |content: &[u8]| {
            let engine = base64::engine::general_purpose::STANDARD;
            format!("\"{}\"", engine.encode(content))
        };
        parse("null").unwrap();
        parse(&text(content)).unwrap();
        // containerd does not look at what has another length.
        parse(&text(b"other")).unwrap();
        for data in [text(b"CONTENT"), "\"#\"".to_owned()] {
            let spoilt = InvalidManifest::Data(Digest::of(content));
            assert_eq!(parse(&data), Err(spoilt), "{data}");
        }
    }

    #[test]
    fn null_is_what_go_writes_for_nothing() {
        let body = format!(
            r#"{{"mediaType":null,"manifests":[{{"mediaType":null,"digest":"{D}","size":1,"urls":null,
               "platform":{{"os":"linux","architecture":"arm","variant":null,"os.version":null}}}}]}}"#
        );
        let Ok(Manifest::Index { children, .. }) = Manifest::parse(body.as_bytes(), None) else {
            panic!("not an index")
        };
        assert_eq!(children[0].platform, "linux/arm".parse().ok());
    }
}
