//! AWS Signature Version 4. Pure: the time is given.

use std::fmt::Write as _;

use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::hmac;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretString};

use crate::oci::digest::Digest;

/// RFC 3986's unreserved characters, and nothing else, stay as they are.
const ENCODED: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// What is signed.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    /// Percent-encoded, as it is sent. Services other than S3 want it encoded once more; theirs is `/`.
    pub(crate) path: &'a str,
    /// As [`canonical_query`] makes it, and as it is sent.
    pub(crate) query: &'a str,
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

/// A query's names and values, encoded and in order.
pub(crate) fn canonical_query(pairs: &[(&str, &str)]) -> String {
    let encode = |text| utf8_percent_encode(text, &ENCODED).to_string();
    let mut encoded: Vec<(String, String)> = pairs
        .iter()
        .map(|(name, value)| (encode(name), encode(value)))
        .collect();
    // By name first: `a=…` comes before `a-b=…`, which the joined text would not.
    encoded.sort_unstable();
    let joined: Vec<String> = encoded
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    joined.join("&")
}

/// A path, encoded once; its slashes stay.
pub(crate) fn encoded_path(path: &str) -> String {
    const WITHOUT_SLASH: AsciiSet = ENCODED.remove(b'/');
    utf8_percent_encode(path, &WITHOUT_SLASH).to_string()
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
        query,
        headers,
        body,
    } = request;
    let lines: String = headers
        .iter()
        .flat_map(|(name, value)| [*name, ":", *value, "\n"])
        .collect();
    format!(
        "{method}\n{path}\n{query}\n{lines}\n{}\n{}",
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

    /// The requests of AWS's Signature Version 4 test suite.
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
                query: "",
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

    /// Those of the test suite that have one: the name says what is asked.
    #[test]
    fn the_published_queries_are_signed_as_published() {
        let scope = Scope {
            region: "us-east-1",
            service: "service",
            at: "2015-08-30T12:36:00Z".parse().unwrap(),
        };
        let headers = &[
            ("host", "example.amazonaws.com"),
            ("x-amz-date", "20150830T123600Z"),
        ];
        let unreserved = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        for (name, pairs, signature) in [
            (
                "get-vanilla-empty-query-key",
                &[("Param1", "value1")][..],
                "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
            ),
            (
                "get-vanilla-query-order-key-case",
                &[("Param2", "value2"), ("Param1", "value1")],
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            (
                "get-vanilla-query-order-value",
                &[("Param1", "value2"), ("Param1", "value1")],
                "5772eed61e12b33fae39ee5e7012498b51d56abc0abb7c60486157bd471c4694",
            ),
            (
                "get-vanilla-query-unreserved",
                &[(unreserved, unreserved)],
                "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
            ),
            (
                "get-vanilla-utf8-query",
                &[("ሴ", "bar")],
                "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
            ),
        ] {
            let query = canonical_query(pairs);
            let request = Request {
                method: "GET",
                path: "/",
                query: &query,
                headers,
                body: b"",
            };
            let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into();
            let signed = authorization(&request, &scope, "AKIDEXAMPLE", &secret);
            assert!(signed.ends_with(signature), "{name}: {signed}");
        }
    }

    /// S3's own examples (Signature Calculations for the Authorization Header).
    #[test]
    fn the_examples_of_s3_are_signed_as_published() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let scope = Scope {
            region: "us-east-1",
            service: "s3",
            at: "2013-05-24T00:00:00Z".parse().unwrap(),
        };
        let host = ("host", "examplebucket.s3.amazonaws.com");
        let hash = ("x-amz-content-sha256", empty);
        let date = ("x-amz-date", "20130524T000000Z");
        for (path, pairs, headers, signature) in [
            (
                "/test.txt",
                &[][..],
                &[host, ("range", "bytes=0-9"), hash, date][..],
                "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
            ),
            (
                "/",
                &[("lifecycle", "")],
                &[host, hash, date],
                "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
            ),
            (
                "/",
                &[("prefix", "J"), ("max-keys", "2")],
                &[host, hash, date],
                "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
            ),
        ] {
            let query = canonical_query(pairs);
            let request = Request {
                method: "GET",
                path,
                query: &query,
                headers,
                body: b"",
            };
            let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into();
            let signed = authorization(&request, &scope, "AKIAIOSFODNN7EXAMPLE", &secret);
            assert!(signed.ends_with(signature), "{path}?{query}: {signed}");
        }
    }

    #[test]
    fn a_path_is_encoded_once_and_a_query_by_its_names_first() {
        assert_eq!(
            encoded_path("a b/c+d%/é/~._-=:"),
            "a%20b/c%2Bd%25/%C3%A9/~._-%3D%3A"
        );
        assert_eq!(
            canonical_query(&[("a-b", "1"), ("a", "x/y z+"), ("", "")]),
            "=&a=x%2Fy%20z%2B&a-b=1"
        );
    }
}
