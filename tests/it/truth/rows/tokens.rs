//! R3: tokens that end, are for something else, or are none.

use std::time::Duration;

use bytes::Bytes;
use pullproof::verify::finding::Code;

use super::super::case::{Case, Outcome};
use super::super::client::SHORT;
use super::super::world::{shop, v1};
use crate::support::scripted::AUTH;
use crate::support::scripted::fault::{Fault, Route, Rule, Which, on};
use crate::support::scripted::tokens::Access;

/// A registry that gives tokens to whom the client has a credential of.
pub(super) fn private(name: &'static str) -> Case {
    let mut shop = shop();
    shop.script.access = Access::tokens();
    Case::new(name, shop.script, &v1()).setup(|setup| setup.has_credential = true)
}

/// A token server that is no more.
const OLD: &str = "old.example";

fn realm(host: &str) -> Access {
    Access::Token {
        realm: format!("http://{host}/token"),
        to_anybody: false,
    }
}

fn token_answer(json: &'static str) -> Rule {
    on(Route::Token).give(Fault::Body(Bytes::from_static(json.as_bytes())))
}

fn challenge() -> Fault {
    let challenge = r#"Bearer realm="http://registry.example/token",service="registry.example""#;
    Fault::Set("www-authenticate", challenge.to_owned())
}

/// For one question at most two tokens, and at most three requests that were refused.
fn is_bounded(outcome: &Outcome) -> bool {
    let tokens = outcome.count("GET", "/token");
    tokens <= 2 * outcome.seen.len().div_ceil(3)
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        private("r03_a_token_ends_in_the_middle")
            .rule(
                on(Route::Blobs)
                    .only(Which::First(1))
                    .give(Fault::Error(401, "UNAUTHORIZED"))
                    .give(challenge()),
            )
            .pullable()
            .and("it is refreshed once", |outcome| {
                outcome.count("GET", "/token") == 2
            }),
        private("r03_one_token_for_all_that_wait")
            .pullable()
            .and("it is fetched once", |outcome| {
                outcome.count("GET", "/token") == 1
            }),
        private("r03_a_token_for_another_scope")
            .rule(token_answer(
                r#"{"token":"for-something-else","expires_in":300}"#,
            ))
            .unknown(Code::Unauthorized)
            .and("no loop", is_bounded),
        private("r03_a_401_loop")
            .rule(
                on(Route::Manifests)
                    .give(Fault::Error(401, "UNAUTHORIZED"))
                    .give(challenge()),
            )
            .unknown(Code::Unauthorized)
            .and("no loop", is_bounded),
        // The realm of before is no more, and the registry names another now.
        private("r03_a_realm_that_moved")
            .setup(|setup| setup.token_realms = vec![AUTH.to_owned(), OLD.to_owned()])
            .rule(token_answer(r#"{"token":"token-1","expires_in":0}"#))
            .before(|script| script.access = realm(OLD))
            .pullable()
            .before(|script| {
                script.access = realm(AUTH);
                let gone = on(Route::Host(OLD.to_owned())).give(Fault::Status(404));
                script.rules.push(gone);
            })
            .pullable(),
        private("r03_a_token_server_in_trouble")
            .rule(on(Route::Token).give(Fault::Status(503)))
            .unknown(Code::ServerError),
        private("r03_a_token_server_that_says_429")
            .rule(on(Route::Token).give(Fault::Status(429)))
            .unknown(Code::RateLimited),
        private("r03_a_token_server_that_is_slow_to_end")
            .setup(|setup| setup.deadlines = SHORT)
            .rule(on(Route::Token).give(Fault::Delay(Duration::from_secs(60))))
            .unknown(Code::Timeout),
    ];
    for (name, life) in [
        (
            "r03_a_token_that_lives_not_at_all",
            r#"{"token":"token-1","expires_in":0}"#,
        ),
        (
            "r03_a_token_that_lives_for_ever",
            r#"{"token":"token-1","expires_in":18446744073709551615}"#,
        ),
        (
            "r03_a_token_without_a_life",
            r#"{"access_token":"token-1"}"#,
        ),
    ] {
        cases.push(
            private(name)
                .rule(token_answer(life))
                .pullable()
                .and("no loop", |it| {
                    it.count("GET", "/token") <= it.seen.len().div_ceil(2)
                }),
        );
    }
    for (name, json) in [
        ("r03_a_token_server_without_json", "<html>"),
        ("r03_a_token_server_without_token", "{}"),
        ("r03_a_token_that_is_no_header", r#"{"token":"a\nb"}"#),
    ] {
        cases.push(
            private(name)
                .rule(token_answer(json))
                .unknown(Code::ServerError),
        );
    }
    cases
}
