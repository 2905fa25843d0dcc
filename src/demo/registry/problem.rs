//! What the registry says when it does not serve: the spec's error codes, in the spec's body.

use std::io;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

/// The methods that are served; what a read-only distribution announces, too.
pub(super) const ALLOWED: HeaderValue = HeaderValue::from_static("GET, HEAD");

/// Why a request has no content for an answer.
#[derive(Debug)]
pub(super) enum Problem {
    /// No path of the API.
    NoRoute,
    /// A method that would write.
    ReadOnly,
    NameInvalid,
    NameUnknown,
    ManifestUnknown,
    BlobUnknown,
    DigestInvalid,
    PaginationNumberInvalid,
    RangeInvalid {
        size: u64,
    },
    /// The tree holds something else than distribution writes, or cannot be read.
    Unreadable(io::Error),
}

impl Problem {
    fn status(&self) -> StatusCode {
        match self {
            Self::NoRoute | Self::NameUnknown | Self::ManifestUnknown | Self::BlobUnknown => {
                StatusCode::NOT_FOUND
            }
            Self::ReadOnly => StatusCode::METHOD_NOT_ALLOWED,
            Self::NameInvalid | Self::DigestInvalid | Self::PaginationNumberInvalid => {
                StatusCode::BAD_REQUEST
            }
            Self::RangeInvalid { size: _ } => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::Unreadable(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// `None` where distribution's answer is no error body of the spec.
    fn code_and_message(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::NoRoute => None,
            Self::ReadOnly => Some(("UNSUPPORTED", "The operation is unsupported.")),
            Self::NameInvalid => Some(("NAME_INVALID", "invalid repository name")),
            Self::NameUnknown => Some(("NAME_UNKNOWN", "repository name not known to registry")),
            Self::ManifestUnknown => Some(("MANIFEST_UNKNOWN", "manifest unknown")),
            Self::BlobUnknown => Some(("BLOB_UNKNOWN", "blob unknown to registry")),
            Self::DigestInvalid => Some(("DIGEST_INVALID", "provided digest is no sha256 digest")),
            Self::PaginationNumberInvalid => Some((
                "PAGINATION_NUMBER_INVALID",
                "invalid number of results requested",
            )),
            Self::RangeInvalid { size: _ } => Some(("RANGE_INVALID", "invalid content range")),
            Self::Unreadable(_) => Some(("UNKNOWN", "unknown error")),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = match self.code_and_message() {
            Some((code, message)) => {
                let detail = match &self {
                    Self::Unreadable(error) => Some(error.kind().to_string()),
                    _ => None,
                };
                let body =
                    json!({"errors": [{"code": code, "message": message, "detail": detail}]});
                (self.status(), Json(body)).into_response()
            }
            None => (self.status(), "404 page not found\n").into_response(),
        };
        let headers = response.headers_mut();
        match self {
            Self::ReadOnly => {
                headers.insert(header::ALLOW, ALLOWED);
            }
            Self::RangeInvalid { size } => {
                let range = HeaderValue::try_from(format!("bytes */{size}"));
                headers.extend(range.map(|range| (header::CONTENT_RANGE, range)));
            }
            Self::NoRoute
            | Self::NameInvalid
            | Self::NameUnknown
            | Self::ManifestUnknown
            | Self::BlobUnknown
            | Self::DigestInvalid
            | Self::PaginationNumberInvalid
            | Self::Unreadable(_) => {}
        }
        response
    }
}
