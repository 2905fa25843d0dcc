//! AWS Signature Version 4, of a request without a query. Pure: the time is given.

use std::fmt::Write as _;

use jiff::Timestamp;
use ring::hmac;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretString};

use crate::oci::digest::Digest;

/// What is signed.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    /// Percent-encoded, as it is sent.
    pub(crate) path: &'a str,
    /// Names in lower case and in order, values without space around them: `host` and `x-amz-date` must
    /// be among them.
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) body: &'a [u8],
}

/// For what the signature is good.
#[derive(Debug)]
pub(crate) struct Scope<'a> {
    pub(crate) region: &'a str,
    pub(crate) service: &'a str,
    pub(crate) at: Timestamp,
}

/// `x-amz-date`
pub(crate) fn date(at: Timestamp) -> String {
    at.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// The value of `Authorization`.
pub(crate) fn authorization(
    request: &Request<'_>,
    scope: &Scope<'_>,
    key_id: &str,
    secret: &SecretString,
) -> String {
    let day = scope.at.strftime("%Y%m%d").to_string();
    let Scope {
        region, service, ..
    } = scope;
    let scoped = format!("{day}/{region}/{service}/aws4_request");
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{}\n{scoped}\n{}",
        date(scope.at),
        Digest::of(canonical(request).as_bytes()).hex()
    );
    let first = Zeroizing::new(format!("AWS4{}", secret.expose_secret()));
    let key = [day.as_str(), region, service, "aws4_request"]
        .iter()
        .fold(mac_key(first.as_bytes()), |key, part| {
            mac_key(hmac::sign(&key, part.as_bytes()).as_ref())
        });
    let signature = hmac::sign(&key, to_sign.as_bytes());
    format!(
        "AWS4-HMAC-SHA256 Credential={key_id}/{scoped}, SignedHeaders={}, Signature={}",
        signed_headers(request),
        hex(signature.as_ref())
    )
}

fn mac_key(bytes: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, bytes)
}

fn canonical(request: &Request<'_>) -> String {
    let Request {
        method,
        path,
        headers,
        body,
    } = request;
    let lines: String = headers
        .iter()
        .flat_map(|(name, value)| [*name, ":", *value, "\n"])
        .collect();
    format!(
        "{method}\n{path}\n\n{lines}\n{}\n{}",
        signed_headers(request),
        Digest::of(body).hex()
    )
}

fn signed_headers(request: &Request<'_>) -> String {
    let names: Vec<&str> = request.headers.iter().map(|(name, _)| *name).collect();
    names.join(";")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a String takes everything");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The requests of AWS's Signature Version 4 test suite that have no query.
    #[test]
    fn the_published_vectors_are_signed_as_published() {
        let token = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";
        let scope = Scope {
            region: "us-east-1",
            service: "service",
            at: "2015-08-30T12:36:00Z".parse().unwrap(),
        };
        let host = ("host", "example.amazonaws.com");
        let date = ("x-amz-date", "20150830T123600Z");
        let form = ("content-type", "application/x-www-form-urlencoded");
        for (name, method, headers, body, signed, signature) in [
            (
                "get-vanilla",
                "GET",
                &[host, date][..],
                "",
                "host;x-amz-date",
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                "post-vanilla",
                "POST",
                &[host, date],
                "",
                "host;x-amz-date",
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                "post-x-www-form-urlencoded",
                "POST",
                &[form, host, date],
                "Param1=value1",
                "content-type;host;x-amz-date",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
            (
                "post-sts-header-before",
                "POST",
                &[host, date, ("x-amz-security-token", token)],
                "",
                "host;x-amz-date;x-amz-security-token",
                "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
            ),
        ] {
            let request = Request {
                method,
                path: "/",
                headers,
                body: body.as_bytes(),
            };
            let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into();
            assert_eq!(
                authorization(&request, &scope, "AKIDEXAMPLE", &secret),
                format!(
                    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                     SignedHeaders={signed}, Signature={signature}"
                ),
                "{name}"
            );
        }
    }
}
