//! R9 and R11: bytes that are others, fewer, or in other clothes.

use std::io::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use pullproof::verify::finding::Code;

use super::super::case::Case;
use super::super::world::{AMD64, BASE, of, shop, v1};
use crate::support::scripted::answer::Wire;
use crate::support::scripted::fault::{Fault, Route, Which, on};
use crate::support::scripted::store::Stored;

fn public(name: &'static str) -> Case {
    Case::new(name, shop().script, &v1())
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = wrong();
    cases.extend(by_their_bytes());
    cases.extend(encoded());
    cases
}

fn wrong() -> Vec<Case> {
    let mut cases = Vec::new();
    let amd64 = shop().amd64.digest;
    cases.push(
        public("r09_a_manifest_with_other_bytes")
            .rule(on(Route::Object(amd64)).give(Fault::Body(Bytes::from_static(b"{\"x\":1}"))))
            .broken(Code::DigestMismatch),
    );
    cases.push(
        public("r09_a_manifest_with_other_bytes_once")
            .rule(
                on(Route::Object(amd64))
                    .only(Which::First(1))
                    .give(Fault::Body(Bytes::from_static(b"{\"x\":1}"))),
            )
            .pullable(),
    );
    cases.push(
        public("r09_a_wrong_media_type_over_right_bytes")
            .rule(on(Route::Manifests).give(Fault::Set("content-type", "text/html".to_owned())))
            .pullable(),
    );
    for (name, method) in [
        ("r09_a_lying_digest_header_once", 0),
        ("r09_a_lying_digest_header_on_gets", 1),
    ] {
        let lie = Fault::Set("docker-content-digest", of("a lie").to_string());
        let rule = match method {
            0 => on(Route::Tags).only(Which::First(1)).give(lie),
            _ => on(Route::Manifests).get().give(lie),
        };
        cases.push(public(name).rule(rule).pullable());
    }
    cases.push(
        public("r09_a_lying_digest_header_on_heads_by_digest")
            .pullable()
            .before(|script| {
                let lie = Fault::Set("docker-content-digest", of("a lie").to_string());
                script.rules.push(on(Route::Manifests).head().give(lie));
            })
            .pullable(),
    );
    let mut short = shop();
    let repository = short.repository();
    let mut child = repository.image("linux/amd64", &[BASE]);
    child.size += 1;
    let index = repository.index(&[child.child("linux/amd64")]);
    repository.tag("v1", &index);
    cases.push(
        Case::new("r09_a_descriptor_with_another_size", short.script, &v1())
            .broken(Code::SizeMismatch),
    );
    let mut truncated = shop();
    let content = Bytes::from_static(b"layer am");
    truncated.repository().blobs.insert(of(AMD64), content);
    cases.push(
        Case::new("r09_a_layer_that_was_cut", truncated.script, &v1()).broken(Code::SizeMismatch),
    );
    cases.push(
        public("r09_a_body_shorter_than_announced")
            .rule(
                on(Route::Object(amd64))
                    .get()
                    .give(Fault::On(Wire::Cut(20))),
            )
            .unknown(Code::Unreachable),
    );
    cases.push(
        public("r09_a_length_longer_than_the_body")
            .rule(
                on(Route::Object(amd64))
                    .get()
                    .give(Fault::Set("content-length", "1000000".to_owned()))
                    .give(Fault::On(Wire::Cut(1 << 20))),
            )
            .unknown(Code::Unreachable),
    );
    cases
}

/// Tags whose digest has to be found out from what comes.
fn by_their_bytes() -> Vec<Case> {
    let mut cases = Vec::new();
    // A whole answer by its length, to whoever asks by tag: the hash of what came is nothing's digest.
    let cut = || on(Route::Tags).give(Fault::Set("content-length", "7".to_owned()));
    cases.push(
        public("r09_a_tag_that_is_cut_short_and_tells_its_digest")
            .rule(on(Route::Tags).head().give(Fault::Status(405)))
            .rule(cut().get())
            .pullable(),
    );
    cases.push(
        public("r09_a_tag_that_is_cut_short_and_tells_no_digest")
            .rule(cut().give(Fault::Remove("docker-content-digest")))
            .unknown(Code::ServerError),
    );
    // Its digest is that of what was signed, and not of all that is sent.
    let (payload, signed) = signed();
    let mut old = shop();
    let stored = Stored {
        media_type: "application/vnd.docker.distribution.manifest.v1+prettyjws".to_owned(),
        body: Bytes::from(signed),
    };
    let repository = old.repository();
    repository.manifests.insert(of(&payload), stored);
    repository.tags.insert("v1".to_owned(), of(&payload));
    cases.push(
        Case::new("r09_a_signed_manifest_and_no_digest", old.script, &v1())
            .rule(on(Route::Any).give(Fault::Remove("docker-content-digest")))
            .unknown(Code::Unsupported),
    );
    cases
}

/// What was signed of a manifest of schema 1, and that with the signature in it.
fn signed() -> (String, String) {
    let head = r#"{"schemaVersion":1,"name":"team/app","tag":"v1","fsLayers":[]"#;
    let protected = format!(
        r#"{{"formatLength":{},"formatTail":"{}"}}"#,
        head.len(),
        URL_SAFE_NO_PAD.encode("}")
    );
    let protected = URL_SAFE_NO_PAD.encode(protected);
    let signatures = format!(r#","signatures":[{{"protected":"{protected}"}}]}}"#);
    (format!("{head}}}"), format!("{head}{signatures}"))
}

fn encoded() -> Vec<Case> {
    let mut cases = Vec::new();
    let amd64 = shop().amd64.digest;
    let body = shop().body(&shop().amd64);
    let zeros = vec![0; 10 << 20];
    for (name, content) in [
        ("r11_a_manifest_that_is_compressed", body.as_ref()),
        (
            "r11_a_manifest_that_expands_a_thousandfold",
            zeros.as_slice(),
        ),
    ] {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder
            .write_all(content)
            .expect("memory takes every write");
        let packed = encoder.finish().expect("memory takes every write");
        cases.push(
            public(name)
                .rule(
                    on(Route::Object(amd64))
                        .give(Fault::Body(packed.into()))
                        .give(Fault::Set("content-encoding", "gzip".to_owned())),
                )
                .unknown(Code::ServerError)
                .and(
                    "nothing but the bytes themselves was asked for",
                    |outcome| {
                        outcome
                            .seen
                            .iter()
                            .all(|it| it.header("accept-encoding") == Some("identity"))
                    },
                ),
        );
    }
    cases.push(
        public("r11_lengths_of_what_is_compressed")
            .rule(
                on(Route::Blobs)
                    .head()
                    .give(Fault::Set("content-length", "5".to_owned()))
                    .give(Fault::Set("content-encoding", "br".to_owned())),
            )
            .pullable(),
    );
    cases.push(
        public("r11_an_encoding_that_is_none")
            .rule(on(Route::Any).give(Fault::Set("content-encoding", "identity".to_owned())))
            .pullable(),
    );
    cases
}
