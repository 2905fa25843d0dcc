//! Headers and bodies: what is sent with a request, and what is read of a response. Bodies are bounded.

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::{Response, StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};

use super::transport::{Failure, Wanted};
use crate::oci::digest::Digest;
use crate::oci::media_type::ACCEPT_MANIFESTS;
use crate::oci::platform::Platform;
use crate::verify::finding::Code;

pub(super) fn headers(wanted: &Wanted<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    // A compressed body would have another digest, and could be a bomb.
    headers.insert(
        header::ACCEPT_ENCODING,
        HeaderValue::from_static("identity"),
    );
    if wanted.is_manifest {
        headers.insert(header::ACCEPT, HeaderValue::from_static(ACCEPT_MANIFESTS));
    }
    if let Some(offset) = wanted.byte
        && let Ok(range) = HeaderValue::from_str(&format!("bytes={offset}-{offset}"))
    {
        headers.insert(header::RANGE, range);
    }
    if let Some(digest) = &wanted.unless
        && let Ok(tag) = HeaderValue::from_str(&format!("\"{digest}\""))
    {
        headers.insert(header::IF_NONE_MATCH, tag);
    }
    headers
}

pub(super) fn sensitive(secret: &SecretString) -> HeaderValue {
    let mut value = HeaderValue::from_str(secret.expose_secret())
        .unwrap_or_else(|_not_a_header| HeaderValue::from_static("invalid"));
    value.set_sensitive(true);
    value
}

pub(super) fn token_query(url: &mut Url, service: Option<&str>, scope: &str) {
    let mut query = url.query_pairs_mut();
    if let Some(service) = service {
        query.append_pair("service", service);
    }
    query.append_pair("scope", scope);
}

/// The OAuth2 form in which an identity token is exchanged.
pub(super) fn refresh_form(
    identity_token: &SecretString,
    service: Option<&str>,
    scope: &str,
) -> String {
    let mut url: Url = "http://form/".parse().expect("a constant URL");
    url.query_pairs_mut()
        .append_pair("grant_type", "refresh_token")
        .append_pair("client_id", "pullproof")
        .append_pair("refresh_token", identity_token.expose_secret())
        .append_pair("service", service.unwrap_or_default())
        .append_pair("scope", scope);
    url.query().unwrap_or_default().to_owned()
}

pub(super) fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

pub(super) fn announced_digest(headers: &HeaderMap) -> Option<Digest> {
    headers
        .get("docker-content-digest")?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// Whether the body is an encoding of the content, although none was asked for: its length and its
/// digest are then those of other bytes, and say nothing about the content.
fn encoding(headers: &HeaderMap) -> Option<&str> {
    text(headers, header::CONTENT_ENCODING).filter(|it| !it.eq_ignore_ascii_case("identity"))
}

/// The header itself: what the client library reports for a HEAD is the length of its empty body.
/// `None` also where it is the length of something else than the content.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    if encoding(headers).is_some() {
        return None;
    }
    text(headers, header::CONTENT_LENGTH)?.parse().ok()
}

/// The whole object's size from an answer to a ranged GET.
pub(super) fn total_size(response: &Response) -> Option<u64> {
    if response.status() == StatusCode::PARTIAL_CONTENT {
        let range = text(response.headers(), header::CONTENT_RANGE)?;
        return range.rsplit_once('/')?.1.parse().ok();
    }
    content_length(response.headers())
}

pub(super) fn location(base: &Url, headers: &HeaderMap) -> Result<Url, Failure> {
    text(headers, header::LOCATION)
        .and_then(|location| base.join(location).ok())
        .ok_or_else(|| Failure::new(Code::ServerError, "it redirects to nowhere"))
}

/// Reads a whole body, or fails: a part of a body is none, and an encoded one is another.
pub(super) async fn read(response: Response, bytes_max: usize) -> Result<Bytes, Failure> {
    if let Some(encoding) = encoding(response.headers()) {
        let shown: String = encoding.chars().take(32).collect();
        let message = format!("its answer is encoded as {shown:?}, which was not asked for");
        return Err(Failure::new(Code::ServerError, message));
    }
    let mut body = BytesMut::new();
    let mut stream = response.bytes_stream();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| transport_failure(&error.without_url()))?;
        if body.len() + chunk.len() > bytes_max {
            let message = format!("its answer is longer than {bytes_max} bytes");
            return Err(Failure::new(Code::ServerError, message));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// Reads what fits, for an error's code.
pub(super) async fn read_some(response: Response, bytes_max: usize) -> Bytes {
    read(response, bytes_max).await.unwrap_or_default()
}

/// Why a body could not be read on, or `None` where it just ended before it was complete: the other
/// side closed the connection in order, and had nothing more to send.
pub(super) fn read_failure(error: reqwest::Error) -> Option<Failure> {
    let error = error.without_url();
    let mut source: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(&error);
    while let Some(cause) = source {
        // TLS that is closed without its own end has the same kind: somebody cut the connection.
        if let Some(io) = cause.downcast_ref::<std::io::Error>()
            && io.kind() == std::io::ErrorKind::UnexpectedEof
            && tls_problem(cause).is_none()
            && !io.to_string().contains("close_notify")
        {
            return None;
        }
        source = cause.source();
    }
    Some(transport_failure(&error))
}

pub(super) fn transport_failure(error: &reqwest::Error) -> Failure {
    let mut causes = Vec::new();
    let mut source: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(error);
    let mut code = if error.is_timeout() {
        Code::Timeout
    } else {
        Code::Unreachable
    };
    let mut message = None;
    while let Some(cause) = source {
        if let Some(refused) = cause.downcast_ref::<super::address::Refused>() {
            code = Code::Untrusted;
            message = Some(refused.to_string());
        }
        if let Some(tls) = tls_problem(cause) {
            code = Code::Tls;
            let hint = if tls.contains("InvalidContentType") {
                "; if it is meant to speak plain HTTP, say so for this host (plainHttp: true, or --plain-http HOST)"
            } else {
                ""
            };
            message = Some(format!("{tls}{hint}"));
        }
        causes.push(cause.to_string());
        source = cause.source();
    }
    // The innermost cause names the thing; the outer ones repeat the URL.
    let message = message
        .or_else(|| causes.pop())
        .unwrap_or_else(|| error.to_string());
    Failure::new(code, message)
}

/// rustls hides in an I/O error in an I/O error, which `source` steps over.
fn tls_problem(cause: &(dyn std::error::Error + 'static)) -> Option<String> {
    if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
        return Some(tls.to_string());
    }
    tls_problem(cause.downcast_ref::<std::io::Error>()?.get_ref()?)
}

pub(super) fn config_platform(body: &[u8]) -> Option<Platform> {
    #[derive(serde::Deserialize)]
    struct Config {
        os: String,
        architecture: String,
        #[serde(default)]
        variant: Option<String>,
        #[serde(rename = "os.version", default)]
        os_version: Option<String>,
    }
    let config: Config = serde_json::from_slice(body).ok()?;
    if config.os.is_empty() || config.architecture.is_empty() {
        return None;
    }
    let platform = Platform::new(&config.os, &config.architecture, config.variant.as_deref());
    Some(platform.with_os_version(config.os_version.as_deref()))
}
