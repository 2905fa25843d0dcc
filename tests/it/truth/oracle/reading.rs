//! What of one answer can arrive, and what it says by itself.

use std::time::Duration;

use pullproof::oci::digest::Digest;
use serde_json::Value;

use crate::support::scripted::answer::{Reply, Wire};

/// Loopback, link-local and the cluster's own are nobody that a registry may point to.
pub(super) fn may_be_dialled(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    !["127.", "169.254.", "10.96.", "[::1]"]
        .iter()
        .any(|it| host.starts_with(it))
}

pub(super) fn canary() -> Digest {
    Digest::of(b"of nothing that anybody has pushed")
}

pub(super) fn described(descriptor: &Value) -> (Digest, Option<usize>) {
    let digest = descriptor["digest"].as_str().and_then(|it| it.parse().ok());
    let size = descriptor["size"]
        .as_u64()
        .and_then(|it| it.try_into().ok());
    (digest.expect("the world's descriptors have digests"), size)
}

/// `arm64` and `arm64/v8` are one.
pub(super) fn plain(platform: &str) -> String {
    platform
        .strip_suffix("arm64/v8")
        .map_or(platform.to_owned(), |os| format!("{os}arm64"))
}

pub(super) fn is_success(reply: &Reply) -> bool {
    (200..300).contains(&reply.status)
}

pub(super) fn says_absent(reply: &Reply, method: &str) -> bool {
    if reply.status != 404 || !head_arrives(reply, Duration::from_secs(3600)) {
        return false;
    }
    let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let code = body["errors"][0]["code"].as_str().unwrap_or_default();
    // The storage behind a redirect has its own word for it.
    let is_of_storage = reply.body.windows(9).any(|part| part == b"NoSuchKey");
    method == "HEAD"
        || is_of_storage
        || ["BLOB_UNKNOWN", "MANIFEST_UNKNOWN", "NAME_UNKNOWN"].contains(&code)
}

/// Whether the status and the headers can arrive in time.
pub(super) fn head_arrives(reply: &Reply, patience: Duration) -> bool {
    let comes = match reply.wire {
        Wire::Whole
        | Wire::Cut(_)
        | Wire::ResetIn(_)
        | Wire::HangIn(_)
        | Wire::DripBody(_)
        | Wire::Endless => true,
        Wire::Reset | Wire::HalfClose | Wire::Hang | Wire::DripHead(_) | Wire::Raw(_) => false,
    };
    comes && reply.delay < patience
}

/// Whether all of it can arrive in time.
pub(super) fn arrives(reply: &Reply, is_head: bool, patience: Duration) -> bool {
    let length = reply.body.len();
    let announced = reply
        .header("content-length")
        .and_then(|it| it.parse().ok())
        .unwrap_or(length);
    let comes = match reply.wire {
        Wire::Cut(at) | Wire::ResetIn(at) | Wire::HangIn(at) => at >= announced.min(length),
        Wire::Endless => false,
        Wire::DripBody(every) => every * u32::try_from(length).unwrap_or(u32::MAX) < patience,
        _ => true,
    };
    head_arrives(reply, patience) && (is_head || comes && announced <= length)
}
