//! JSON with a tag: whoever has it already is told that nothing is new.

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;

use crate::oci::digest::Digest;

/// The view, or 304 where the client names its tag (`If-None-Match`).
pub(super) fn json(headers: &HeaderMap, view: &impl Serialize) -> Response {
    let body = match serde_json::to_vec(view) {
        Ok(body) => body,
        Err(error) => {
            return (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response();
        }
    };
    let hex = Digest::of(&body).hex();
    // Weak: the same is also sent compressed.
    let tag = format!("W/\"{}\"", hex.get(..32).unwrap_or_default());
    let fresh = [
        (header::ETAG, tag.clone()),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
    ];
    if is_known(headers, &tag) {
        return (StatusCode::NOT_MODIFIED, fresh).into_response();
    }
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (fresh, kind, body).into_response()
}

/// By weak comparison (RFC 9110, section 13.1.2).
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let given = headers.get_all(header::IF_NONE_MATCH).iter();
    let given = given.filter_map(|value| value.to_str().ok());
    let mut tags = given.flat_map(|value| value.split(','));
    tags.any(|one| one.trim() == "*" || opaque(one) == opaque(tag))
}
