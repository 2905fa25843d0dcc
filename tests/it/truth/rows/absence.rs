//! R5 and R7: what is gone, what only seems so, and what only seems to be there.

use bytes::Bytes;
use pullproof::verify::finding::{Code, Verdict};

use super::super::case::{Case, Outcome};
use super::super::world::{BASE, of, shop, v1};
use crate::support::scripted::answer::Wire;
use crate::support::scripted::fault::{Fault, Route, Which, on};

fn public(name: &'static str) -> Case {
    Case::new(name, shop().script, &v1())
}

/// The control and the second look at what was said to be missing both came on connections that
/// carried nothing else.
fn is_confirmed_on_new_connections(outcome: &Outcome) -> bool {
    let layer = of(BASE).to_string();
    let second_look = outcome.seen.iter().find(|seen| seen.is("GET", &layer));
    second_look.is_some_and(|look| {
        outcome
            .seen
            .iter()
            .filter(|seen| seen.connection == look.connection)
            .count()
            == 1
    })
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = gone();
    cases.extend(controls());
    cases.extend(lies());
    cases
}

fn gone() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.push(
        Case::new(
            "r05_a_layer_that_is_gone",
            shop().without(of(BASE)).script,
            &v1(),
        )
        .broken(Code::LayerMissing)
        .and(
            "the second look came on a new connection",
            is_confirmed_on_new_connections,
        ),
    );
    for (name, route) in [
        (
            "r05_a_layer_that_a_lagging_replica_lacks",
            Route::Object(of(BASE)),
        ),
        ("r05_a_tag_that_a_lagging_replica_lacks", Route::Tags),
        (
            "r05_a_child_that_a_lagging_replica_lacks",
            Route::Object(shop().arm64.digest),
        ),
    ] {
        let code = if matches!(route, Route::Object(digest) if digest == of(BASE)) {
            "BLOB_UNKNOWN"
        } else {
            "MANIFEST_UNKNOWN"
        };
        cases.push(
            public(name)
                .rule(
                    on(route)
                        .only(Which::First(1))
                        .give(Fault::Error(404, code)),
                )
                .pullable(),
        );
    }
    cases.push(
        Case::new(
            "r05_a_tag_that_is_gone",
            shop().script,
            "registry.example/team/app:v2",
        )
        .broken(Code::TagMissing),
    );
    cases.push(
        Case::new(
            "r05_a_repository_that_is_gone",
            shop().script,
            "registry.example/team/other:v1",
        )
        .broken(Code::TagMissing),
    );
    let arm64 = shop().arm64.digest;
    cases.push(
        Case::new(
            "r05_a_child_that_is_gone",
            shop().without(arm64).script,
            &v1(),
        )
        .broken(Code::ChildMissing),
    );
    cases
}

fn controls() -> Vec<Case> {
    let mut cases = Vec::new();
    // Nothing of it is there but its manifest, so that the manifest is what a control asks for.
    let mut empty = shop();
    let lone = empty
        .repository()
        .image("linux/amd64", &["layer of a lone one"]);
    empty.repository().tag("lone", &lone);
    let blobs: Vec<_> = empty.repository().blobs.keys().copied().collect();
    for blob in blobs {
        empty.repository().lose(blob);
    }
    let lone = "registry.example/team/app:lone";
    cases.push(
        Case::new(
            "r05_a_lone_manifest_whose_blobs_are_gone",
            empty.script.clone(),
            lone,
        )
        .gives(Verdict::Broken, &[Code::ConfigMissing, Code::LayerMissing]),
    );
    cases.push(
        Case::new("r05_a_control_that_fails", empty.script, lone)
            .rule(on(Route::Manifests).head().give(Fault::Status(503)))
            .unknown(Code::ServerError),
    );
    cases.push(
        Case::new(
            "r05_a_front_door_that_fails",
            shop().script,
            "registry.example/team/app:v2",
        )
        .rule(on(Route::Front).give(Fault::Status(503)))
        .unknown(Code::ServerError),
    );
    let gone = shop().without(of(BASE)).script;
    cases.push(
        Case::new("r05_a_proxys_page_is_no_absence", gone, &v1())
            .rule(on(Route::Object(of(BASE))).give(Fault::Instead(
                404,
                Bytes::from_static(b"<html>404 page not found</html>"),
            )))
            .unknown(Code::ServerError),
    );
    cases.push(
        public("r05_410_is_no_absence")
            .rule(on(Route::Object(of(BASE))).give(Fault::Error(410, "BLOB_UNKNOWN")))
            .unknown(Code::ServerError),
    );

    cases
}

fn lies() -> Vec<Case> {
    let mut cases = Vec::new();
    let arm64 = shop().arm64.digest;
    // At depth `head` a HEAD is believed; a manifest that is not known yet is read all the same.
    let present = || Fault::Instead(200, Bytes::from_static(BASE.as_bytes()));
    cases.push(
        Case::new(
            "r07_a_head_that_lies_about_a_layer",
            shop().without(of(BASE)).script,
            &v1(),
        )
        .rule(on(Route::Object(of(BASE))).head().give(present()))
        .pullable()
        .and("no blob was read", |outcome| {
            outcome.count("GET", "/blobs/") == 0
        }),
    );
    cases.push(
        Case::new(
            "r07_a_head_that_lies_about_a_child",
            shop().without(arm64).script,
            &v1(),
        )
        .rule(
            on(Route::Object(arm64))
                .head()
                .give(Fault::Instead(200, shop().body(&shop().arm64))),
        )
        .broken(Code::ChildMissing),
    );
    cases.push(
        public("r07_a_blob_that_ends_before_its_first_byte")
            .rule(
                on(Route::Object(of(BASE)))
                    .get()
                    .give(Fault::On(Wire::Cut(0))),
            )
            .pullable(),
    );
    cases
}
