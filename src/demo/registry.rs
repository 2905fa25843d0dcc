//! A read-only registry: serves a storage tree over HTTP as distribution does.
//!
//! It reads the tree at every request and remembers nothing, so that what disappears on disk is gone
//! at once; it writes nothing and counts nothing. It reads a blob whole: it is for trees of the
//! demo's size. Unlike distribution it serves what is stored whatever a client accepts.

mod problem;
mod range;
mod route;

use std::io;
use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use serde::Deserialize;
use serde_json::json;
use tokio::fs;

use super::layout::Layout;
use super::tree::Dialect;
use crate::oci::digest::Digest;
use problem::{ALLOWED, Problem};
use range::Wanted;
use route::Route;

const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// Serves the tree at `root`, a distribution's `rootdirectory`.
pub fn router(root: impl AsRef<Path>) -> Router {
    let layout = Layout::new(root.as_ref());
    // One handler for all paths: a repository's name has any number of slashes.
    Router::new().fallback(answer).with_state(Arc::new(layout))
}

async fn answer(State(layout): State<Arc<Layout>>, request: Request) -> Response {
    let (parts, _body) = request.into_parts();
    let mut response = respond(&layout, &parts)
        .await
        .unwrap_or_else(Problem::into_response);
    let version = HeaderValue::from_static("registry/2.0");
    response.headers_mut().insert(API_VERSION, version);
    response
}

async fn respond(layout: &Layout, request: &Parts) -> Result<Response, Problem> {
    if request.method == Method::OPTIONS {
        // How a client asks whether it could write, without writing.
        return Ok(([(header::ALLOW, ALLOWED)], Body::empty()).into_response());
    }
    if request.method != Method::GET && request.method != Method::HEAD {
        return Err(Problem::ReadOnly);
    }
    match Route::parse(request.uri.path())? {
        Route::Base => Ok(Json(json!({})).into_response()),
        Route::ManifestByTag { repository, tag } => {
            let link = layout.tag_current(&repository, &tag);
            let digest = linked(&link).await?.ok_or(Problem::ManifestUnknown)?;
            manifest(layout, request, &repository, digest).await
        }
        Route::ManifestByDigest { repository, digest } => {
            manifest(layout, request, &repository, digest).await
        }
        Route::Blob { repository, digest } => blob(layout, request, &repository, digest).await,
        Route::Tags { repository } => tags(layout, &request.uri, &repository).await,
    }
}

async fn manifest(
    layout: &Layout,
    request: &Parts,
    repository: &str,
    digest: Digest,
) -> Result<Response, Problem> {
    // Before anything is read, as in distribution: a 304 says that the tag still names this digest,
    // not that there is anything behind it.
    if has_already(&request.headers, digest) {
        return Ok(not_modified(digest));
    }
    let link = layout.revision_link(repository, digest);
    let digest = linked(&link).await?.ok_or(Problem::ManifestUnknown)?;
    let body = found(fs::read(layout.data(digest)).await)?.ok_or(Problem::ManifestUnknown)?;
    let media_type = media_type(&body)?;
    let size = body.len() as u64;
    let mut response = content(request, size, body.into());
    response.headers_mut().extend(identity(digest));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, media_type);
    Ok(response)
}

async fn blob(
    layout: &Layout,
    request: &Parts,
    repository: &str,
    digest: Digest,
) -> Result<Response, Problem> {
    let link = layout.layer_link(repository, digest);
    let digest = linked(&link).await?.ok_or(Problem::BlobUnknown)?;
    let path = layout.data(digest);
    // A HEAD does not read what it does not send.
    let (size, body) = if request.method == Method::HEAD {
        let metadata = found(fs::metadata(&path).await)?.ok_or(Problem::BlobUnknown)?;
        (metadata.len(), Bytes::new())
    } else {
        let body = found(fs::read(&path).await)?.ok_or(Problem::BlobUnknown)?;
        (body.len() as u64, body.into())
    };
    if has_already(&request.headers, digest) {
        return Ok(not_modified(digest));
    }
    let asked = request.headers.get(header::RANGE);
    // A header that is not text cannot be a range.
    let asked = asked.map(|range| range.to_str().unwrap_or_default());
    let mut response = match range::wanted(asked, size) {
        Wanted::Whole => content(request, size, body),
        Wanted::Part { first, last } => part(request, (first, last), size, &body),
        Wanted::Unsatisfiable => return Err(Problem::RangeInvalid { size }),
    };
    response.headers_mut().extend(identity(digest));
    response.headers_mut().extend(
        [
            (header::CONTENT_TYPE, "application/octet-stream"),
            (header::ACCEPT_RANGES, "bytes"),
            (header::CACHE_CONTROL, "max-age=31536000"),
        ]
        .map(|(name, value)| (name, HeaderValue::from_static(value))),
    );
    Ok(response)
}

/// How many tags a page has, and after which it starts.
#[derive(Deserialize)]
struct Page {
    n: Option<String>,
    #[serde(default)]
    last: String,
}

async fn tags(layout: &Layout, uri: &Uri, repository: &str) -> Result<Response, Problem> {
    let Query(Page { n, last }) =
        Query::try_from_uri(uri).map_err(|_rejection| Problem::PaginationNumberInvalid)?;
    let limit = match n.as_deref() {
        None | Some("") => None,
        Some(n) => Some(
            n.parse::<usize>()
                .map_err(|_invalid| Problem::PaginationNumberInvalid)?,
        ),
    };
    let directory = fs::read_dir(layout.tags(repository)).await;
    let mut directory = found(directory)?.ok_or(Problem::NameUnknown)?;
    let mut tags = Vec::new();
    while let Some(entry) = directory.next_entry().await.map_err(Problem::Unreadable)? {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name > last {
            tags.push(name);
        }
    }
    tags.sort_unstable();
    let has_more = limit.is_some_and(|limit| limit < tags.len());
    tags.truncate(limit.unwrap_or(usize::MAX));
    let next = match (tags.last(), limit) {
        // Tags need no escaping: the grammar has nothing that a query would read otherwise.
        (Some(last), Some(limit)) if has_more => Some(format!(
            "</v2/{repository}/tags/list?last={last}&n={limit}>; rel=\"next\""
        )),
        (_, _) => None,
    };
    let mut response = Json(json!({"name": repository, "tags": tags})).into_response();
    if let Some(next) = next.and_then(|next| HeaderValue::try_from(next).ok()) {
        response.headers_mut().insert(header::LINK, next);
    }
    Ok(response)
}

/// What a link names; `None` where there is no link.
async fn linked(link: &Path) -> Result<Option<Digest>, Problem> {
    let Some(text) = found(fs::read_to_string(link).await)? else {
        return Ok(None);
    };
    let digest = text
        .parse()
        .map_err(|error| Problem::Unreadable(io::Error::new(io::ErrorKind::InvalidData, error)))?;
    Ok(Some(digest))
}

/// Only what is not there is absent; any other failure is none.
fn found<T>(result: io::Result<T>) -> Result<Option<T>, Problem> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Problem::Unreadable(error)),
    }
}

#[derive(Deserialize)]
struct Shape {
    #[serde(rename = "mediaType", default)]
    media_type: Option<String>,
    #[serde(default)]
    manifests: Option<serde::de::IgnoredAny>,
}

/// OCI manifests need not name their type; their shape does.
fn media_type(manifest: &[u8]) -> Result<HeaderValue, Problem> {
    let damaged = |error| Problem::Unreadable(io::Error::new(io::ErrorKind::InvalidData, error));
    let shape: Shape =
        serde_json::from_slice(manifest).map_err(|error| damaged(error.to_string()))?;
    let media_type = match (shape.media_type, shape.manifests) {
        (Some(media_type), _) => media_type,
        (None, Some(_)) => Dialect::Oci.index().to_owned(),
        (None, None) => Dialect::Oci.manifest().to_owned(),
    };
    HeaderValue::try_from(media_type).map_err(|error| damaged(error.to_string()))
}

/// Whether `If-None-Match` names the digest, quoted or not.
fn has_already(headers: &HeaderMap, digest: Digest) -> bool {
    let digest = digest.to_string();
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|tag| tag.trim().trim_start_matches("W/").trim_matches('"'))
        .any(|tag| tag == digest)
}

fn not_modified(digest: Digest) -> Response {
    let mut response = StatusCode::NOT_MODIFIED.into_response();
    response.headers_mut().extend(identity(digest));
    response
}

fn identity(digest: Digest) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    let digest = digest.to_string();
    [
        (CONTENT_DIGEST, HeaderValue::try_from(&digest)),
        (header::ETAG, HeaderValue::try_from(format!("\"{digest}\""))),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value.ok()?)))
}

/// The whole of a body of `size` bytes; to a HEAD, its size.
fn content(request: &Parts, size: u64, body: Bytes) -> Response {
    let body = if request.method == Method::HEAD {
        Body::empty()
    } else {
        Body::from(body)
    };
    ([(header::CONTENT_LENGTH, size)], body).into_response()
}

fn part(request: &Parts, (first, last): (u64, u64), size: u64, body: &Bytes) -> Response {
    let length = last - first + 1;
    // To a HEAD the body is empty, and so is every part of it.
    let bounds = usize::try_from(first).unwrap_or(usize::MAX).min(body.len())
        ..usize::try_from(last + 1)
            .unwrap_or(usize::MAX)
            .min(body.len());
    let mut response = content(request, length, body.slice(bounds));
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    let range = HeaderValue::try_from(format!("bytes {first}-{last}/{size}"));
    response
        .headers_mut()
        .extend(range.map(|range| (header::CONTENT_RANGE, range)));
    response
}

#[cfg(test)]
mod tests;
