//! What refers to an image without being part of it: signatures, attestations, bills of materials. Shown
//! for information; no verdict depends on them.
//!
//! Three ways lead from a subject to them: the referrers API, the tag that stands in for it where a
//! registry has none (distribution-spec, "Referrers Tag Schema"), and the tags that cosign made before
//! either.

use serde::Serialize;

use crate::oci::digest::Digest;
use crate::oci::reference::shown;
use crate::oci::referrer::{self, DigestTag, DigestTagKind};

/// Which way led to a referrer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// The referrers API.
    Api,
    /// The tag `sha256-HEX`.
    Tag,
    /// The tag `sha256-HEX.sig`, `.att` or `.sbom`.
    CosignTag,
}

/// One that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Referrer {
    pub subject: Digest,
    pub way: Way,
    /// `signature`, `attestation`, `sbom`, or `artifact`.
    pub kind: &'static str,
    /// Null where a registry does not say.
    pub digest: Option<Digest>,
    pub size: Option<u64>,
    pub artifact_type: Option<String>,
    pub tag: Option<String>,
}

/// What was found, and what could not be asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Referrers {
    /// The objects that were asked about.
    pub subjects: Vec<Digest>,
    pub found: Vec<Referrer>,
    /// Why the list may be a part only; empty if it is whole.
    pub problems: Vec<String>,
}

/// What stands under cosign's tags.
pub const COSIGN_TAGS: [(DigestTagKind, &str); 3] = [
    (DigestTagKind::Signature, "signature"),
    (DigestTagKind::Attestation, "attestation"),
    (DigestTagKind::Sbom, "sbom"),
];

/// The tag of this kind that names a subject.
pub fn tag(subject: Digest, kind: DigestTagKind) -> String {
    DigestTag { subject, kind }.to_string()
}

/// Reads an answer of the referrers API, or what its tag names. What is no such list is an error: an
/// empty list would say that there is nothing.
pub fn parse(subject: Digest, way: Way, body: &[u8]) -> Result<Vec<Referrer>, String> {
    let listed = referrer::parse(body)
        .map_err(|error| format!("the list of referrers cannot be read: {error}"))?;
    let found = listed.into_iter().map(|listed| {
        let artifact_type = listed.artifact_type;
        Referrer {
            subject,
            way,
            kind: kind(artifact_type.as_deref().unwrap_or_default()),
            digest: Some(listed.digest),
            size: Some(listed.size),
            artifact_type: artifact_type.as_deref().map(shown),
            tag: (way == Way::Tag).then(|| tag(subject, DigestTagKind::Referrers)),
        }
    });
    Ok(found.collect())
}

/// What an artifact type is, in a word.
fn kind(artifact_type: &str) -> &'static str {
    let has = |word: &str| artifact_type.contains(word);
    if has("signature") || has("sigstore.bundle") || has("cosign.simplesigning") {
        "signature"
    } else if has("spdx") || has("cyclonedx") || has("sbom") {
        "sbom"
    } else if has("in-toto") || has("attestation") || has("slsa") {
        "attestation"
    } else {
        "artifact"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_and_what_is_none_is_no_empty_list() {
        let (subject, bundle) = (Digest::of(b"subject"), Digest::of(b"bundle"));
        let body = serde_json::json!({"schemaVersion": 2, "manifests": [
            {"digest": bundle, "size": 7, "artifactType": "application/vnd.dev.sigstore.bundle.v0.3+json"},
            {"digest": subject, "size": 8, "artifactType": "application/spdx+json"}]});
        let found = parse(subject, Way::Api, body.to_string().as_bytes()).unwrap();
        let kinds: Vec<_> = found.iter().map(|found| found.kind).collect();
        assert_eq!(kinds, ["signature", "sbom"]);
        assert_eq!((found[0].digest, found[0].size), (Some(bundle), Some(7)));
        assert_eq!(
            parse(
                subject,
                Way::Tag,
                br#"{"mediaType":"application/vnd.oci.image.index.v1+json","manifests":null}"#
            ),
            Ok(Vec::new())
        );
        for body in [
            "",
            "<html>",
            "[]",
            "{}",
            r#"{"manifests":[{"digest":"x","size":1}]}"#,
        ] {
            parse(subject, Way::Api, body.as_bytes()).unwrap_err();
        }
    }
}
