//! R8, R13, R14 and R16: where a registry points to, and who must never hear a credential.

use bytes::Bytes;
use pullproof::verify::finding::Code;

use super::super::case::{Case, Outcome};
use super::super::client::Way;
use super::super::world::{shop, v1};
use super::tokens::private;
use crate::support::scripted::fault::{Fault, Route, Rule, on};
use crate::support::scripted::tokens::Access;
use crate::support::scripted::{AUTH, REGISTRY, STORAGE};

fn public(name: &'static str) -> Case {
    Case::new(name, shop().script, &v1())
}

/// The first child is in the storage, as some registries keep manifests too.
fn child_to(location: String) -> Rule {
    on(Route::Object(shop().amd64.digest)).give(Fault::Redirect(location))
}

fn child_in_storage() -> String {
    format!("http://{STORAGE}/{}", shop().amd64.digest.hex())
}

fn asked(outcome: &Outcome, host: &str) -> usize {
    outcome.seen.iter().filter(|seen| seen.host == host).count()
}

fn only_the_registry_heard_a_credential(outcome: &Outcome) -> bool {
    outcome
        .seen
        .iter()
        .all(|seen| seen.host == REGISTRY || seen.header("authorization").is_none())
}

fn nobody_else_was_asked(outcome: &Outcome) -> bool {
    outcome.seen.iter().all(|seen| seen.host == REGISTRY)
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = storage();
    cases.extend(ways());
    cases.extend(realms());
    cases.extend(challenges());
    cases
}

fn storage() -> Vec<Case> {
    let mut in_storage = shop().redirecting();
    in_storage.script.access = Access::tokens();
    let page = Bytes::from_static(b"<html>This site is being maintained</html>");
    vec![
        Case::new(
            "r08_blobs_in_a_storage_are_not_asked_for_at_head",
            in_storage.script,
            &v1(),
        )
        .setup(|setup| setup.has_credential = true)
        .pullable()
        .and("the storage was left alone", |outcome| {
            asked(outcome, STORAGE) == 0
        }),
        private("r08_a_manifest_in_a_storage")
            .rule(child_to(child_in_storage()))
            .pullable()
            .and("the storage was asked", |outcome| {
                asked(outcome, STORAGE) == 1
            })
            .and(
                "it heard no credential",
                only_the_registry_heard_a_credential,
            ),
        // A URL that is signed for GET refuses HEAD (SigV4).
        public("r08_a_url_that_is_signed_for_get_only")
            .rule(child_to(child_in_storage()))
            .rule(on(Route::Storage).head().give(Fault::Instead(
                403,
                Bytes::from_static(b"<Error><Code>SignatureDoesNotMatch</Code></Error>"),
            )))
            .pullable()
            .pullable(),
        public("r08_a_url_that_ended")
            .rule(child_to(child_in_storage()))
            .rule(on(Route::Storage).give(Fault::Instead(
                403,
                Bytes::from_static(b"<Error><Code>AccessDenied</Code></Error>"),
            )))
            .unknown(Code::ServerError),
        public("r08_a_storage_in_trouble")
            .rule(child_to(child_in_storage()))
            .rule(on(Route::Storage).give(Fault::Status(503)))
            .unknown(Code::ServerError),
        public("r08_a_page_with_404_behind_a_redirect")
            .rule(child_to(child_in_storage()))
            .rule(on(Route::Storage).give(Fault::Instead(404, page.clone())))
            .unknown(Code::ServerError),
        public("r08_a_page_with_200_behind_a_redirect")
            .rule(child_to(child_in_storage()))
            .rule(
                on(Route::Storage)
                    .give(Fault::Instead(200, page))
                    .give(Fault::Set(
                        "content-type",
                        "text/html; charset=utf-8".to_owned(),
                    )),
            )
            .unknown(Code::ServerError),
    ]
}

fn ways() -> Vec<Case> {
    let path = |number: usize| Route::Path(format!("/way/{number}"));
    let to = |number: usize| Fault::Redirect(format!("/way/{number}"));
    let mut five = public("r13_five_redirects").rule(child_to("/way/1".to_owned()));
    let mut six = public("r13_six_redirects").rule(child_to("/way/1".to_owned()));
    for number in 1..=4 {
        five = five.rule(on(path(number)).give(if number == 4 {
            Fault::Redirect(child_in_storage())
        } else {
            to(number + 1)
        }));
    }
    for number in 1..=5 {
        six = six.rule(on(path(number)).give(if number == 5 {
            Fault::Redirect(child_in_storage())
        } else {
            to(number + 1)
        }));
    }
    let mut cases = vec![
        five.pullable(),
        six.unknown(Code::ServerError)
            .and("the sixth was not taken", |outcome| {
                asked(outcome, STORAGE) == 0
            }),
        public("r13_a_redirect_to_itself")
            .rule(child_to("/way/1".to_owned()))
            .rule(on(path(1)).give(to(1)))
            .unknown(Code::ServerError),
        public("r13_a_redirect_to_nowhere")
            .rule(child_to("http://".to_owned()))
            .unknown(Code::ServerError),
        public("r13_a_redirect_without_location")
            .rule(on(Route::Object(shop().amd64.digest)).give(Fault::Status(307)))
            .unknown(Code::ServerError),
        private("r13_a_token_server_that_redirects")
            .rule(on(Route::Token).give(Fault::Redirect(format!("http://{STORAGE}/token"))))
            .unknown(Code::ServerError)
            .and(
                "the credential went no further",
                only_the_registry_heard_a_credential,
            ),
    ];
    for (name, host) in [
        ("r13_a_redirect_to_loopback", "127.0.0.1:9"),
        ("r13_a_redirect_to_loopback_by_ipv6", "[::1]:9"),
        ("r13_a_redirect_to_loopback_mapped", "[::ffff:127.0.0.1]:9"),
        ("r13_a_redirect_to_loopback_as_a_number", "2130706433:9"),
        ("r13_a_redirect_to_the_metadata_service", "169.254.169.254"),
        ("r13_a_redirect_to_the_cluster", "10.96.0.1"),
    ] {
        cases.push(
            private(name)
                .rule(child_to(format!("http://{host}/latest")))
                .unknown(Code::Untrusted)
                .and("nobody there was asked", nobody_else_was_asked),
        );
    }
    cases.push(
        public("r13_a_redirect_to_a_name_of_loopback")
            .setup(|setup| {
                setup.way = Way::Dialled {
                    scheme: "http",
                    name: "",
                };
            })
            .rule(child_to("http://localhost:9/latest".to_owned()))
            .unknown(Code::Untrusted),
    );
    // The second hop is as dangerous as the first.
    cases.push(
        private("r13_a_redirect_to_the_cluster_on_the_second_hop")
            .rule(child_to(child_in_storage()))
            .rule(on(Route::Storage).give(Fault::Redirect("http://10.96.0.1/".to_owned())))
            .unknown(Code::Untrusted)
            .and("nobody there was asked", |outcome| {
                asked(outcome, "10.96.0.1") == 0
            }),
    );
    cases
}

fn realm(name: &'static str, realm: &str, to_anybody: bool) -> Case {
    let mut shop = shop();
    shop.script.access = Access::Token {
        realm: realm.to_owned(),
        to_anybody,
    };
    Case::new(name, shop.script, &v1())
}

fn realms() -> Vec<Case> {
    let elsewhere = format!("http://{AUTH}/token");
    vec![
        realm(
            "r14_a_realm_elsewhere_that_nobody_listed",
            &elsewhere,
            false,
        )
        .setup(|setup| setup.has_credential = true)
        .unknown(Code::Untrusted)
        .and("it was not asked at all", nobody_else_was_asked),
        realm("r14_a_realm_elsewhere_that_is_listed", &elsewhere, false)
            .setup(|setup| {
                setup.has_credential = true;
                setup.token_realms = vec![AUTH.to_owned()];
            })
            .pullable(),
        realm("r14_a_realm_elsewhere_for_anybody", &elsewhere, true)
            .pullable()
            .and("it was asked", |outcome| asked(outcome, AUTH) == 1)
            .and("without a credential", |outcome| {
                let of_realm = outcome.seen.iter().filter(|seen| seen.host == AUTH);
                of_realm
                    .into_iter()
                    .all(|seen| seen.header("authorization").is_none())
            }),
        realm(
            "r14_a_realm_that_begins_like_the_registry",
            "http://registry.example.evil.example/token",
            false,
        )
        .setup(|setup| setup.has_credential = true)
        .unknown(Code::Untrusted)
        .and("it was not asked at all", nobody_else_was_asked),
        realm(
            "r14_a_realm_at_the_metadata_service",
            "http://169.254.169.254/token",
            true,
        )
        .unknown(Code::Untrusted)
        .and("it was not asked at all", nobody_else_was_asked),
        realm("r14_a_realm_in_the_cluster", "http://10.96.0.1/token", true)
            .unknown(Code::Untrusted)
            .and("it was not asked at all", nobody_else_was_asked),
        // Whatever stood between us and the registry then: what it said must not outlive it.
        realm("r14_a_realm_that_was_wrong_for_a_while", &elsewhere, true)
            .rule(on(Route::Any).give(Fault::Challenge(
                r#"Bearer realm="http://10.96.0.1/token""#.to_owned(),
            )))
            .unknown(Code::Untrusted)
            .before(|script| script.rules.clear())
            .pullable(),
        realm("r14_a_realm_that_is_no_url", "token", true).unknown(Code::ServerError),
        realm("r14_a_realm_of_another_scheme", "file:///etc/passwd", true)
            .unknown(Code::Unreachable),
    ]
}

fn challenges() -> Vec<Case> {
    let own = format!(r#"realm="http://{REGISTRY}/token",service="{REGISTRY}""#);
    let large = format!("Bearer {own},x=\"{}\"", "x".repeat(100 << 10));
    let mut cases = Vec::new();
    for (name, header, is_understood) in [
        (
            "r16_basic_after_bearer",
            format!(r#"Bearer {own}, Basic realm="x""#),
            true,
        ),
        (
            "r16_bearer_after_basic",
            format!(r#"Basic realm="a, b=\"c\"", Bearer {own}"#),
            true,
        ),
        (
            "r16_negotiate_before_bearer",
            format!("Negotiate, Bearer {own}"),
            true,
        ),
        (
            "r16_upper_case_and_spaces",
            format!("BEARER  {}", own.replace("realm", "Realm")),
            true,
        ),
        (
            "r16_a_comma_in_quotes",
            format!(r#"Bearer {own},scope="repository:a:pull,push""#),
            true,
        ),
        (
            "r16_no_quotes",
            format!("Bearer realm=http://{REGISTRY}/token,service={REGISTRY}"),
            true,
        ),
        ("r16_no_realm", "Bearer service=x".to_owned(), false),
        (
            "r16_an_open_quote",
            r#"Bearer realm="http://"#.to_owned(),
            false,
        ),
        ("r16_nothing", String::new(), false),
        ("r16_commas", ",,,,=,=,=".to_owned(), false),
        ("r16_a_hundred_kilobytes", large, false),
    ] {
        let case = private(name).rule(on(Route::Any).give(Fault::Challenge(header)));
        cases.push(if is_understood {
            case.pullable()
        } else {
            case.unknown(Code::Unauthorized)
        });
    }
    let megabyte = format!("Bearer {own},x=\"{}\"", "x".repeat(1 << 20));
    cases.push(
        private("r16_a_megabyte")
            .rule(on(Route::Any).give(Fault::Set("www-authenticate", megabyte)))
            .unknown(Code::Unreachable),
    );
    let two = private("r16_two_headers").rule(
        on(Route::Any)
            .give(Fault::Challenge(r#"Basic realm="x""#.to_owned()))
            .give(Fault::Add("www-authenticate", format!("Bearer {own}"))),
    );
    cases.push(two.pullable());
    cases
}
