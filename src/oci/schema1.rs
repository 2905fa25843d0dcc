//! The digest of a signed Docker manifest of schema 1, the first format that registries held.
//!
//! Its body carries signatures that are not part of what the digest covers: the signed payload is the
//! body up to `formatLength`, and `formatTail` after it (libtrust, `ParsePrettySignature`). A body
//! whose own hash is another is therefore no lie of the registry's.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::digest::Digest;

#[derive(Deserialize)]
struct Signed {
    #[serde(rename = "schemaVersion")]
    schema_version: u32,
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
struct Signature {
    protected: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Protected {
    format_length: usize,
    format_tail: String,
}

/// The digest of what was signed; `None` if this is no signed manifest of schema 1. The signatures
/// themselves are not checked: a digest needs no signature.
pub fn payload_digest(body: &[u8]) -> Option<Digest> {
    let signed: Signed = serde_json::from_slice(body).ok()?;
    if signed.schema_version != 1 {
        return None;
    }
    let protected = URL_SAFE_NO_PAD
        .decode(&signed.signatures.first()?.protected)
        .ok()?;
    let protected: Protected = serde_json::from_slice(&protected).ok()?;
    let tail = URL_SAFE_NO_PAD.decode(protected.format_tail).ok()?;
    let head = body.get(..protected.format_length)?;
    Some(Digest::of(&[head, &tail].concat()))
}
