//! The error codes of the distribution-spec, and what each of them proves.
//!
//! A status alone proves little: 404 is also what a proxy's error page answers. Only these codes (or
//! an empty body to a HEAD) say that the registry itself does not have the object.

use serde::Deserialize;

/// The codes that decide something here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    BlobUnknown,
    ManifestUnknown,
    NameUnknown,
    Unauthorized,
    Denied,
    TooManyRequests,
    /// Any other code: it is the registry that speaks, but it says nothing about absence.
    Other,
}

impl ErrorCode {
    fn parse(code: &str) -> Self {
        match code {
            // distribution 2.8 answers MANIFEST_BLOB_UNKNOWN and BLOB_UNKNOWN for missing content.
            "BLOB_UNKNOWN" | "MANIFEST_BLOB_UNKNOWN" => Self::BlobUnknown,
            "MANIFEST_UNKNOWN" => Self::ManifestUnknown,
            "NAME_UNKNOWN" => Self::NameUnknown,
            "UNAUTHORIZED" => Self::Unauthorized,
            "DENIED" => Self::Denied,
            "TOOMANYREQUESTS" => Self::TooManyRequests,
            _ => Self::Other,
        }
    }

    /// Whether the registry says with it that the object is not there.
    pub fn says_absent(self) -> bool {
        match self {
            Self::BlobUnknown | Self::ManifestUnknown | Self::NameUnknown => true,
            Self::Unauthorized | Self::Denied | Self::TooManyRequests | Self::Other => false,
        }
    }
}

#[derive(Deserialize)]
struct Body {
    errors: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    code: String,
}

/// The first code of an error body; `None` if the body is not the spec's.
pub fn first(body: &[u8]) -> Option<ErrorCode> {
    let body: Body = serde_json::from_slice(body).ok()?;
    body.errors
        .first()
        .map(|entry| ErrorCode::parse(&entry.code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_registrys_own_words_say_absent() {
        let code = |body: &str| first(body.as_bytes());
        assert!(
            code(r#"{"errors":[{"code":"MANIFEST_UNKNOWN","detail":{}}]}"#)
                .unwrap()
                .says_absent()
        );
        assert!(
            !code(r#"{"errors":[{"code":"DENIED"}]}"#)
                .unwrap()
                .says_absent()
        );
        assert_eq!(code("<html>404 page not found</html>"), None);
        assert_eq!(code(r#"{"errors":[]}"#), None);
    }
}
