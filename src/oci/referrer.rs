//! What refers to an image without being part of it: signatures, attestations, bills of materials.
//!
//! Three ways lead from a subject to them: the referrers API, the tag that stands in for it where a
//! registry has none (distribution-spec, "Referrers Tag Schema"), and the tags that cosign made before
//! either. All of them name the subject's digest.

use std::fmt;

use serde::Deserialize;

use super::digest::Digest;
use super::manifest::{CHILDREN_MAX, InvalidManifest, MANIFEST_BYTES_MAX};
use super::media_type::{self, Kind};

/// A manifest that names a subject, as the referrers API or the tag in its place lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referrer {
    pub digest: Digest,
    pub size: u64,
    pub media_type: String,
    /// What it is, as `application/spdx+json`. Lists of older clients lack it.
    pub artifact_type: Option<String>,
}

#[derive(Deserialize)]
struct RawIndex {
    #[serde(rename = "mediaType", default)]
    media_type: Option<String>,
    manifests: Option<Vec<RawReferrer>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawReferrer {
    digest: Digest,
    size: u64,
    media_type: Option<String>,
    artifact_type: Option<String>,
}

/// Reads the referrers of one subject: an answer of the referrers API, or what its fallback tag
/// names. An empty list is a whole one. Further pages are told by the answer's `Link` header.
///
/// # Errors
///
/// What is no index is not an empty list: other things than referrers stand under that tag.
pub fn parse(body: &[u8]) -> Result<Vec<Referrer>, InvalidManifest> {
    if body.len() > MANIFEST_BYTES_MAX {
        return Err(InvalidManifest::TooLarge);
    }
    let index: RawIndex = serde_json::from_slice(body)
        .map_err(|error| InvalidManifest::NotJson(error.to_string()))?;
    let declared = index.media_type.as_deref().unwrap_or_default();
    let manifests = match (index.manifests, media_type::kind(declared)) {
        (Some(manifests), Kind::Index) => manifests,
        // The media type in an index is optional; the list is not.
        (Some(manifests), Kind::Other) if declared.is_empty() => manifests,
        // Go writes an empty list so.
        (None, Kind::Index) => Vec::new(),
        (_, Kind::Manifest | Kind::Schema1 | Kind::Other) => return Err(InvalidManifest::NoShape),
    };
    if manifests.len() > CHILDREN_MAX {
        return Err(InvalidManifest::TooManyChildren);
    }
    let referrers = manifests.into_iter().map(|raw| Referrer {
        digest: raw.digest,
        size: raw.size,
        media_type: raw.media_type.unwrap_or_default(),
        artifact_type: raw.artifact_type.filter(|kind| !kind.is_empty()),
    });
    Ok(referrers.collect())
}

/// A tag that names the digest of its subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DigestTag {
    pub subject: Digest,
    pub kind: DigestTagKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DigestTagKind {
    /// An index of the referrers: it stands in for the referrers API.
    Referrers,
    /// cosign's signatures.
    Signature,
    /// cosign's attestations.
    Attestation,
    /// cosign's bill of materials.
    Sbom,
}

impl DigestTagKind {
    pub const ALL: [Self; 4] = [
        Self::Referrers,
        Self::Signature,
        Self::Attestation,
        Self::Sbom,
    ];

    fn suffix(self) -> &'static str {
        match self {
            Self::Referrers => "",
            Self::Signature => ".sig",
            Self::Attestation => ".att",
            Self::Sbom => ".sbom",
        }
    }
}

impl DigestTag {
    /// Reads a tag; `None` for an ordinary one, and for one of another algorithm than sha256.
    pub fn parse(tag: &str) -> Option<Self> {
        let (algorithm, rest) = tag.split_once('-')?;
        let (hex, suffix) = rest.split_at_checked(64)?;
        let kind = DigestTagKind::ALL
            .into_iter()
            .find(|kind| kind.suffix() == suffix)?;
        let subject = format!("{algorithm}:{hex}").parse().ok()?;
        Some(Self { subject, kind })
    }
}

impl fmt::Display for DigestTag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, kind } = self;
        write!(formatter, "sha256-{}{}", subject.hex(), kind.suffix())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_names_its_subject_and_reads_back() {
        let subject = Digest::of(b"subject");
        for kind in DigestTagKind::ALL {
            let tag = DigestTag { subject, kind };
            assert_eq!(DigestTag::parse(&tag.to_string()), Some(tag));
        }
        let hex = subject.hex();
        for tag in [
            "latest".to_owned(),
            "sha256".to_owned(),
            format!("sha256:{hex}"),
            format!("sha256-{}", &hex[..63]),
            format!("sha256-{hex}0"),
            format!("sha256-{hex}.cosign"),
            format!("sha256-{}", hex.to_uppercase()),
            format!("sha512-{hex}"),
            format!("sha256-{}é{}", &hex[..62], &hex[..4]),
        ] {
            assert_eq!(DigestTag::parse(&tag), None, "{tag}");
        }
    }

    #[test]
    fn what_is_no_index_is_no_empty_list() {
        let index = |rest: &str| {
            let text = format!(r#"{{"mediaType":"{}"{rest}}}"#, media_type::OCI_INDEX);
            parse(text.as_bytes())
        };
        assert_eq!(index(r#","manifests":[]"#), Ok(Vec::new()));
        assert_eq!(index(r#","manifests":null"#), Ok(Vec::new()));
        index(r#","manifests":[{"digest":"sha256:00","size":1}]"#).unwrap_err();
        let image = format!(r#"{{"mediaType":"{}"}}"#, media_type::OCI_MANIFEST);
        let other = r#"{"mediaType":"application/json","manifests":[]}"#;
        assert_eq!(parse(br#"{"manifests":[]}"#), Ok(Vec::new()));
        for body in ["", "{}", "[]", other, image.as_str()] {
            parse(body.as_bytes()).unwrap_err();
        }
        let one = format!(r#"{{"digest":"{}","size":1}}"#, Digest::of(b""));
        let many = vec![one; CHILDREN_MAX + 1].join(",");
        assert_eq!(
            index(&format!(r#","manifests":[{many}]"#)),
            Err(InvalidManifest::TooManyChildren)
        );
    }
}
