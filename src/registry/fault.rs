//! From a status and a body to what it proves. Pure.
//!
//! By the error's code and not by the status alone: a 404 page of a proxy in front of the registry
//! says nothing about the image (distribution-spec, "Error Codes").

use std::time::Duration;

use jiff::Timestamp;

use crate::oci::error_code::{self, ErrorCode};
use crate::verify::finding::Code;

/// What a response that is no success means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// The registry itself says that the object is not there.
    Absent,
    /// 401: other or fresher credentials may help.
    Unauthorized,
    /// 403, or the registry's own word for it.
    Forbidden,
    /// 429: after this time, if it said.
    RateLimited { retry_after: Option<Duration> },
    /// The server is in trouble: asking again may help.
    Trouble { retry_after: Option<Duration> },
    /// This server does not do HEAD, or not here: GET may work.
    MethodRefused,
    /// Nothing that proves anything.
    Strange,
}

impl Meaning {
    /// The reason under which it is reported.
    pub fn code(&self) -> Code {
        match self {
            Self::Unauthorized => Code::Unauthorized,
            Self::Forbidden => Code::Forbidden,
            Self::RateLimited { .. } => Code::RateLimited,
            Self::Absent | Self::Trouble { .. } | Self::MethodRefused | Self::Strange => {
                Code::ServerError
            }
        }
    }
}

/// Reads a response. `body` is `None` for a HEAD, which has none to read.
pub fn meaning(status: u16, body: Option<&[u8]>, retry_after: Option<Duration>) -> Meaning {
    let code = body.and_then(error_code::first);
    match (status, code) {
        (404, Some(code)) if code.says_absent() => Meaning::Absent,
        // Only a claim either way: it is confirmed by a GET, which has a body to read.
        (404, None) if body.is_none() => Meaning::Absent,
        (429, _) | (_, Some(ErrorCode::TooManyRequests)) => Meaning::RateLimited { retry_after },
        (401, _) => Meaning::Unauthorized,
        // Some refuse HEAD alone, and a HEAD has no body to tell that from a refusal of this client;
        // the GET that follows has.
        (400 | 403 | 405 | 501, _) if body.is_none() => Meaning::MethodRefused,
        (403, _) | (404, Some(ErrorCode::Denied | ErrorCode::Unauthorized)) => Meaning::Forbidden,
        (408 | 500 | 502..=599, _) => Meaning::Trouble { retry_after },
        _ => Meaning::Strange,
    }
}

/// Reads a response of the storage that a registry sent us to, which speaks another language.
///
/// Absence is for the registry to say, with one exception: a store that names its own error code for a
/// key that is not there. A signature that does not fit a HEAD was made for a GET (S3's presigned URLs
/// are for one method), and says nothing.
pub fn meaning_elsewhere(status: u16, body: Option<&[u8]>) -> Meaning {
    let says = |code: &str| {
        let tag = format!("<Code>{code}</Code>");
        body.is_some_and(|body| body.windows(tag.len()).any(|part| part == tag.as_bytes()))
    };
    match status {
        404 if says("NoSuchKey") || says("BlobNotFound") => Meaning::Absent,
        400 | 403 | 405 | 501 if body.is_none() => Meaning::MethodRefused,
        500 | 502..=504 => Meaning::Trouble { retry_after: None },
        _ => Meaning::Strange,
    }
}

/// `Retry-After` in both forms; a date in the past means now.
pub fn retry_after(header: &str, now: Timestamp) -> Option<Duration> {
    let header = header.trim();
    if !header.is_empty() && header.bytes().all(|byte| byte.is_ascii_digit()) {
        // More than can be counted is for ever.
        return Some(Duration::from_secs(header.parse().unwrap_or(u64::MAX)));
    }
    let at = jiff::fmt::rfc2822::parse(header).ok()?.timestamp();
    Some(at.duration_since(now).try_into().unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_registrys_own_words_are_absence() {
        let coded = br#"{"errors":[{"code":"BLOB_UNKNOWN"}]}"#;
        let denied = br#"{"errors":[{"code":"DENIED"}]}"#;
        for (status, body, expected) in [
            (404, Some(&coded[..]), Meaning::Absent),
            (404, None, Meaning::Absent),
            (404, Some(&b"<html>not found</html>"[..]), Meaning::Strange),
            (404, Some(&denied[..]), Meaning::Forbidden),
            (410, Some(&coded[..]), Meaning::Strange),
            (401, None, Meaning::Unauthorized),
            (403, Some(&denied[..]), Meaning::Forbidden),
            (403, Some(&b""[..]), Meaning::Forbidden),
            (403, None, Meaning::MethodRefused),
            (429, None, Meaning::RateLimited { retry_after: None }),
            (
                500,
                Some(&coded[..]),
                Meaning::Trouble { retry_after: None },
            ),
            (503, None, Meaning::Trouble { retry_after: None }),
            (405, None, Meaning::MethodRefused),
            (405, Some(&b""[..]), Meaning::Strange),
            (204, None, Meaning::Strange),
        ] {
            assert_eq!(meaning(status, body, None), expected, "{status} {body:?}");
        }
    }

    #[test]
    fn storage_elsewhere_is_believed_only_in_its_own_words() {
        let gone = b"<?xml?><Error><Code>NoSuchKey</Code><Message>x</Message></Error>";
        let expired =
            b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>";
        for (status, body, expected) in [
            (404, Some(&gone[..]), Meaning::Absent),
            (404, Some(&b"<html>NoSuchKey</html>"[..]), Meaning::Strange),
            (404, None, Meaning::Strange),
            (403, None, Meaning::MethodRefused),
            (403, Some(&expired[..]), Meaning::Strange),
            (503, Some(&b""[..]), Meaning::Trouble { retry_after: None }),
        ] {
            assert_eq!(meaning_elsewhere(status, body), expected, "{status}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        assert_eq!(retry_after("120", now), Some(Duration::from_secs(120)));
        assert_eq!(
            retry_after("Sat, 21 Nov 2026 10:00:30 GMT", now),
            Some(Duration::from_secs(30))
        );
        assert_eq!(
            retry_after("Fri, 20 Nov 2026 10:00:30 GMT", now),
            Some(Duration::ZERO)
        );
        assert_eq!(retry_after("soon", now), None);
        assert_eq!(
            retry_after("999999999999999999999", now),
            Some(Duration::from_secs(u64::MAX))
        );
    }
}
