//! R4 and R6: refusals, and servers that do not do HEAD, or not well.

use pullproof::verify::finding::Code;

use super::super::case::Case;
use super::super::world::{BASE, of, shop, v1};
use crate::support::scripted::fault::{Fault, Route, on};
use crate::support::scripted::tokens::Access;

fn public(name: &'static str) -> Case {
    Case::new(name, shop().script, &v1())
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = refusals();
    cases.extend(without_head());
    cases
}

fn refusals() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, status, code, expected) in [
        (
            "r04_401_without_challenge",
            401,
            "UNAUTHORIZED",
            Code::Unauthorized,
        ),
        ("r04_403", 403, "DENIED", Code::Forbidden),
        ("r04_404_that_means_denied", 404, "DENIED", Code::Forbidden),
    ] {
        cases.push(
            public(name)
                .rule(on(Route::Any).give(Fault::Error(status, code)))
                .unknown(expected),
        );
    }
    for (name, header) in [
        ("r04_401_basic_to_nobody", r#"Basic realm="registry""#),
        ("r04_401_negotiate", "Negotiate"),
    ] {
        cases.push(
            public(name)
                .rule(
                    on(Route::Any)
                        .give(Fault::Error(401, "UNAUTHORIZED"))
                        .give(Fault::Set("www-authenticate", header.to_owned())),
                )
                .unknown(Code::Unauthorized),
        );
    }
    let mut by_password = shop();
    by_password.script.access = Access::Password;
    cases.push(
        Case::new(
            "r04_a_password_that_fits",
            by_password.script.clone(),
            &v1(),
        )
        .setup(|setup| setup.has_credential = true)
        .pullable(),
    );
    cases.push(
        Case::new("r04_a_password_that_is_lost", by_password.script, &v1())
            .setup(|setup| setup.has_credential = true)
            .pullable()
            .before(|script| {
                script
                    .rules
                    .push(on(Route::Any).give(Fault::Error(401, "UNAUTHORIZED")));
            })
            .unknown(Code::Unauthorized)
            .and_since("the proof of before keeps ageing", |now, before| {
                now.image.proven_at.is_some() && now.image.proven_at == before[0].image.proven_at
            }),
    );
    cases.push(
        public("r04_403_for_one_layer")
            .rule(on(Route::Object(of(BASE))).give(Fault::Error(403, "DENIED")))
            .unknown(Code::Forbidden),
    );

    cases
}

fn without_head() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, status) in [
        ("r06_head_400", 400),
        ("r06_head_403", 403),
        ("r06_head_405", 405),
        ("r06_head_501", 501),
    ] {
        cases.push(
            public(name)
                .rule(on(Route::Any).head().give(Fault::Status(status)))
                .pullable()
                .and("blobs were read by one byte", |outcome| {
                    let of_blob = |path: &str| path.contains("/blobs/");
                    let gets = outcome
                        .seen
                        .iter()
                        .filter(|it| it.method == "GET" && of_blob(&it.path));
                    gets.clone().count() > 0
                        && gets
                            .into_iter()
                            .all(|it| it.header("range") == Some("bytes=0-0"))
                }),
        );
    }
    cases.push(
        Case::new(
            "r06_head_405_and_a_layer_that_is_gone",
            shop().without(of(BASE)).script,
            &v1(),
        )
        .rule(on(Route::Any).head().give(Fault::Status(405)))
        .broken(Code::LayerMissing),
    );
    cases.push(
        public("r06_head_404_where_get_is_200")
            .rule(on(Route::Any).head().give(Fault::Status(404)))
            .pullable(),
    );
    cases.push(
        public("r06_head_without_digest")
            .rule(on(Route::Any).give(Fault::Remove("docker-content-digest")))
            .pullable()
            .and_since("the digest is our own", |it, _before| {
                it.report.digest == Some(shop().index.digest)
            }),
    );
    cases.push(
        public("r06_head_without_length")
            .rule(on(Route::Any).head().give(Fault::Remove("content-length")))
            .pullable()
            .and("each blob was read by one byte", |outcome| {
                outcome.count("GET", "/blobs/") == 5
            }),
    );
    cases.push(
        public("r06_head_with_length_zero")
            .rule(
                on(Route::Any)
                    .head()
                    .give(Fault::Set("content-length", "0".to_owned())),
            )
            .pullable(),
    );
    cases.push(
        public("r06_head_of_a_blob_with_length_zero")
            .rule(
                on(Route::Blobs)
                    .head()
                    .give(Fault::Set("content-length", "0".to_owned())),
            )
            .pullable(),
    );

    cases
}
