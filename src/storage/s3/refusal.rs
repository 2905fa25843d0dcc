//! What an answer that is no success means: whether to ask again, as whom, and what to say of it. Pure.

use super::operation::Operation;
use super::page::Fault;

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    /// There is no object of this key.
    Absent,
    /// It was certainly not done, and may be soon.
    Busy(String),
    /// It may go better soon. Whether it was done is not known.
    Again(String),
    /// The keys are not good any more; others may be.
    Renew(String),
    /// A right is missing; with which.
    Denied(String),
    /// The server does not know how.
    Unsupported(String),
    /// It is so, and stays so; with what to do.
    Final(String),
}

/// What is known of an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer<'a> {
    pub(super) status: u16,
    /// `None` where there is none, or none that is S3's: of a `HEAD`, of a proxy.
    pub(super) fault: Option<&'a Fault>,
    pub(super) is_head: bool,
    /// `x-amz-bucket-region`
    pub(super) region: Option<&'a str>,
}

impl<'a> Answer<'a> {
    /// The error's code; without a body of S3's, that which the status stands for.
    pub(super) fn code(&self) -> &'a str {
        match (
            self.fault.map_or("", |fault| fault.code.as_str()),
            self.status,
        ) {
            ("", 405) => "MethodNotAllowed",
            ("", 409) => "ConditionalRequestConflict",
            ("", 412) => "PreconditionFailed",
            ("", 501) => "NotImplemented",
            (code, _) => code,
        }
    }
}

/// Whom was asked, and for what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) operation: Operation,
    pub(super) bucket: &'a str,
    pub(super) region: &'a str,
}

pub(super) fn meaning(answer: &Answer<'_>, asked: Asked<'_>) -> Meaning {
    let Asked {
        operation,
        bucket,
        region,
    } = asked;
    let status = answer.status;
    let code = answer.fault.map_or("", |fault| fault.code.as_str());
    let said = if code.is_empty() {
        format!("it answered {status}")
    } else {
        format!("it answered {status} ({})", shown(code))
    };
    match (code, status) {
        (
            "SlowDown"
            | "RequestTimeout"
            | "Throttling"
            | "ThrottlingException"
            | "TooManyRequests"
            | "OperationAborted"
            | "ConditionalRequestConflict",
            _,
        )
        | ("", 409 | 429) => Meaning::Busy(said),
        ("InternalError" | "ServiceUnavailable", _) => Meaning::Again(said),
        ("NotImplemented", _) | ("", 501) => {
            Meaning::Unsupported(format!("{said}: this server does not know the operation"))
        }
        ("RequestTimeTooSkewed", _) => Meaning::Busy(format!(
            "{said}: this machine's clock and its own differ; set the clock"
        )),
        (
            "ExpiredToken"
            | "ExpiredTokenException"
            | "TokenRefreshRequired"
            | "InvalidToken"
            | "RequestExpired"
            | "InvalidAccessKeyId"
            // versitygw's.
            | "XAdminUserNotFound"
            | "SignatureDoesNotMatch",
            _,
        ) => Meaning::Renew(format!(
            "{said}: check the access key, and that it has not expired"
        )),
        ("AccessDenied", _) => Meaning::Denied(format!("{said}: {}", operation.way_out(bucket))),
        ("NoSuchBucket", _) => Meaning::Final(format!(
            "{said}: there is no bucket `{bucket}`; check `bucket`, and `endpoint` or `region`"
        )),
        ("NoSuchKey", 404) => Meaning::Absent,
        ("PermanentRedirect" | "TemporaryRedirect" | "AuthorizationHeaderMalformed", _)
        | (_, 301 | 302 | 307 | 308) => Meaning::Final(elsewhere(&said, answer, region)),
        // A wrong region, of a HEAD: there is no body to say so.
        ("", 400) if answer.region.is_some_and(|other| other != region) => {
            Meaning::Final(elsewhere(&said, answer, region))
        }
        ("", 404) if answer.is_head => Meaning::Absent,
        ("", 404) => Meaning::Final(format!("{said}, and not as S3 does: check `endpoint`")),
        (_, 401 | 403) if operation.is_read() => Meaning::Denied(format!(
            "{said}: check the access key, and that it may list the bucket `{bucket}` and read what is \
             in it"
        )),
        (_, 401 | 403) => Meaning::Denied(format!(
            "{said}: check the access key, and {}",
            operation.way_out(bucket)
        )),
        (_, 408 | 429 | 500..) => Meaning::Again(said),
        _ => Meaning::Final(said),
    }
}

fn elsewhere(said: &str, answer: &Answer<'_>, region: &str) -> String {
    let fault = answer.fault;
    let other = answer
        .region
        .or_else(|| fault.and_then(|fault| fault.region.as_deref()))
        .filter(|other| *other != region);
    let endpoint = fault.and_then(|fault| fault.endpoint.as_deref());
    match (other, endpoint) {
        (Some(other), _) => format!(
            "{said}: the bucket is in the region `{other}`, and `{region}` was asked; write region: {other}",
            other = shown(other)
        ),
        (None, Some(endpoint)) => format!(
            "{said}: the bucket is at `{}`; write that as its endpoint, or its region",
            shown(endpoint)
        ),
        (None, None) => format!("{said}: the bucket is elsewhere; check `region` and `endpoint`"),
    }
}

/// What a server says, fit to be printed.
fn shown(text: &str) -> String {
    crate::oci::reference::shown(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Asked<'_> = Asked {
        operation: Operation::ListObjects,
        bucket: "registry",
        region: "us-east-1",
    };

    fn of(status: u16, code: &str, change: impl FnOnce(&mut Fault)) -> Meaning {
        let mut fault = Fault {
            code: code.to_owned(),
            ..Fault::default()
        };
        change(&mut fault);
        let answer = Answer {
            status,
            fault: (!code.is_empty()).then_some(&fault),
            is_head: false,
            region: None,
        };
        meaning(&answer, ASKED)
    }

    fn plain(status: u16, code: &str) -> Meaning {
        of(status, code, |_| {})
    }

    #[test]
    fn only_no_such_key_is_absence() {
        assert_eq!(plain(404, "NoSuchKey"), Meaning::Absent);
        for (status, code) in [
            (404, ""),
            (404, "NoSuchBucket"),
            (404, "NotFound"),
            (200, "NoSuchKey"),
            (410, ""),
        ] {
            assert!(
                matches!(plain(status, code), Meaning::Final(_)),
                "{status} {code}"
            );
        }
        for status in [200, 403] {
            let denied = plain(status, "AccessDenied");
            assert!(matches!(denied, Meaning::Denied(_)), "{denied:?}");
        }
        let head = Answer {
            status: 404,
            fault: None,
            is_head: true,
            region: None,
        };
        assert_eq!(meaning(&head, ASKED), Meaning::Absent);
    }

    #[test]
    fn what_passes_is_asked_again_and_old_keys_are_renewed() {
        for (status, code) in [
            (503, "SlowDown"),
            (400, "RequestTimeout"),
            (403, "RequestTimeTooSkewed"),
            (409, "ConditionalRequestConflict"),
            (429, ""),
        ] {
            assert!(
                matches!(plain(status, code), Meaning::Busy(_)),
                "{status} {code}"
            );
        }
        for (status, code) in [
            (500, "InternalError"),
            (200, "InternalError"),
            (503, "ServiceUnavailable"),
            (503, ""),
            (500, ""),
            (504, ""),
        ] {
            assert!(
                matches!(plain(status, code), Meaning::Again(_)),
                "{status} {code}: it may have been done"
            );
        }
        for code in ["", "NotImplemented"] {
            assert!(
                matches!(plain(501, code), Meaning::Unsupported(_)),
                "{code}"
            );
        }
        for (status, code) in [(400, "ExpiredToken"), (403, "InvalidAccessKeyId")] {
            assert!(
                matches!(plain(status, code), Meaning::Renew(_)),
                "{status} {code}"
            );
        }
    }

    #[test]
    fn each_refusal_says_what_to_do() {
        let last = |meaning| match meaning {
            Meaning::Final(text) | Meaning::Denied(text) => text,
            other => panic!("{other:?}"),
        };
        let region = "it answered 301 (PermanentRedirect): the bucket is in the region `eu-west-1`, and \
                      `us-east-1` was asked; write region: eu-west-1";
        let fault = Fault {
            code: "PermanentRedirect".to_owned(),
            endpoint: Some("registry.s3.example".to_owned()),
            ..Fault::default()
        };
        let mut answer = Answer {
            status: 301,
            fault: Some(&fault),
            is_head: false,
            region: Some("eu-west-1"),
        };
        assert_eq!(last(meaning(&answer, ASKED)), region);
        answer.region = None;
        assert!(last(meaning(&answer, ASKED)).contains("at `registry.s3.example`; write that"));
        let head = Answer {
            status: 400,
            fault: None,
            is_head: true,
            region: Some("eu-west-1"),
        };
        assert!(last(meaning(&head, ASKED)).contains("write region: eu-west-1"));
        let malformed = of(400, "AuthorizationHeaderMalformed", |fault| {
            fault.region = Some("eu-west-1".to_owned());
        });
        assert!(last(malformed).contains("write region: eu-west-1"));
        assert!(
            last(plain(403, "AccessDenied")).contains("s3:ListBucket on the bucket `registry`")
        );
        assert!(last(plain(404, "NoSuchBucket")).contains("check `bucket`"));
        assert!(last(plain(302, "")).contains("check `region`"));
    }

    #[test]
    fn a_denial_names_the_right_that_is_missing() {
        for (operation, right) in [
            (Operation::GetBucketVersioning, "s3:GetBucketVersioning"),
            (
                Operation::GetBucketLifecycleConfiguration,
                "s3:GetLifecycleConfiguration",
            ),
            (Operation::ListObjectVersions, "s3:ListBucketVersions"),
            (Operation::PutObject, "s3:PutObject"),
            (Operation::DeleteObject, "s3:DeleteObject on"),
            (Operation::DeleteObjects, "s3:DeleteObject on"),
            (Operation::DeleteObjectVersion, "s3:DeleteObjectVersion on"),
            (Operation::CopyObject, "s3:GetObject and s3:PutObject"),
            (Operation::AbortMultipartUpload, "s3:AbortMultipartUpload"),
        ] {
            let fault = Fault {
                code: "AccessDenied".to_owned(),
                ..Fault::default()
            };
            for fault in [Some(&fault), None] {
                let answer = Answer {
                    status: 403,
                    fault,
                    is_head: false,
                    region: None,
                };
                let asked = Asked { operation, ..ASKED };
                match meaning(&answer, asked) {
                    Meaning::Denied(text) => assert!(
                        text.contains(&format!("allow {right}")) && text.contains("`registry`"),
                        "{text}"
                    ),
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}
